"""Tables of configurations, as ``hpcscale predict`` and ``hpcscale calibrate`` read them: CSV, one row a configuration."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Sequence
from pathlib import Path

from hpcscale.spec.problems import InputError, Problem

# Without these no row can say what ran.
_NEEDED = ("layers", "hidden", "heads", "seq", "gbs")


def read(source: Path) -> tuple[list[str], list[dict[str, str]]]:
    """(column names, rows). Raises InputError with the place of what is wrong with the table."""
    name = "<stdin>" if str(source) == "-" else str(source)
    try:
        text = sys.stdin.read() if name == "<stdin>" else source.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            Problem(name, 0, 0, f"the file is not UTF-8 text ({error.reason} at byte {error.start})")
        ) from None
    except OSError as error:
        raise InputError(Problem(name, 0, 0, f"the table cannot be read: {error.strerror}")) from None
    lines = io.StringIO(text.replace("\r\n", "\n")).readlines()
    start = next((i for i, line in enumerate(lines) if line.strip() and not line.startswith("#")), len(lines))
    reader = csv.reader(lines[start:], strict=True)
    try:
        header = [cell.strip() for cell in next(reader, [])]
        if not header:
            raise InputError(Problem(name, 0, 0, "the table has no rows"))
        _check(name, start + 1, header)
        rows = []
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(header):
                message = f"the row has {len(cells)} cells, the header {len(header)} columns"
                raise InputError(Problem(name, start + reader.line_num, 1, message))
            rows.append(dict(zip(header, cells, strict=True)))
    except csv.Error as error:
        raise InputError(Problem(name, start + reader.line_num, 1, f"the line is no CSV: {error}")) from None
    if not rows:
        raise InputError(Problem(name, 0, 0, "the table has no rows"))
    return header, rows


def _check(name: str, line: int, header: Sequence[str]) -> None:
    twice = next((each for i, each in enumerate(header) if each in header[:i]), None)
    if twice is not None:
        raise InputError(Problem(name, line, 1, f"the column '{twice}' stands twice"))
    missing = [each for each in _NEEDED if each not in header]
    if missing:
        message = f"the table lacks the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}; without them no row says what ran"
        raise InputError(Problem(name, line, 1, message))
