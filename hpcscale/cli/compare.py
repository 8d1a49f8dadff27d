"""``hpcscale compare``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hpcscale.cli import options
from hpcscale.cli.errors import FAILED

if TYPE_CHECKING:
    from hpcscale.cli.tables import Column
    from hpcscale.report.comparison.compare import Compared, Comparison

METRICS = ("step_seconds", "tokens_per_second", "tokens_per_second_per_device")


class Share(click.ParamType):
    """``2%`` or ``0.02``."""

    name = "share"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        text = str(value).strip()
        try:
            share = float(text.rstrip("% ")) / 100 if text.endswith("%") else float(text)
        except ValueError:
            self.fail(f"'{value}' is neither a share such as 0.02 nor a percentage such as 2%", param, ctx)
        if not 0 <= share < 1:
            self.fail(
                f"'{value}' is not between 0 and 100 %" + ("; write 2% or 0.02" if share >= 1 else ""), param, ctx
            )
        return share


@click.command(
    epilog="Exit codes: 0 B is not slower than A, 1 it is (with --strict also: cannot tell), 2 the input is wrong."
)
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@click.option(
    "--metric", type=click.Choice(METRICS), default="step_seconds", show_default=True, help="What is compared."
)
@click.option("--tolerance", type=Share(), default="2%", show_default=True, help="A difference that does not matter.")
@click.option("--ignore", multiple=True, metavar="NAME", help="A column or setting in which A and B may differ, for example machine. Repeatable.")  # fmt: skip
@click.option("--strict", is_flag=True, help="Exit code 1 also if nobody can tell.")
@options.runs_option
@options.json_option
def command(
    a: str, b: str, metric: str, tolerance: float, ignore: tuple[str, ...], strict: bool, runs: Path, as_json: bool
) -> None:
    """Is B slower than A? Each is a study that has run, a folder of runs, or a CSV file.

    Configurations that both have are compared by the ratio of their figures, with 95 % bootstrap intervals over steps, or over
    runs where there are several.
    """
    from hpcscale.report.comparison import words
    from hpcscale.report.comparison.compare import compare

    found = compare(a, b, runs, metric, tolerance, ignore)
    if as_json:
        options.print_json(words.document(found, a, b))
    else:
        _print(found, a, b)
    if found.verdict == "slower" or (strict and found.verdict == "cannot tell" and not found.within):
        sys.exit(FAILED)


def _print(found: Comparison, a: str, b: str) -> None:
    from hpcscale.cli.tables import print_fitting, width
    from hpcscale.report.comparison import words

    click.echo(f"A: {a}\nB: {b}\n")
    print_fitting(_columns(found), width())
    click.echo("\n" + words.verdict(found, a, b))
    for line in words.remarks(found):
        click.echo(line)


def _columns(found: Comparison) -> list[Column]:
    from hpcscale.cli.tables import Column
    from hpcscale.report import text
    from hpcscale.report.comparison import words

    rows: list[Compared] = found.compared
    name = found.metric.name
    settings = [
        Column(column.replace("_", " "), [_text(each.pair.a.row[column]) for each in rows], rank=2 + place)
        for place, column in enumerate(found.differing)
    ]
    return [
        *(settings or [Column("configuration", [each.label for each in rows], left=True)]),
        Column(f"A {found.metric.title}", [text.significant(each.pair.a.row[name]) for each in rows], rank=1),
        Column(f"B {found.metric.title}", [text.significant(each.pair.b.row[name]) for each in rows], rank=1),
        Column("B / A", [text.significant(each.ratio.value) for each in rows]),
        Column("95 % interval", [words.interval_cell(each.ratio) for each in rows]),
        Column("verdict", [words.verdict_cell(each) for each in rows], left=True),
    ]


def _text(value: object) -> str:
    return "-" if value is None else str(value)
