// Charts of rows beside each other, of steps, and of layouts.
const MOST_BARS = 30;
const MOST_BOXED = 800;

const someOf = (shown, all, what) => (shown < all ? `the first ${shown} of ${grouped.format(all)} ${what}, in the table's order` : `${grouped.format(all)} ${what}`);
const barHeight = (number) => Math.max(220, 70 + 24 * number);

/** No series has two sizes: throughput per device, row by row. */
function perDeviceBars(all) {
  const figure = "tokens_per_second_per_device";
  const able = known(all, figure).filter(completed);
  if (!able.length) return null;
  const rows = able.slice(0, MOST_BARS);
  const values = rows.map((row) => fact(figure, row));
  return {
    traces: [{ type: "bar", orientation: "h", y: rows.map(String), x: values, customdata: rows, marker: { color: colour(0) }, text: values.map((value) => significant(value)), textposition: "auto", hovertext: rows.map((row) => hover(row, [`${significant(fact(figure, row))} tokens/s/device`])), hovertemplate: "%{hovertext}<extra></extra>" }],
    layout: { xaxis: fromZero("tokens/s/device", values), yaxis: rowsAxis(rows), bargap: 0.3 }, height: barHeight(rows.length),
    table: { head: ["row", "series", "tokens/s/device"], rows: rows.map((row) => [row + 1, fact("series", row) ?? "", significant(fact(figure, row))]) },
    said: someOf(rows.length, able.length, "rows"),
  };
}

const TERM_OPTIONS = [["seconds", "seconds"], ["share", "share of the step"]];

/** What a predicted step consists of, and the measured step as a diamond. */
function termsChart(all, option = "seconds") {
  const able = all.filter((row) => data.terms.some((term) => unpacked(term.seconds)[row]));
  if (!able.length) return null;
  const rows = able.slice(0, MOST_BARS);
  const sum = (row) => data.terms.reduce((total, term) => total + (unpacked(term.seconds)[row] ?? 0), 0);
  const scale = (row) => (option === "share" ? 100 / sum(row) : 1);
  const unit = option === "share" ? " %" : " s";
  const traces = data.terms.map((term, place) => ({
    type: "bar", orientation: "h", name: term.name, y: rows.map(String), x: rows.map((row) => (unpacked(term.seconds)[row] ?? 0) * scale(row)), customdata: rows, marker: { color: colour(place), line: { color: ink("ground"), width: 0.5 }, pattern: { shape: place < palette().length ? "" : "/" } },
    hovertext: rows.map((row) => hover(row, [`${term.name}: ${significant((unpacked(term.seconds)[row] ?? 0) * scale(row))}${unit}`, term.meaning])), hovertemplate: "%{hovertext}<extra></extra>",
  }));
  const measured = rows.filter((row) => fact("origin", row) !== "predicted" && fact("step_seconds", row) !== null);
  if (measured.length) traces.push({ type: "scatter", mode: "markers", name: "measured", y: measured.map(String), x: measured.map((row) => fact("step_seconds", row) * scale(row)), customdata: measured, marker: { symbol: "diamond", size: 10, color: ink("ink"), line: { color: ink("ground"), width: 1.5 } }, hovertext: measured.map((row) => hover(row, [`measured ${significant(fact("step_seconds", row))} s`])), hovertemplate: "%{hovertext}<extra></extra>" });
  return {
    traces, layout: { barmode: "stack", bargap: 0.3, xaxis: axis(option === "share" ? "% of the predicted step" : "seconds a step", { rangemode: "tozero" }), yaxis: rowsAxis(rows) }, height: barHeight(rows.length),
    table: { head: ["row", ...data.terms.map((term) => `${term.name} (s)`), "predicted (s)", "measured (s)"], rows: rows.map((row) => [row + 1, ...data.terms.map((term) => significant(unpacked(term.seconds)[row] ?? 0)), significant(sum(row)), measured.includes(row) ? significant(fact("step_seconds", row)) : "–"]) },
    said: someOf(rows.length, able.length, "predicted rows"), options: TERM_OPTIONS, option,
  };
}

const GIB = 2 ** 30;

function memoryChart(all) {
  const able = all.filter((row) => fact("peak_memory_bytes", row) && devicesOf(row));
  if (!able.length) return null;
  const rows = thin(able, MOST_POINTS);
  const height = (row) => fact("peak_memory_bytes", row) / GIB;
  const said = (row) => hover(row, [`${significant(height(row))} GiB${fact("memory_kind", row) ? ` (${fact("memory_kind", row)})` : ""}${completed(row) ? "" : `, ${fact("status", row)}`}`, `on ${on(row)}`]);
  const trace = (name, part, look) => ({ type: "scatter", mode: "markers", name, x: part.map(devicesOf), y: part.map(height), customdata: part, text: part.map(said), hovertemplate: "%{text}<extra></extra>", marker: { size: 9, line: { color: ink("ground"), width: 1 }, ...look } });
  const kinds = [...new Set(rows.map((row) => fact("memory_kind", row)))];
  const traces = kinds.map((kind, place) => trace(kind ?? "memory", rows.filter((row) => fact("memory_kind", row) === kind && fact("status", row) !== "oom"), { color: colour(place), symbol: marker(place) })).filter((each) => each.x.length);
  const failed = rows.filter((row) => fact("status", row) === "oom");
  if (failed.length) traces.push(trace("out of memory", failed, { color: ink("bad"), symbol: "x" }));
  const limits = new Map(known(rows, "device_memory_bytes").map((row) => [fact("device_memory_bytes", row), fact("device", row)]));
  const lines = limits.size <= 4 ? [...limits] : [];
  const across = devicesAxis(rows);
  lines.forEach(([bytes, device], place) => traces.push({ type: "scatter", mode: "lines", name: plain(`${device ?? "device"} has ${significant(bytes / GIB)} GiB`), x: across.range.map((end) => 10 ** end), y: [bytes / GIB, bytes / GIB], line: { color: ink("soft"), width: 1.4, dash: ["dash", "dot", "dashdot", "longdash"][place] }, hoverinfo: "skip" }));
  return {
    traces, layout: {
      xaxis: across, yaxis: fromZero("GiB", [...rows.map(height), ...lines.map(([bytes]) => bytes / GIB)]),
    },
    table: { head: ["row", "devices", "GiB", "kind", "status", "device has"], rows: rows.map((row) => [row + 1, grouped.format(devicesOf(row)), significant(height(row)), fact("memory_kind", row) ?? "–", fact("status", row), fact("device_memory_bytes", row) ? `${significant(fact("device_memory_bytes", row) / GIB)} GiB` : "–"]) },
    said: rows.length < able.length ? `${rows.length} of ${plural(able.length, "row")}, every ${Math.ceil(able.length / MOST_POINTS)}th` : plural(able.length, "row"),
  };
}

function lossChart(all) {
  const curves = new Map(data.losses.curves.map((curve) => [curve.row, curve]));
  const able = all.filter((row) => curves.has(row));
  if (!able.length) return null;
  const rows = able.slice(0, data.losses.drawn);
  const traces = rows.map((row, place) => {
    const curve = curves.get(row);
    const head = hover(row, []);
    return { type: "scatter", mode: "lines", name: plain(rowName(row, 42)), x: curve.steps, y: curve.losses, customdata: curve.steps.map(() => row), line: { color: colour(place), width: 1.6, dash: ["solid", "dash", "dot"][Math.floor(place / palette().length) % 3] }, text: curve.steps.map((step, i) => `${head}<br>step ${grouped.format(step)}: loss ${significant(curve.losses[i], 5)}`), hovertemplate: "%{text}<extra></extra>", showlegend: rows.length <= MOST_SERIES };
  });
  const { of, curves: held } = data.losses;
  const spread = held.length < of ? `; the page holds ${held.length} of ${grouped.format(of)} curves` : "";
  return {
    traces, layout: { xaxis: axis("step"), yaxis: axis("loss") },
    table: { head: ["row", "steps", "first loss", "last loss"], rows: rows.map((row) => [row + 1, grouped.format(curves.get(row).steps.at(-1)), significant(fact("loss_first", row), 5), significant(fact("loss_last", row), 5)]) },
    said: someOf(rows.length, able.length, "records") + spread,
  };
}

/** MFU of each row as each convention would count it. */
function conventionsChart(all) {
  const able = thin(all, MOST_BOXED).filter((row) => fact("tokens_per_second_per_device", row) && fact("peak_tflops", row) && data.conventions.some((each) => unpacked(each.flops)[row]));
  if (!able.length) return null;
  const share = (each, row) => (100 * unpacked(each.flops)[row] * fact("tokens_per_second_per_device", row)) / 1e12 / fact("peak_tflops", row);
  const few = able.length <= MOST_BARS;
  const names = data.conventions.map((each) => each.name);
  const own = (row) => names.indexOf(fact("flops_convention", row));
  const traces = few
    ? able.map((row, place) => ({ type: "scatter", mode: "lines+markers", name: plain(rowName(row, 42)), x: names, y: data.conventions.map((each) => share(each, row)), customdata: names.map(() => row), line: { color: colour(place), width: 1.2 }, marker: { color: colour(place), symbol: names.map((_, i) => (i === own(row) ? "circle" : "circle-open")), size: names.map((_, i) => (i === own(row) ? 10 : 7)) }, hovertext: data.conventions.map((each) => hover(row, [`${significant(share(each, row))} % as ${each.name}`])), hovertemplate: "%{hovertext}<extra></extra>", showlegend: able.length <= MOST_SERIES }))
    : data.conventions.map((each, place) => ({ type: "box", name: each.name, y: able.map((row) => share(each, row)), boxpoints: false, showlegend: false, marker: { color: colour(place) }, line: { width: 1.4 } }));
  const rows = able.slice(0, 300);
  const values = able.flatMap((row) => data.conventions.map((each) => share(each, row)));
  const [low, high] = [Math.min(...values.filter(Number.isFinite)), Math.max(...values.filter(Number.isFinite))];
  return {
    traces, layout: { xaxis: axis("", { type: "category", tickangle: -30 }), yaxis: axis("MFU (%)", few ? { range: [Math.max(0, low - 0.12 * (high - low + 1)), high + 0.12 * (high - low + 1)] } : { rangemode: "tozero" }) },
    table: { head: ["row", ...names], rows: rows.map((row) => [row + 1, ...data.conventions.map((each) => share(each, row).toFixed(2))]) },
    said: `${plural(able.length, "row")}${all.length > MOST_BOXED ? ` of ${grouped.format(all.length)}, spread evenly` : ""}${few ? "; filled: the convention of the table" : ", middle half as boxes"}`,
  };
}

const layoutKey = (row) => [fact("model", row), fact("machine", row) ?? fact("device", row), fact("sequence_length", row) ? `seq ${fact("sequence_length", row)}` : null, fact("origin", row)].filter(Boolean).join(" · ");
const layoutOf = (row) => `${fact("tp", row)}x${fact("pp", row) ?? 1}`;

/** Groups of rows that only a layout sets apart from each other, with at least two layouts; the most varied first. */
function layoutGroups(rows) {
  const groups = new Map();
  for (const row of known(rows, "tp")) {
    if (fact("tokens_per_second_per_device", row) === null || !completed(row)) continue;
    const key = layoutKey(row);
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(row);
  }
  const distinct = (part) => new Set(part.map(layoutOf)).size;
  return [...groups].filter(([, part]) => distinct(part) > 1).sort((a, b) => distinct(b[1]) - distinct(a[1]));
}

function layoutChart(rows, option) {
  const groups = layoutGroups(rows);
  if (!groups.length) return null;
  const [key, part] = groups.find(([name]) => name === option) ?? groups[0];
  const sorted = (name) => [...new Set(part.map((row) => fact(name, row) ?? 1))].sort((a, b) => a - b);
  const [tps, pps] = [sorted("tp"), sorted("pp")];
  const best = new Map();
  for (const row of part) {
    const before = best.get(layoutOf(row));
    if (before === undefined || fact("tokens_per_second_per_device", row) > fact("tokens_per_second_per_device", before)) best.set(layoutOf(row), row);
  }
  const cell = (tp, pp) => best.get(`${tp}x${pp}`);
  const tokensRate = (row) => (row === undefined ? null : fact("tokens_per_second_per_device", row));
  const grid = (write) => tps.map((tp) => pps.map((pp) => write(cell(tp, pp))));
  return {
    traces: [{ type: "heatmap", x: pps.map((pp) => `pp ${pp}`), y: tps.map((tp) => `tp ${tp}`), z: grid(tokensRate), customdata: grid((row) => row ?? null), text: grid((row) => (row === undefined ? "" : significant(tokensRate(row)))), texttemplate: "%{text}", hovertext: grid((row) => (row === undefined ? "" : hover(row, [`${significant(tokensRate(row))} tokens/s/device`]))), hovertemplate: "%{hovertext}<extra></extra>", hoverongaps: false, colorscale: "Cividis", xgap: 3, ygap: 3, colorbar: { title: { text: "tokens/s/device", side: "right" }, thickness: 12, outlinewidth: 0 } }],
    layout: { xaxis: axis("pipeline stages", { type: "category", showgrid: false }), yaxis: axis("tensor parallel", { type: "category", showgrid: false }) },
    height: Math.max(220, 110 + 46 * tps.length),
    table: { head: ["tp", "pp", "tokens/s/device", "row"], rows: tps.flatMap((tp) => pps.filter((pp) => cell(tp, pp) !== undefined).map((pp) => [tp, pp, significant(tokensRate(cell(tp, pp))), cell(tp, pp) + 1])) },
    said: `best of each layout, ${key}`, options: groups.map(([name]) => [name, name]), option: key,
  };
}
