// The page as it opens.
const BEST = [["tokens_per_second_per_device", "highest"], ["mfu", "highest"], ["efficiency", "lowest"], ["step_seconds", "lowest"], ["peak_memory_bytes", "highest"]];

/** The figures that people look for first, each leading to its row. */
function drawBest(order) {
  const able = order.filter(completed);
  const tiles = BEST.map(([figure, side]) => {
    const rows = known(able, figure);
    if (!rows.length || count < 2) return null;
    const better = side === "lowest" ? (a, b) => fact(figure, a) < fact(figure, b) : (a, b) => fact(figure, a) > fact(figure, b);
    const best = rows.reduce((a, b) => (better(b, a) ? b : a));
    return element("button", { type: "button", class: "tile", onclick: () => openDetail(best, figure) }, element("span", { class: "label" }, `${side} ${wordOf(figure)}`), element("span", { class: "value" }, figureText(figure, fact(figure, best))), element("span", { class: "label" }, rowName(best, 60)));
  });
  replaced("best", ...tiles);
}

prepareDetail();
drawChooser();
drawFilters();
drawTable();
drawBest(everyRow);
listeners.push(drawBest);
drawCharts();
prepareTheme();
preparePrint();
prepareMenus();
document.documentElement.dataset.ready = "yes"; // tests wait for it
