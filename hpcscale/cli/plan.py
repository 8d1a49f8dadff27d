"""``hpcscale plan``."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import click

from hpcscale.cli import options
from hpcscale.spec import study
from hpcscale.spec.problems import InputError
from hpcscale.spec.units import parse_count

if TYPE_CHECKING:
    from hpcscale.cost.plan import Plan, Row


class Tokens(click.ParamType):
    """``300B``, ``1.5T``, ``2e9``."""

    name = "tokens"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            found = parse_count(str(value))
        except ValueError:
            found = 0.0
        if found < 1:
            self.fail(f"'{value}' is no number of tokens; write, for example, 300B or 1.5T", param, ctx)
        return found


@click.command()
@click.argument("name", metavar="STUDY")
@options.machine_option
@options.point_option
@options.set_option
@click.option(
    "--tokens", type=Tokens(), metavar="T", help="Node-hours and days to train on so many tokens: 300B, 1.5T."
)
@click.option("--steps", type=click.IntRange(1), metavar="N", help="The same for so many steps.")
@click.option("--explain", metavar="POINT", help="What one point's time and memory consist of. Its name, or a glob that only it matches.")  # fmt: skip
@options.json_option
def command(
    name: str,
    machines: tuple[str, ...],
    point: str | None,
    sets: tuple[tuple[str, Any], ...],
    tokens: float | None,
    steps: int | None,
    explain: str | None,
    as_json: bool,
) -> None:
    """What every point of a study will cost, before one is run: memory, seconds per step, node-hours.

    Nothing is written, and no settings are needed. A point that will not fit into memory, or into the time of its queue,
    says so and names the nearest that does.
    """
    if tokens is not None and steps is not None:
        raise InputError("--tokens and --steps are two answers to one question; give one of them")
    asked = study.read(name)
    found, skipped = _planned(asked, machines, point, sets, tokens, steps)
    if explain is not None:
        _explain(found, _named(found, explain), as_json)
        return
    if as_json:
        options.print_json(_document(asked, found, skipped, tokens, steps))
        return
    _print(asked, found)
    for each in skipped:
        click.echo(each)


def _planned(
    asked: study.Study, machines: tuple[str, ...], glob: str | None, sets: Sequence[tuple[str, Any]],
    tokens: float | None, steps: int | None,
) -> tuple[Plan, list[Any]]:  # fmt: skip
    from hpcscale.cost import job_time
    from hpcscale.cost.plan import plan
    from hpcscale.spec.expand import expand
    from hpcscale.spec.sets import split_sets

    expansion = expand(asked, machines, split_sets(asked, sets)[0])
    timed = {point.identity: point for point in job_time.resolve(expansion).points}
    # a point whose time cannot be predicted is no reason to say nothing of it
    points = [timed.get(point.identity, point) for point in expansion.points]
    points = [point for point in points if glob is None or fnmatchcase(point.identity, glob)]
    if not points:
        for each in expansion.skipped:
            click.echo(each, err=True)
        raise InputError(f"{asked.name}: no point is left" + (f" that matches '{glob}'" if glob else ""))
    compare = [asked.file.compare] if isinstance(asked.file.compare, str) else asked.file.compare
    return plan(points, compare, tokens, steps), expansion.skipped


def _print(asked: study.Study, found: Plan) -> None:
    from hpcscale.cli import plan_table

    by_machine: dict[str, list[Row]] = {}
    for row in found.rows:
        by_machine.setdefault(row.point.machine.name, []).append(row)
    for number, (machine, rows) in enumerate(by_machine.items()):
        if number:
            click.echo()
        click.echo("\n".join(plan_table.lines(rows, found.totals.get(machine), _width())))
    click.echo()
    click.echo("\n".join(plan_table.about(asked, found)))


def _width() -> int | None:
    """A pipe or a file has no width of its own."""
    if not (sys.stdout.isatty() or os.environ.get("COLUMNS")):
        return None
    return shutil.get_terminal_size().columns


def _named(found: Plan, name: str) -> Row:
    chosen = [row for row in found.rows if row.point.identity == name or fnmatchcase(row.point.identity, name)]
    if len(chosen) == 1:
        return chosen[0]
    if not chosen:
        from hpcscale.spec.problems import suggestion

        raise InputError(f"there is no point '{name}'{suggestion(name, [row.point.identity for row in found.rows])}")
    some = ", ".join(row.point.identity for row in chosen[:5])
    more = f" and {len(chosen) - 5} more" if len(chosen) > 5 else ""
    raise InputError(f"--explain explains one point, and '{name}' matches {len(chosen)}: {some}{more}")


def _explain(found: Plan, row: Row, as_json: bool) -> None:
    from hpcscale.cli import explanation
    from hpcscale.cost.explain import explain

    if found.predictions is None or row.index is None:
        raise InputError(f"{row.point.identity} cannot be predicted: {row.reason}")
    told = explain(found.predictions, row.index)
    if as_json:
        options.print_json({**_row(found, row), **explanation.document(told)})
        return
    for line in explanation.lines(row, told):
        click.echo(line)


def _document(
    asked: study.Study, found: Plan, skipped: list[Any], tokens: float | None, steps: int | None
) -> dict[str, Any]:
    from hpcscale.cost.flops import OWN
    from hpcscale.cost.job_time import start_seconds

    return {
        "study": asked.name,
        "flops_convention": OWN,
        "start_seconds": {row.point.machine.name: start_seconds(row.point.machine) for row in found.rows},
        "interval": 0.8,
        "tokens": tokens,
        "steps": steps,
        "points": [_row(found, row) for row in found.rows],
        "skipped": [{"machine": each.machine, "what": each.what, "reason": each.reason} for each in skipped],
        "node_hours": found.totals,
        "node_hours_of_all_machines": found.node_hours,
        "budget_node_hours": asked.file.budget_node_hours,
    }


def _row(found: Plan, row: Row) -> dict[str, Any]:
    point, training, long = row.point, row.point.training, row.long
    terms = found.predictions.step.terms if found.predictions is not None and row.index is not None else {}
    factor = float(found.predictions.correction[row.index]) if found.predictions is not None and terms else 1.0
    return {
        "point": point.identity,
        "machine": point.machine.name,
        "model": point.model.name,
        "workload": point.workload.name,
        "nodes": point.nodes,
        "devices": point.devices,
        "ranks": point.ranks,
        "layout": point.layout.model_dump(),
        "micro_batch_size": training.micro_batch_size,
        "global_batch_size": training.global_batch_size,
        "sequence_length": training.sequence_length,
        "activation_checkpointing": training.activation_checkpointing,
        "precision": training.precision,
        "resources": dict(point.resources),
        "repeats": row.repeats,
        "queue": point.queue.name if point.queue else None,
        "job_seconds": point.job_seconds,
        "memory_bytes": row.memory_bytes,
        "usable_memory_bytes": row.usable_bytes,
        "verdict": row.verdict or None,
        "step_seconds": row.step_seconds,
        "step_seconds_low": row.step_seconds_low,
        "step_seconds_high": row.step_seconds_high,
        "terms_seconds": {name: float(values[row.index]) * factor for name, values in terms.items()},
        "tokens_per_second": row.tokens_per_second,
        "tflops_per_device": row.tflops_per_device,
        "mfu": row.mfu,
        "protocol_seconds": row.protocol_seconds,
        "protocol_node_hours": row.node_hours,
        "long_steps": long.steps if long else None,
        "long_seconds": long.seconds if long else None,
        "long_node_hours": long.node_hours if long else None,
        "long_jobs": long.jobs if long else None,
        "fastest": row.fastest,
        "cheapest_per_token": row.cheapest,
        "problem": row.problem or row.reason or None,
        "way_out": row.way or None,
        "published": [
            {"source": each.source, "status": each.status, "step_seconds": each.step_seconds, "memory_bytes": each.memory_bytes}
            for each in row.published
        ],
    }  # fmt: skip
