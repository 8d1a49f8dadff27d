"""``hpcscale report``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hpcscale.cli import options
from hpcscale.jobs import files

if TYPE_CHECKING:
    from hpcscale.report.build import Report
    from hpcscale.report.styles import Style

FORMATS = ("table", "md", "csv", "json", "latex")
_SUFFIXES = {"md": "md", "csv": "csv", "json": "json", "tex": "latex"}


@click.command()
@click.argument("arguments", nargs=-1, required=True, metavar="STUDY|RUNS|CSV...")
@click.option("--format", "form", type=click.Choice(FORMATS), help="Default: table, or what --output's suffix says.")
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option("--style", "style_name", metavar="NAME", help="Columns, units and rounding of fugaku, nanotron, nemo, mpt or torchtitan.")  # fmt: skip
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Write the table there.")
@click.option(
    "--chart", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Draw to a .png, .svg or .pdf."
)
@click.option("--chart-kind", default="scaling", show_default=True, metavar="KIND[,KIND...]", help="What to draw: scaling, throughput, per-device, efficiency, step-time, memory, loss, mfu, layouts, energy; all: what there are data for.")  # fmt: skip
@click.option("--chart-width", type=click.Choice(("page", "column")), default="page", show_default=True, help="Drawn for a paper's page or for one of its two columns.")  # fmt: skip
@click.option(
    "--html", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write a page that opens offline."
)
@click.option("--convention", metavar="NAME", help="Count every row's FLOPs as this tool or convention does.")
@click.option("--predicted", is_flag=True, help="A predicted row for every point, run or not, and predictions beside measured ones.")  # fmt: skip
@options.runs_option
@click.option("--no-cache", is_flag=True, help="Read every record again, also those that have not changed.")
def command(
    arguments: tuple[str, ...],
    form: str | None,
    as_json: bool,
    style_name: str | None,
    output: Path | None,
    chart: Path | None,
    chart_kind: str,
    chart_width: str,
    html: Path | None,
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

    if chart is None and (chart_kind != "scaling" or chart_width != "page"):
        raise click.UsageError("--chart-kind and --chart-width say how to draw: name a file with --chart")
    kinds = _kinds(chart, chart_kind)
    if html is not None:
        from hpcscale.report.page import save

        save.check_suffix(html)
    if no_cache:
        from hpcscale.ingest import cache

        cache.switch_off()
    chosen = "json" if as_json else form or _suffix(output)
    style = _style(style_name, chosen)
    report = build(arguments, runs, convention or (style.convention if style else None), predicted)
    charts = _charts(report, chart, kinds, chart_kind, chart_width)
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        files.replace(str(output), _text(report, chosen, style), 0o644)  # a full disk leaves the old table
    elif chosen == "table":
        from hpcscale.report.table import print_table

        print_table(report, show.console(), style)
    else:
        click.echo(_text(report, chosen, style), nl=False)
    for path, content in charts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        files.replace(str(path), content, 0o644)
        click.echo(f"chart written to {path}", err=True)
    if html is not None:
        from hpcscale.report.page import save

        save.save(report, arguments, runs, html)
        click.echo(f"page written to {html}", err=True)


def _kinds(chart: Path | None, words: str) -> tuple[str, ...]:
    """Checked before anything is read, which may take a while."""
    if chart is None:
        return ()
    from hpcscale.report.chart import check_suffix, kinds

    check_suffix(chart)
    return kinds(words)


def _charts(report: Report, chart: Path | None, kinds: tuple[str, ...], words: str, width: str) -> dict[Path, bytes]:
    """Drawn before anything is printed: a kind without data stops the command."""
    if chart is None:
        return {}
    from hpcscale.report.chart import ALL, drawings
    from hpcscale.report.charts.paper import PAPERS

    found, left_out = drawings(report.frame, chart, kinds, PAPERS[width], ALL in words.split(","))
    for said in left_out:
        click.echo(said, err=True)
    return found


def _suffix(output: Path | None) -> str:
    return _SUFFIXES.get(output.suffix.lstrip("."), "table") if output else "table"


def _style(name: str | None, form: str) -> Style | None:
    if name is None:
        return None
    from hpcscale.report.styles import style
    from hpcscale.spec.problems import InputError

    if form == "json":
        raise InputError("JSON holds raw numbers and has no style; give --style with table, md, csv or latex")
    return style(name)


def _text(report: Report, form: str, style: Style | None) -> str:
    from hpcscale.report import latex, show, table

    if form == "table":
        import io

        from rich.console import Console

        file = io.StringIO()
        table.print_table(report, Console(file=file, width=show.WIDTH_OF_A_FILE), style)
        return "\n".join(line.rstrip() for line in file.getvalue().splitlines()) + "\n"
    if form == "json":
        return table.as_json(report)
    return {"md": table.markdown, "csv": table.csv, "latex": latex.latex}[form](report, style)
