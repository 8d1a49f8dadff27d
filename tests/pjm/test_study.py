"""A study through PJM: rendered for Fugaku, submitted, trained under mpiexec over MPI, watched, cancelled, gone on."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from train import forks

from .system import PJM

MACHINE = """\
# Fugaku as far as PJM sees it; its nodes are processes of this host.
name: fugaku
title: Fugaku on one host
scheduler: pjm
nodes: 158976
device: cpu-core
node: {{devices: 1, cores: 48, memory: 32 GiB}}
queues:
  - {{name: small, nodes: [1, 384], time: {{min: 00:01:00, default: 00:01:00, max: 72:00:00}}}}
  - {{name: large, nodes: [385, 12288], time: {{min: 00:01:00, default: 00:01:00, max: 24:00:00}}}}
requires: [group]
uses: [volumes]
pjm: {{resource_unit: rscunit_ft01}}
launch:
  command: mpiexec -n {{{{ ranks }}}} -std-proc "$HPCSCALE_ATTEMPT/output/%/1000r/rank" numactl -m 4-7 -N 4-7
  communication: mpi
  threads_per_rank: 1
python: {python}
"""
STUDY = """\
name: 30b_tiny
model: tiny-gpt
training: {sequence_length: 64, global_batch_size: 8, micro_batch_size: 1, activation_checkpointing: full, precision: fp32}
scaling: strong
job: {time: 00:30:00}
machines:
  fugaku:
    layout: {tp: 1, pp: 2}
    sweep: {product: {dp: [1, 2]}}
protocol: {warmup_steps: 1, measured_steps: 3}
"""


class Site:
    """A person's folder in a data area of Fugaku."""

    def __init__(self, pjm: PJM):
        self.pjm, self.folder = pjm, pjm.work
        self.put("machines/fugaku.yaml", MACHINE.format(python=sys.executable))
        self.put("studies/30b_tiny.yaml", STUDY)
        self.put("configuration/settings.yaml", "machines: {fugaku: {group: hp000000, volumes: [/vol0004]}}\n")
        self.pjm.environment |= {"HPCSCALE_CONFIG_HOME": str(self.folder / "configuration"), "COLUMNS": "160", "OMP_NUM_THREADS": "1"}  # fmt: skip

    def put(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def call(self, *arguments: object, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        done = forks.command(arguments, self.pjm.work, self.pjm.environment)
        assert code is None or done.returncode == code, done.stdout + done.stderr
        return done

    def states(self, study: str = "30b_tiny") -> dict[str, dict[str, object]]:
        document = json.loads(self.call("status", study, "--json").stdout)
        return {each["point"]: each for each in document["points"]}

    def wait(self, condition: Callable[[], object], seconds: float = 90) -> None:
        """Most conditions are a whole hpcscale status: not more than half of the time is spent with asking."""
        deadline = time.monotonic() + seconds
        while (asked := time.monotonic()) < deadline:
            if condition():
                return
            time.sleep(max(0.3, time.monotonic() - asked))
        raise AssertionError(self.call("status", "30b_tiny", code=None).stdout)


@pytest.fixture
def site(pjm: PJM) -> Iterator[Site]:
    pjm.environment["FAKEPJM_REAL_MPI"] = "1"
    pjm.login(OMP_NUM_THREADS="1", PYTHONPATH=str(Path(__file__).parents[2]))
    yield Site(pjm)


def test_the_30b_study_scaled_down_trains_over_mpi_and_is_reported(site: Site) -> None:
    assert "2 submitted" in site.call("submit", "30b_tiny", "--yes").stdout
    site.call("status", "30b_tiny", "--watch", "--every", "1")
    states = site.states()
    assert {each["state"] for each in states.values()} == {"completed"}
    assert {each["scheduler_state"] for each in states.values()} == {"EXT"}
    rows = json.loads(site.call("report", "30b_tiny", "--format", "json").stdout)["rows"]
    assert [(row["nodes"], row["status"]) for row in rows] == [(2, "completed"), (4, "completed")]
    point = next(iter(states))
    assert "step 4" in site.call("logs", point, "--rank", "0").stdout
    assert "rank 1 has printed nothing" in site.call("logs", point, "--rank", "1", code=2).stderr
    assert list((site.folder / "runs/30b_tiny" / point).glob("*.stats")), "the job's statistics lie beside it"


SLEEPER = """\
name: sleepers
model: tiny-gpt
training: {sequence_length: 64, global_batch_size: 8, precision: fp32}
job: {time: 00:30:00}
machines: {fugaku: {layout: {dp: 1}, sweep: {product: {mbs: [1, 2, 4]}}}}
protocol: {warmup_steps: 1, measured_steps: 3}
"""


@pytest.fixture
def sleepers(site: Site) -> Site:
    """Three points whose trainer only sleeps."""
    program = site.folder / "sleeper"
    program.write_text("#!/bin/sh\nsleep 100\n")
    program.chmod(0o755)
    site.put("machines/fugaku.yaml", MACHINE.format(python=program))
    site.put("studies/sleepers.yaml", SLEEPER)
    return site


def test_states_waiting_and_cancelling(sleepers: Site) -> None:
    sleepers.call("submit", "sleepers", "--yes")
    sleepers.wait(
        lambda: (
            sorted(str(each["state"]) for each in sleepers.states("sleepers").values())
            == ["queued", "queued", "running"]
        )
    )
    assert "nothing to submit" in sleepers.call("submit", "sleepers", "--yes").stdout
    assert "3 cancelled" in sleepers.call("cancel", "sleepers", "--yes").stdout
    sleepers.wait(lambda: {each["state"] for each in sleepers.states("sleepers").values()} == {"cancelled"})


@pytest.mark.parametrize(("fault", "word", "said"), [("oom", "oom", "PJM code 23"), ("node_down@1s", "node", "PJM code 20"),
                                                     ("shell_fail", "failed", "PJM code 21")])  # fmt: skip
def test_what_pjm_says_of_an_end_becomes_the_points_state(sleepers: Site, fault: str, word: str, said: str) -> None:
    sleepers.pjm.inject(fault)
    sleepers.call("submit", "sleepers", "--yes", "--point", "mbs1-*")
    sleepers.wait(lambda: any(each["state"] == word for each in sleepers.states("sleepers").values()))
    assert any(said in str(each["detail"]) for each in sleepers.states("sleepers").values())


def test_the_elapse_limit_is_a_timeout(sleepers: Site) -> None:
    sleepers.pjm.hurry(1800)
    sleepers.call("submit", "sleepers", "--yes", "--point", "mbs1-*")
    sleepers.wait(lambda: any(each["state"] == "timeout" for each in sleepers.states("sleepers").values()))


def test_max_jobs_is_held_by_step_jobs(sleepers: Site) -> None:
    sleepers.pjm.environment["FAKEPJM_MAX_RUN"] = "8"
    sleepers.call("submit", "sleepers", "--yes", "--max-jobs", "2")
    jobs = sorted(str(each["job"]) for each in sleepers.states("sleepers").values())
    assert [job.split("_")[1] for job in jobs].count("1") == 1, "the third one is the second step of one of the others"
    assert len({job.split("_")[0] for job in jobs}) == 2
    sleepers.wait(lambda: sum(each["state"] == "running" for each in sleepers.states("sleepers").values()) == 2)
    time.sleep(1)
    assert sum(each["state"] == "running" for each in sleepers.states("sleepers").values()) == 2


def test_a_job_says_in_its_comment_whose_it_is(sleepers: Site) -> None:
    """By that, and not by its name alone, the next submit finds what a killed one had handed over."""
    sleepers.call("submit", "sleepers", "--yes", "--point", "mbs1-*")
    (job,) = sleepers.pjm.jobs()
    lines = (sleepers.folder / "runs/sleepers/ledger.jsonl").read_text().splitlines()
    (claim,) = (line for line in map(json.loads, lines) if line["kind"] == "claim")
    assert sleepers.pjm.job(job)["comment"] == f"hpcscale/{claim['point']}/{claim['token']}"


def test_what_a_killed_submit_had_handed_over_is_found_again(sleepers: Site) -> None:
    """A claim of a process that is gone, and a job with the claim's token in its comment."""
    sleepers.call("render", "sleepers")
    points = sorted(path.parent.name for path in sleepers.folder.glob("runs/sleepers/*/job.sh"))
    claims = [{"kind": "claim", "point": point, "hash": point[-8:], "token": "cafe0123", "host": socket.gethostname(), "pid": 1,
               "started": "0", "user": "me", "time": time.time()} for point in points[:2]]  # fmt: skip
    (sleepers.folder / "runs/sleepers/ledger.jsonl").write_text("".join(json.dumps(claim) + "\n" for claim in claims))
    script = sleepers.folder / "runs/sleepers" / points[0] / "job.sh"
    assert sleepers.pjm.run("pjsub", "--comment", f"hpcscale/{points[0]}/cafe0123", script).returncode == 0
    done = sleepers.call("submit", "sleepers", "--yes")
    assert f"found: {points[0]} had been submitted as job" in done.stderr
    assert "2 submitted" in done.stdout
    assert len(sleepers.pjm.jobs()) == 3


LONG = """\
name: long
model: tiny-gpt
training: {sequence_length: 32, global_batch_size: 4, micro_batch_size: 1, precision: fp32, checkpoint: {every_steps: 5}}
job: {time: TIME, retries: 2}
machines: {fugaku: {layout: {dp: 2}}}
protocol: {warmup_steps: 1, measured_steps: 5000}
"""


def long_enough_to_begin() -> int:
    """Seconds in which a job on this host begins to train and stops before its end, as busy as the host is now."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", "import hpcscale.train.run"], check=True)
    return max(14, round(6 * (time.monotonic() - began)))


def test_a_job_that_runs_out_of_time_is_followed_by_a_successor_that_goes_on(site: Site) -> None:
    from hpcscale.record.reader import read

    site.pjm.set(rscgrp={"small": {"node": [1, 384], "elapse": [1, 259200]}})
    site.put("machines/fugaku.yaml", MACHINE.replace("min: 00:01:00", "min: 00:00:01").format(python=sys.executable))
    seconds = long_enough_to_begin()
    site.put("studies/long.yaml", LONG.replace("TIME", f"{seconds}s"))
    site.call("submit", "long", "--yes")
    one = lambda: next(iter(site.states("long").values()))  # noqa: E731
    site.wait(lambda: int(str(one()["jobs"])) >= 2, 90 + 2 * seconds)
    found = lambda: list(site.folder.glob("runs/long/*/attempts/*/record.jsonl"))  # noqa: E731
    site.wait(lambda: len(found()) >= 2 and one()["step"], 90 + 2 * seconds)
    site.call("cancel", "long", "--yes", code=None)  # it may just have ended by itself
    records = sorted(found(), key=lambda path: path.stat().st_mtime)
    first, second = (read(path) for path in records[:2])
    assert first.status == "timeout"
    assert first.failure is not None
    assert "stopped by itself" in first.failure["evidence"]
    if second.steps:
        assert second.steps[0]["step"] == first.steps[-1]["step"] + 1


def test_any_submitit_user_can_run_functions_on_pjm(site: Site) -> None:
    """A function, its result, its exception, a cancelled one: submitit's own interface, nothing of hpcscale's."""
    program = """
import submitit, sys, time
executor = submitit.AutoExecutor(folder="log", cluster="pjm")
executor.update_parameters(timeout_min=10, nodes=1, pjm_rscgrp="small", pjm_group="hp000000", pjm_volumes="/vol0004", name="double")
jobs = [executor.submit(lambda number: 2 * number, 21), executor.submit(lambda: 1 / 0)]
print(jobs[0].result())
try:
    jobs[1].result()
except submitit.core.utils.FailedJobError as error:
    print("ZeroDivisionError" in str(error))
executor.update_parameters(tasks_per_node=2)
print(executor.submit(lambda: submitit.JobEnvironment().global_rank).results())
sleeping = executor.submit(time.sleep, 100)
sleeping.cancel()
print(sleeping.done(force_check=True) or "wait")
try:
    executor.update_parameters(pjm_rscgroup="x")
except (ValueError, NameError) as error:
    print("rscgrp" in str(error))
"""
    (site.folder / "user.py").write_text(program)
    site.pjm.environment.pop("FAKEPJM_REAL_MPI")
    done = site.pjm.run(sys.executable, "user.py")
    assert done.stdout.splitlines()[:3] == ["42", "True", "[0, 1]"], done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "True"
