// Draws intervals on a canvas. What is wider than a pixel is a bar; what is narrower is added up for each pixel column, which is then filled in
// proportion to the time each domain had in it, so that a picture of a whole run tells no lie about who ran how much.
(function (T) {
  "use strict";
  T.paintRow = function (context, line, view, row, colours) {
    const { min, max, left, scale } = view;
    const sums = new Float64Array(colours.length);
    let touched = [];
    let column = -1;
    const flush = () => {
      let top = row.top + row.height;
      for (const slot of touched) {
        const height = Math.min(1, sums[slot] * scale) * row.height;
        context.fillStyle = colours[slot];
        context.fillRect(column, top - height, 1, height);
        top -= height;
        sums[slot] = 0;
      }
      touched = [];
    };
    const labels = [];
    for (let index = T.timeline.first(line, min); index < line.count && line.start[index] < max; index++) {
      const from = Math.max(line.start[index], min);
      const to = Math.min(line.end[index], max);
      const x = left + (from - min) * scale;
      const width = (to - from) * scale;
      if (width >= 1.5) {
        context.fillStyle = colours[line.slot[index]];
        context.fillRect(x, row.top, width, row.height);
        if (width > 6) {
          // A hairline tells one slice from the next of the same domain.
          context.fillStyle = view.gap;
          context.fillRect(x + width - 1, row.top, 1, row.height);
        }
        if (width > view.labelRoom) labels.push([x, width, line.slot[index]]);
      } else {
        const here = Math.floor(x);
        if (here !== column) {
          flush();
          column = here;
        }
        const slot = line.slot[index];
        if (sums[slot] === 0) touched.push(slot);
        sums[slot] += to - from;
      }
    }
    flush();
    return labels;
  };

  T.paintWaits = function (context, line, view, row, colour) {
    const { min, max, left, scale } = view;
    context.fillStyle = colour;
    context.globalAlpha = 0.28;
    let painted = -1;
    for (let index = T.timeline.first(line, min); index < line.count && line.start[index] < max; index++) {
      const from = left + (Math.max(line.start[index], min) - min) * scale;
      const to = left + (Math.min(line.end[index], max) - min) * scale;
      // Neighbours that share a pixel are painted once, or their transparency would add up.
      const x = Math.max(from, painted);
      if (to <= x) continue;
      const width = Math.max(to - x, 0.5);
      context.fillRect(x, row.top + row.height * 0.3, width, row.height * 0.4);
      painted = x + width;
    }
    context.globalAlpha = 1;
  };

  // Instants at which a vCPU woke: an upward tick at the bottom of its row, once there is room to tell them apart.
  T.paintWakes = function (context, instants, view, row, pixel) {
    const here = instants.filter((at) => at >= view.min && at < view.max);
    if (here.length * 8 * pixel > (view.max - view.min) * view.scale) return;
    context.fillStyle = T.colour("ink");
    for (const at of here) {
      const x = view.left + (at - view.min) * view.scale;
      context.beginPath();
      context.moveTo(x, row.top + row.height * 0.55);
      context.lineTo(x - 4 * pixel, row.top + row.height);
      context.lineTo(x + 4 * pixel, row.top + row.height);
      context.fill();
    }
  };

  T.paintLabels = function (context, labels, row, pixel, colours) {
    if (row.height < 13 * pixel) return;
    context.font = `${11.5 * pixel}px ${T.colour("sans")}`;
    context.textBaseline = "middle";
    context.textAlign = "left";
    for (const [x, width, slot] of labels) {
      const text = T.timeline.slotName(T.timeline.slots[slot]);
      if (context.measureText(text).width + 8 * pixel > width) continue;
      context.fillStyle = T.darkText(colours[slot]) ? "#14171b" : "#ffffff";
      context.fillText(text, x + 5 * pixel, row.top + row.height / 2);
    }
  };
})(window.Tessera);
