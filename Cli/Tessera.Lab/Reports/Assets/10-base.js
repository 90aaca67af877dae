// What every module stands on: the page's data, its theme, and numbers as people read them.
(function () {
  "use strict";
  const T = (window.Tessera = {});
  T.data = JSON.parse(document.getElementById("data").textContent);

  // Elements are made of text, never of markup: names and consoles come from guests.
  T.el = function (tag, properties, ...children) {
    const element = document.createElement(tag);
    for (const [key, value] of Object.entries(properties || {})) {
      if (key.startsWith("aria-") || key === "role") element.setAttribute(key, value);
      else element[key] = value;
    }
    element.append(...children);
    return element;
  };

  const colours = new Map();
  const listeners = [];
  T.colour = function (name) {
    if (!colours.has(name)) colours.set(name, getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim());
    return colours.get(name);
  };
  T.onTheme = (listener) => listeners.push(listener);

  const system = window.matchMedia("(prefers-color-scheme: dark)");
  T.isDark = () => (document.documentElement.dataset.theme || (system.matches ? "dark" : "light")) === "dark";
  function themeChanged() {
    colours.clear();
    const button = document.getElementById("theme");
    if (button) button.textContent = T.isDark() ? "Light" : "Dark";
    for (const listener of listeners) listener();
  }
  T.setTheme = function (theme) {
    document.documentElement.dataset.theme = theme;
    try { localStorage.setItem("tessera-theme", theme); } catch { /* A file: page may have no storage; the choice then lasts as long as the page. */ }
    themeChanged();
  };
  T.startTheme = function () {
    let kept = null;
    try { kept = localStorage.getItem("tessera-theme"); } catch { /* As above. */ }
    if (kept === "light" || kept === "dark") document.documentElement.dataset.theme = kept;
    system.addEventListener("change", themeChanged);
    const button = document.getElementById("theme");
    if (button) button.addEventListener("click", () => T.setTheme(T.isDark() ? "light" : "dark"));
    themeChanged();
  };

  const units = [[1e9, "s"], [1e6, "ms"], [1e3, "µs"], [1, "ns"]];
  T.unitFor = (ns) => units.find(([size]) => Math.abs(ns) >= size) || units[3];
  T.time = function (ns) {
    if (ns === 0) return "0 s";
    const [size, name] = T.unitFor(ns);
    return Number((ns / size).toPrecision(4)) + " " + name;
  };
  // An instant, with as many digits as the view's width makes meaningful.
  T.instant = function (ns, span) {
    const digits = Math.max(0, Math.min(9, Math.ceil(-Math.log10(span / 1e9)) + 3));
    return (ns / 1e9).toFixed(digits) + " s";
  };
  T.percent = (fraction) => Number((fraction * 100).toPrecision(4)) + " %";
  T.number = (value) => Math.abs(value) >= 1e5 || (value !== 0 && Math.abs(value) < 1e-3) ? value.toExponential(2) : String(Number(value.toPrecision(4)));

  // Unsigned LEB128 numbers in base64, as the report's writer packs them; above 2^31 multiplication must replace shifts.
  T.unpack = function (text) {
    const bytes = atob(text);
    const numbers = [];
    let value = 0;
    let scale = 1;
    for (let index = 0; index < bytes.length; index++) {
      const byte = bytes.charCodeAt(index);
      value += (byte & 127) * scale;
      if (byte & 128) {
        scale *= 128;
      } else {
        numbers.push(value);
        value = 0;
        scale = 1;
      }
    }
    return numbers;
  };
})();
