// One way to make a plot of uPlot: themed axes, size that follows the page, a tip, a picture to save.
(function (T) {
  "use strict";
  const live = [];
  const font = (size) => `${size}px ${T.colour("sans")}`;

  T.axis = (label, more) => Object.assign({
    label,
    labelSize: 20,
    labelFont: font(12.5),
    font: font(12),
    stroke: () => T.colour("ink-2"),
    grid: { stroke: () => T.colour("grid"), width: 1 },
    ticks: { stroke: () => T.colour("axis"), width: 1, size: 5 },
    gap: 4,
  }, more);

  // A time axis in nanoseconds: one unit for the whole axis, said in every label.
  T.timeAxis = (label, more) => T.axis(label, Object.assign({
    space: 90,
    size: 28,
    values: (plot, splits, axisIndex, space, step) => {
      const [size, name] = T.unitFor(Math.max(step * 2, 1));
      const digits = Math.max(0, Math.ceil(-Math.log10(step / size) - 1e-9));
      return splits.map((value) => (value === null ? null : value === 0 ? "0" : (value / size).toFixed(digits) + " " + name));
    },
  }, more));

  // Logarithmic axes: lines at 1 to 9 of each power of ten, labels at powers alone or, on a short axis, at 1, 2 and 5.
  function logSplits(plot, axis, min, max) {
    const splits = [];
    for (let power = Math.floor(Math.log10(min)); power <= Math.ceil(Math.log10(max)); power++) {
      for (let digit = 1; digit < 10; digit++) {
        const value = Number(digit + "e" + power);
        if (value >= min * 0.999999 && value <= max * 1.000001) splits.push(value);
      }
    }
    return splits;
  }
  function logLabels(show) {
    return (plot, splits) => {
      const short = splits.length > 0 && splits[splits.length - 1] / splits[0] < 300;
      return splits.map((value) => {
        const digit = value.toExponential()[0];
        return digit === "1" || (short && (digit === "2" || digit === "5")) ? show(value) : null;
      });
    };
  }
  const logarithmic = (label, show, more) => T.axis(label, Object.assign({ size: 28, splits: logSplits, filter: (plot, splits) => splits, values: logLabels(show) }, more));
  T.logAxis = (label, more) => logarithmic(label, T.number, more);
  T.logTimeAxis = (label, more) => logarithmic(label, T.time, more);

  T.plot = function (host, height, options, data) {
    const measure = () => ({ width: Math.max(200, Math.floor(host.clientWidth)), height: height(host.clientWidth) });
    const plot = new window.uPlot(Object.assign({ legend: { show: false }, padding: [10, 30, 4, 0] }, options, measure()), data, host);
    const observer = new ResizeObserver(() => {
      const size = measure();
      if (size.width !== plot.width || size.height !== plot.height) plot.setSize(size);
    });
    observer.observe(host);
    const entry = { plot, redraw: () => plot.redraw(false, true) };
    live.push(entry);
    return {
      plot,
      destroy: () => {
        observer.disconnect();
        live.splice(live.indexOf(entry), 1);
        plot.destroy();
      },
    };
  };
  T.onTheme(() => live.forEach((entry) => entry.redraw()));

  // Dotted lines where somebody changed the running machine, or another policy took over.
  T.drawMarks = function (plot) {
    const marks = T.data.marks || [];
    const { left, top, width, height } = plot.bbox;
    const pixel = width / plot.over.clientWidth;
    plot.ctx.save();
    plot.ctx.strokeStyle = T.colour("ink");
    plot.ctx.lineWidth = 1.5 * pixel;
    plot.ctx.setLineDash([2 * pixel, 3 * pixel]);
    for (const mark of marks) {
      const x = plot.valToPos(mark.atNs, "x", true);
      if (x < left || x > left + width) continue;
      plot.ctx.beginPath();
      plot.ctx.moveTo(x, top);
      plot.ctx.lineTo(x, top + height);
      plot.ctx.stroke();
    }
    plot.ctx.restore();
  };

  // A label in lines of at most so many characters, broken after spaces and hyphens; a longer word is broken anywhere.
  T.lines = function (text, most) {
    const lines = [""];
    for (const piece of text.split(/(?<=[\s-])/).flatMap((part) => part.match(new RegExp(`.{1,${most}}`, "g")))) {
      const last = lines.length - 1;
      if ((lines[last] + piece).trimEnd().length <= most) lines[last] += piece;
      else lines.push(piece);
    }
    return lines.map((line) => line.trimEnd());
  };

  T.tip = function (host) {
    const tip = T.el("div", { className: "tip", hidden: true });
    host.append(tip);
    return {
      hide: () => { tip.hidden = true; },
      show: (left, top, title, rows) => {
        tip.replaceChildren(T.el("b", {}, title), ...rows.map(([name, value, colour]) => {
          const key = T.el("span", {}, name);
          if (colour) {
            const swatch = T.el("span", { className: "swatch" });
            swatch.style.background = colour;
            key.prepend(swatch);
          }
          return T.el("div", { className: "row" }, key, T.el("span", {}, value));
        }));
        tip.hidden = false;
        const room = host.clientWidth - tip.offsetWidth - 4;
        tip.style.left = Math.max(2, left + 16 > room ? left - tip.offsetWidth - 12 : left + 16) + "px";
        tip.style.top = Math.max(2, Math.min(top + 12, host.clientHeight - tip.offsetHeight - 4)) + "px";
      },
    };
  };

  // The tip of a line plot: the shown series at the cursor, nearest first.
  T.lineTip = function (host, title, rows) {
    const tip = T.tip(host);
    return (plot) => {
      const { left, top, idx } = plot.cursor;
      if (idx === null || idx === undefined || left < 0) return tip.hide();
      const list = rows(plot, idx);
      if (list.length === 0) return tip.hide();
      return tip.show(left + plot.over.offsetLeft, top + plot.over.offsetTop, title(plot.data[0][idx]), list);
    };
  };

  T.tools = function (figure, ...items) {
    const place = figure.closest("section").querySelector(".tools");
    place.append(...items);
  };
  T.button = function (label, action, title) {
    const button = T.el("button", { type: "button", title: title || label }, label);
    button.addEventListener("click", action);
    return button;
  };
  T.choice = function (label, options, chosen, pick) {
    const group = T.el("div", { className: "tools", role: "group", "aria-label": label });
    const buttons = options.map(([name, value]) => T.button(name, () => { select(value); pick(value); }));
    const select = (value) => buttons.forEach((button, index) => button.setAttribute("aria-pressed", String(options[index][1] === value)));
    group.append(...buttons);
    select(chosen);
    return group;
  };

  // A picture for a paper: the plot with its title and a legend below.
  T.picture = function (plot, title, legend) {
    const source = plot.ctx.canvas;
    const scale = source.width / plot.width;
    const line = 20 * scale;
    const canvas = document.createElement("canvas");
    const context = canvas.getContext("2d");
    context.font = `${13 * scale}px ${T.colour("sans")}`;
    const rows = [[]];
    let x = 10 * scale;
    for (const item of legend) {
      const width = context.measureText(item[0]).width + 34 * scale;
      if (x + width > source.width) {
        rows.push([]);
        x = 10 * scale;
      }
      rows[rows.length - 1].push([item, x]);
      x += width;
    }
    canvas.width = source.width;
    canvas.height = source.height + line * (rows.length + 1.8);
    context.fillStyle = T.colour("card");
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.textBaseline = "middle";
    context.fillStyle = T.colour("ink");
    context.font = `600 ${14 * scale}px ${T.colour("sans")}`;
    context.fillText(title, 10 * scale, line * 0.8);
    context.drawImage(source, 0, line * 1.4);
    context.font = `${13 * scale}px ${T.colour("sans")}`;
    rows.forEach((row, index) => row.forEach(([[name, colour], left]) => {
      const y = source.height + line * (index + 1.9);
      context.fillStyle = colour;
      context.fillRect(left, y - 5 * scale, 10 * scale, 10 * scale);
      context.fillStyle = T.colour("ink");
      context.fillText(name, left + 15 * scale, y);
    }));
    return canvas;
  };
  T.pictureButton = (name, get, title, legend) => T.button("PNG", () => {
    T.picture(get(), title, legend()).toBlob((blob) => {
      const link = T.el("a", { href: URL.createObjectURL(blob), download: name + ".png" });
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    });
  }, "Save this plot as a picture");
  T.domainLegend = () => T.data.domains.map((domain, index) => [domain.name, T.domainColour(index)]).filter((_, index) => T.isShown(index)).slice(0, 24);
})(window.Tessera);
