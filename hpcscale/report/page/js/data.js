// What the page embeds, unpacked when it is asked for (packed.py has the three forms).
const data = JSON.parse(document.getElementById("report-data").textContent);
const count = data.count;
const everyRow = Array.from({ length: count }, (_, row) => row);
const nothing = new Array(count).fill(null);
const unpackedBefore = new WeakMap();

/** The values of all rows; a value that a row lacks is undefined. */
function unpacked(packed) {
  if (!packed) return nothing;
  if (!unpackedBefore.has(packed)) {
    let values = packed.values;
    if ("all" in packed) values = new Array(count).fill(packed.all);
    else if (packed.codes) values = packed.codes.map((code) => packed.words[code]);
    unpackedBefore.set(packed, values);
  }
  return unpackedBefore.get(packed);
}

/** The raw values of a column of the schema, row by row; null where unknown. */
const facts = (name) => unpacked(data.facts[name]);
const fact = (name, row) => facts(name)[row] ?? null;
const hasFact = (name) => name in data.facts;

/** The rows' values of a column, those that are known. */
const known = (rows, name) => rows.filter((row) => fact(name, row) !== null);
