"""``hpcscale studies``."""

from __future__ import annotations

from typing import Any

import click

from hpcscale.cli import options
from hpcscale.cli.tables import print_facts, print_table
from hpcscale.cost import job_time
from hpcscale.spec import locate, study
from hpcscale.spec.expand import expand
from hpcscale.spec.units import format_seconds


@click.group(cls=options.ListByDefault)
def command() -> None:
    """List studies; `studies show NAME` shows one and its points."""


@command.command("list")
@options.json_option
def list_(as_json: bool) -> None:
    """List studies."""
    rows = []
    for name, path in locate.available("studies").items():
        file = study.read(str(path)).file
        rows.append(
            {
                "name": name,
                "scaling": file.scaling,
                "machines": list(file.machines),
                "title": file.title,
                "path": str(path),
            }
        )
    if as_json:
        options.print_json(rows)
        return
    print_table(
        ("name", "scaling", "machines", "title"),
        [(row["name"], row["scaling"], ", ".join(row["machines"]), row["title"]) for row in rows],
    )


@command.command()
@click.argument("name")
@options.machine_option
@options.set_option
@options.json_option
def show(name: str, machines: tuple[str, ...], sets: tuple[tuple[str, Any], ...], as_json: bool) -> None:
    """Show one study and the points it expands to. Nothing is written, and no settings are needed."""
    asked = study.read(name)
    from hpcscale.spec.sets import split_sets

    expansion = job_time.resolve(expand(asked, machines, split_sets(asked, sets)[0]))
    points = expansion.points
    skipped = [{"machine": s.machine, "what": s.what, "reason": s.reason} for s in expansion.skipped]
    if as_json:
        options.print_json({"study": asked.name, "points": [p.document() for p in points], "skipped": skipped})
        return
    file = asked.file
    compare = [file.compare] if isinstance(file.compare, str) else file.compare
    print_facts(
        [("name", file.name), ("title", file.title), ("file", asked.path), ("scaling", file.scaling),
         ("compare", ", ".join(compare)), ("points", len(points))]
    )  # fmt: skip
    click.echo()
    rows = [
        (p.identity, p.nodes, p.ranks, p.training.micro_batch_size, p.training.global_batch_size,
         p.queue.name if p.queue else "", format_seconds(p.job_seconds) if p.job_seconds else "")
        for p in points
    ]  # fmt: skip
    print_table(("point", "nodes", "ranks", "MBS", "GBS", "queue", "time"), rows, right=(1, 2, 3, 4))
    for each in expansion.skipped:
        click.echo(each)
