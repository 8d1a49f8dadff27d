// Which rows are kept: words and comparisons that a person types, and one choice for each setting that varies.
const MOST_CHOICES = 60;
const FIRST = ["Origin", "Source", "Machine", "Device", "Model", "Status"];
const FEW = 5; // choices that need no "more"
const chosen = new Map(); // column index -> text
let typed = "";
let haystacks = null;

/** Everything that a row says, in small letters; made when the first word is typed. */
function haystack(row) {
  if (!haystacks) {
    const names = ["point", "series", "note", "table", "printed", "status"].filter(hasFact).map(facts);
    const cells = columns.map((column) => unpacked(column.cells));
    const shared = data.common.map(([, text]) => text).join(" "); // what stands above the table is said of every row
    haystacks = everyRow.map((at) => [...cells, ...names].map((values) => values[at] ?? "").join(" ").concat(" ", shared).toLowerCase());
  }
  return haystacks[row];
}

const asShown = new Map(); // column -> its numbers

function shownNumbers(column) {
  if (!asShown.has(column)) asShown.set(column, unpacked(column.cells).map((text) => (text === null ? NaN : parseFloat(text.replace(/,/g, "")))));
  return asShown.get(column);
}

const COMPARED = /^([^<>=]+)(<=|>=|<|>|=)(-?[\d.,]*(?:e[-+]?\d*)?)$/i;
const HOLDS = { "<": (a, b) => a < b, ">": (a, b) => a > b, "<=": (a, b) => a <= b, ">=": (a, b) => a >= b, "=": (a, b) => a === b };
const letters = (text) => text.toLowerCase().replace(/[^a-z0-9]/g, "");

/** "mfu>40" as a test of rows; null where no column is called so. Numbers are compared as they are shown, once there is one. */
function comparison(word) {
  const parts = COMPARED.exec(word);
  if (!parts) return null;
  const column = letters(parts[1]) && columns.find((each) => each.numeric && letters(each.name).startsWith(letters(parts[1])));
  if (!column) return null;
  const limit = parseFloat(parts[3].replace(/,/g, ""));
  if (Number.isNaN(limit)) return () => true;
  const [holds, numbers] = [HOLDS[parts[2]], shownNumbers(column)];
  return (row) => holds(numbers[row], limit);
}

function matching() {
  const words = typed.replace(/\s*(<=|>=|<|>|=)\s*/g, "$1").split(/\s+/).filter(Boolean);
  const tests = words.map((word) => {
    const small = word.toLowerCase();
    return comparison(word) ?? ((row) => haystack(row).includes(small));
  });
  for (const [index, text] of chosen) {
    const values = unpacked(columns[index].cells);
    tests.push((row) => (values[row] ?? "") === text);
  }
  return everyRow.filter((row) => tests.every((test) => test(row)));
}

function refilter() {
  keep(matching());
  byId("clear").disabled = !typed && !chosen.size;
}

/** Settings (and the status) that more than one value has, each with its values and how many rows have them. */
function choosable() {
  const found = [];
  columns.forEach((column, index) => {
    if (!column.setting && column.name !== "Status") return;
    const counts = new Map();
    for (const row of everyRow) {
      const text = cellText(column, row) ?? "";
      counts.set(text, (counts.get(text) ?? 0) + 1);
    }
    if (counts.size > 1 && counts.size <= MOST_CHOICES) found.push([index, counts]);
  });
  const place = ([index]) => (FIRST.indexOf(columns[index].name) + FIRST.length + 1) % (FIRST.length + 1);
  return found.sort((a, b) => place(a) - place(b) || a[0] - b[0]);
}

function list(index, counts) {
  const column = columns[index];
  const empty = column.name === "Status" ? "completed" : "–";
  const values = [...counts.keys()].sort(collator.compare);
  const options = [["all", "all"], ...values.map((text, i) => [String(i), `${text || empty} (${counts.get(text)})`])];
  return choice(column.name, options, "all", (key) => {
    if (key === "all") chosen.delete(index);
    else chosen.set(index, values[Number(key)]);
    refilter();
  });
}

function drawFilters() {
  chosen.clear();
  typed = "";
  if (count < 2) return;
  const field = element("input", { type: "search", id: "words", placeholder: "such as tp4 mfu>40", autocomplete: "off", spellcheck: "false", oninput: () => { typed = field.value; refilter(); } });
  const lists = choosable().map(([index, counts]) => list(index, counts));
  const clear = element("button", { type: "button", id: "clear", class: "quiet", disabled: true, onclick: () => { drawFilters(); refilter(); byId("words").focus(); } }, "Clear");
  const rest = lists.splice(FEW);
  replaced(
    "filters",
    element("label", { class: "choice wide" }, element("span", {}, "Filter"), field),
    ...lists,
    rest.length ? element("details", { class: "menu" }, element("summary", {}, "More"), element("div", {}, rest)) : null,
    clear,
  );
}
