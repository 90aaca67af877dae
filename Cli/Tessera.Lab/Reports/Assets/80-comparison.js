// A comparison: for each metric, every run as a dot and each cell's mean with its confidence interval.
(function (T) {
  "use strict";
  T.startComparison = function () {
    const metrics = T.data.metrics;
    if (!metrics) return;
    const schedulers = T.data.schedulers;
    const colour = (cell) => T.colour("c" + (Math.max(0, schedulers.indexOf(cell.scheduler)) % 10));
    metrics.forEach((metric, place) => {
      const host = document.getElementById("plot-metric-" + place);
      if (!host || metric.cells.length === 0) return;
      const cells = metric.cells;
      const values = cells.flatMap((cell) => [...cell.values, cell.mean, ...cell.interval]).filter((value) => value !== null && Number.isFinite(value));
      if (values.length === 0) return;
      const low = Math.min(...values);
      const high = Math.max(...values);
      const logarithmic = low > 0 && high / low > 50;
      const margin = (high - low || Math.abs(high) || 1) * 0.06;
      const range = logarithmic ? [low / 1.3, high * 1.3] : [low >= 0 ? Math.max(0, low - margin) : low - margin, high + margin];
      const most = (width) => (width < 600 ? 20 : width < 1000 ? 44 : 60);
      const lines = (name, width) => T.lines(name, most(width));
      const columns = (width) => Math.max(...cells.flatMap((cell) => lines(cell.name, width).map((line) => line.length)));
      const rows = (width) => Math.max(...cells.map((cell) => lines(cell.name, width).length));
      const isTime = metric.unit === "ns";
      const show = (value) => (isTime ? T.time(value) : T.number(value) + (metric.unit ? " " + metric.unit : ""));
      const tip = T.tip(host);
      function draw(plot) {
        const context = plot.ctx;
        const pixel = plot.bbox.width / plot.over.clientWidth;
        const step = plot.bbox.height / cells.length;
        cells.forEach((cell, index) => {
          const y = plot.bbox.top + (index + 0.5) * step;
          const x = (value) => plot.valToPos(value, "x", true);
          context.fillStyle = context.strokeStyle = colour(cell);
          context.globalAlpha = 0.38;
          cell.values.forEach((value, run) => {
            if (value === null) return;
            // Spread over the row's height by the run's number, the same each time: equal values stay visible.
            const offset = ((run * 0.618034) % 1 - 0.5) * step * 0.42;
            context.beginPath();
            context.arc(x(value), y + offset, 3 * pixel, 0, 7);
            context.fill();
          });
          context.globalAlpha = 1;
          const [from, to] = cell.interval.map(x);
          context.lineWidth = 2.5 * pixel;
          context.beginPath();
          context.moveTo(from, y);
          context.lineTo(to, y);
          for (const edge of [from, to]) {
            context.moveTo(edge, y - 5 * pixel);
            context.lineTo(edge, y + 5 * pixel);
          }
          context.stroke();
          context.beginPath();
          context.arc(x(cell.mean), y, 5.5 * pixel, 0, 7);
          context.fill();
          context.lineWidth = 1.5 * pixel;
          context.strokeStyle = T.colour("card");
          context.stroke();
        });
      }
      function follow(plot) {
        const row = Math.floor(plot.cursor.top / plot.over.clientHeight * cells.length);
        const cell = plot.cursor.left >= 0 ? cells[row] : null;
        if (!cell) return tip.hide();
        const list = [["mean", show(cell.mean)], ["median", show(cell.median)], ["95 % interval", `${show(cell.interval[0])} to ${show(cell.interval[1])}`]];
        list.push(["runs", String(cell.values.filter((value) => value !== null).length)]);
        return tip.show(plot.cursor.left + plot.over.offsetLeft, plot.cursor.top + plot.over.offsetTop, cell.name, list);
      }
      const { plot } = T.plot(host, (width) => cells.length * (15 + 15 * rows(width)) + 66, {
        scales: { x: Object.assign({ time: false, range: () => range }, logarithmic ? { distr: 3, log: 10 } : {}), y: { range: () => [0, cells.length], dir: -1 } },
        axes: [
          isTime
            ? (logarithmic ? T.logTimeAxis : T.timeAxis)(metric.name)
            : (logarithmic ? T.logAxis : T.axis)(metric.unit ? `${metric.name} (${metric.unit})` : metric.name, Object.assign({ size: 28 }, logarithmic ? {} : { values: (self, splits) => splits.map(T.number) })),
          T.axis("", {
            label: null, ticks: { show: false }, size: () => columns(host.clientWidth) * 7 + 16,
            splits: () => cells.map((_, index) => index + 0.5),
            values: () => cells.map(({ name }) => lines(name, host.clientWidth).join("\n")),
          }),
        ],
        cursor: { points: { show: false }, x: true, y: false, drag: { x: false, y: false } },
        series: [{}, { paths: () => null, points: { show: false } }],
        hooks: { draw: [draw], setCursor: [follow] },
      }, [range, [null, null]]);
      T.tools(host, T.pictureButton(metric.key, () => plot, `${metric.name}: mean and 95 % interval`, () => schedulers.map((name, index) => [name, T.colour("c" + (index % 10))])));
    });
  };
})(window.Tessera);
