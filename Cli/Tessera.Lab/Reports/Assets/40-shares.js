// Shares over time: what each domain got in each window, and what generalised processor sharing would have given it.
(function (T) {
  "use strict";
  // Fractions are packed as whole parts of this.
  const Unit = 1e7;

  T.startShares = function () {
    const host = document.getElementById("plot-shares");
    const source = T.data.shares;
    if (!host || !source) return;
    const count = T.data.domains.length;
    const real = source.real.map(T.unpack);
    const ideal = source.ideal.map(T.unpack);
    const lengthOf = (step) => Math.min((step + 1) * source.stepNs, source.coveredNs) - step * source.stepNs;
    // Windows in which every domain has had its turn tell more: with many domains that takes longer.
    const crowded = T.data.domains.length / T.data.pcpus > 20 ? 2 : 1;
    // The finest windows show a policy's slices one by one, which is noise to the eye: open a step wider wherever that leaves some points to see.
    let factor = source.factors[Math.min(source.steps > 400 ? crowded : 1, source.factors.length - 1)];

    // Steps are averaged by their lengths, so a wider window is exact; a last one that is not full counts for what it is.
    function build() {
      const groups = Math.ceil(source.steps / factor);
      const x = [];
      const series = Array.from({ length: count * 2 }, () => new Array(groups));
      for (let group = 0; group < groups; group++) {
        const from = group * factor * source.stepNs;
        const to = Math.min((group + 1) * factor * source.stepNs, source.coveredNs);
        x.push((from + to) / 2);
        for (let domain = 0; domain < count; domain++) {
          let sum = 0;
          let fair = 0;
          for (let step = group * factor; step < Math.min((group + 1) * factor, source.steps); step++) {
            sum += real[domain][step] * lengthOf(step);
            fair += ideal[domain][step] * lengthOf(step);
          }
          series[domain * 2][group] = sum / (to - from) / Unit * 100;
          series[domain * 2 + 1][group] = fair / (to - from) / Unit * 100;
        }
      }
      return [x, ...series];
    }

    const alpha = (index) => (T.focused() < 0 || T.focused() === index ? 1 : 0.15);
    const series = [{}];
    for (let index = 0; index < count; index++) {
      const stroke = () => T.domainColour(index);
      series.push({ label: T.data.domains[index].name, stroke, width: 1.75, show: T.isShown(index), points: { show: source.steps < 4 } });
      series.push({ label: T.data.domains[index].name + " ideal", stroke, width: 1.25, dash: [6, 5], alpha: 0.75, show: T.isShown(index), points: { show: false } });
    }
    const follow = T.lineTip(host, (at) => `${T.instant(at, source.coveredNs)}, window ${T.time(source.stepNs * factor)}`, (plot, idx) => {
      const value = plot.posToVal(plot.cursor.top, "y");
      return T.data.domains.map((domain, index) => [domain, index]).filter(([, index]) => T.isShown(index))
        .map(([domain, index]) => [Math.abs(plot.data[1 + index * 2][idx] - value), domain, index])
        .sort((a, b) => a[0] - b[0]).slice(0, 8)
        .map(([, domain, index]) => [domain.name,
          `${plot.data[1 + index * 2][idx].toFixed(2)} % (ideal ${plot.data[2 + index * 2][idx].toFixed(2)} %)`, T.domainColour(index)]);
    });
    const { plot } = T.plot(host, (width) => (width < 600 ? 260 : 360), {
      scales: { x: { time: false }, y: { range: (self, min, max) => [0, Math.min(100, Math.max(0.1, (max || 0) * 1.08))] } },
      axes: [T.timeAxis("Time in the measured window"), T.axis("Share of all pCPU time (%)", { size: 52 })],
      cursor: { points: { show: false }, y: false, drag: { x: true, y: false } },
      series,
      hooks: { draw: [T.drawMarks], setCursor: [follow] },
    }, build());
    T.onDomains(() => {
      plot.batch(() => {
        for (let index = 0; index < count; index++) {
          for (const at of [1 + index * 2, 2 + index * 2]) {
            if (plot.series[at].show !== T.isShown(index)) plot.setSeries(at, { show: T.isShown(index) });
            plot.series[at].alpha = alpha(index) * (at % 2 === 0 ? 0.75 : 1);
          }
        }
      });
      plot.redraw(false);
    });
    if (source.factors.length > 1) {
      T.tools(host, T.choice("Averaging window", source.factors.map((value) => [T.time(value * source.stepNs), value]), factor, (value) => {
        factor = value;
        plot.setData(build());
      }));
    }
    T.tools(host, T.pictureButton("shares", () => plot, "Shares over time, ideal dashed", T.domainLegend));
  };
})(window.Tessera);
