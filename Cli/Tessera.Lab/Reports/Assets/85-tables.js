// Tables with many columns: on a narrow screen each row becomes a card, in which every cell needs the title of its column.
(function (T) {
  "use strict";
  const Many = 4;
  T.startTables = function () {
    for (const table of document.querySelectorAll("table")) {
      const titles = [...table.querySelectorAll("thead th")].map((cell) => [...cell.childNodes].map((node) => node.textContent.trim()).join(" "));
      if (titles.length <= Many) continue;
      table.classList.add("cards");
      for (const row of table.tBodies[0].rows) [...row.cells].forEach((cell, index) => { cell.dataset.title = titles[index] || ""; });
    }
  };
})(window.Tessera);
