"""``hpcscale submit``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from hpcscale.cli import options
from hpcscale.cli.errors import FAILED
from hpcscale.jobs import plan as plans
from hpcscale.jobs import proofread
from hpcscale.jobs import submit as submission
from hpcscale.jobs.render import Rendered, Rendering, Request, render
from hpcscale.jobs.status import StudyStatus, status
from hpcscale.spec import job, study
from hpcscale.spec.problems import InputError


@click.command()
@click.argument("name", metavar="STUDY")
@options.machine_option
@options.point_option
@click.option(
    "--only", multiple=True, type=click.Choice(list(plans.ONLY)),
    help="Only points in this state, whatever the study says of retries. Repeatable.",
)  # fmt: skip
@click.option("--max-jobs", type=click.IntRange(1), metavar="N", help="No more than N of the study's jobs at once; the scheduler holds the rest back.")  # fmt: skip
@click.option("--queue", metavar="NAME", help="As --set job.queue=NAME.")
@click.option("--time", "time_limit", metavar="TIME", help="As --set job.time=TIME, for example 01:30:00.")
@click.option("--reservation", metavar="NAME", help="As --set job.reservation=NAME.")
@click.option("--directive", "directives", multiple=True, metavar="OPTION[=VALUE]", help="One more #SBATCH or #PJM option. Repeatable.")  # fmt: skip
@options.set_option
@options.out_option
@click.option("--smoke", is_flag=True, help="Run the smallest point for two steps on the debug queue, wait, and say what it found.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Print the bill and what would be submitted; write and submit nothing.")
@click.option("--no-lint", is_flag=True, help="Submit scripts although hpcscale lint finds errors in them.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@options.json_option
def command(
    name: str,
    machines: tuple[str, ...],
    point: str | None,
    only: tuple[str, ...],
    max_jobs: int | None,
    queue: str | None,
    time_limit: str | None,
    reservation: str | None,
    directives: tuple[str, ...],
    sets: tuple[tuple[str, Any], ...],
    out: Path,
    smoke: bool,
    dry_run: bool,
    no_lint: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Submit the points of a study that are due, each exactly once.

    Due are points that never ran, and those whose retry is due (time limit, preemption, lost node). A point that is
    queued, running or completed is left alone, also when two people submit at once or a submit was interrupted. The bill
    is printed first; a script in which lint finds an error stops everything.
    """
    asked = study.read(name)
    sets = (*sets, *_job_sets(queue, time_limit, reservation, directives))
    if smoke:
        from hpcscale.cli.smoke import smoke as run_smoke

        run_smoke(
            asked, Request(machines, point, sets, out), ask=not (yes or dry_run), dry_run=dry_run, no_lint=no_lint
        )
        return
    rendering = render(asked, Request(machines, point, sets, out), job.read_settings())
    if not rendering.points:
        for each in rendering.expansion.skipped:
            click.echo(each, err=True)
        names = [each.identity for each in rendering.expansion.points]
        raise InputError(f"{asked.name}: {options.nothing_left(names, point)}")
    found = status([each.point for each in rendering.points], rendering.folder, write=not dry_run)
    plan = plans.plan(found, only)
    _explain(rendering, found, plan, as_json)
    plans.check_budget(plan, asked.file.budget_node_hours, asked.name)
    if not no_lint:
        proofread.check(chosen(rendering, plan), asked.name)
    if not plan.chosen or dry_run:
        if as_json:
            options.print_json(_document(plan, None))
        return
    confirm(yes)
    result = hand_over(rendering, plan, max_jobs, quiet=as_json)
    if as_json:
        options.print_json(_document(plan, result))
    if result.refused or result.interrupted:
        sys.exit(FAILED)


def _job_sets(
    queue: str | None, time_limit: str | None, reservation: str | None, directives: tuple[str, ...]
) -> list[tuple[str, Any]]:
    given: list[tuple[str, Any]] = []
    for key, value in (("queue", queue), ("time", time_limit), ("reservation", reservation)):
        if value is not None:
            given.append((f"job.{key}", value))
    for each in directives:
        option, equals, value = each.partition("=")
        given.append((f"job.directives.{option}", job.parse_value(value) if equals else True))
    return given


def confirm(yes: bool) -> None:
    """Nothing is spent without a yes."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise InputError("nothing was submitted: there is no terminal to ask on; give --yes to submit this")
    if not click.confirm("Submit?", err=True):
        raise InputError("nothing was submitted")


def chosen(rendering: Rendering, plan: plans.Plan) -> list[Rendered]:
    """The files of the points that are to be submitted."""
    rendered = {each.point.identity: each for each in rendering.points}
    return [rendered[each.point.identity] for each in plan.chosen]


def hand_over(rendering: Rendering, plan: plans.Plan, max_jobs: int | None, quiet: bool = False) -> submission.Outcome:
    """Writes the chosen points' files, submits them, and says what came of it."""
    from hpcscale.jobs.schedulers import Unreachable

    rendered = {each.point.identity: each for each in chosen(rendering, plan)}
    for each in rendered.values():
        each.write()
    tell = (lambda *_: None) if quiet or len(plan.chosen) > 50 else _told
    try:
        result = submission.submit(plan, rendered, rendering.folder, max_jobs, tell)
    except Unreachable as error:
        raise InputError(f"{error}; nothing was submitted") from None
    for identity, job_id in result.found.items():
        click.echo(f"found: {identity} had been submitted as job {job_id} by a submit that was interrupted", err=True)
    for identity, reason in result.left.items():
        click.echo(f"left alone: {identity} {reason}", err=True)
    for reason, identities in _grouped(result.refused).items():
        more = f" and {len(identities) - 1} more" if len(identities) > 1 else ""
        click.echo(f"not submitted: {identities[0]}{more}: {reason}", err=True)
    if result.interrupted:
        click.echo("interrupted: what was not submitted is as it was before", err=True)
    if not quiet:
        follow = f"; follow them with: hpcscale status {rendering.expansion.study.path} --watch"
        click.echo(f"{len(result.submitted)} submitted{follow if result.submitted else ''}")
    return result


def _told(identity: str, job_id: str) -> None:
    click.echo(f"{job_id}  {identity}")


def _grouped(reasons: dict[str, str]) -> dict[str, list[str]]:
    grouped: dict[str, list[str]] = {}
    for identity, reason in reasons.items():
        grouped.setdefault(reason, []).append(identity)
    return grouped


def _explain(rendering: Rendering, found: StudyStatus, plan: plans.Plan, as_json: bool) -> None:
    """The bill, and in a few lines what is left out and why."""
    for note in found.notes:
        click.echo(f"note: {note}", err=True)
    for warning, count in sorted(rendering.warnings.items()):
        click.echo(f"warning: {warning}" + (f" ({count} points)" if count > 1 else ""), err=True)
    for each in rendering.expansion.skipped:
        click.echo(each, err=True)
    reasons = _grouped({each.point.identity: reason for each, reason in plan.left})
    for reason, identities in list(reasons.items())[:20]:
        more = f" and {len(identities) - 1} more" if len(identities) > 1 else ""
        click.echo(f"not submitted: {identities[0]}{more}: {reason}", err=True)
    if len(reasons) > 20:
        click.echo(f"not submitted: {sum(map(len, list(reasons.values())[20:]))} others", err=True)
    if not plan.chosen:
        click.echo(f"{rendering.study}: nothing to submit", err=as_json)
        return
    again = sum(each.word != "new" for each in plan.chosen)
    words = f"{rendering.study}: {plans.bill(plan.points).sentence()}" + (f" ({again} again)" if again else "")
    click.echo(words, err=as_json)


def _document(plan: plans.Plan, result: submission.Outcome | None) -> dict[str, Any]:
    bill = plans.bill(plan.points)
    return {
        "jobs": bill.jobs,
        "node_hours": bill.node_hours,
        "longest_seconds": bill.longest_seconds,
        "chosen": [each.point.identity for each in plan.chosen],
        "left": {each.point.identity: reason for each, reason in plan.left},
        "submitted": result.submitted if result else {},
        "found": result.found if result else {},
        "refused": result.refused if result else {},
        "taken_by_others": result.left if result else {},
    }
