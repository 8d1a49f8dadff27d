"""What a run loses by a lost node, a preemption, its time limit, a restarted controller, a full disk: nothing but time."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpcscale.record.reader import Record, read

from .cluster import Cluster
from .conftest import Site

STUDY = """\
name: faults
model: tiny-gpt
training: {{sequence_length: 32, global_batch_size: 8, micro_batch_size: 1, precision: fp32, checkpoint: {{every_steps: 5}}}}
job: {{time: "{time}", retries: 2}}
machines: {{juwels-booster: {{layout: {{dp: 2}}}}}}
protocol: {{warmup_steps: 1, measured_steps: {steps}}}
"""


class Run:
    """The one point of a study that is being trained on two nodes."""

    def __init__(self, site: Site, steps: int = 59, time_limit: str = "00:05:00"):
        self.site, self.steps = site, steps + 1
        site.put("studies/faults.yaml", STUDY.format(time=time_limit, steps=steps))
        site.call("submit", "faults", "--yes")

    def status(self) -> dict[str, object]:
        return next(iter(self.site.states("faults").values()))

    @property
    def job(self) -> str:
        return str(self.status()["job"])

    def reach(self, step: int) -> None:
        """Until the newest attempt has recorded so many steps; its record is asked, as status takes a core for half a second."""
        self.site.wait(lambda: any(each.steps and each.steps[-1]["step"] >= step for each in self.records()), 120)

    def finish(self) -> dict[str, object]:
        """Waits for the end; a requeued job need not wait for Slurm's two minutes."""

        def ended() -> bool:
            now = self.status()
            if str(now["detail"]).startswith("BeginTime"):
                self.site.cluster.run("scontrol", "update", f"jobid={now['job']}", "StartTime=now", check=False)
            return now["state"] not in ("queued", "running")

        self.site.wait(ended, 150)
        return self.status()

    def records(self) -> list[Record]:
        found = self.site.folder.glob("runs/faults/*/attempts/*/record.jsonl")
        return [read(path) for path in sorted(found, key=lambda path: path.stat().st_mtime)]

    def check_that_nothing_is_lost(self) -> None:
        """Every step is there, a step that was run twice had the same loss, and the attempt went on where the other one saved."""
        losses: dict[int, float] = {}
        for record in self.records():
            for line in record.steps:
                assert losses.setdefault(line["step"], line["loss"]) == line["loss"]
        assert sorted(losses) == list(range(1, self.steps + 1))
        first, second = self.records()[-2:]
        assert second.run["resume"]["attempt"] == first.path.parent.name
        assert second.run["resume"]["step"] >= first.steps[-1]["step"] // 5 * 5 - 5


def test_a_preempted_job_saves_itself_and_goes_on(site: Site) -> None:
    run = Run(site)
    run.reach(7)
    site.cluster.run("sbatch", "-p", "urgent", "-N4", "--exclusive", "--wrap", "sleep 2", cwd=site.folder)
    done = run.finish()
    assert (done["state"], done["attempts"], done["jobs"]) == ("completed", 2, 1)
    first, second = run.records()
    assert first.status == "preempted"
    assert second.steps[0]["step"] == first.steps[-1]["step"] + 1, "not one step is run twice"
    run.check_that_nothing_is_lost()


def test_a_lost_node_costs_the_steps_since_the_last_checkpoint_only(site: Site) -> None:
    """The first node: with it go rank 0, the batch script and its wish to go on."""
    run, node = Run(site), "jwb0001"
    run.reach(12)
    cluster = site.cluster
    cluster.kill_node(node)
    cluster.run("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
    try:
        done = run.finish()
    finally:
        cluster.start_slurmd(node)
        cluster.run("scontrol", "update", f"nodename={node}", "state=resume", check=False)
        cluster.wait_for(lambda: cluster.run("sinfo", "-h", "-N", "-o", "%N %t").count(" idle") >= 16)
    assert (done["state"], done["attempts"], done["jobs"]) == ("completed", 2, 1)
    run.check_that_nothing_is_lost()


def test_a_job_that_runs_out_of_time_is_requeued_and_goes_on(site: Site) -> None:
    run = Run(site, steps=5000, time_limit="00:00:12")
    site.wait(lambda: len(run.records()) == 1 and run.records()[0].status == "timeout", 60)
    site.wait(lambda: str(run.status()["detail"]).startswith("BeginTime"), 60)
    site.cluster.run("scontrol", "update", f"jobid={run.job}", "StartTime=now")
    site.wait(lambda: len(run.records()) == 2 and run.records()[1].steps, 60)
    first, second = run.records()
    assert (run.status()["attempts"], run.status()["jobs"]) == (2, 1)
    site.call("cancel", "faults", "--yes")
    assert first.failure is not None
    assert "stopped by itself" in first.failure["evidence"]
    assert second.steps[0]["step"] == first.steps[-1]["step"] + 1


def test_where_requeue_is_forbidden_a_successor_is_submitted(tmp_path: Path, cluster: Cluster) -> None:
    site = Site(tmp_path, cluster, slurm="requeue: false")
    run = Run(site, steps=40)
    run.reach(7)
    first = run.job
    cluster.run("scancel", "--signal=USR2", first)
    site.wait(lambda: run.job != first, 60)
    now = run.status()
    assert (now["state"], now["jobs"]) == ("queued", 2)
    assert "BeginTime" in str(now["detail"]), "it waits before it goes on"
    assert run.finish()["state"] == "completed"
    run.check_that_nothing_is_lost()


def test_training_goes_on_while_the_controller_restarts_and_accounting_is_stopped(site: Site) -> None:
    run, cluster = Run(site, steps=5000), site.cluster
    run.reach(2)
    cluster.kill("slurmctld")
    try:
        told = site.call("status", "faults")
    finally:
        cluster.start_slurmctld()
    assert "note: the scheduler cannot be asked (squeue" in told.stderr
    assert "unknown" in told.stdout
    run.reach(run.records()[0].steps[-1]["step"] + 2)
    cluster.kill("slurmdbd", signal.SIGTERM)
    try:
        run.reach(run.records()[0].steps[-1]["step"] + 2)
        assert (run.status()["state"], run.status()["attempts"], run.status()["jobs"]) == ("running", 1, 1)
        site.call("cancel", "faults", "--yes")
        site.wait(lambda: run.status()["state"] == "cancelled")
    finally:
        cluster.start_slurmdbd()
    steps = [line["step"] for line in run.records()[0].steps]
    assert steps == list(range(1, steps[-1] + 1))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "runs"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("mounting a small file system needs root")
    yield folder
    for _ in range(50):
        if subprocess.run(["umount", str(folder)], capture_output=True, check=False).returncode == 0:
            return
        time.sleep(0.2)


def test_a_full_disk_ends_the_job_in_words_and_the_next_one_goes_on(site: Site, small_disk: Path) -> None:
    site.put(
        "studies/faults.yaml", STUDY.format(time="00:05:00", steps=400).replace(", checkpoint: {every_steps: 5}", "")
    )
    site.call("submit", "faults", "--yes")
    status = lambda: next(iter(site.states("faults").values()))  # noqa: E731
    site.wait(lambda: int(str(status()["step"] or 0)) >= 3, 60)
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(os.urandom(64 * 1024))
        except OSError:
            pass
    site.wait(lambda: status()["state"] not in ("queued", "running"), 90)
    failed = status()
    assert failed["state"] == "failed"
    assert "No space left" in str(failed["detail"])
    (record,) = [read(path) for path in small_disk.glob("faults/*/attempts/*/record.jsonl")]
    steps = [line["step"] for line in record.steps]
    assert steps == list(range(1, steps[-1] + 1)), "what was recorded is whole"
    assert record.damaged_lines <= 1
    filler.unlink()
    site.put(
        "studies/faults.yaml", STUDY.format(time="00:05:00", steps=400).replace(", checkpoint: {every_steps: 5}", "")
    )
    again = site.call("submit", "faults", "--yes", "--only", "failed")
    assert "1 submitted" in again.stdout
    site.wait(lambda: int(str(status()["attempts"])) == 2 and status()["step"], 60)
    site.call("cancel", "faults", "--yes")
