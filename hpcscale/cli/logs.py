"""``hpcscale logs``."""

from __future__ import annotations

from pathlib import Path

import click

from hpcscale.cli import options
from hpcscale.jobs import output
from hpcscale.spec.problems import InputError


@click.command()
@click.argument("point", metavar="POINT")
@options.out_option
@click.option("-f", "--follow", is_flag=True, help="Go on printing until the attempt has ended.")
@click.option("--rank", type=click.IntRange(0), metavar="R", help="Only what this rank printed.")
@click.option("--attempt", metavar="ID", help="Another attempt than the newest.")
@click.option("-n", "--lines", type=click.IntRange(1), metavar="N", help="Only the last N lines.")
def command(point: str, out: Path, follow: bool, rank: int | None, attempt: str | None, lines: int | None) -> None:
    """Print what a point's ranks printed.

    POINT is a point's folder, its name, or a pattern that only one point in the runs folder matches.
    """
    folder = _point_folder(point, out)
    found = output.find(folder, attempt, rank)
    if follow:
        for text in output.follow(found):
            click.echo(text, nl=False)
        return
    for text in output.content(found, lines):
        click.echo(text, nl=False)


def _point_folder(point: str, out: Path) -> Path:
    if (Path(point) / "point.json").is_file():
        return Path(point)
    found = [
        path.parent
        for pattern in ((point,) if any(sign in point for sign in "*?[") else (point, f"{point}*"))
        for depth in ("", "*/")
        for path in out.glob(f"{depth}{pattern}/point.json")
    ]
    unique = sorted(path for path in set(found) if path.is_relative_to(out))
    exact = [path for path in unique if path.name == point]
    if len(exact or unique) == 1:
        return (exact or unique)[0]
    if not unique:
        raise InputError(f"{out} holds no point '{point}'; hpcscale status STUDY lists a study's points")
    names = ", ".join(path.name for path in unique[:6]) + (", ..." if len(unique) > 6 else "")
    raise InputError(f"'{point}' may mean {len(unique)} points: {names}")
