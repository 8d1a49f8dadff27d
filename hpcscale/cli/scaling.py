"""``hpcscale scaling``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hpcscale.cli import options
from hpcscale.spec.problems import InputError

if TYPE_CHECKING:
    from hpcscale.report.laws.training import Training


@click.command()
@click.argument("arguments", nargs=-1, required=True, metavar="STUDY|RUNS|CSV...")
@click.option("--to", type=float, metavar="NODES", help="Carry every law on to this size.")
@click.option(
    "--efficiency",
    type=float,
    default=0.8,
    show_default=True,
    metavar="SHARE",
    help="The knee is the largest size above it.",
)
@click.option(
    "--fit-on", metavar="MIN-MAX", help="Fit on these node counts only; the others are held out and compared."
)
@click.option("--tokens", metavar="T", help="What training on so many tokens takes: 300B, 1.4T.")
@click.option("--steps", metavar="N", help="What so many steps take: 100k.")
@click.option(
    "--batch",
    type=click.IntRange(min=1),
    metavar="GBS",
    help="The global batch of --steps where it is not each row's own.",
)
@click.option("--series", default="", metavar="TEXT", help="Only series whose names have these words.")
@click.option(
    "--chart", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Draw to a .png, .svg or .pdf."
)
@options.json_option
@options.runs_option
def command(
    arguments: tuple[str, ...],
    to: float | None,
    efficiency: float,
    fit_on: str | None,
    tokens: str | None,
    steps: str | None,
    batch: int | None,
    series: str,
    chart: Path | None,
    as_json: bool,
    runs: Path,
) -> None:
    """Efficiency with intervals, scaling laws fitted and compared, the knee, and what a larger machine would make of it.

    Laws: Amdahl's (strong lines), Gustafson's (weak lines), Gunther's USL from five sizes on, and hpcscale's own model of a step.
    Each says how well it foresaw larger sizes from smaller ones.
    """
    from hpcscale.cli import scaling_json, scaling_text
    from hpcscale.ingest import schema
    from hpcscale.report.build import build
    from hpcscale.report.laws.analysis import Question, analyse

    if not 0 < efficiency < 1:
        raise InputError(f"--efficiency {efficiency:g} is no share between 0 and 1; write 0.8 for 80 %")
    if to is not None and not 1 <= to <= 1e7:
        raise InputError(f"--to {to:g} is no number of nodes; write one from 1 to 10,000,000")
    if chart is not None:
        from hpcscale.report.laws.picture import check_suffix

        check_suffix(chart)
        _make_folder(chart)
    asked = Question(to, efficiency, _range(fit_on), _training(tokens, steps, batch), series)
    found = analyse(schema.rows(build(arguments, runs).frame), asked)
    if as_json:
        options.print_json(scaling_json.document(found))
    else:
        scaling_text.show(found)
    if chart is not None:
        from hpcscale.report.laws import picture

        picture.save(found, chart)
        click.echo(f"chart written to {chart}", err=True)


def _make_folder(chart: Path) -> None:
    """Before anything is computed."""
    try:
        chart.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"--chart {chart}: cannot make the folder {chart.parent}: {error.strerror}; name another file"
        ) from None


def _range(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    found = re.fullmatch(r"\s*(\d+)\s*-\s*(\d+)\s*", text)
    if not found or int(found[1]) >= int(found[2]):
        raise InputError(f"--fit-on {text} is no range of node counts; write, for example, 192-768")
    return float(found[1]), float(found[2])


def _training(tokens: str | None, steps: str | None, batch: int | None) -> Training | None:
    from hpcscale.report.laws.training import Training, amount

    if tokens and steps:
        raise InputError("--tokens and --steps are two sizes of one training; give one of them")
    if batch and not steps:
        raise InputError("--batch says what a step of --steps is; give --steps with it")
    if not tokens and not steps:
        return None
    return Training(amount(tokens) if tokens else None, amount(steps) if steps else None, batch)
