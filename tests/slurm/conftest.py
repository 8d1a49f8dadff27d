"""One Slurm for all tests of this folder, and a site on it: JUWELS Booster's profile with this host's hardware."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from train import forks

from .cluster import Cluster, missing

MACHINE = """\
# JUWELS Booster as far as the scheduler sees it; its nodes are processes of this host, one rank each.
name: juwels-booster
title: JUWELS Booster on one host
scheduler: slurm
nodes: 936
device: cpu-core
node: {{devices: 1, cores: 8, memory: 4 GB}}
queues:
  - {{name: booster, nodes: [1, 384], time: {{default: 01:00:00, max: 24:00:00}}}}
  - {{name: largebooster, nodes: [385, 936], time: {{max: 24:00:00}}}}
  - {{name: develbooster, nodes: [1, 4], time: {{max: 02:00:00}}, on_request: true, debug: true}}
  - {{name: urgent, nodes: [1, 4], time: {{max: 24:00:00}}, on_request: true}}
requires: [account]
slurm: {{{slurm}}}
launch: {{command: srun --label --kill-on-bad-exit=1 --cpu-bind=none, communication: gloo, threads_per_rank: 1}}
variables: {{TORCH_CPP_LOG_LEVEL: ERROR}}
setup: |
  # The four nodes are one host, whose resolver does not know their names.
  scontrol() {{ if [ "$2" = hostnames ]; then echo 127.0.0.1; else command scontrol "$@"; fi; }}
python: {python}
"""
STUDY = """\
# 30b_scaling, scaled down: the same protocol on a toy.
name: 30b_tiny
model: tiny-gpt
training: {sequence_length: 64, global_batch_size: 16, micro_batch_size: 1, activation_checkpointing: full, precision: fp32}
scaling: strong
job: {time: 00:10:00}
machines:
  juwels-booster:
    layout: {tp: 1, pp: 2}
    sweep: {product: {dp: [1, 2]}}
protocol: {warmup_steps: 2, measured_steps: 5}
"""


def need_slurm() -> None:
    """Where Slurm is required (CI) a missing one is a failure, elsewhere a skip with its reason."""
    if missing():
        reason = f"Slurm is not installed ({', '.join(missing())}); make slurm installs it"
        if os.environ.get("HPCSCALE_REQUIRE_SLURM"):
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    need_slurm()
    made = Cluster(tmp_path_factory.mktemp("slurm"))
    try:
        made.start()
        yield made
    finally:
        made.stop()


class Site:
    """A person's folder on a login node: profile, study, settings, runs."""

    def __init__(self, folder: Path, cluster: Cluster, slurm: str = ""):
        self.folder, self.cluster = folder, cluster
        self.put("machines/juwels-booster.yaml", MACHINE.format(python=sys.executable, slurm=slurm))
        self.put("studies/30b_tiny.yaml", STUDY)
        self.put("configuration/settings.yaml", "machines: {juwels-booster: {account: root}}\n")

    def put(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    @property
    def environment(self) -> dict[str, str]:
        own = {"HPCSCALE_CONFIG_HOME": str(self.folder / "configuration"), "COLUMNS": "160", "OMP_NUM_THREADS": "1"}
        return {**self.cluster.environment, **own}

    def call(self, *arguments: object, code: int | None = 0, **variables: str) -> subprocess.CompletedProcess[str]:
        done = forks.command(arguments, self.folder, {**self.environment, **variables})
        assert code is None or done.returncode == code, done.stdout + done.stderr
        return done

    def start(self, *arguments: object, **variables: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "hpcscale", *map(str, arguments)], cwd=self.folder, env={**self.environment, **variables},
            # make runs these tests in the background, where Ctrl-C is ignored, by their children too
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def states(self, study: str = "30b_tiny", *options: object) -> dict[str, dict[str, object]]:
        import json

        document = json.loads(self.call("status", study, "--json", *options).stdout)
        return {each["point"]: each for each in document["points"]}

    def wait(self, condition: Callable[[], object], seconds: float = 90) -> None:
        """Most conditions are a whole hpcscale status: not more than half of the time is spent with asking."""
        deadline = time.monotonic() + seconds
        while (asked := time.monotonic()) < deadline:
            if condition():
                return
            time.sleep(max(0.3, time.monotonic() - asked))
        raise AssertionError(
            self.call("status", "30b_tiny", code=None).stdout + self.cluster.run("squeue", "-a", check=False)
        )


@pytest.fixture
def site(tmp_path: Path, cluster: Cluster) -> Iterator[Site]:
    yield Site(tmp_path, cluster)
    cluster.run("scancel", "-u", "root", check=False)
    cluster.wait_for(lambda: not cluster.run("squeue", "-h", check=False).strip())
