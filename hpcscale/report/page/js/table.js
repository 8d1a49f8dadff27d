// The table: a page of rows at a time, sorted by raw values.
const PAGE_SIZES = [25, 50, 100, 250];
const MOST_PRINTED_ROWS = 500;
const LONG = 26; // characters; page.css cuts off what is longer
const PRINTED_CHARACTERS = 196; // of a line on A4 across
const columns = data.columns;
const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });
const MANY = 1000; // rows of which a screenful is shown at a time, so that sorting and typing answer at once
const view = { kept: everyRow, order: everyRow, page: 0, size: count > MANY ? 25 : 50, sorted: null, down: false, hidden: new Set() };
const listeners = []; // called with the rows in order, whenever filter or sorting changed them
const sortKeys = new Map();

const cellText = (column, row) => unpacked(column.cells)[row] ?? null;

/** What a column is sorted by: its raw numbers, or the place of its texts among each other. */
function keysOf(column) {
  if (!sortKeys.has(column)) {
    const texts = unpacked(column.cells);
    if (column.numeric) {
      const numbers = column.raw ? facts(column.raw) : unpacked(column.numbers);
      sortKeys.set(column, texts.map((text, row) => (text === null ? null : numbers[row])));
    } else {
      const words = [...new Set(texts)].filter((text) => text !== null).sort(collator.compare);
      const places = new Map(words.map((word, place) => [word, place]));
      sortKeys.set(column, texts.map((text) => (text === null ? null : places.get(text))));
    }
  }
  return sortKeys.get(column);
}

/** The kept rows in the order asked for; rows without a value come last either way. */
function inOrder(kept) {
  if (view.sorted === null) return kept;
  const keys = keysOf(columns[view.sorted]);
  const sign = view.down ? -1 : 1;
  const empty = kept.filter((row) => keys[row] === null || keys[row] === undefined);
  const full = kept.filter((row) => keys[row] !== null && keys[row] !== undefined);
  full.sort((a, b) => sign * (keys[a] - keys[b]) || a - b);
  return full.concat(empty);
}

function keep(rows) {
  view.kept = rows;
  reorder();
}

function reorder() {
  view.order = inOrder(view.kept);
  view.page = 0;
  drawBody();
  for (const listener of listeners) listener(view.order);
}

/** Upwards, then downwards, then as the report has the rows. */
function sortBy(index) {
  if (view.sorted !== index) [view.sorted, view.down] = [index, false];
  else if (!view.down) view.down = true;
  else [view.sorted, view.down] = [null, false];
  for (const head of byId("table").querySelectorAll("th[data-column]")) markSorted(head);
  reorder();
}

function markSorted(head) {
  const sorted = Number(head.dataset.column) === view.sorted;
  head.setAttribute("aria-sort", sorted ? (view.down ? "descending" : "ascending") : "none");
}

const shownColumns = () => columns.map((_, index) => index).filter((index) => !view.hidden.has(index));

function drawTable(indexes = shownColumns(), onPaper = false) {
  const titles = indexes.map((index) => {
    const column = columns[index];
    const lines = column.title.flatMap((line, i) => (i ? [element("br"), line] : [line]));
    // Chromium repeats no buttons at the head of the next sheet.
    const button = onPaper ? element("span", {}, lines) : element("button", { type: "button", onclick: () => sortBy(index) }, element("span", {}, lines), element("span", { class: "arrow", "aria-hidden": "true" }));
    const head = element("th", { scope: "col", class: column.left ? "left" : "right", "data-column": String(index) }, button);
    markSorted(head);
    return head;
  });
  const number = element("th", { scope: "col", class: "number" }, "#");
  replaced("table", element("table", {}, element("caption", { class: "hidden" }, "Rows of the report"), element("thead", {}, element("tr", {}, number, titles)), element("tbody", { onclick: clicked, onkeydown: moved })));
  drawBody(indexes);
}

function drawBody(indexes = shownColumns(), rows = null) {
  const start = view.page * view.size;
  const shown = rows ?? view.order.slice(start, start + view.size);
  const body = byId("table").querySelector("tbody");
  body.replaceChildren(...shown.map((row) => tableRow(row, indexes)));
  if (!shown.length) body.append(element("tr", {}, element("td", { colspan: indexes.length + 1, class: "empty" }, "No row matches.")));
  byId("shown").textContent = view.kept.length === count ? plural(count, "row") : `${grouped.format(view.kept.length)} of ${plural(count, "row")}`;
  drawPages(start, shown.length);
  markOpened();
}

function tableRow(row, indexes) {
  const made = document.createElement("tr");
  made.dataset.row = row;
  const status = fact("status", row);
  if (status !== null && status !== "completed") made.className = "failed";
  if (fact("origin", row) === "predicted") made.className += " predicted";
  const head = element("th", { scope: "row", class: "number" }, element("button", { type: "button", "aria-label": `Row ${row + 1}: how its figures came about`, "aria-haspopup": "dialog" }, String(row + 1)));
  made.append(head);
  for (const index of indexes) {
    const column = columns[index];
    const text = cellText(column, row);
    const cell = document.createElement("td");
    cell.textContent = text ?? column.empty;
    cell.className = `${column.left ? "left" : "right"}${text === null ? " none" : ""}${column.name === "Status" && text ? " status" : ""}`;
    cell.dataset.column = index;
    if (text !== null && text.length > LONG) cell.title = text;
    made.append(cell);
  }
  return made;
}

/** A click anywhere in a row opens it, at the figure that was clicked; selecting text does not. Enter is a click without a count. */
function clicked(event) {
  const row = event.target.closest("tr[data-row]");
  if (!row || (event.detail > 0 && String(window.getSelection()))) return;
  const cell = event.target.closest("td[data-column]");
  const column = cell ? columns[Number(cell.dataset.column)] : null;
  openDetail(Number(row.dataset.row), column && column.raw ? column.raw.replace(/_published$|_low$/, "") : null);
}

/** Arrows go from row to row. */
function moved(event) {
  const steps = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" };
  const row = event.target.closest("tr");
  const next = row && steps[event.key] ? row[steps[event.key]] : null;
  const button = next && next.querySelector("button");
  if (!button) return;
  event.preventDefault();
  button.focus();
}

function turnTo(page) {
  view.page = page;
  drawBody();
  byId("table").scrollTop = 0;
}

function drawPages(start, shown) {
  const last = Math.max(0, Math.ceil(view.order.length / view.size) - 1);
  if (view.order.length <= PAGE_SIZES[0]) return replaced("pages");
  const turn = (text, label, page, able) => element("button", { type: "button", "aria-label": label, disabled: !able, onclick: () => turnTo(page) }, text);
  const sizes = PAGE_SIZES.map((size) => [String(size), String(size)]);
  return withFocus(byId("pages"), () => replaced(
    "pages",
    turn("«", "First page", 0, view.page > 0),
    turn("‹", "Previous page", view.page - 1, view.page > 0),
    element("span", { class: "said" }, `${grouped.format(shown ? start + 1 : 0)}–${grouped.format(start + shown)} of ${grouped.format(view.order.length)}`),
    turn("›", "Next page", view.page + 1, view.page < last),
    turn("»", "Last page", last, view.page < last),
    choice("rows a page", sizes, String(view.size), (size) => { view.size = Number(size); turnTo(0); }),
  ));
}

/** Which columns are shown. */
function drawChooser() {
  const boxes = columns.map((column, index) => {
    const box = element("input", { type: "checkbox", checked: true, onchange: () => { if (box.checked) view.hidden.delete(index); else view.hidden.add(index); drawTable(); } });
    return element("label", {}, box, column.name);
  });
  if (columns.length > 6) replaced("choose", element("details", { class: "menu" }, element("summary", {}, "Columns"), element("div", {}, boxes)));
}

/** Paper has no scroll bar: the columns of the highest rank go, as in a narrow terminal, and are named. */
function printedColumns() {
  const rows = view.order.slice(0, MOST_PRINTED_ROWS);
  const width = (index) => Math.max(...columns[index].title.map((line) => line.length), ...rows.map((row) => (cellText(columns[index], row) ?? "").length)) + 2;
  const kept = shownColumns();
  const widths = new Map(kept.map((index) => [index, width(index)]));
  let total = [...widths.values()].reduce((sum, each) => sum + each, 4);
  while (total > PRINTED_CHARACTERS && kept.length > 1) {
    const worst = kept.reduce((a, b) => (columns[b].rank >= columns[a].rank ? b : a));
    kept.splice(kept.indexOf(worst), 1);
    total -= widths.get(worst);
  }
  return kept;
}

function drawForPrint() {
  const kept = printedColumns();
  drawTable(kept, true);
  const rows = view.order.slice(0, MOST_PRINTED_ROWS);
  drawBody(kept, rows);
  const left = shownColumns().filter((index) => !kept.includes(index)).map((index) => columns[index].name);
  const said = [left.length ? `Not printed for want of room: ${left.join(", ")}.` : "", rows.length < view.order.length ? `The first ${rows.length} of ${plural(view.order.length, "row")}.` : ""];
  byId("unprinted").textContent = said.filter(Boolean).join(" ");
}
