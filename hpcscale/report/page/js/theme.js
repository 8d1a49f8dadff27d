// Light and dark, as the system has it until somebody chooses; paper is light.
const KEPT = "hpcscale-theme";

function remembered() {
  try { return localStorage.getItem(KEPT); } catch { return null; } // a browser may forbid it to files
}

function setTheme(name) {
  if (name) document.documentElement.dataset.theme = name;
  else delete document.documentElement.dataset.theme;
  byId("theme").textContent = isDark() ? "Light" : "Dark";
  byId("theme").setAttribute("aria-label", `Switch to ${isDark() ? "light" : "dark"} colours`);
  redraw();
}

function prepareTheme() {
  setTheme(remembered());
  byId("theme").addEventListener("click", () => {
    const name = isDark() ? "light" : "dark";
    setTheme(name);
    try { localStorage.setItem(KEPT, name); } catch { /* then only this time */ }
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => setTheme(remembered()));
}

function preparePrint() {
  let before;
  addEventListener("beforeprint", () => {
    before = document.documentElement.dataset.theme;
    document.documentElement.dataset.theme = "light";
    drawForPrint();
    for (const card of cards) drawCard(card, { width: 500, height: 260 });
  });
  addEventListener("afterprint", () => {
    setTheme(before);
    drawTable();
  });
}
