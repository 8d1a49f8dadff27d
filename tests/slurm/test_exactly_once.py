"""Each point is submitted exactly once: whoever is killed, and however many submit at once."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from collections import Counter

import pytest

from .conftest import Site

STUDY = """\
name: many
model: tiny-gpt
training: {sequence_length: 32, global_batch_size: 64, precision: fp32}
job: {time: 00:10:00}
machines: {juwels-booster: {layout: {dp: 1}, sweep: {product: {mbs: [1, 2, 4, 8], seed: [1, 2, 3, 4, 5, 6]}}}}
protocol: {warmup_steps: 1, measured_steps: 2}
"""
POINTS = 24


@pytest.fixture
def many(site: Site) -> Site:
    """A study of 24 points whose jobs never start: what is looked at is how often each was submitted."""
    site.put("studies/many.yaml", STUDY)
    site.cluster.run("scontrol", "update", "partitionname=booster", "state=down")
    return site


@pytest.fixture(autouse=True)
def _open_again(site: Site) -> object:
    yield
    site.cluster.run("scancel", "-u", "root", check=False)
    site.cluster.run("scontrol", "update", "partitionname=booster", "state=up")


def names(site: Site) -> Counter[str]:
    return Counter(site.cluster.run("squeue", "-h", "-t", "PD", "-o", "%j").split())


def test_a_submit_that_is_killed_at_any_moment_and_repeated_submits_each_point_once(many: Site) -> None:
    started = time.monotonic()
    many.call("submit", "many", "--yes", "--point", "mbs1-*")
    whole = time.monotonic() - started
    generator = random.Random(20)
    moments = sorted(generator.uniform(0.3 * whole, 1.6 * whole) for _ in range(20))
    for moment in moments:
        process = many.start("submit", "many", "--yes")
        time.sleep(moment)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    last = many.call("submit", "many", "--yes")
    assert set(names(many).values()) == {1}, last.stdout + last.stderr
    assert len(names(many)) == POINTS
    assert {each["state"] for each in many.states("many").values()} == {"queued"}
    jobs = {str(each["job"]) for each in many.states("many").values()}
    assert jobs == set(many.cluster.run("squeue", "-h", "-o", "%i").split()), "and the ledger knows them all"


def test_eight_submits_at_once_submit_each_point_once(many: Site) -> None:
    processes = [many.start("submit", "many", "--yes") for _ in range(8)]
    told = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0] * 8, told
    assert set(names(many).values()) == {1}
    assert len(names(many)) == POINTS
    assert sum(int(out.split(" submitted;")[0].split()[-1]) for out, _ in told if " submitted;" in out) == POINTS


def test_max_jobs_is_held_by_the_scheduler(many: Site) -> None:
    """Lanes of dependencies: nobody has to stay logged in for it."""
    many.call("submit", "many", "--yes", "--max-jobs", "3", "--point", "mbs1-*")
    many.call("submit", "many", "--yes", "--max-jobs", "3", "--point", "mbs2-*")
    lines = many.cluster.run("squeue", "-h", "-o", "%i %E").splitlines()
    free = [line for line in lines if line.endswith("(null)")]
    assert len(lines) == 12
    assert len(free) == 3
    waited_for = Counter(line.split()[1] for line in lines if line not in free)
    assert set(waited_for.values()) == {1}, "no job is waited for by two"


def test_what_the_scheduler_refuses_is_told_and_may_be_submitted_again(many: Site) -> None:
    refused = many.call("submit", "many", "--yes", "--reservation", "nosuch", code=1)
    assert "Requested reservation is invalid" in refused.stderr
    assert "0 submitted" in refused.stdout
    assert not names(many)
    assert f"{POINTS} submitted" in many.call("submit", "many", "--yes").stdout


def test_cancel_ends_the_jobs_of_the_chosen_points_only(many: Site) -> None:
    many.call("submit", "many", "--yes", "--point", "mbs[12]-*")
    assert "6 cancelled" in many.call("cancel", "many", "--yes", "--point", "mbs1-*").stdout
    states = Counter(str(each["state"]) for each in many.states("many").values())
    assert states == {"queued": 6, "cancelled": 6, "new": 12}
    assert "cancelled; submit it again with --only cancelled" in many.call("submit", "many", "--dry-run").stderr


def test_a_budget_stops_a_submission_before_anything_is_queued(many: Site) -> None:
    many.put("studies/many.yaml", STUDY + "budget_node_hours: 2\n")
    told = many.call("submit", "many", "--yes", code=2).stderr
    assert "4 node-hours to submit are more than its budget_node_hours of 2; nothing was submitted" in told
    many.call("submit", "many", "--yes", "--point", "mbs[12]-*")
    told = many.call("submit", "many", "--yes", "--point", "mbs4-*", code=2).stderr
    assert "1 node-hours to submit and 2 queued or running are more than" in told
    assert sum(names(many).values()) == 12


def test_without_a_terminal_nothing_is_submitted_unasked(many: Site) -> None:
    assert "there is no terminal to ask on; give --yes" in many.call("submit", "many", code=2).stderr
    assert subprocess.run(["squeue", "-h"], env=many.environment, capture_output=True, check=True).stdout == b""


@pytest.mark.parametrize("lanes", [(), ("--max-jobs", "3")], ids=["all at once", "in lanes"])
def test_ctrl_c_gives_back_what_was_not_submitted_yet(many: Site, lanes: tuple[str, ...]) -> None:
    from hpcscale.jobs import ledger

    slow = many.put("bin/sbatch", '#!/bin/sh\nsleep 0.2\nPATH="${PATH#*:}" exec sbatch "$@"\n')
    slow.chmod(0o755)
    process = many.start("submit", "many", "--yes", *lanes, PATH=f"{slow.parent}:{many.environment['PATH']}")
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "interrupted: what was not submitted is as it was before" in told
    assert 0 < len(names(many)) < POINTS
    assert ledger.read(many.folder / "runs/many").claims == []
    many.call("submit", "many", "--yes")
    assert set(names(many).values()) == {1}
    assert len(names(many)) == POINTS


def test_variables_of_the_shell_do_not_override_the_script(many: Site) -> None:
    many.call("submit", "many", "--yes", "--point", "mbs1-seed1-*", SBATCH_TIMELIMIT="1", SBATCH_JOB_NAME="other")
    assert many.cluster.run("squeue", "-h", "-o", "%l %j").split()[0] == "10:00"
    assert next(iter(names(many))).startswith("many-")
