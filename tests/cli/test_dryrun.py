"""`hpcscale dryrun`: ranks of a study's points on fake tensors, against the memory of their machine."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Cli = Callable[..., subprocess.CompletedProcess[str]]
Write = Callable[[str, str], Path]

STUDY = """\
name: s
model: {base: tiny-gpt, layers: 4, hidden: 64, heads: 2}
training: {sequence_length: 32, global_batch_size: 32, micro_batch_size: 1, precision: fp32}
job: {time: 00:05:00}
layout: {pp: 2}
machines: {m: {sweep: {product: {dp: [2, 4]}}}}
protocol: {warmup_steps: 1, measured_steps: 4}
"""
MACHINE = """\
name: m
scheduler: slurm
nodes: 100
device: {name: chip, kind: gpu%s}
node: {devices: 4, cores: 48, memory: 512 GB}
queues: [{name: q, nodes: [1, 100], time: {max: 24:00:00}}]
launch: {command: srun, ranks_per_node: %d}
"""


@pytest.fixture
def study(write: Write) -> Callable[..., None]:
    """``study(memory="40 GB")`` writes the study and its machine, whose device has so much memory, or says nothing."""

    def put(memory: str | None = "40 GB", ranks_per_node: int = 4, text: str = STUDY) -> None:
        write("s.yaml", text)
        write("machines/m.yaml", MACHINE % (f", memory: {memory}" if memory else "", ranks_per_node))

    return put


def test_the_first_ranks_of_the_stages_are_shown_and_fit(cli: Cli, study: Callable[..., None], tmp_path: Path) -> None:
    study()
    done = cli("dryrun", "s.yaml")
    assert done.returncode == 0, done.stderr
    titles = [line.partition(": ")[2] for line in done.stdout.splitlines() if ": " in line]
    assert titles == [
        "4 ranks, 4 of the 16 micro batches of a step, which is enough for the peak",
        "8 ranks, 4 of the 8 micro batches of a step, which is enough for the peak",
    ]
    rows = [line.split() for line in done.stdout.splitlines() if line.strip()[:1].isdigit()]
    assert [(row[0], row[1], row[2]) for row in rows] == [
        ("0", "0", "0-1"),
        ("2", "1", "2-3"),
        ("0", "0", "0-1"),
        ("4", "1", "2-3"),
    ]
    assert all("yes" in row and "37.25" in row for row in rows)
    assert not (tmp_path / "runs").exists()


def test_json_has_every_number(cli: Cli, study: Callable[..., None]) -> None:
    study(ranks_per_node=8)
    done = cli("dryrun", "s.yaml", "--point", "*dp2*", "--rank", "1", "--rank", "3", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [each["rank"] for each in found] == [1, 3]
    for each in found:
        assert (each["study"], each["machine"], each["ranks"]) == ("s", "m", 4)
        assert each["optimizer_state_bytes"] == 2 * each["master_bytes"] == 8 * each["own_parameters"]
        assert sum(each["peak_by_kind"].values()) == each["peak_bytes"]
        assert (each["available_bytes"], each["fits"]) == (20_000_000_000, True), "two ranks share a device"


def test_a_peak_beyond_the_memory_does_not_fit(cli: Cli, study: Callable[..., None]) -> None:
    study(memory="1 MB")
    done = cli("dryrun", "s.yaml", "--point", "*dp2*", "--all-stages", "--json")
    assert [each["fits"] for each in json.loads(done.stdout)] == [False, False]


def test_a_device_without_known_memory_says_so(cli: Cli, study: Callable[..., None]) -> None:
    study(memory=None)
    done = cli("dryrun", "s.yaml", "--point", "*dp2*", "--rank", "0")
    assert "how much memory a rank has is not known: neither chip nor m says" in done.stdout
    assert "unknown" in done.stdout


def test_a_cpus_ranks_share_what_a_job_may_take_of_the_node(cli: Cli) -> None:
    done = cli("dryrun", "30b_scaling", "--set", "model=tiny-gpt", "--set", "pp=1", "--set", "tp=1", "--set", "dp=2",
               "--set", "ranks_per_node=4", "--set", "mbs=1", "--machine", "fugaku", "--rank", "0", "--json")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert {each["available_bytes"] for each in json.loads(done.stdout)} == {int(28.5 * 2**30) // 4}


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (["--point", "zz*"], "s: no point's name matches 'zz*'"),
        (["--rank", "8"], "there is no rank 8: the layout has ranks 0 to 3"),
        (["--rank", "0", "--all-stages"], "--rank and --all-stages name two choices of ranks; give one"),
        (["--set", "mbs=auto"], "micro_batch_size auto is found by running out of memory"),
        (["--set", "precision=fp8"], "precision fp8 cannot be trained yet"),
        (["--set", "tp=5"], "tp 5 does not divide the 2 heads"),
        (["--machine", "n"], "the study s has no machine 'n'"),
    ],
)
def test_wrong_input_is_a_sentence(arguments: list[str], answer: str, cli: Cli, study: Callable[..., None]) -> None:
    study()
    done = cli("dryrun", "s.yaml", *arguments)
    assert done.returncode == 2
    assert answer in done.stderr
    assert "Traceback" not in done.stderr


def test_a_refused_point_does_not_hide_the_others(cli: Cli, study: Callable[..., None]) -> None:
    study(text=STUDY.replace("dp: [2, 4]", "precision: [fp32, fp8]"))
    done = cli("dryrun", "s.yaml", "--rank", "0")
    assert done.returncode == 2
    assert "precision fp8 cannot be trained yet" in done.stderr
    assert "fp32" in done.stdout and "yes" in done.stdout
