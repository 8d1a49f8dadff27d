"""``hpcscale report``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hpcscale.jobs import files

if TYPE_CHECKING:
    from hpcscale.report.build import Report

FORMATS = ("table", "md", "csv", "json")


@click.command()
@click.argument("arguments", nargs=-1, required=True, metavar="STUDY|RUNS|CSV...")
@click.option("--format", "form", type=click.Choice(FORMATS), help="Default: table, or what --output's suffix says.")
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Write the table there.")
@click.option(
    "--chart", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Draw to a .png or .svg."
)
@click.option("--convention", metavar="NAME", help="Count every row's FLOPs as this tool or convention does.")
@click.option("--predicted", is_flag=True, help="A predicted row for every point, run or not, and predictions beside measured ones.")  # fmt: skip
@click.option(
    "--runs", type=click.Path(file_okay=False, path_type=Path), default=Path("runs"), show_default=True, metavar="DIR",
    help="The folder of all runs.",
)  # fmt: skip
@click.option("--no-cache", is_flag=True, help="Read every record again, also those that have not changed.")
def command(
    arguments: tuple[str, ...],
    form: str | None,
    as_json: bool,
    output: Path | None,
    chart: Path | None,
    convention: str | None,
    predicted: bool,
    runs: Path,
    no_cache: bool,
) -> None:
    """Print the scaling table of studies, runs and published tables; draw the chart.

    A study means its runs and the published table it compares with. Published figures stand beside what follows from
    their rows, and the lines below the table say what reproduces.
    """
    from hpcscale.report import show
    from hpcscale.report.build import build

    if chart is not None:
        from hpcscale.report.chart import check_suffix

        check_suffix(chart)
    if no_cache:
        from hpcscale.ingest import cache

        cache.switch_off()
    report = build(arguments, runs, convention, predicted)
    chosen = "json" if as_json else form or _suffix(output)
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        files.replace(str(output), _text(report, chosen), 0o644)  # a full disk leaves the old table
    elif chosen == "table":
        from hpcscale.report.table import print_table

        print_table(report, show.console())
    else:
        click.echo(_text(report, chosen), nl=False)
    if chart is not None:
        from hpcscale.report import chart as drawing

        chart.parent.mkdir(parents=True, exist_ok=True)
        drawing.save(report.frame, chart)
        click.echo(f"chart written to {chart}", err=True)


def _suffix(output: Path | None) -> str:
    word = output.suffix.lstrip(".") if output else ""
    return word if word in FORMATS else "table"


def _text(report: Report, form: str) -> str:
    from hpcscale.report import show, table

    if form == "table":
        import io

        from rich.console import Console

        file = io.StringIO()
        table.print_table(report, Console(file=file, width=show.WIDTH_OF_A_FILE))
        return "\n".join(line.rstrip() for line in file.getvalue().splitlines()) + "\n"
    return {"md": table.markdown, "csv": table.csv, "json": table.as_json}[form](report)
