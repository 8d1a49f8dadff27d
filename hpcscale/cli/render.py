"""``hpcscale render``."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import click

from hpcscale.cli import options
from hpcscale.jobs.render import DESCRIPTION, SCRIPT, Rendering, Request, difference, render
from hpcscale.spec import job, study
from hpcscale.spec.problems import InputError


@click.command()
@click.argument("name", metavar="STUDY")
@options.machine_option
@options.point_option
@options.set_option
@options.out_option
@click.option("--stdout", "to_stdout", is_flag=True, help="Print the scripts instead of writing files.")
@click.option("--diff", "as_diff", is_flag=True, help="Print how the files would change instead of writing them.")
@click.option("--strict", is_flag=True, help="Points that break a rule are errors (exit code 2, nothing is written).")
@options.json_option
def command(
    name: str,
    machines: tuple[str, ...],
    point: str | None,
    sets: tuple[tuple[str, Any], ...],
    out: Path,
    to_stdout: bool,
    as_diff: bool,
    strict: bool,
    as_json: bool,
) -> None:
    """Write the job scripts of a study: runs/STUDY/POINT/job.sh and point.json.

    STUDY is a path or a name. Nothing is submitted, and no scheduler is needed. A file that would not change is left
    alone; a point that breaks a rule is listed as skipped, with the reason.
    """
    rendering = render(study.read(name), Request(machines, point, sets, out), job.read_settings())
    skipped = rendering.expansion.skipped
    if strict and skipped:
        raise InputError("\n".join(str(each) for each in skipped))
    if not rendering.points:
        _nothing_left(rendering, point)
    looking = to_stdout or as_diff
    if as_diff:
        for each in rendering.points:
            click.echo(difference(each), nl=False)
    elif to_stdout:
        shown = [(each.folder / name, text) for each in rendering.points for name, text in each.texts.items()]
        for number, (path, text) in enumerate(pair for pair in shown if pair[0].name != DESCRIPTION):
            click.echo(("\n" if number else "") + f"==> {path} <==", err=True)
            click.echo(text, nl=False)
    else:
        orphans = rendering.orphans()
        rendering.write()
        if as_json:
            options.print_json(_document(rendering, orphans))
            return
    _tell(rendering, looking, sys.stderr if looking else sys.stdout)


def _nothing_left(rendering: Rendering, point: str | None) -> None:
    skipped = rendering.expansion.skipped
    for each in skipped:
        click.echo(each, err=True)
    names = [each.identity for each in rendering.expansion.points]
    raise InputError(f"{rendering.study}: {options.nothing_left(names, point)}")


def _document(rendering: Rendering, orphans: list[str]) -> dict[str, Any]:
    skipped = [
        {"machine": each.machine, "place": each.place, "what": each.what, "reason": each.reason}
        for each in rendering.expansion.skipped
    ]
    points = [
        {"point": each.point.identity, "machine": each.point.machine.name, "nodes": each.point.nodes,
         "ranks": each.point.ranks, "change": each.change, "script": str(each.folder / SCRIPT),
         "description": str(each.folder / DESCRIPTION)}
        for each in rendering.points
    ]  # fmt: skip
    return {
        "study": rendering.study,
        "folder": str(rendering.folder),
        "points": points,
        "skipped": skipped,
        "orphans": orphans,
        "warnings": dict(rendering.warnings),
    }


def _untrainable(rendering: Rendering) -> Counter[str]:
    """Points by the first reason for which the trainer would refuse them; a script for them is text to read, not to submit."""
    from hpcscale.train.supported import not_built

    reasons: dict[tuple[object, ...], str] = {}
    counted: Counter[str] = Counter()
    for each in rendering.points:
        point = each.point
        if point.workload.foreign:
            continue  # another program runs it
        layout, training, cuda = point.layout, point.training, point.machine.device_facts.kind == "gpu"
        axes = (layout.tp > 1, layout.pp > 1, layout.cp > 1, layout.sharding, training.micro_batch_size == "auto")
        modes = (training.precision, training.activation_checkpointing, training.compile, point.communication, cuda)
        key = (point.model.name, point.data.kind, *axes, *modes)
        if key not in reasons:
            found = not_built(point.model, layout, training, point.data, point.communication, cuda)
            reasons[key] = found[0] if found else ""
        if reasons[key]:
            counted[reasons[key]] += 1
    return counted


def _tell(rendering: Rendering, looking: bool, stream: Any) -> None:
    machines = ", ".join(f"{name} {count}" for name, count in rendering.by_machine.items())
    total, counted = len(rendering.points), rendering.changes
    changes = ", ".join(f"{counted[word]} {word}" for word in ("new", "changed", "same") if counted[word])
    verb = "would be " if looking else ""
    click.echo(
        f"{rendering.study}: {total} point{'s' if total != 1 else ''} ({machines}), {verb}{changes}", file=stream
    )
    for warning, count in sorted(rendering.warnings.items()):
        click.echo(f"warning: {warning}" + (f" ({count} points)" if count > 1 else ""), file=stream)
    untrainable = _untrainable(rendering)
    if untrainable:
        number = sum(untrainable.values())
        click.echo(
            f"warning: this version's trainer will refuse {number} of {total} points when they start:", file=stream
        )
        for reason, count in untrainable.most_common():
            click.echo(f"  {reason} ({count} point{'s' if count > 1 else ''})", file=stream)
    for each in rendering.expansion.skipped:
        click.echo(each, file=stream)
    if rendering.expansion.duplicates:
        click.echo(
            f"{rendering.expansion.duplicates} points stood in the study twice and were written once", file=stream
        )
    orphans = rendering.orphans()
    if orphans:
        click.echo(f"{len(orphans)} orphaned: folders whose point the study no longer has; they are kept:", file=stream)
        for orphan in orphans[:20]:
            click.echo(f"  {orphan}", file=stream)
        if len(orphans) > 20:
            click.echo(f"  and {len(orphans) - 20} more", file=stream)
    if not looking:
        click.echo(f"written to {rendering.folder}", file=stream)
