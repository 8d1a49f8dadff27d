// What all charts share: colours, axes in doublings, series, and how a chart is put on the page.
const MARKERS = ["circle", "square", "triangle-up", "diamond", "triangle-down", "pentagon", "triangle-left", "triangle-right", "hexagon", "octagon"];
const MOST_SERIES = 10; // named in one chart; more would share colours
const MOST_TICKS = 12;
const MOST_POINTS = 400; // drawn as SVG at once
const DOUBLINGS = [1, 2, 4, 8, 16, 32, 64, 125, 250, 500]; // as report/axes.py
const QUARTERS = [1, 1.25, 1.6, 2, 2.5, 3.2, 4, 5, 6.4, 8];
const seriesPlaces = new Map();
if (hasFact("series")) for (const name of facts("series")) if (!seriesPlaces.has(name)) seriesPlaces.set(name, seriesPlaces.size);

const isDark = () => (document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
const palette = () => data.colours[isDark() ? "dark" : "light"];
const colour = (place) => palette()[place % palette().length];
const marker = (place) => MARKERS[place % MARKERS.length];

/** A colour of page.css as the browser resolves it. */
function ink(name) {
  const probe = byId("probe") ?? document.body.appendChild(element("span", { id: "probe", hidden: true }));
  probe.style.color = `var(--${name})`;
  return getComputedStyle(probe).color;
}

/** Every k-th, so that at most `most` are left. */
const thin = (values, most) => (values.length <= most ? values : values.filter((_, i) => i % Math.ceil(values.length / most) === 0));

const completed = (row) => fact("status", row) === "completed";
const devicesOf = (row) => (hasFact("devices") ? fact("devices", row) : null);
const sizesOf = (rows) => new Set(rows.map(devicesOf).filter(Boolean));

/** A row's name without its number: its point's without the hash, else its series' and its size. */
function bareName(row) {
  const point = fact("point", row);
  if (point !== null) return point.replace(/-[0-9a-f]{8}$/, "");
  return `${fact("series", row) ?? ""}${devicesOf(row) ? ` × ${grouped.format(devicesOf(row))}` : ""}`.trim();
}

/** What a row is called in a chart. */
const rowName = (row, length = 44) => `${row + 1} ${shortened(bareName(row), length)}`.trim();

/** Names without the words that all of them have. `common`: those words, once. */
function told(names, between = /(\s+)/) {
  const split = (name) => name.split(between);
  const shared = names.length > 1 ? split(names[0]).filter((word) => names.every((name) => split(name).includes(word))) : [];
  const kept = names.map((name) => split(name).filter((word, i, words) => (i % 2 ? !shared.includes(words[i + 1]) : !shared.includes(word))).join("").replace(/^[\s-]+/, "").trim());
  const common = shared.filter((word) => /[^\s-]/.test(word)).join(" ");
  return { names: kept.map((name, i) => name || names[i]), common };
}

/** The series of the rows: of each size the row with the highest throughput, `slower` ones counted. The largest first, `rest` unnamed. */
function curvesOf(rows, figure) {
  const groups = new Map();
  let slower = 0;
  for (const row of rows) {
    if (!completed(row) || !devicesOf(row) || fact(figure, row) === null) continue;
    const name = fact("series", row);
    if (!groups.has(name)) groups.set(name, new Map());
    const best = groups.get(name);
    const before = best.get(devicesOf(row));
    if (before !== undefined) slower += 1;
    if (before === undefined || fact("tokens_per_second", row) > fact("tokens_per_second", before)) best.set(devicesOf(row), row);
  }
  const curves = [...groups].map(([name, best]) => ({ name: name ?? "", place: seriesPlaces.get(name), rows: [...best.values()].sort((a, b) => devicesOf(a) - devicesOf(b)) }));
  const bySize = [...curves].sort((a, b) => b.rows.length - a.rows.length || a.place - b.place);
  const named = new Set(bySize.slice(0, MOST_SERIES));
  const shown = curves.filter((curve) => named.has(curve));
  // Few series keep the colours that they have in the whole report; of many, those shown get distinct ones.
  if (seriesPlaces.size > MOST_SERIES) shown.forEach((curve, place) => { curve.place = place; });
  const { names, common } = told(shown.map((curve) => curve.name));
  shown.forEach((curve, i) => { curve.label = names[i]; });
  return { shown, common, slower, rest: curves.filter((curve) => !named.has(curve)).flatMap((curve) => curve.rows) };
}

const hover = (row, lines) => [rowName(row, 70), ...lines].map(plain).join("<br>");

function curveTrace(curve, y, said, extra = {}) {
  return {
    type: "scatter", mode: curve.rows.length > 1 ? "lines+markers" : "markers", name: plain(shortened(curve.label, 48)),
    x: curve.rows.map(devicesOf), y, customdata: curve.rows, text: curve.rows.map(said), hovertemplate: "%{text}<extra></extra>",
    line: { color: colour(curve.place), width: 2 }, marker: { color: colour(curve.place), symbol: marker(curve.place), size: 9, line: { color: ink("ground"), width: 1 } }, ...extra,
  };
}

function restTrace(rest, y, said) {
  const rows = thin(rest, MOST_POINTS);
  return {
    type: "scatter", mode: "markers", name: rows.length < rest.length ? `${rows.length} of ${plural(rest.length, "row")} of other series` : `${plural(rest.length, "row")} of other series`, x: rows.map(devicesOf), y: rows.map(y), customdata: rows,
    text: rows.map(said), hovertemplate: "%{text}<extra></extra>", marker: { color: ink("faint"), size: 5 },
  };
}

function axis(title, more = {}) {
  return { title: { text: title, standoff: 10 }, gridcolor: ink("line"), zeroline: false, linecolor: ink("soft"), tickcolor: ink("soft"), automargin: true, ...more };
}

/** The number of devices, in doublings. */
function devicesAxis(rows) {
  const sizes = [...sizesOf(rows)].sort((a, b) => a - b);
  const [low, high] = [sizes[0] / 1.15, sizes[sizes.length - 1] * 1.15];
  const powers = Array.from({ length: 31 }, (_, k) => 2 ** k).filter((power) => power >= low && power <= high);
  const ticks = powers.length > 1 ? powers : thin(sizes, MOST_TICKS);
  const same = rows.every((row) => fact("nodes", row) === devicesOf(row));
  return axis(same ? "nodes" : "devices", { type: "log", range: [Math.log10(low), Math.log10(high)], tickvals: ticks, ticktext: ticks.map((tick) => grouped.format(tick)), minor: { showgrid: false } });
}

/** Doublings with round numbers, or quarters where the values span hardly one. */
function doublingAxis(title, values) {
  const [low, high] = [Math.min(...values) / 1.2, Math.max(...values) * 1.2];
  const within = (steps, base, from, to) => Array.from({ length: to - from + 1 }, (_, k) => steps.map((step) => step * base ** (from + k))).flat().filter((tick) => tick >= low && tick <= high);
  let ticks = within(DOUBLINGS, 1000, -3, 5);
  if (ticks.length < 3) ticks = within(QUARTERS, 10, -6, 15);
  ticks = ticks.filter((_, i) => i % (1 + Math.floor(ticks.length / 10)) === 0);
  return axis(title, { type: "log", range: [Math.log10(low), Math.log10(high)], tickvals: ticks, ticktext: ticks.map(short) });
}

const fromZero = (title, values, more = {}) => axis(title, { range: [0, 1.08 * Math.max(...values)], ...more });

/** Rows side by side as bars, the first on top. */
function rowsAxis(rows, length = 34) {
  const { names } = told(rows.map(bareName), /([\s-]+)/);
  const label = (row, i) => plain(`${row + 1} ${shortened(names[i], length)}`);
  return axis("", { type: "category", tickvals: rows.map(String), ticktext: rows.map(label), autorange: "reversed", showgrid: false, ticks: "" });
}

const baseLayout = (more) => ({
  paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { family: "system-ui, sans-serif", size: 12, color: ink("ink") }, colorway: palette(),
  margin: { l: 56, r: 16, t: 8, b: 44 }, hovermode: "closest", hoverlabel: { align: "left", bgcolor: ink("ground"), bordercolor: ink("soft"), font: { color: ink("ink") } },
  showlegend: false, separators: ".,", ...more,
});
const CONFIGURATION = { displaylogo: false, responsive: true, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"], toImageButtonOptions: { format: "svg", filename: "chart" } };

/** Names below a chart, and the room that they need. */
function legendBelow(traces, width) {
  const names = traces.filter((trace) => trace.name && trace.showlegend !== false).map((trace) => trace.name);
  if (names.length < 2) return { layout: {}, room: 0 };
  const across = Math.max(1, Math.floor((width - 72) / (6 * Math.max(...names.map((name) => name.length)) + 46)));
  const room = 22 * Math.ceil(names.length / across) + 10;
  return { layout: { showlegend: true, legend: { orientation: "h", traceorder: "normal", x: 0, xref: "container", y: 0, yref: "container", yanchor: "bottom", font: { size: 11 } } }, room };
}
