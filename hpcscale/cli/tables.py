"""Small listings for people: columns as wide as they must be, no colour needed to read them."""

from __future__ import annotations

from collections.abc import Sequence

import click


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
