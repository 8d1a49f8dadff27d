"""The report as text: for a terminal, as Markdown, and raw as CSV and JSON. A style makes it another document's table."""

from __future__ import annotations

import csv as csv_module
import dataclasses
import io
import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hpcscale.ingest import schema
from hpcscale.report.build import Report
from hpcscale.report.columns import EMPTY, Column, Layout
from hpcscale.report.sheet import sheet
from hpcscale.report.styles import Style

if TYPE_CHECKING:
    from rich.console import Console

_GAP = 2  # blanks between two columns in a terminal


def caption(layout: Layout, width: int | None = None) -> str:
    """What all rows share; in lines of at most ``width`` characters that break between two facts."""
    facts = [f"{title} {value}" for title, value in layout.common]
    lines = [""]
    for fact in facts:
        longer = f"{lines[-1]} · {fact}" if lines[-1] else fact
        if width is not None and lines[-1] and len(longer) > width:
            lines.append(fact)
        else:
            lines[-1] = longer
    return "\n".join(lines)


def print_table(report: Report, console: Console, style: Style | None = None) -> None:
    """Print to a terminal. Where it is too narrow, the least important columns go and are named; no number breaks."""
    content = sheet(report, style)
    for number, part in enumerate(content.parts):
        if part.heading:
            console.print(("\n" if number else "") + part.heading, markup=False, highlight=False, style="bold")
        if part.layout.common:
            console.print(caption(part.layout, console.width), markup=False, highlight=False)
        widths = widths_of(part.layout)
        shown, left_out = fitting(part.layout, console.width, widths)
        head, body = _lines_of(part.layout, shown, widths)
        console.print("\n".join(head), style="bold", soft_wrap=True, markup=False, highlight=False)
        # Not through rich: ten thousand rows would take it ten seconds.
        console.file.write("".join(f"{line}\n" for line in body))
        if left_out:
            names = ", ".join(part.layout.columns[i].name for i in left_out)
            console.print(f"Not shown at this width: {names}.", markup=False, highlight=False, style="dim")
    for title, lines in content.remarks:
        console.print()
        for line in [title, *lines] if title else lines:
            console.print(line, markup=False, highlight=False, style="dim" if not title else None)


def fitting(layout: Layout, width: int, widths: Sequence[int]) -> tuple[list[int], list[int]]:
    """The columns that fit (by index) with their ``widths``, and those left out: of the highest rank first, from the right."""
    shown = list(range(len(layout.columns)))
    left_out: list[int] = []
    while sum(widths[i] + _GAP for i in shown) - _GAP > width and len(shown) > 1:
        worst = max(shown, key=lambda i: (layout.columns[i].rank, i))
        shown.remove(worst)
        left_out.append(worst)
    return shown, sorted(left_out)


def widths_of(layout: Layout) -> list[int]:
    """Characters of each column, title and cells."""
    texts = zip(*layout.cells, strict=True) if layout.cells else [()] * len(layout.columns)
    return [
        max(map(_cells, {*column.title.split("\n"), *cells}))
        for column, cells in zip(layout.columns, texts, strict=True)
    ]


def _lines_of(layout: Layout, shown: list[int], widths: Sequence[int]) -> tuple[list[str], list[str]]:
    """The lines of the titles, which stand on the first row, and of the rows."""
    columns = [layout.columns[i] for i in shown]
    stacks = [column.title.split("\n") for column in columns]
    high = max(map(len, stacks))
    titles = zip(*([""] * (high - len(stack)) + stack for stack in stacks), strict=True)
    aligned = [(column.left, widths[i]) for column, i in zip(columns, shown, strict=True)]
    return [_aligned(line, aligned) for line in titles], [
        _aligned([cells[i] for i in shown], aligned) for cells in layout.cells
    ]


def _aligned(cells: Sequence[str], columns: list[tuple[bool, int]]) -> str:
    padded = (
        cell + blanks if left else blanks + cell
        for cell, (left, width) in zip(cells, columns, strict=True)
        for blanks in [" " * (width - _cells(cell))]
    )
    return (" " * _GAP).join(padded).rstrip()


def _cells(text: str) -> int:
    """How wide a terminal shows a text: Japanese takes two columns a character."""
    if text.isascii() or text.replace("–", "-").isascii():  # the dash of intervals is one column wide too
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def markdown(report: Report, style: Style | None = None) -> str:
    """Pipe tables with every column, padded so that the text is readable as it is."""
    content = sheet(report, style)
    parts = []
    for part in content.parts:
        parts += [f"## {part.heading}"] if part.heading else []
        parts += [caption(part.layout)] if part.layout.common else []
        parts.append(_pipe_table(part.layout))
    for title, lines in content.remarks:
        listed = "\n".join(("  - " if line.startswith("  ") else "- ") + line.strip() for line in lines)
        parts += [title, listed] if title else [listed]
    return "\n\n".join(parts) + "\n"


def _pipe_table(layout: Layout) -> str:
    titles = [column.name for column in layout.columns]
    widths = [max(len(titles[i]), 3, *(len(row[i]) for row in layout.cells)) for i in range(len(titles))]
    rules = [_rule(column, width) for column, width in zip(layout.columns, widths, strict=True)]
    body = [_line(cells, widths, layout.columns) for cells in (tuple(titles), *layout.cells)]
    body.insert(1, "| " + " | ".join(rules) + " |")
    return "\n".join(body)


def _rule(column: Column, width: int) -> str:
    return "-" * width if column.left else "-" * (width - 1) + ":"


def _line(cells: tuple[str, ...], widths: list[int], columns: tuple[Column, ...]) -> str:
    escaped = [cell.replace("|", "\\|") for cell in cells]
    padded = [
        cell.ljust(width) if column.left else cell.rjust(width)
        for cell, width, column in zip(escaped, widths, columns, strict=True)
    ]
    return "| " + " | ".join(padded) + " |"


def csv(report: Report, style: Style | None = None) -> str:
    """Raw values under the schema's names, which `hpcscale report` reads again; or what a style's table shows."""
    if style is not None:
        return _styled_csv(report, style)
    used = [name for name in schema.NAMES if report.frame[name].notna().any()]
    return report.frame[used].to_csv(index=False)


def _styled_csv(report: Report, style: Style) -> str:
    """One table: where there are several, each row has its own one's heading first, and a column that one lacks is
    empty."""
    parts = sheet(report, style).parts
    titles = list(dict.fromkeys(column.name for part in parts for column in part.layout.columns))
    headed = any(part.heading for part in parts)
    file = io.StringIO()
    writer = csv_module.writer(file, lineterminator="\n")
    writer.writerow((["Table"] if headed else []) + titles)
    for part in parts:
        names = [column.name for column in part.layout.columns]
        for cells in part.layout.cells:
            found = dict(zip(names, cells, strict=True))
            writer.writerow(([part.heading] if headed else []) + [found.get(title, EMPTY) for title in titles])
    return file.getvalue()


def as_json(report: Report) -> str:
    """Raw values; empty cells are left out of their rows."""
    document = {
        "rows": [{name: value for name, value in row.items() if value is not None} for row in report.rows],
        "checks": [dataclasses.asdict(check) for check in report.checks],
        "notes": [*report.reproduction, *report.about_rows, *report.definitions],
    }
    return json.dumps(_finite(document), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    """JSON has no infinity and no NaN: they become text, as in records."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    return [_finite(each) for each in value] if isinstance(value, list | tuple) else value
