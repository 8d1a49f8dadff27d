"""``job.time: auto``: the time that a job asks for, its queue, and what is said where no time can be told."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from hpcscale.cost import job_time
from hpcscale.jobs.render import Request, render
from hpcscale.jobs.script import Scripts
from hpcscale.spec import study
from hpcscale.spec.expand import Expansion, expand
from hpcscale.spec.job import SettingsFile, merge_settings
from hpcscale.spec.units import format_seconds

GOLDEN = Path(__file__).parent.parent / "golden" / "scripts"
OWN = SettingsFile.model_validate(
    {"machines": {"fugaku": {"group": "hp000000"}, "juwels-booster": {"account": "<account>"}}}
)
STUDY = """\
name: auto
model: gpt-30b
training: {sequence_length: 2048, global_batch_size: 1536, activation_checkpointing: full}
job: {time: auto}
machines:
  fugaku:
    layout: {tp: 4, pp: 48}
    training: {precision: fp32}
    resources: {freq: 2000, eco_state: 0}
    sweep: {product: {dp: [1, 32]}}
  juwels-booster: {layout: {dp: 16, tp: 4, pp: 12}}
protocol: {warmup_steps: 2, measured_steps: 5}
"""
Write = Callable[[str, str], Path]


def resolved(path: Path, only: tuple[str, ...] = (), **sets: object) -> Expansion:
    return job_time.resolve(expand(study.read(str(path)), only, sets))


def test_time_is_start_steps_at_the_upper_end_and_room_in_whole_five_minutes() -> None:
    # 600 s + 10 x 60 s = 1200 s; a tenth of it is less than five minutes of room
    assert job_time.need(10, 50.0, 60.0).seconds == 1500
    # 600 s + 1000 x 60 s = 60600 s, and a tenth: 66660 s
    assert job_time.need(1000, 50.0, 60.0).seconds == 66900


def test_more_steps_move_a_job_to_no_other_hash(write: Write) -> None:
    path = write("auto.yaml", STUDY)
    written = {point.hash: point for point in expand(study.read(str(path)), (), {"job.time": "02:00:00"}).points}
    found = resolved(path).points
    assert {point.hash for point in found} == set(written)
    assert {point.job.seconds for point in found} != {7200}


def test_the_queue_follows_from_the_time(write: Write) -> None:
    """Two queues for the same nodes, the short one first, as sites list them."""
    profile = (Path(__file__).parents[2] / "machines" / "juwels-booster.yaml").read_text()
    short = "  - {name: short, nodes: [1, 384], time: {max: 00:20:00}}\n  - {name: booster,"
    machine = write("two.yaml", profile.replace("  - {name: booster,", short))
    path = write("auto.yaml", STUDY.replace("  juwels-booster:", f"  {machine}:"))
    (few,) = resolved(path, (str(machine),), measured_steps=1, warmup_steps=0).points
    (many,) = resolved(path, (str(machine),), measured_steps=500).points
    assert (few.queue and few.queue.name, many.queue and many.queue.name) == ("short", "booster")


def test_a_job_asks_for_no_more_than_its_queue_gives_and_says_that_it_will_not_end(write: Write) -> None:
    path = write("auto.yaml", STUDY)
    (point,) = resolved(path, ("juwels-booster",), measured_steps=100000).points
    assert point.job_seconds == 24 * 3600
    assert "booster gives 24:00:00 at most: it cannot go on without checkpoints" in point.warnings[-1]
    (point,) = resolved(
        path, ("juwels-booster",), **{"measured_steps": 100000, "training.checkpoint.every_steps": 100}
    ).points
    assert "it goes on from its checkpoints in up to 3 further jobs" in point.warnings[-1]


def test_a_queue_that_serves_no_short_jobs_gets_its_minimum(write: Write) -> None:
    path = write("auto.yaml", STUDY)
    (point,) = expand(study.read(str(path)), ("juwels-booster",)).points
    assert point.queue is not None
    queue = point.queue.model_copy(update={"time": point.queue.time.model_copy(update={"min": 7200})})
    machine = point.machine.model_copy(update={"queues": (queue,)})
    timed = job_time.timed(replace(point, machine=machine), job_time.Need(900, "predicted"))
    assert timed.job_seconds == 7200


def test_a_machine_without_a_known_peak_says_what_to_do(write: Write) -> None:
    path = write("auto.yaml", STUDY)
    found = resolved(path, ("juwels-booster",), precision="fp8")
    assert found.points == []
    assert "job.time: auto needs a prediction, and no fp8 peak of a100-40gb is known" in found.skipped[0].reason
    assert "write a time" in found.skipped[0].reason


@pytest.mark.parametrize(
    ("machine", "seconds", "file"),
    [("fugaku", (270.0, 320.0), "fugaku_auto_time.sh"), ("juwels-booster", (9.5, 11.2), "juwels_auto_time.sh")],
)
def test_scripts_say_where_their_time_comes_from(
    machine: str, seconds: tuple[float, float], file: str, write: Write
) -> None:
    """Golden for given predictions: what is predicted moves with every calibration."""
    point = expand(study.read(str(write("auto.yaml", STUDY))), (machine,)).points[-1]
    timed = job_time.timed(point, job_time.need(7, *seconds))
    scripts = Scripts(timed.machine, merge_settings(OWN, machine, {}))
    script = scripts.render(timed, Path("/scratch/<account>/runs/auto") / timed.identity)
    path = GOLDEN / file
    if os.environ.get("HPCSCALE_GOLDEN") == "write":
        path.write_text(script, encoding="utf-8")
    assert script == path.read_text(encoding="utf-8")


def test_rendering_resolves_the_time_on_its_way(write: Write) -> None:
    request = Request(machines=("juwels-booster",), out=Path("/scratch/<account>/runs"))
    (rendered,) = render(study.read(str(write("auto.yaml", STUDY))), request, OWN).points
    seconds = rendered.point.job_seconds
    assert seconds and f"#SBATCH --time={format_seconds(seconds)}" in rendered.script
    assert f'"time_seconds": {seconds}' in rendered.description
    assert f"# Wall time {format_seconds(seconds)}, predicted: 00:10:00 to start, 7 steps of" in rendered.script
