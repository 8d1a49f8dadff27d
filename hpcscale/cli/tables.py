"""Small listings for people: columns as wide as they must be, no colour needed to read them."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import click

WIDTH_OF_A_FILE = 160  # columns where the output is no terminal
_GAP = 2


def print_table(titles: Sequence[str], rows: Sequence[Sequence[object]], right: Sequence[int] = ()) -> None:
    """Print rows under titles; columns whose index is in ``right`` are right-aligned."""
    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(line[i]) for line in [list(titles), *texts]) for i in range(len(titles))]
    for line in [list(titles), *texts]:
        cells = [
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        click.echo("  ".join(cells).rstrip())


def print_facts(facts: Sequence[tuple[str, object]]) -> None:
    """Print name and value pairs, one a line; pairs without a value are left out."""
    kept = [(name, value) for name, value in facts if value not in (None, "", (), {})]
    width = max(len(name) for name, _ in kept)
    for name, value in kept:
        click.echo(f"{name.ljust(width)}  {value}")


def gigabytes(size: int | str | None) -> str:
    return f"{size / 1e9:.4g} GB" if isinstance(size, int) else ""


@dataclass(frozen=True)
class Column:
    """One column of a table that must fit. ``rank``: the higher, the sooner it goes; 0 never does.

    ``folds``: a value that all rows share is said once above the table instead.
    """

    title: str
    cells: Sequence[str]
    rank: int = 0
    left: bool = False
    folds: bool = False


def width() -> int:
    """Of the terminal; a pipe or a file has none of its own."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() or os.environ.get("COLUMNS") else WIDTH_OF_A_FILE


def print_fitting(columns: Sequence[Column], limit: int) -> None:
    """Print within ``limit`` characters: shared values above, and what is left out for want of room named below."""
    shared = [each for each in columns if each.folds and len(each.cells) > 1 and len(set(each.cells)) == 1]
    facts = [f"{each.title} {each.cells[0]}" for each in shared if each.cells[0]]
    if facts:
        click.echo(textwrap.fill("All: " + ", ".join(facts), limit))
    shown = [each for each in columns if each not in shared]
    left_out: list[str] = []
    while sum(_width(each) + _GAP for each in shown) - _GAP > limit and any(each.rank for each in shown):
        worst = max(shown, key=lambda each: each.rank)
        shown.remove(worst)
        left_out.append(worst.title)
    rows = list(zip(*(each.cells for each in shown), strict=True))
    print_table([each.title for each in shown], rows, [i for i, each in enumerate(shown) if not each.left])
    if left_out:
        click.echo(f"Not shown at this width: {', '.join(reversed(left_out))}.")


def _width(column: Column) -> int:
    return max(len(text) for text in (column.title, *column.cells))


def print_explained(titles: Sequence[str], rows: Sequence[Sequence[str]], limit: int) -> None:
    """A table whose first column is a name, whose last is a text that wraps, and whose others are numbers."""
    fixed = [max(len(row[i]) for row in (titles, *rows)) for i in range(len(titles) - 1)]
    before = sum(fixed) + _GAP * len(fixed)
    for row in (titles, *rows):
        cells = [row[0].ljust(fixed[0]), *(cell.rjust(size) for cell, size in zip(row[1:-1], fixed[1:], strict=True))]
        lines = textwrap.wrap(row[-1], max(20, limit - before)) or [""]
        click.echo((" " * _GAP).join([*cells, lines[0]]).rstrip())
        for line in lines[1:]:
            click.echo(" " * before + line)
