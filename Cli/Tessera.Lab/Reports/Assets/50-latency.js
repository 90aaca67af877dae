// Wake latencies as distributions on a logarithmic axis, and share errors by window.
(function (T) {
  "use strict";
  function lines(host, make) {
    let made = null;
    const build = () => {
      if (made) made.destroy();
      made = make();
    };
    build();
    return { build, get plot() { return made.plot; } };
  }
  const faded = (index) => (T.focused() < 0 || T.focused() === index ? 1 : 0.15);
  function followDomains(get, domainOf) {
    T.onDomains(() => {
      const plot = get();
      plot.batch(() => domainOf.forEach((domain, index) => {
        if (plot.series[index + 1].show !== T.isShown(domain)) plot.setSeries(index + 1, { show: T.isShown(domain) });
        plot.series[index + 1].alpha = faded(domain);
      }));
      plot.redraw(false);
    });
  }

  T.startLatency = function () {
    const host = document.getElementById("plot-latency");
    const source = T.data.latency;
    if (!host || !source) return;
    const domainOf = source.curves.map((curve) => curve.domain);
    for (const curve of source.curves) {
      let sum = 0;
      curve.below = T.unpack(curve.steps).map((step) => (sum += step));
    }
    let tail = false;
    const follow = T.lineTip(host, (at) => `within ${T.time(at)}`, (plot, idx) => source.curves
      .filter((curve) => T.isShown(curve.domain))
      .map((curve) => [curve, curve.below[idx] / curve.count])
      .sort((a, b) => b[1] - a[1]).slice(0, 8)
      .map(([curve, part]) => [T.data.domains[curve.domain].name, `${(part * 100).toFixed(part > 0.99 ? 3 : 1)} % of ${curve.count}`, T.domainColour(curve.domain)]));
    const chart = lines(host, () => {
      const least = Math.max(...source.curves.map((curve) => curve.count));
      return T.plot(host, (width) => (width < 600 ? 260 : 340), {
        scales: {
          x: { time: false, distr: 3, log: 10 },
          y: tail ? { distr: 3, log: 10, range: () => [10 ** Math.floor(-Math.log10(least)), 1] } : { range: () => [0, 1] },
        },
        axes: [
          T.logTimeAxis("Time from wake to running"),
          tail ? T.logAxis("Fraction of wakes that waited longer", { size: 62 }) : T.axis("Fraction of wakes", { size: 62, values: (self, splits) => splits.map((value) => value.toFixed(1)) }),
        ],
        cursor: { points: { show: false }, y: false },
        series: [{}, ...source.curves.map((curve) => ({
          label: T.data.domains[curve.domain].name,
          stroke: () => T.domainColour(curve.domain),
          width: 1.75,
          show: T.isShown(curve.domain),
          points: { show: false },
          paths: window.uPlot.paths.stepped({ align: 1 }),
        }))],
        hooks: { setCursor: [follow] },
      }, [source.atNs, ...source.curves.map((curve) => curve.below.map((below) => {
        const part = below / curve.count;
        return tail ? (part < 1 ? 1 - part : null) : part;
      }))]);
    });
    followDomains(() => chart.plot, domainOf);
    T.tools(host, T.choice("Kind of distribution", [["Cumulative", false], ["Tail", true]], tail, (value) => {
      tail = value;
      chart.build();
    }), T.pictureButton("latency", () => chart.plot, "Wake to running", T.domainLegend));
  };

  T.startErrors = function () {
    const host = document.getElementById("plot-errors");
    const source = T.data.errors;
    if (!host || !source) return;
    const lines = [["maximum", "max", "c7"], ["99 % of the worst domains", "p99", "c1"], ["mean", "mean", "c0"]];
    const values = lines.flatMap(([, key]) => source[key]).filter((value) => value > 0);
    if (values.length === 0) return;
    const low = 10 ** Math.floor(Math.log10(Math.min(...values)));
    const high = 10 ** Math.ceil(Math.log10(Math.max(...values) * 1.01));
    const { windowsNs } = source;
    const follow = T.lineTip(host, (at) => `windows of ${T.time(at)}`, (plot, idx) => lines.map(([name, key, colour]) => [name, `${T.number(source[key][idx])} points`, T.colour(colour)]));
    const { plot } = T.plot(host, (width) => (width < 600 ? 250 : 300), {
      scales: { x: { time: false, distr: 3, log: 10, range: () => [windowsNs[0] / 1.6, windowsNs[windowsNs.length - 1] * 1.6] }, y: { distr: 3, log: 10, range: () => [low, high] } },
      axes: [
        T.logTimeAxis("Length of the window", { splits: () => windowsNs, values: () => windowsNs.map(T.time) }),
        T.logAxis("Error (percentage points)", { size: 62 }),
      ],
      cursor: { points: { show: false }, y: false, drag: { x: false, y: false } },
      series: [{}, ...lines.map(([, key, colour]) => ({
        stroke: () => T.colour(colour), width: 2, dash: key === "p99" ? [7, 5] : undefined, points: { show: true, size: 8, stroke: () => T.colour(colour), fill: () => T.colour("card") },
      }))],
      hooks: { setCursor: [follow] },
    }, [windowsNs, ...lines.map(([, key]) => source[key].map((value) => Math.max(value, low)))]);
    const keys = T.el("div", { className: "keys" }, ...lines.map(([name, , colour]) => {
      const mark = T.el("i", {});
      const paint = () => { mark.style.color = T.colour(colour); };
      paint();
      T.onTheme(paint);
      return T.el("span", {}, mark, name);
    }));
    host.after(keys);
    T.tools(host, T.pictureButton("share-error", () => plot, "Share error by window", () => lines.map(([name, , colour]) => [name, T.colour(colour)])));
  };
})(window.Tessera);
