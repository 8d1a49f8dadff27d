// Numbers as people read them, and text as plotly.js must be given it.
const EVEN = { roundingMode: "halfEven" }; // 2.5 is 2, as in the table, which Python rounds
const grouped = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0, ...EVEN });
const fixed = Array.from({ length: 7 }, (_, decimals) => new Intl.NumberFormat("en-US", { minimumFractionDigits: decimals, maximumFractionDigits: decimals, ...EVEN }));
const sevenDigits = new Intl.NumberFormat("en-US", { maximumSignificantDigits: 7 });

/** At least four significant digits, as in the table. */
function significant(value, digits = 4) {
  let decimals = 0;
  while (decimals < 6 && Math.abs(value) < 10 ** (digits - 1 - decimals)) decimals += 1;
  return fixed[decimals].format(value);
}

/** A factor of a formula: whole numbers whole, others with seven digits. */
function factorText(value) {
  if (value === 1e12) return "10¹²";
  if (Math.abs(value) >= 1e7) return grouped.format(value);
  return Number.isInteger(value) && Math.abs(value) < 1e15 ? grouped.format(value) : sevenDigits.format(value);
}

/** 12500 as 12.5k. */
function short(value) {
  for (const [size, letter] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    if (Math.abs(value) >= size) return `${Number((value / size).toPrecision(4))}${letter}`;
  }
  return `${Number(value.toPrecision(4))}`;
}

/** plotly.js takes some tags and entities in text for markup: as entities they are read as what they are. */
function plain(text) {
  return String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}

function shortened(text, length) {
  return text.length <= length ? text : `${text.slice(0, length - 1)}…`;
}

/** "1 row", "2 rows" */
const plural = (number, word) => `${grouped.format(number)} ${word}${number === 1 ? "" : "s"}`;
