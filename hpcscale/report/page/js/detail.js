// The panel of a row: every figure with its formula and numbers put in, where the row is from, and its resolved spec.
const SHOWN_AS = { "%": (value) => `${significant(100 * value)} %`, GiB: (value) => `${significant(value / 2 ** 30)} GiB` };
const checksOf = new Map();
for (const check of data.checks) checksOf.set(check.row, [...(checksOf.get(check.row) ?? []), check]);
let opened = null;
let cameFrom = null; // what had the focus before the panel

const FIGURES = new Set([...data.ways.map((way) => way.figure), "flops_per_token", "parameters"]);

const wordOf = (figure) => (data.words[figure] ?? [figure])[0];

function figureText(figure, value) {
  const unit = (data.words[figure] ?? ["", ""])[1];
  return SHOWN_AS[unit] ? SHOWN_AS[unit](value) : `${significant(value)}${unit ? ` ${unit}` : ""}`;
}

const factorWord = (factor) => (typeof factor === "number" ? factorText(factor) : wordOf(factor));
const factorValue = (factor, row) => factorText(typeof factor === "number" ? factor : fact(factor, row));

/** "tokens a step ÷ sec/it", or the same with the row's numbers. */
function product(way, write) {
  const over = way.over.map(write);
  const below = over.length > 1 ? `(${over.join(" × ")})` : over[0];
  return way.times.map(write).join(" × ") + (below ? ` ÷ ${below}` : "");
}

/** A figure's lines: the formula, the formula with numbers, what the document prints. */
function derivation(figure, row) {
  if (figure === "flops_per_token") return (unpacked(data.flops)[row] ?? "").replace(/\^2/g, "²").split("\n").filter(Boolean);
  const way = data.ways[unpacked(data.figures[figure])[row] ?? -1]; // none: the figure stands there without a formula
  if (!way) return [];
  if (way.said) return [way.said];
  return [product(way, factorWord), product(way, (factor) => factorValue(factor, row))];
}

function checkLine(check) {
  const scale = check.quantity === "mfu" || check.quantity === "hfu" ? 100 : 1;
  const good = check.verdict === "reproduces";
  const printed = factorText(Number((check.printed * scale).toPrecision(12)));
  const said = good ? "reproduces" : `differs by ${significant(100 * check.error, 2)} %`;
  return element("p", { class: good ? "check good" : "check bad" }, `${good ? "✓" : "✗"} printed ${printed}, recomputed ${significant(check.recomputed * scale)}: ${said}`);
}

function figureCard(figure, row) {
  const value = fact(figure, row);
  if (value === null) return null;
  const lines = derivation(figure, row).map((line) => element("p", { class: "formula" }, line));
  const checks = (checksOf.get(row) ?? []).filter((check) => check.quantity === figure).map(checkLine);
  const extra = figure === "efficiency" || figure === "speedup" ? referenceLink(row) : null;
  return element("div", { class: "figure", "data-figure": figure }, element("h4", { title: data.meanings[figure] ?? null }, wordOf(figure)), element("p", { class: "value" }, figureText(figure, value)), lines, intervalLine(figure, row), checks, extra);
}

/** A median's or a prediction's interval. */
function intervalLine(figure, row) {
  const [low, high] = [fact(`${figure}_low`, row), fact(`${figure}_high`, row)];
  if (low === null || high === null) return null;
  const share = fact("origin", row) === "predicted" || figure.startsWith("predicted") ? "80 %" : "95 %";
  // repeats are runs, not steps
  const [runs, steps] = [fact("repeats", row), fact("measured_steps", row)];
  const counted = runs > 1 ? plural(runs, "run") : plural(steps ?? 0, "measured step");
  const of = share === "95 %" && steps !== null ? `, ${counted}` : "";
  return element("p", { class: "formula" }, `${share} interval ${significant(low)} – ${significant(high)}${of}`);
}

function referenceLink(row) {
  const at = fact("reference", row);
  if (at === null || at === row) return at === row ? element("p", { class: "formula" }, "this row is the smallest of its series") : null;
  return element("button", { type: "button", class: "link", onclick: () => openDetail(at) }, `the smallest row: row ${at + 1}`);
}

/** Name and value pairs; those without a value are left out. */
function pairs(entries) {
  const full = entries.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return element("dl", { class: "pairs" }, full.map(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]).flat());
}

function provenance(row) {
  const source = fact("source", row);
  const line = fact("line", row);
  // a study may be called as a table is, or as what every object has
  const file = line !== null && Object.hasOwn(data.documents.files, source) ? data.documents.files[source] : null;
  const repeats = fact("repeats", row);
  const record = fact("record", row);
  return [
    pairs([
      ["origin", fact("origin", row)], ["status", fact("status", row)], ["source", source], ["table", fact("table", row)],
      ["date", fact("date", row)], ["point", fact("point", row)], ["hash", fact("hash", row)], ["attempt", fact("attempt", row)],
      ["record", record && repeats > 1 ? `${record} (the first of ${repeats} runs)` : record],
      ["series", fact("series", row)], ["efficiency", fact("efficiency", row) === null ? fact("efficiency_kind", row) : `${fact("efficiency_kind", row)} scaling`],
      ["as printed", fact("printed", row)], ["note", fact("note", row)],
      ["file", file ? `${file.file}, line ${line}` : null],
    ]),
    file && unpacked(data.documents.lines)[row] ? element("pre", { class: "line" }, unpacked(data.documents.lines)[row]) : null,
    file && file.about ? element("p", { class: "formula" }, file.about) : null,
  ];
}

/** The row's spec as point.json has it, put together again from its keys. */
function specOf(row) {
  const spec = Object.create(null); // a key may be called __proto__
  let found = false;
  for (const { path, values } of data.specs) {
    const value = unpacked(values)[row];
    if (value === undefined) continue;
    found = true;
    let at = spec;
    for (const key of path.slice(0, -1)) at = at[key] ??= Object.create(null);
    at[path[path.length - 1]] = value;
  }
  return found ? spec : null;
}

const isGroup = (value) => value !== null && typeof value === "object" && !Array.isArray(value);
const written = (value) => (typeof value === "string" && value !== "" ? value : JSON.stringify(value));

function specPart(spec, title) {
  const own = Object.entries(spec).filter(([, value]) => !isGroup(value)).map(([key, value]) => [key, written(value)]);
  const below = Object.entries(spec).filter(([, value]) => isGroup(value));
  const inside = [own.length ? pairs(own) : null, below.map(([key, value]) => specPart(value, title ? `${title}.${key}` : key))].flat();
  return title ? element("details", { open: true }, element("summary", {}, title), inside) : element("div", {}, inside);
}

const SETTINGS = ["machine", "device", "resources", "nodes", "devices", "ranks", "model", "parameters", "dp", "tp", "pp", "cp", "sharding", "micro_batch_size", "global_batch_size", "gradient_accumulation", "sequence_length", "activation_checkpointing", "precision", "flops_convention", "peak_tflops"];

function settings(row) {
  const spec = specOf(row);
  if (spec) return [element("h3", {}, "Resolved spec"), element("p", { class: "formula" }, "the content of its point.json"), specPart(spec, "")];
  const stated = SETTINGS.filter((name) => fact(name, row) !== null).map((name) => [name, typeof fact(name, row) === "number" ? factorText(fact(name, row)) : fact(name, row)]);
  return [element("h3", {}, "What ran"), pairs(stated)];
}

/** Open the panel of a row; `figure` is looked at first. The focus goes to the button called `focused`, else to the title. */
function openDetail(row, figure = null, focused = null) {
  const panel = byId("detail");
  if (!panel.contains(document.activeElement)) cameFrom = document.activeElement;
  opened = row;
  const place = view.order.indexOf(row);
  const step = (text, label, at) => element("button", { type: "button", "aria-label": label, disabled: at < 0 || at >= view.order.length || place < 0, onclick: () => openDetail(view.order[at], null, label) }, text);
  const cards = Object.keys(data.words).filter((name) => FIGURES.has(name)).map((name) => figureCard(name, row)).filter(Boolean);
  panel.replaceChildren(
    element("div", { class: "bar" }, element("h2", { id: "detail-title", tabindex: "-1" }, `Row ${row + 1}`), step("‹", "Previous row", place - 1), step("›", "Next row", place + 1), element("button", { type: "button", "aria-label": "Close", onclick: () => panel.close() }, "✕")),
    element("div", { class: "inside" }, element("p", { class: "what" }, fact("point", row) ?? fact("series", row) ?? ""), element("h3", {}, "Figures, and how they came about"), cards.length ? element("div", { class: "figures" }, cards) : element("p", { class: "empty" }, "This row has no figures."), element("h3", {}, "Where it comes from"), provenance(row).filter(Boolean), settings(row)),
  );
  // Not modal: another row can be clicked while the panel stands there, and nothing behind it has to be made inert.
  if (!panel.open) panel.show();
  const button = focused ? panel.querySelector(`[aria-label="${focused}"]:enabled`) : null;
  (button ?? byId("detail-title")).focus({ preventScroll: true });
  markOpened();
  const card = figure ? panel.querySelector(`[data-figure="${figure}"]`) : null;
  if (card) {
    card.classList.add("looked-at");
    card.scrollIntoView({ block: "center" });
  } else panel.querySelector(".inside").scrollTop = 0;
}

function markOpened() {
  for (const row of byId("table").querySelectorAll("tr.opened")) row.classList.remove("opened");
  const row = byId("detail").open ? byId("table").querySelector(`tr[data-row="${opened}"]`) : null;
  if (row) row.classList.add("opened");
}

/** Closing gives the focus back to the row that was looked at last, or to the chart or tile that it was opened from. */
function prepareDetail() {
  const panel = byId("detail");
  panel.addEventListener("close", () => {
    markOpened();
    const button = byId("table").querySelector(`tr[data-row="${opened}"] button`);
    const outside = cameFrom && cameFrom.isConnected && cameFrom !== document.body && !byId("table").contains(cameFrom);
    const back = outside ? cameFrom : button ?? byId("table");
    back.focus();
  });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape" && panel.open) panel.close(); });
}
