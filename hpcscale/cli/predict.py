"""``hpcscale predict``."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpcscale.cli import configurations
from hpcscale.jobs import files

if TYPE_CHECKING:
    from hpcscale.cost.tables import Predicted

COLUMNS = (
    "pred_sec_per_iter", "pred_sec_per_iter_low", "pred_sec_per_iter_high", "pred_mem_gib", "pred_verdict", "pred_reason",
)  # fmt: skip


@click.command()
@click.option(
    "--table", "source", required=True, type=click.Path(path_type=Path), metavar="IN.csv", help="`-` reads standard input."
)  # fmt: skip
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), metavar="OUT.csv", help="Default: standard output."
)
@click.option(
    "--pilot", type=click.IntRange(min=0), default=0, metavar="K",
    help="Fit on the first K measured rows of each system, then predict.",
)  # fmt: skip
def command(source: Path, output: Path | None, pilot: int) -> None:
    """Add predicted seconds per step and memory to a table of configurations.

    One row a configuration, with the columns of the page on predictions: model shape, layout, batch, device. A row that
    cannot be expressed keeps its cells, gets no numbers, and says why. Other columns pass through.
    """
    from hpcscale.cost.tables import predict_rows

    names, rows = configurations.read(source)
    found = predict_rows(rows, pilot)
    text = _text(names, rows, found)
    if output is None:
        click.echo(text, nl=False)
    else:
        output.parent.mkdir(parents=True, exist_ok=True)
        files.replace(str(output), text, 0o644)
    for sentence in _summary(rows, found):
        click.echo(sentence, err=True)


def _text(names: Sequence[str], rows: Sequence[dict[str, str]], found: Sequence[Predicted]) -> str:
    file = io.StringIO()
    kept = [name for name in names if name not in COLUMNS]
    writer = csv.DictWriter(file, [*kept, *COLUMNS], extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for row, each in zip(rows, found, strict=True):
        writer.writerow({**row, **_cells(each)})
    return file.getvalue()


def _cells(each: Predicted) -> dict[str, Any]:
    numbers = (each.seconds, each.low, each.high, None if each.memory is None else each.memory / 2**30)
    cells = ["" if number is None else f"{number:.6g}" for number in numbers]
    return dict(zip(COLUMNS, [*cells, "" if each.seconds is None else each.verdict, each.reason], strict=True))


def _summary(rows: Sequence[dict[str, str]], found: Sequence[Predicted]) -> list[str]:
    from statistics import median

    from hpcscale.cost.tables import seconds_of

    able = sum(each.seconds is not None for each in found)
    sentences = [f"{able} of {len(rows)} rows predicted" + ("" if able == len(rows) else "; pred_reason says why not")]
    errors: dict[str, list[float]] = {}
    for row, each in zip(rows, found, strict=True):
        seconds = seconds_of(row)
        if seconds is not None and each.seconds is not None and not each.is_pilot:
            errors.setdefault(row.get("system") or "the table", []).append(abs(each.seconds / seconds - 1))
    for system, some in errors.items():
        sentences.append(f"{system}: median error {100 * median(some):.1f} % of {len(some)} measured rows")
    return sentences
