// Charts against the number of devices, a curve a series.

const rate = (row) => `${significant(fact("tokens_per_second", row))} tokens/s`;
const on = (row) => plural(devicesOf(row), fact("nodes", row) === devicesOf(row) ? "node" : "device");

/** Perfect scaling from the smallest row of what can be compared, as dashes. `height` of tokens/s/device and devices. */
function idealTraces(curves, height) {
  const traces = [];
  for (const curve of curves) {
    const bases = new Map(); // tokens/s/device of the reference -> sizes compared with it
    for (const row of curve.rows) {
      const efficiency = fact("efficiency", row);
      if (!efficiency) continue;
      const base = Number((fact("tokens_per_second", row) / devicesOf(row) / efficiency).toPrecision(9));
      bases.set(base, [...(bases.get(base) ?? [fact("reference_devices", row)]), devicesOf(row)]);
    }
    for (const [base, sizes] of bases) {
      const ends = [Math.min(...sizes), Math.max(...sizes)];
      if (ends[0] === ends[1]) continue;
      traces.push({ type: "scatter", mode: "lines", x: ends, y: ends.map((devices) => height(base, devices)), line: { color: colour(curve.place), width: 1.2, dash: "dash" }, opacity: 0.75, hoverinfo: "skip", showlegend: false });
    }
  }
  return traces;
}

/** How far tokens/s reach up and down as the interval of sec/it says; null where no row has one. */
function errorBars(rows, scale) {
  const end = (row, name) => fact(name, row);
  const part = (row, name) => (end(row, name) && fact("step_seconds", row) ? Math.abs(scale(row) * (fact("step_seconds", row) / end(row, name) - 1)) : 0);
  const above = rows.map((row) => part(row, "step_seconds_low"));
  const below = rows.map((row) => part(row, "step_seconds_high"));
  return above.some(Boolean) || below.some(Boolean) ? { type: "data", symmetric: false, array: above, arrayminus: below, thickness: 1, width: 3 } : undefined;
}

function figureTable(curves, rest, heads, cells) {
  const rows = [...curves.flatMap((curve) => curve.rows), ...rest];
  return { head: ["row", "series", "devices", ...heads], rows: rows.map((row) => [row + 1, fact("series", row) ?? "", grouped.format(devicesOf(row)), ...cells(row)]) };
}

/** Every height that a chart shows, with its bars. */
const heights = (traces) => traces.flatMap((trace) => trace.y.flatMap((y, i) => (trace.error_y ? [y + trace.error_y.array[i], y - trace.error_y.arrayminus[i]] : [y])));

const FAR_APART = 15; // the smaller ones would lie on the axis

function linearOrDoubling(title, values) {
  return Math.max(...values) > FAR_APART * Math.min(...values) ? doublingAxis(title, values) : fromZero(title, values);
}

/** A chart of one figure of each row against devices. */
function againstDevices(rows, figure, { height, said, yAxis, ideal = null, heads, cells, errors = false, extra = () => [], shapes = [] }) {
  const { shown, rest, common, slower } = curvesOf(rows, figure);
  const drawn = [...shown.flatMap((curve) => curve.rows), ...rest];
  if (!drawn.length) return null;
  const lines = shown.map((curve) => curveTrace(curve, curve.rows.map(height), said, errors ? { error_y: errorBars(curve.rows, height) } : {}));
  const traces = [...(ideal ? idealTraces(shown, ideal) : []), ...lines, ...extra(drawn)];
  if (rest.length) traces.unshift(restTrace(rest, height, said));
  const sizes = [...sizesOf(drawn)];
  return {
    traces, layout: { xaxis: devicesAxis(drawn), yaxis: yAxis(drawn.map(height), traces), shapes },
    table: figureTable(shown, rest, heads, cells),
    said: [
      `${grouped.format(shown.length)} series${rest.length ? ` and ${plural(rest.length, "row")} of others` : ""}, ${sizeRange(sizes)}`,
      common && shown.length > 1 ? `all ${common}` : "",
      slower ? `of each size the fastest row, without ${grouped.format(slower)} slower` : "",
    ].filter(Boolean).join("; "),
  };
}

function sizeRange(sizes) {
  const [low, high] = [Math.min(...sizes), Math.max(...sizes)];
  return low === high ? plural(low, "device") : `${grouped.format(low)} to ${grouped.format(high)} devices`;
}

const severalSizes = (rows) => sizesOf(known(rows, "tokens_per_second").filter(completed)).size > 1;

function throughputChart(rows) {
  return againstDevices(rows, "tokens_per_second", {
    height: (row) => fact("tokens_per_second", row), said: (row) => hover(row, [`${rate(row)} on ${on(row)}`]), errors: true,
    yAxis: (values, traces) => doublingAxis("tokens/s", heights(traces)),
    ideal: (base, devices) => base * devices, heads: ["tokens/s"], cells: (row) => [significant(fact("tokens_per_second", row))],
  });
}

function perDeviceChart(rows) {
  if (!severalSizes(rows)) return perDeviceBars(rows);
  const figure = "tokens_per_second_per_device";
  return againstDevices(rows, figure, {
    height: (row) => fact(figure, row), said: (row) => hover(row, [`${significant(fact(figure, row))} tokens/s/device on ${on(row)}`]), errors: true,
    yAxis: (values, traces) => linearOrDoubling("tokens/s/device", heights(traces)),
    ideal: (base) => base, heads: ["tokens/s/device"], cells: (row) => [significant(fact(figure, row))],
  });
}

function efficiencyChart(rows) {
  const figure = "efficiency";
  const kinds = new Set(known(rows, figure).map((row) => fact("efficiency_kind", row)));
  const title = kinds.size === 1 ? `${[...kinds][0]}-scaling efficiency (%)` : "scaling efficiency (%)";
  return againstDevices(rows, figure, {
    height: (row) => 100 * fact(figure, row), said: (row) => hover(row, [`${significant(100 * fact(figure, row))} % (${fact("efficiency_kind", row)}) on ${on(row)}`]),
    yAxis: (values) => fromZero(title, [...values, 104], { dtick: 20 }),
    shapes: [{ type: "line", xref: "paper", x0: 0, x1: 1, y0: 100, y1: 100, line: { color: ink("soft"), width: 1.2, dash: "dash" } }],
    heads: ["kind", "efficiency (%)"], cells: (row) => [fact("efficiency_kind", row), significant(100 * fact(figure, row))],
  });
}

const ENERGIES = [["tokens_per_joule", "tokens per joule"], ["energy_joules_per_step", "joules a step"], ["watts_per_device", "watts a device"]];

function energyChart(rows, option) {
  const options = ENERGIES.filter(([name]) => hasFact(name));
  const [figure, title] = options.find(([name]) => name === option) ?? options[0];
  const built = againstDevices(rows, figure, {
    height: (row) => fact(figure, row), said: (row) => hover(row, [`${significant(fact(figure, row))} ${title} on ${on(row)}`]),
    yAxis: (values) => linearOrDoubling(title, values), heads: [title], cells: (row) => [significant(fact(figure, row))],
  });
  return built && { ...built, options, option: figure };
}
