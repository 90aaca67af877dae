// Domains: their colours, and which of them the plots show.
(function (T) {
  "use strict";
  const Many = 12;
  const Shown = 8;
  const domains = T.data.domains || [];
  const listeners = [];

  // Equal domains are numbered: web-1, web-2 …
  function kind(name) {
    const match = /^(.*?)[-_.#]?\d+$/.exec(name);
    return match && match[1] ? match[1] : name;
  }
  const sizes = new Map();
  for (const domain of domains) sizes.set(kind(domain.name), (sizes.get(kind(domain.name)) || 0) + 1);

  // With many domains: one of each kind that stands alone, then those furthest from their ideal.
  function initial() {
    if (domains.length <= Many) return domains.map(() => true);
    const off = (domain) => Math.abs((domain.share || 0) - (domain.expected || 0));
    const order = domains.map((domain, index) => [sizes.get(kind(domain.name)) === 1 ? 1 : 0, off(domain), index])
      .sort((a, b) => b[0] - a[0] || b[1] - a[1] || a[2] - b[2]);
    const chosen = domains.map(() => false);
    for (const [, , index] of order.slice(0, Shown)) chosen[index] = true;
    return chosen;
  }
  const start = initial();

  // Up to ten domains have a colour each. Of more, those shown at first have; the others are muted, neighbours in different hues.
  const ranks = new Map();
  start.forEach((chosen, index) => { if (chosen && domains.length > 10) ranks.set(index, ranks.size); });
  T.domainColour = function (index) {
    if (index < 0) return T.colour("ink-3");
    if (domains.length <= 10) return T.colour("c" + index);
    if (ranks.has(index) && ranks.get(index) < 10) return T.colour("c" + ranks.get(index));
    return `hsl(${Math.round((index * 137.508) % 360)} ${T.isDark() ? "20% 46%" : "26% 72%"})`;
  };
  T.darkText = function (colour) {
    const part = colour.startsWith("#") ? [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16)) : colour.match(/\d+/g).map(Number);
    if (colour.startsWith("hsl")) return part[2] > 55;
    return 0.299 * part[0] + 0.587 * part[1] + 0.114 * part[2] > 150;
  };

  let shown = start.slice();
  let focused = -1;
  T.isShown = (index) => shown[index];
  T.focused = () => focused;
  T.isChosen = () => shown.some((value, index) => value !== start[index]) && shown.some((value) => value);
  T.onDomains = (listener) => listeners.push(listener);
  const changed = () => listeners.forEach((listener) => listener());

  T.startDomains = function () {
    const host = document.getElementById("domains");
    if (!host || domains.length < 2) {
      if (host) host.remove();
      return;
    }
    const chips = domains.map((domain, index) => {
      const swatch = T.el("span", { className: "swatch" });
      const chip = T.el("button", { type: "button", className: "chip", title: `${domain.name}: weight ${domain.weight}` }, swatch, T.el("span", {}, domain.name));
      chip.addEventListener("click", () => { shown[index] = !shown[index]; paint(); changed(); });
      const focus = (value) => () => { focused = value; changed(); };
      chip.addEventListener("pointerenter", focus(index));
      chip.addEventListener("pointerleave", focus(-1));
      return { chip, swatch };
    });
    function paint() {
      chips.forEach(({ chip, swatch }, index) => {
        chip.setAttribute("aria-pressed", String(shown[index]));
        swatch.style.background = T.domainColour(index);
      });
    }
    const set = (label, make) => {
      const button = T.el("button", { type: "button" }, label);
      button.addEventListener("click", () => { shown = domains.map((_, index) => make(index)); paint(); changed(); });
      return button;
    };
    const list = T.el("div", { className: "chips", role: "group", "aria-label": "Domains shown in the plots" }, ...[...chips.keys()].sort((a, b) => start[b] - start[a] || a - b).map((index) => chips[index].chip));
    const head = T.el("div", { className: "head" }, T.el("strong", {}, "Domains"), list, T.el("div", { className: "tools" }, set("All", () => true), set("None", () => false)));
    if (domains.length > Many) {
      head.lastChild.append(set(`${Shown} furthest off`, (index) => start[index]));
      const filter = T.el("input", { type: "search", placeholder: "Find", size: 8, "aria-label": "Find a domain by name" });
      filter.addEventListener("input", () => chips.forEach(({ chip }, index) => { chip.hidden = !domains[index].name.includes(filter.value); }));
      head.insertBefore(filter, list);
    }
    host.append(head);
    paint();
    T.onTheme(paint);
  };
})(window.Tessera);
