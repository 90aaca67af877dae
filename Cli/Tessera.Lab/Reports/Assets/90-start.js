(function (T) {
  "use strict";
  T.startTheme();
  T.startDomains();
  T.startShares();
  T.startLatency();
  T.startErrors();
  T.startGantt();
  T.startComparison();
  T.startTables();
  document.documentElement.dataset.ready = "yes";
})(window.Tessera);
