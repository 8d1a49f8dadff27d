"""``hpcscale verify``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpcscale.cli import options
from hpcscale.cli.errors import FAILED

if TYPE_CHECKING:
    from hpcscale.report.bundle.verify import Verdict


@click.command()
@click.argument("archive", type=click.Path(path_type=Path), metavar="ARCHIVE")
@click.option(
    "--max-gib",
    type=click.FloatRange(min=0, min_open=True),
    default=20.0,
    show_default=True,
    help="What it may unpack to.",
)
@options.json_option
def command(archive: Path, max_gib: float, as_json: bool) -> None:
    """Report again from the records in an archive of hpcscale bundle, and say whether it is the same report.

    Exit code 0: the same; 1: a figure or a file differs, each is named; 2: this is no such archive.
    """
    from hpcscale.report.bundle.verify import verify

    found = verify(archive, int(max_gib * 2**30))
    if as_json:
        options.print_json(_document(found))
    else:
        _show(archive, found)
    if not found.same:
        sys.exit(FAILED)


def _show(archive: Path, found: Verdict) -> None:
    from hpcscale.report.bundle.verify import MOST_SHOWN

    for name, (was, here) in found.versions.items():
        click.echo(f"made with {name} {was}; here it is {here}")
    for each in found.damaged[:MOST_SHOWN]:
        click.echo(f"{archive}: {each}")
    _more(len(found.damaged), "files")
    for cell in found.cells[:MOST_SHOWN]:
        place = f"row {cell.row} ({cell.what}), {cell.column}" if cell.row else cell.column
        click.echo(
            f"report, {place}: archived {cell.archived or 'empty'}, from the records {cell.recomputed or 'empty'}"
        )
    _more(len(found.cells), "cells")
    for form in found.texts:
        why = "worded by another version of hpcscale" if "hpcscale" in found.versions else "its text has been changed"
        click.echo(f"report.{form} differs though every figure is the same: {why}")
    if found.same:
        click.echo(
            f"{archive}: the same report: {found.compared:,} cells follow from the records, {len(found.manifest.files):,} hashes hold"
        )
    else:
        click.echo(f"{archive}: not the same")


def _more(count: int, what: str) -> None:
    from hpcscale.report.bundle.verify import MOST_SHOWN

    if count > MOST_SHOWN:
        click.echo(f"... and {count - MOST_SHOWN:,} more {what} (--json lists them)")


def _document(found: Verdict) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "same": found.same, "study": found.manifest.study, "files": len(found.manifest.files), "damaged": found.damaged,
        "compared": found.compared, "cells": [asdict(cell) for cell in found.cells], "texts": found.texts,
        "versions": {name: {"archive": was, "here": here} for name, (was, here) in found.versions.items()},
    }  # fmt: skip
