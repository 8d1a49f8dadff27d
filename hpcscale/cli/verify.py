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
    type=click.FloatRange(min=0, min_open=True, max=2**20),
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

    if max_gib != max_gib:
        raise click.BadParameter("nan is no number of GiB", param_hint="--max-gib")
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
        _say(f"made with {name} {was}; here it is {here}")
    for each in found.damaged[:MOST_SHOWN]:
        _say(f"{archive}: {each}")
    _more(len(found.damaged), "files")
    for cell in found.cells[:MOST_SHOWN]:
        place = f"row {cell.row} ({cell.what}), {cell.column}" if cell.row else cell.column
        _say(f"report, {place}: archived {cell.archived or 'empty'}, from the records {cell.recomputed or 'empty'}")
    _more(len(found.cells), "cells")
    for form in found.texts:
        changed = "its text has been changed, though report.csv and report.json have the right figures"
        worded = "another version of hpcscale wrote it, so its text was not compared; report.csv and report.json were"
        _say(f"report.{form} differs: {worded if 'hpcscale' in found.versions else changed}")
    if found.same:
        click.echo(
            f"{archive}: the same report: {found.compared:,} cells follow from the records, {len(found.manifest.files):,} hashes hold"
        )
    else:
        click.echo(f"{archive}: not the same")


def _say(line: str) -> None:
    """What a stranger wrote must not command the terminal."""
    click.echo("".join(each if each.isprintable() else ascii(each)[1:-1] for each in line))


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
