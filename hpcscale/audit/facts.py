"""A table's rows as quantities with tolerances: what each cell says once its column is understood."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from hpcscale.audit import cells, columns
from hpcscale.audit.cells import Cell
from hpcscale.audit.context import SHAPE
from hpcscale.audit.tables import Table

_LAYOUT = re.compile(r"\b(dp|ddp|fsdp|tp|mp|pp|cp)\s*[=:]?\s*(\d+)|(\d+)\s*(dp|tp|mp|pp|cp)\b", re.IGNORECASE)
_NOTE = re.compile(r"[^\W\d_]{3,}")  # a word behind a number: "(1 iteration only)"
# Counts that configure a run: 8 devices are not 8.4 that were rounded.
EXACT = frozenset({
    "nodes", "devices", "devices_per_node", "dp", "tp", "pp", "cp", "micro_batch_size", "accumulation", "global_batch_size",
    "sequence_length", "layers", "hidden", "heads", "kv_heads", "ffn", "vocab",
})  # fmt: skip
_AXES = {"ddp": "dp", "fsdp": "dp", "mp": "tp"}
STATED = -1
# Beyond these no figure of a training is; products of a few of those within are numbers.
_LEAST, _LARGEST = 1e-30, 1e30


@dataclass(frozen=True)
class Fact:
    """A value in its quantity's unit, the relative error that its printed digits allow, and the column it is from."""

    value: float
    tolerance: float = 0.0
    column: int = STATED
    step: float = 0.0

    def times(self, factor: float) -> Fact:
        return replace(self, value=self.value * factor, step=self.step * factor)


@dataclass(frozen=True)
class Row:
    """One row: facts by quantity, words (model, device, precision, activation_checkpointing), cells by column."""

    line: int
    facts: Mapping[str, Fact]
    words: Mapping[str, str]
    texts: tuple[str, ...]
    out_of_memory: bool = False
    remarks: tuple[str, ...] = ()
    missing_cells: int = 0

    def value(self, quantity: str) -> float | None:
        fact = self.facts.get(quantity)
        return fact.value if fact else None

    def having(self, quantity: str, fact: Fact | None) -> Row:
        facts = {name: each for name, each in self.facts.items() if name != quantity}
        return replace(self, facts=facts if fact is None else {**facts, quantity: fact})

    def scaled(self, quantity: str, factor: float) -> Row:
        return self.having(quantity, self.facts[quantity].times(factor))

    def saying(self, word: str, text: str) -> Row:
        return replace(self, words={**self.words, word: text})

    @cached_property
    def label(self) -> tuple[str, tuple[tuple[str, int], ...]]:
        """(what the row calls its model, the sizes of it that the row prints)."""
        sizes = {
            name: int(self.facts[name].value) for name in SHAPE if name in self.facts and self.facts[name].value < 1e7
        }
        label, count = self.words.get("model", ""), self.facts.get("parameters")
        if not label and count is not None and count.column != STATED:
            label = f"{count.value / 1e9:.3g}B" if count.value >= 0.95e9 else f"{count.value / 1e6:.3g}M"
        return label, tuple(sorted(sizes.items()))

    @cached_property
    def measured(self) -> bool:
        return any(quantity in self.facts for quantity in columns.MEASURED)


@dataclass(frozen=True)
class Reading:
    """How a table's columns are understood: quantity by column, a factor where a unit is not the one that is named.

    ``cut`` are columns whose digits after the last printed one are dropped instead of rounded.
    """

    meanings: Mapping[int, str]
    titles: Mapping[int, columns.Name]
    factors: Mapping[int, float] = field(default_factory=dict)
    cut: frozenset[str] = frozenset()

    def column(self, quantity: str) -> int | None:
        return next((index for index, each in self.meanings.items() if each == quantity), None)

    def title(self, quantity: str) -> str:
        index = self.column(quantity)
        return self.titles[index].printed if index is not None and index in self.titles else quantity.replace("_", " ")


def rows(table: Table, reading: Reading, constants: Mapping[str, float]) -> list[Row]:
    """Every row of ``table`` under ``reading``; ``constants`` are stated around it and fill what no column has."""
    read = [[cells.read(text) for text in line.cells] for line in table.rows]
    width = max((len(each) for each in read), default=0)
    digits = {index: _digits([row[index] for row in read if index < len(row)]) for index in range(width)}
    whole = {
        index
        for index in range(width)
        if all(row[index].step >= 1 for row in read if index < len(row) and row[index].printed)
    }
    shares = {index: _share([row[index] for row in read if index < len(row)]) for index in reading.meanings}
    found = []
    for line, row in zip(table.rows, read, strict=True):
        facts, words = {name: Fact(value) for name, value in constants.items()}, {}
        for index, quantity in reading.meanings.items():
            if index >= len(row):
                continue
            cell = row[index]
            if quantity in columns.WORDS:
                words[quantity] = cell.text
            elif cell.printed and _LEAST < cell.value < _LARGEST:
                title = reading.titles[index].normal
                factor = columns.scale(quantity, title, cell.unit)
                if quantity in ("mfu", "hfu", "efficiency") and factor == 1.0:
                    factor = shares[index]
                if quantity == "parameters" and factor == 1.0 and cell.value < 5000:
                    factor = 1e9
                if quantity == "sequence_length" and cell.unit.lower() == "k":
                    factor = 1024 if cell.value.is_integer() else 1000
                if quantity == "speedup" and factor == 1.0 and cell.unit == "%":
                    factor = 0.01
                factor *= reading.factors.get(index, 1.0)
                facts[quantity] = _fact(cell, digits[index], factor, index, quantity in reading.cut)
                if quantity in EXACT and cell.step * factor <= 1:
                    facts[quantity] = replace(facts[quantity], tolerance=0.0)
                if reading.cut and quantity not in reading.cut and index in whole and quantity in columns.MEASURED:
                    # the others are recomputed from it, so nothing says whether it is cut off as they are
                    facts[quantity] = replace(facts[quantity], tolerance=2 * facts[quantity].tolerance)
        if "layout" in words:
            for axis, value in _axes(words["layout"]).items():
                facts.setdefault(axis, Fact(value, 0.0, reading.column("layout") or 0))
        remarks = tuple(
            cell.note.strip("()") if index in reading.meanings or cell.note.startswith("(") else cell.text
            for index, cell in enumerate(row)
            if cell.printed and _NOTE.search(cell.note)
        )
        texts = tuple(cell.text for cell in row)
        found.append(Row(line.number, facts, words, texts, any(map(cells.is_oom, texts)), remarks, width - len(row)))
    return found


def _fact(cell: Cell, digits: int, factor: float, column: int, cut: bool) -> Fact:
    step = cell.step
    if step == 1.0 and digits:  # 32200 in a column of three significant digits is known to 100
        length = len(str(round(abs(cell.value))))
        step = max(1.0, 10.0 ** (length - digits))
    centre = cell.value + step / 2 if cut else cell.value
    return Fact(centre * factor, step / 2 / centre, column, step * factor)


def _digits(column: Sequence[Cell]) -> int:
    """Significant digits of a column of whole numbers that end in zeros; 0 where each digit counts."""
    whole = [cell for cell in column if cell.printed and cell.step == 1.0 and cell.value >= 1000]
    if len(whole) < 2 or any(cell.step < 1.0 for cell in column if cell.printed):
        return 0
    most = max(cells.significant(cell.value, cell.step) for cell in whole)
    padded = sum(cells.significant(cell.value, cell.step) < len(str(round(cell.value))) for cell in whole)
    return most if padded == len(whole) and most <= 4 else 0


def _share(column: Sequence[Cell]) -> float:
    """Shares of one are printed as such or as percentages: what a column's largest number says."""
    largest = max((cell.value for cell in column if cell.printed), default=0.0)
    return 0.01 if largest > 1.6 else 1.0


def _axes(text: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for match in _LAYOUT.finditer(text):
        axis, value = (match[1] or match[4]).lower(), match[2] or match[3]
        found[_AXES.get(axis, axis)] = float(value[:9])
    return {axis: value for axis, value in found.items() if value > 0}


def readings(table: Table, header: Sequence[str] | None = None) -> list[Reading]:
    """The ways to understand the columns, the likeliest first: names that mean one thing, then by what their cells are."""
    names = [columns.name(each) for each in (table.header if header is None else header)]
    options: list[tuple[int, tuple[str, ...]]] = []
    for index, each in enumerate(names):
        meanings = _fitting(
            each.meanings, [cells.read(row.cells[index]) for row in table.rows if index < len(row.cells)]
        )
        if meanings:
            options.append((index, meanings))
    sure = {meanings[0] for index, meanings in options if len(meanings) == 1}
    found: list[dict[int, str]] = [{}]
    for index, meanings in sorted(
        options, key=lambda option: (len(option[1]), -names[option[0]].confidence, option[0])
    ):
        free = [each for each in meanings if len(meanings) == 1 or each not in sure]
        grown = []
        for taken in found:
            left = [each for each in free if each not in taken.values()]
            grown += [{**taken, index: each} for each in left] or [taken]
        found = grown[:16]
    titles = dict(enumerate(names))
    return [Reading(dict(sorted(each.items())), titles) for each in found]


def _fitting(meanings: Sequence[str], column: Sequence[Cell]) -> tuple[str, ...]:
    """Meanings that the cells allow: a model is a label (7B) or a word, a count is a number."""
    filled = [cell for cell in column if cell.state in ("number", "text")]
    if not filled:
        return ()
    numbers = sum(cell.printed for cell in filled) * 2 >= len(filled)
    bare = sum(cell.printed and not cell.unit and not cell.note for cell in filled) * 2 >= len(filled)
    fitting = []
    for each in meanings:
        if each in ("model", "device"):
            fits = not bare
        elif each == "parameters":
            fits = numbers
        else:
            fits = each in columns.WORDS or numbers
        if fits:
            fitting.append(each)
    if "model" in fitting and "parameters" in fitting:
        fitting = ["model"]
    return tuple(fitting)
