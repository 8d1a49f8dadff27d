"""``hpcscale submit --smoke``: does the smallest point of a study run at all? Two steps on the debug queue, waited for."""

from __future__ import annotations

import sys
import time
from dataclasses import replace

import click

from hpcscale.cli import options
from hpcscale.cli.errors import FAILED
from hpcscale.jobs import plan as plans
from hpcscale.jobs import proofread
from hpcscale.jobs.render import Rendering, Request, render
from hpcscale.jobs.status import PointStatus, status
from hpcscale.spec import job
from hpcscale.spec.machine import Queue
from hpcscale.spec.point import Point
from hpcscale.spec.problems import InputError
from hpcscale.spec.study import Study
from hpcscale.spec.units import format_seconds

LONGEST_SECONDS = 30 * 60  # of a smoke test's job, if the queue and the study allow that much
_EVERY_SECONDS = 3.0


def smoke(asked: Study, request: Request, ask: bool, dry_run: bool, no_lint: bool) -> None:
    """Submits one job, waits for it, and tells what it found; exits with 1 if it did not complete. Ctrl-C leaves the job."""
    rendering = render(asked, request, job.read_settings())
    if not rendering.points:
        names = [each.identity for each in rendering.expansion.points]
        raise InputError(f"{asked.name}: {options.nothing_left(names, request.point)}")
    smallest = min((each.point for each in rendering.points), key=lambda point: (point.nodes, point.ranks))
    small = _shortened(asked, request, smallest)
    (found,) = status([each.point for each in small.points], small.folder, write=not dry_run).points
    # It is asked for now, whatever an earlier one said.
    plan = plans.Plan(chosen=[found] if not found.live else [], left=[(found, "")] if found.live else [])
    point = small.points[0].point
    click.echo(f"smoke test of {smallest.identity}: 2 steps on {point.queue.name if point.queue else point.machine.name}, {plans.bill([point]).sentence()}", err=True)  # fmt: skip
    from hpcscale.cli.submit import chosen, confirm, hand_over

    if not no_lint:
        proofread.check(chosen(small, plan), asked.name)
    if dry_run:
        return
    if plan.chosen:
        confirm(not ask)
        result = hand_over(small, plan, None, quiet=True)
        if result.refused:
            sys.exit(FAILED)
    ended = _wait(small)
    _tell(ended)
    if ended.word != "completed":
        sys.exit(FAILED)


def _shortened(asked: Study, request: Request, smallest: Point) -> Rendering:
    """The point with two steps, in a folder beside the study's, on the queue for such things."""
    sets = [*request.sets, ("protocol.warmup_steps", 1), ("protocol.measured_steps", 1)]
    queue = _debug_queue(smallest)
    if queue is not None:
        sets.append(("job.queue", queue.name))
    seconds = min(
        smallest.job_seconds or LONGEST_SECONDS, LONGEST_SECONDS, queue.time.max if queue else LONGEST_SECONDS
    )
    sets.append(("job.time", format_seconds(max(seconds, queue.time.min if queue else 0))))
    named = replace(asked, file=asked.file.model_copy(update={"name": f"{asked.name}-smoke"}))
    # Two steps are another configuration with a hash of its own, so the point is found by what is before that.
    pattern = f"{smallest.identity.removesuffix(smallest.hash)}*"
    rendering = render(named, replace(request, point=pattern, sets=tuple(sets)), job.read_settings())
    rendering.points = [each for each in rendering.points if _same_but_steps(each.point, smallest)][:1]
    if not rendering.points:
        reasons = "; ".join(str(each.reason) for each in rendering.expansion.skipped) or "no point is left"
        raise InputError(f"the smoke test of {smallest.identity} cannot be written: {reasons}")
    return rendering


def _same_but_steps(point: Point, other: Point) -> bool:
    return (point.layout, point.training, point.model) == (other.layout, other.training, other.model)


def _debug_queue(point: Point) -> Queue | None:
    """The machine's queue for short tests that takes as many nodes; None where it has none."""
    return next((each for each in point.machine.queues if each.debug and each.admits(point.nodes, None) is None), None)


def _wait(rendering: Rendering) -> PointStatus:
    before = ""
    while True:
        (found,) = status([each.point for each in rendering.points], rendering.folder).points
        now = f"{found.word}{' (' + found.detail + ')' if found.word in ('queued', 'held') and found.detail else ''}"
        if now != before:
            click.echo(f"{time.strftime('%H:%M:%S')} job {found.job}: {now}", err=True)
            before = now
        if not found.live and found.word not in ("submitting", "unknown"):
            return found
        time.sleep(_EVERY_SECONDS)


def _tell(found: PointStatus) -> None:
    progress = found.progress
    if found.word != "completed":
        click.echo(f"the smoke test {found.word}: {found.detail}")
        click.echo(f"look at: hpcscale logs {found.folder}")
        return
    assert progress is not None, "only a record says completed"
    loss = f", loss {progress.loss:.4g}" if isinstance(progress.loss, int | float) else ""
    seconds = f"{progress.step_seconds:.4g} s" if progress.step_seconds else "unknown"
    click.echo(f"the smoke test completed: {progress.step} steps, the second took {seconds}{loss}")
    click.echo(f"record: {progress.attempt / 'record.jsonl'}")
