// The Gantt chart: rows of physical CPUs or of domains, zoomed by dragging, wheel, keys or buttons.
(function (T) {
  "use strict";
  const Narrowest = 200;

  T.startGantt = function () {
    const host = document.getElementById("plot-gantt");
    const line = T.timeline;
    if (!host || !line) return;
    const whole = [0, Math.max(line.lengthNs, 1)];
    let rows = "pcpus";
    let view = whole.slice();
    let chart = null;

    const slotsOf = () => line.slots.map((slot, index) => index).filter((index) => T.isShown(line.slots[index][0]));
    const visible = () => (rows === "pcpus" ? line.pcpus.map((_, index) => index) : slotsOf());
    let list = visible();
    const rowHeight = (count) => (count > 40 ? 11 : count > 16 ? 16 : count > 4 ? 24 : count > 1 ? 34 : 54);
    const height = () => Math.max(1, list.length) * rowHeight(list.length) + 62;
    const nameOf = (row) => (rows === "pcpus" ? `pCPU ${list[row]}` : T.timeline.slotName(line.slots[list[row]]));
    const dim = (slot) => T.focused() >= 0 && line.slots[slot][0] !== T.focused();
    const colourOf = (slot) => {
      const domain = line.slots[slot][0];
      if (dim(slot) || (T.isChosen() && !T.isShown(domain))) return T.colour("axis");
      return T.domainColour(domain);
    };

    function draw(plot) {
      const context = plot.ctx;
      const pixel = plot.bbox.width / plot.over.clientWidth;
      const { left, top, width, height: tall } = plot.bbox;
      const step = tall / Math.max(1, list.length);
      const shape = { min: view[0], max: view[1], left, scale: width / (view[1] - view[0]), gap: T.colour("card"), labelRoom: 26 * pixel };
      const colours = line.slots.map((_, slot) => colourOf(slot));
      context.save();
      context.beginPath();
      context.rect(left, top, width, tall);
      context.clip();
      list.forEach((item, index) => {
        const gap = Math.min(3 * pixel, step * 0.16);
        const row = { top: Math.round(top + index * step + gap), height: Math.max(1, Math.round(step - 2 * gap)) };
        context.fillStyle = T.colour("track");
        context.fillRect(left, row.top, width, row.height);
        const intervals = rows === "pcpus" ? line.pcpus[item] : line.bySlot()[item];
        if (rows !== "pcpus") T.paintWaits(context, line.waits[item], shape, row, colours[item]);
        const labels = T.paintRow(context, intervals, shape, row, colours);
        if (rows === "pcpus") T.paintLabels(context, labels, row, pixel, colours);
        else T.paintWakes(context, line.wakes[item], shape, row, pixel);
      });
      context.restore();
      host.dataset.from = String(view[0]);
      host.dataset.to = String(view[1]);
    }

    function look(from, to) {
      const span = Math.min(whole[1], Math.max(Narrowest, to - from));
      const start = Math.min(Math.max(0, from), whole[1] - span);
      view = [start, start + span];
      chart.plot.setScale("x", { min: view[0], max: view[1] });
      reset.disabled = span >= whole[1];
    }
    const zoom = (factor, at) => look(at - (at - view[0]) * factor, at + (view[1] - at) * factor);
    const centre = () => (view[0] + view[1]) / 2;
    const pan = (part) => look(view[0] + (view[1] - view[0]) * part, view[1] + (view[1] - view[0]) * part);

    function find(plot) {
      const { left, top } = plot.cursor;
      if (left < 0 || top < 0) return null;
      const row = Math.floor(top / plot.over.clientHeight * list.length);
      const at = plot.posToVal(left, "x");
      if (row < 0 || row >= list.length) return null;
      // Two pixels of mercy: a slice narrower than the pointer can still be met.
      const slack = (view[1] - view[0]) / plot.over.clientWidth * 2;
      const intervals = rows === "pcpus" ? line.pcpus[list[row]] : line.bySlot()[list[row]];
      const hit = (candidates) => {
        const index = T.timeline.first(candidates, at);
        if (index < candidates.count && candidates.start[index] <= at) return index;
        if (index < candidates.count && candidates.start[index] - at < slack) return index;
        return index > 0 && at - candidates.end[index - 1] < slack ? index - 1 : -1;
      };
      const run = hit(intervals);
      if (run >= 0) return { row, at, intervals, run };
      const waited = rows === "pcpus" ? -1 : hit(line.waits[list[row]]);
      return { row, at, waits: waited >= 0 ? line.waits[list[row]] : null, waited };
    }
    const tip = T.tip(host);
    function follow(plot) {
      const found = find(plot);
      if (!found) return tip.hide();
      const span = view[1] - view[0];
      const place = [plot.cursor.left + plot.over.offsetLeft, plot.cursor.top + plot.over.offsetTop];
      if (found.intervals) {
        const { intervals, run } = found;
        const slot = intervals.slot[run];
        const rowsOfTip = [
          ["start", T.instant(intervals.start[run], Math.min(span, intervals.end[run] - intervals.start[run]))],
          ["length", T.time(intervals.end[run] - intervals.start[run])],
          ["ended", line.ends[intervals.why[run]]],
        ];
        if (intervals.pcpu) rowsOfTip.unshift(["on", `pCPU ${intervals.pcpu[run]}`]);
        return tip.show(...place, T.timeline.slotName(line.slots[slot]), rowsOfTip);
      }
      if (found.waits) {
        const { waits, waited } = found;
        return tip.show(...place, nameOf(found.row) + " waits", [
          ["since", T.instant(waits.start[waited], Math.min(span, waits.end[waited] - waits.start[waited]))],
          ["length", T.time(waits.end[waited] - waits.start[waited])],
          ["after", line.causes[waits.why[waited]]],
        ]);
      }
      return tip.show(...place, nameOf(found.row), [[T.instant(found.at, span), rows === "pcpus" ? "idle" : "blocked"]]);
    }

    function build() {
      if (chart) chart.destroy();
      list = visible();
      const longest = Math.max(6, ...list.slice(0, 400).map((_, row) => nameOf(row).length));
      const skip = Math.ceil(14 / rowHeight(list.length));
      chart = T.plot(host, height, {
        scales: { x: { time: false, range: () => view }, y: { range: () => [0, Math.max(1, list.length)], dir: -1 } },
        axes: [
          T.timeAxis("Time in the measured window", { grid: { show: false } }),
          T.axis("", {
            label: null, grid: { show: false }, ticks: { show: false }, size: Math.min(host.clientWidth < 600 ? 84 : 140, 14 + longest * 7),
            splits: () => list.map((_, index) => index + 0.5),
            values: () => list.map((_, index) => {
              const name = nameOf(index);
              const most = host.clientWidth < 600 ? 10 : 18;
              return index % skip !== 0 ? null : name.length > most ? name.slice(0, most - 1) + "…" : name;
            }),
          }),
        ],
        cursor: { points: { show: false }, y: false, drag: { x: true, y: false, setScale: false }, bind: { dblclick: () => () => { look(...whole); } } },
        series: [{}, { show: true, paths: () => null, points: { show: false } }],
        hooks: {
          draw: [draw, T.drawMarks],
          setCursor: [follow],
          setSelect: [(plot) => {
            if (plot.select.width > 3) look(plot.posToVal(plot.select.left, "x"), plot.posToVal(plot.select.left + plot.select.width, "x"));
            plot.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
          }],
        },
      }, [whole, [null, null]]);
      listen(chart.plot);
    }

    function listen(plot) {
      let drag = null;
      plot.over.addEventListener("wheel", (event) => {
        // The page keeps its wheel until the chart has been clicked, or Control is held.
        if (!event.ctrlKey && document.activeElement !== host) return;
        event.preventDefault();
        if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) pan((event.deltaX || event.deltaY) / 800);
        else zoom(1.0018 ** event.deltaY, plot.posToVal(event.offsetX, "x"));
      }, { passive: false });
      plot.over.addEventListener("pointerdown", (event) => {
        host.focus({ preventScroll: true });
        if (event.pointerType !== "touch" && !event.shiftKey && event.button !== 1) return;
        drag = { x: event.clientX, from: view.slice() };
        plot.over.setPointerCapture(event.pointerId);
        event.preventDefault();
      });
      plot.over.addEventListener("mousedown", (event) => {
        if (event.shiftKey || event.button === 1) event.stopImmediatePropagation();
      }, { capture: true });
      plot.over.addEventListener("pointermove", (event) => {
        if (!drag) return;
        const moved = (drag.x - event.clientX) / plot.over.clientWidth * (drag.from[1] - drag.from[0]);
        look(drag.from[0] + moved, drag.from[1] + moved);
      });
      for (const end of ["pointerup", "pointercancel"]) plot.over.addEventListener(end, () => { drag = null; });
    }

    const reset = T.button("Reset", () => look(...whole), "Show the whole recording (double click)");
    reset.id = "gantt-reset";
    reset.disabled = true;
    host.tabIndex = 0;
    host.addEventListener("keydown", (event) => {
      const action = { ArrowLeft: () => pan(-0.2), ArrowRight: () => pan(0.2), "+": () => zoom(0.5, centre()), "=": () => zoom(0.5, centre()), "-": () => zoom(2, centre()), 0: () => look(...whole) }[event.key];
      if (!action || event.ctrlKey || event.metaKey) return;
      action();
      event.preventDefault();
    });
    T.tools(host,
      T.choice("Rows", [["By pCPU", "pcpus"], ["By domain", "domains"]], rows, (value) => { rows = value; build(); }),
      T.button("−", () => zoom(2, centre()), "Zoom out"), T.button("+", () => zoom(0.5, centre()), "Zoom in"),
      T.button("◀", () => pan(-0.4), "Earlier"), T.button("▶", () => pan(0.4), "Later"), reset,
      T.pictureButton("gantt", () => chart.plot, "Who ran when", T.domainLegend));
    build();
    T.onDomains(() => {
      const now = visible();
      if (now.length !== list.length || now.some((item, index) => item !== list[index])) build();
      else chart.plot.redraw(false);
    });
    T.gantt = { look, view: () => view.slice(), find: () => find(chart.plot) };
  };
})(window.Tessera);
