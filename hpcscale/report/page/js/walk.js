// A chart with keys: arrows go from point to point, each is read out, Enter opens its row.
const FAR = 10; // points that Page Up and Page Down go
const STEPS = { ArrowRight: 1, ArrowLeft: -1, PageDown: FAR, PageUp: -FAR, Home: -Infinity, End: Infinity };
const CURVES = { ArrowDown: 1, ArrowUp: -1 };

/** What a hover label says, as words. */
const spoken = (label) => label.replace(/<br>/g, ", ").replace(/&lt;/g, "<").replace(/&gt;/g, ">").replace(/&amp;/g, "&");

/** The points of a trace that lead to a row, in its order. */
function pointsOf(trace, curveNumber) {
  const labels = trace.hovertext ?? trace.text ?? [];
  const found = [];
  const add = (row, label, place) => { if (typeof row === "number") found.push({ row, label: spoken(label ?? ""), at: { curveNumber, ...place } }); };
  (trace.customdata ?? []).forEach((each, i) => {
    if (Array.isArray(each)) each.forEach((row, j) => add(row, labels[i][j], { xval: j, yval: i })); // a heat map's; its numbers plotly.js ignores
    else add(each, labels[i], { pointNumber: i });
  });
  return found;
}

/** After a chart was drawn: where keys lead in it. */
function prepareWalk(card, traces) {
  card.curves = traces.map(pointsOf).filter((points) => points.length);
  card.place = null;
  card.live.textContent = "";
  if (card.curves.length) card.plot.setAttribute("tabindex", "0");
  else card.plot.removeAttribute("tabindex");
}

/** The place that a key leads to: [curve, point]; null where it leads nowhere. */
function placeAfter(card, key) {
  const lone = card.curves.length === 1;
  const step = STEPS[key] ?? (lone ? CURVES[key] : undefined);
  if (step === undefined && !(key in CURVES)) return null;
  if (!card.place) return [0, key === "End" ? card.curves[0].length - 1 : 0];
  const [curve, point] = card.place;
  const within = (at, length) => Math.min(Math.max(at, 0), length - 1);
  if (step !== undefined) return [curve, within(point + step, card.curves[curve].length)];
  const next = within(curve + CURVES[key], card.curves.length);
  return [next, within(point, card.curves[next].length)];
}

function walked(card, event) {
  if (event.target !== card.plot || event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.key === "Enter" && card.place) {
    event.preventDefault();
    openDetail(card.curves[card.place[0]][card.place[1]].row);
    return;
  }
  const place = placeAfter(card, event.key);
  if (!place) return;
  event.preventDefault();
  card.place = place;
  const point = card.curves[place[0]][place[1]];
  card.live.textContent = point.label;
  Plotly.Fx.hover(card.plot, [point.at]);
}
