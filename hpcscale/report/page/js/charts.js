// Which charts there are, and when each is drawn: once it is near what is seen, and again after the rows changed.
const CHARTS = [
  { id: "throughput", title: "Throughput", note: "dashed: ideal, from the smallest row that can be compared", has: (rows) => severalSizes(rows), build: throughputChart },
  { id: "per-device", title: "Tokens/s per device", note: "", has: (rows) => known(rows, "tokens_per_second_per_device").some(completed), build: perDeviceChart },
  { id: "efficiency", title: "Scaling efficiency", note: "dashed: ideal", has: (rows) => known(rows, "efficiency").length > 0, build: efficiencyChart },
  { id: "terms", title: "Predicted step by term", note: "", has: () => data.terms.length > 0, build: termsChart },
  { id: "memory", title: "Peak memory", note: "", has: (rows) => known(rows, "peak_memory_bytes").some(devicesOf), build: memoryChart },
  { id: "losses", title: "Loss", note: "", has: () => data.losses.curves.length > 0, build: lossChart },
  { id: "conventions", title: "MFU by convention", note: "the same tokens/s, counted as each tool counts", has: () => data.conventions.length > 0, build: conventionsChart },
  { id: "layouts", title: "Layouts", note: "", has: (rows) => layoutGroups(rows).length > 0, build: layoutChart },
  { id: "energy", title: "Energy", note: "", has: (rows) => ENERGIES.some(([name]) => known(rows, name).length > 0), build: energyChart },
];
const MOST_TABLE_ROWS = 300;
const cards = [];
const PAUSE = 150; // milliseconds without a change before charts follow
let waiting = null;
let quietUntil = 0; // of performance.now()

function addCard(chart) {
  const card = { chart, option: undefined, dirty: true, near: false, built: null };
  card.plot = element("div", { class: "plot", id: `chart-${chart.id}`, role: "application", "aria-roledescription": "chart", onkeydown: (event) => walked(card, event), onblur: () => { if (card.built) Plotly.Fx.unhover(card.plot); } });
  card.live = element("p", { class: "hidden", role: "status" });
  card.choices = element("div", { class: "choices" });
  card.said = element("p", { class: "said" });
  card.none = element("p", { class: "empty", hidden: true }, "No row that is left has these figures.");
  card.table = element("details", { class: "alternative", ontoggle: () => fillTable(card) }, element("summary", {}, "Figures as a table"), element("div", { class: "scroll" }));
  card.box = element("figure", { class: "card", "data-chart": chart.id, "aria-busy": "true" }, element("figcaption", {}, element("h3", {}, chart.title), card.choices, card.said), card.plot, card.live, card.none, card.table);
  byId("grid").append(card.box);
  cards.push(card);
  nearby.observe(card.box);
}

const nearby = new IntersectionObserver((entries) => {
  for (const entry of entries) cards.find((card) => card.box === entry.target).near = entry.isIntersecting;
  drawSoon();
}, { rootMargin: "300px" });

/** One chart between two frames, and none while somebody types: nothing waits for charts. */
function drawSoon() {
  clearTimeout(waiting);
  waiting = setTimeout(() => requestAnimationFrame(() => {
    const next = cards.find((card) => card.dirty && card.near);
    if (!next) return;
    // between the timer and the frame somebody may have typed
    if (performance.now() >= quietUntil) drawCard(next);
    drawSoon();
  }), Math.max(0, quietUntil - performance.now()));
}

function drawCard(card, size = {}) {
  card.dirty = false;
  card.box.removeAttribute("aria-busy");
  const built = card.chart.build(view.order, card.option);
  card.built = built;
  card.plot.hidden = card.table.hidden = !built;
  card.none.hidden = !!built;
  card.said.textContent = built ? [built.said, card.chart.note].filter(Boolean).join("; ") : "";
  drawChoices(card);
  fillTable(card);
  if (!built) return;
  const width = size.width ?? card.plot.clientWidth;
  const legend = legendBelow(built.traces, width);
  const height = (built.height ?? size.height ?? 330) + legend.room;
  const layout = baseLayout({ ...built.layout, ...legend.layout, ...size, height });
  layout.margin.b += legend.room;
  card.plot.style.height = `${height}px`;
  prepareWalk(card, built.traces);
  card.plot.setAttribute("aria-label", `${card.chart.title}: ${card.said.textContent}${card.curves.length ? "; arrow keys go from point to point, Enter opens a row" : ""}`);
  Plotly.react(card.plot, built.traces, layout, CONFIGURATION);
  if (!card.listens) card.plot.on("plotly_click", (event) => { const row = event.points[0].customdata; if (typeof row === "number") openDetail(row); });
  card.listens = true;
}

function drawChoices(card) {
  const options = card.built && card.built.options;
  if (!options || options.length < 2) return card.choices.replaceChildren();
  const list = () => choice(`${card.chart.title}: what is shown`, options, card.built.option, (value) => { card.option = value; drawCard(card); }, false);
  return withFocus(card.choices, () => card.choices.replaceChildren(list()));
}

/** The chart's figures as text, made when somebody opens them. */
function fillTable(card) {
  const place = card.table.querySelector(".scroll");
  if (!card.table.open || !card.built) return place.replaceChildren();
  const { head, rows } = card.built.table;
  const cell = (name) => (value) => element(name, { class: typeof value === "string" && !/^[\d.,–-]+( %| GiB)?$/.test(value) ? "left" : "right" }, String(value));
  const body = rows.slice(0, MOST_TABLE_ROWS).map((row) => element("tr", {}, row.map(cell("td"))));
  const left = rows.length > MOST_TABLE_ROWS ? element("p", { class: "said" }, `the first ${MOST_TABLE_ROWS} of ${grouped.format(rows.length)}`) : null;
  return place.replaceChildren(element("table", {}, element("thead", {}, element("tr", {}, head.map((name) => element("th", { scope: "col" }, name)))), element("tbody", {}, body)), left ?? "");
}

function redraw() {
  for (const card of cards) {
    card.dirty = true;
    card.box.setAttribute("aria-busy", "true");
  }
  quietUntil = performance.now() + PAUSE;
  drawSoon();
}

function drawCharts() {
  const shown = typeof Plotly === "undefined" ? [] : CHARTS.filter((chart) => chart.has(everyRow));
  if (!shown.length) return byId("charts").remove();
  shown.forEach(addCard);
  listeners.push(redraw);
  return null;
}
