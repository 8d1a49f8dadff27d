"""`hpcscale probe`: this computer measured at once, other machines by a job script."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hpcscale.record import probe
from hpcscale.spec.device import catalogue
from hpcscale.spec.probe import precisions

Cli = Callable[..., subprocess.CompletedProcess[str]]


def test_this_computer_is_measured_at_once_and_shown_again(cli: Cli, tmp_path: Path) -> None:
    done = cli("probe", "--quick", "--ranks", "1", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["machine"], found["status"], found["run"]["ranks"], found["run"]["threads"]) == (
        "local",
        "completed",
        1,
        1,
    )
    kinds = {each["kind"] for each in found["measurements"]}
    assert kinds == {"matmul", "attention", "memory", "launch"}, "one rank has nobody to talk to"
    product = next(each for each in found["measurements"] if each["kind"] == "matmul")
    assert product["flops"] == 2 * product["m"] * product["n"] * product["k"]
    assert product["flops_per_second"] == pytest.approx(product["flops"] / product["seconds"])
    record = Path(found["record"])
    assert record.parent.parent == tmp_path / "runs/probes/local/1-node-1-rank/attempts"
    shown = cli("probe", "--show")
    assert "Matrix products in fp32, GFLOP/s a rank" in shown.stdout
    assert "Causal attention in fp32, forward and backward" in shown.stdout
    assert f"{len(found['measurements'])} measurements" in shown.stdout


def test_ctrl_c_shows_and_keeps_what_was_measured(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hpcscale", "probe", "--ranks", "2"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=tmp_path, env={**os.environ, "COLUMNS": "140"}, **pipes) as process:
        deadline = time.monotonic() + 120
        while not any(probe.read(path).measurements for path in probe.records(tmp_path / "runs", "local")):
            assert time.monotonic() < deadline, "nothing was measured"
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        shown, told = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Memory and launch" in shown
    assert "the probe was interrupted" in told
    assert "Traceback" not in told
    (path,) = probe.records(tmp_path / "runs", "local")
    assert probe.read(path).status == "preempted"
    mine = str(tmp_path).encode()
    assert [each.parent.name for each in Path("/proc").glob("[0-9]*/cmdline") if mine in _bytes(each)] == []


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


@pytest.mark.parametrize(
    ("machine", "account", "asked", "lines", "submit"),
    [
        ("juwels-booster", "account=a", ("--nodes", "4"),
         ("#SBATCH --nodes=4", "#SBATCH --ntasks-per-node=4", "#SBATCH --partition=booster", "#SBATCH --time=00:15:00"), "sbatch"),
        ("juwels-booster", "account=a", ("--nodes", "2", "--ranks", "2", "--set", "job.queue=develbooster"),
         ("#SBATCH --nodes=2", "#SBATCH --ntasks-per-node=1", "#SBATCH --partition=develbooster"), "sbatch"),
        ("fugaku", "group=g", ("--nodes", "12", "--set", "ranks_per_node=4", "--set", "freq=2000"),
         ('#PJM -L "node=12"', '#PJM --mpi "proc=48"', '#PJM -L "freq=2000,eco_state=2"'), "pjsub"),
    ],
)  # fmt: skip
def test_a_machine_with_a_scheduler_gets_a_job_script(
    machine: str, account: str, asked: tuple[str, ...], lines: tuple[str, ...], submit: str, cli: Cli, tmp_path: Path
) -> None:
    done = cli("probe", "--machine", machine, "--set", account, *asked)
    assert done.returncode == 0, done.stderr
    (script,) = tmp_path.glob(f"runs/probes/{machine}/*/job.sh")
    text = script.read_text()
    assert all(f"\n{line}\n" in text for line in lines), text
    assert '-m hpcscale.train.probe "$point/point.json"' in text
    assert f"{submit} {script}" in done.stdout
    linted = cli("lint", script)
    assert linted.returncode == 0, linted.stdout + linted.stderr
    described = json.loads((script.parent / "point.json").read_text())
    assert (described["schema"], described["machine"]) == ("probe", machine)
    assert described["ranks"] == described["nodes"] * described["ranks_per_node"]


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        ("a100-40gb", ("bf16", "fp32")),
        ("v100-sxm", ("fp16", "fp32")),
        ("a6000", ("bf16",)),  # no other peak of it is known
        ("a64fx", ("fp32",)),
        ("cpu-core", ("bf16", "fp32")),  # nothing is known: the ranks find out
    ],
)
def test_a_probe_measures_the_precisions_that_the_device_trains_in(device: str, expected: tuple[str, ...]) -> None:
    assert precisions(catalogue()[device]) == expected


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--machine", "juwels-boster"), "did you mean 'juwels-booster'?"),
        (("--machine", "juwels-booster"), "juwels-booster needs your account"),
        (("--ranks", "100000"), "local cannot run this probe: 100000 ranks are more than local holds"),
        (("--machine", "fugaku", "--nodes", "2", "--ranks", "3"), "3 ranks are not equally many on each of 2 nodes"),
        (
            ("--machine", "juwels-booster", "--nodes", "1", "--ranks", "8"),
            "8 ranks of a node are more than the 4 devices",
        ),
        (("--machine", "juwels-booster", "--nodes", "1000"), "1000 nodes are more than juwels-booster has (936)"),
        (("--set", "gbs=8"), "--set gbs changes nothing of a probe, which trains nothing"),
        (("--set", "nonsense=8"), "nonsense"),
        (("--show",), "runs holds no probe of local; make one with: hpcscale probe --machine local"),
    ],
)
def test_wrong_input_is_a_sentence(arguments: tuple[str, ...], words: str, cli: Cli, tmp_path: Path) -> None:
    done = cli("probe", *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()
