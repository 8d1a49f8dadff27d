"""Tables of documents: CSV files under the schema's column names.

Lines before the header that start with ``#`` say where the table comes from. A file need not have every column; an
empty cell is unknown. What ``hpcscale report --format csv`` writes can be read again.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from hpcscale.cost import flops
from hpcscale.ingest import schema
from hpcscale.record.schema import FAILURES
from hpcscale.spec import keys
from hpcscale.spec.problems import InputError, Problem, suggestion

FOLDER = "studies/published"
STATUSES = ("completed", *FAILURES, "unfinished", "unreadable", "missing")
ORIGINS = ("measured", "published", "predicted")
_WORDS = {"status": STATUSES, "origin": ORIGINS}
# What something is divided by: zero and less are mistakes, not measurements.
_POSITIVE = frozenset(
    (
        "nodes", "devices", "ranks", "dp", "tp", "pp", "cp", "micro_batch_size", "global_batch_size",
        "gradient_accumulation", "sequence_length", "peak_tflops",
    )
)  # fmt: skip
# These too, computed or printed.
_POSITIVE |= {
    name + ending
    for name in ("step_seconds", "tokens_per_second", "tokens_per_second_per_device", "tflops_per_device")
    for ending in ("", "_published")
}
_POSITIVE |= {f"predicted_step_seconds{ending}" for ending in ("", "_low", "_high")}
_SHARES = frozenset(("mfu", "mfu_published", "hfu", "hfu_published"))
# An impossible MFU of 104 % is for the report to name; one of 45.05 is a percentage in the wrong column.
_LARGEST_SHARE = 2.0
_KINDS = {column.name: column.kind for column in schema.COLUMNS}


def read(path: Path) -> pd.DataFrame:
    """The table of a CSV file. Raises InputError with the place of everything that is wrong with it."""
    problems: list[Problem] = []
    rows = _rows(path, problems)
    if problems:
        raise InputError(problems)
    if not rows:
        raise InputError(Problem(str(path), 0, 0, "the table has no rows"))
    return schema.frame(rows)


def _rows(path: Path, problems: list[Problem]) -> list[dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        problems.append(Problem(str(path), 0, 0, f"the file is not UTF-8 text ({error.reason} at byte {error.start})"))
        return []
    except OSError as error:
        problems.append(Problem(str(path), 0, 0, f"the file cannot be read: {error.strerror}"))
        return []
    lines = _lines(text, str(path), problems)
    header = next(lines, None)
    if header is None:
        return []
    names = _header(header, str(path), problems)
    rows = []
    for line, cells in lines:
        if len(cells) != len(names):
            problems.append(
                Problem(str(path), line, 1, f"the row has {len(cells)} cells, the header {len(names)} columns")
            )
            continue
        row: dict[str, Any] = {"origin": "published", "source": path.stem, "line": line, "status": "completed"}
        for name, (column, cell) in zip(names, cells, strict=True):
            if name is None or not cell:
                continue
            try:
                row[name] = _value(name, cell)
            except ValueError as error:
                problems.append(Problem(str(path), line, column, f"{name}: {error}"))
        rows.append(row)
    return rows


Line = tuple[int, list[tuple[int, str]]]  # its number, and its cells with the columns at which they start


def _lines(text: str, file: str, problems: list[Problem]) -> Iterator[Line]:
    """The table's lines: comments before the header and empty lines left out."""
    # Only these end a line; str.splitlines would also break cells at form feeds and the like.
    source = io.StringIO(text, newline="").readlines()
    start = next((i for i, line in enumerate(source) if line.strip() and not line.startswith("#")), len(source))
    reader = csv.reader(source[start:], strict=True)
    try:
        before = reader.line_num
        for cells in reader:
            number = start + before + 1
            if any(cell.strip() for cell in cells):
                columns = _cell_columns(source[number - 1])
                # A quoted cell may go on in the next line; what follows it there has the column of its first line's end.
                columns += [len(source[number - 1])] * (len(cells) - len(columns))
                yield number, [(column, cell.strip()) for column, cell in zip(columns, cells, strict=False)]
            before = reader.line_num
    except csv.Error as error:
        problems.append(Problem(file, start + reader.line_num, 1, f"the line is no CSV: {error}"))


def _cell_columns(line: str) -> list[int]:
    """Where each cell of a line starts, counted from 1."""
    columns, quoted = [1], False
    for position, character in enumerate(line, 1):
        if character == '"':
            quoted = not quoted
        elif character == "," and not quoted:
            columns.append(position + 1)
    return columns


def _header(header: Line, file: str, problems: list[Problem]) -> list[str | None]:
    line, cells = header
    names: list[str | None] = []
    for column, name in cells:
        if name in names:
            problems.append(Problem(file, line, column, f"the column '{name}' stands twice"))
        if name not in _KINDS:
            problems.append(Problem(file, line, column, f"there is no column '{name}'{suggestion(name, schema.NAMES)}"))
        names.append(name if name in _KINDS else None)
    return names


def _value(name: str, cell: str) -> Any:
    kind = _KINDS[name]
    if kind == "text":
        return _word(name, cell)
    try:
        number = float(cell)
        # Parameter counts exceed what a float holds exactly.
        number = int(cell) if kind == "int" and cell.lstrip("+-").isdecimal() else number
    except ValueError:
        raise ValueError(f"'{cell}' is no number") from None
    if not math.isfinite(number):
        raise ValueError(f"'{cell}' is no finite number; leave the cell empty where the value is unknown")
    if kind == "int" and number != int(number):
        raise ValueError(f"'{cell}' is no whole number")
    if name in _POSITIVE and number <= 0:
        raise ValueError(f"'{cell}' is not above zero")
    if name in _SHARES and not 0 <= number <= _LARGEST_SHARE:
        raise ValueError(f"'{cell}' is no share of the peak; write 0.45 for 45 %")
    if kind == "int" and number >= 2**63:
        raise ValueError(f"'{cell}' is too large")
    return int(number) if kind == "int" else number


def _word(name: str, cell: str) -> str:
    if name == "activation_checkpointing":
        reason = keys.check(("training", name), cell)
        if reason:
            raise ValueError(reason)
    if name in _WORDS and cell not in _WORDS[name]:
        raise ValueError(f"there is no {name} '{cell}'{suggestion(cell, _WORDS[name])}")
    if name == "flops_convention":
        try:
            return flops.convention(cell).name
        except InputError as error:
            raise ValueError(error.problems[0].message) from None
    return cell
