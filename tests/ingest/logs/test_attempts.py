"""Restarts, several ranks, and how it ended: what becomes an attempt, and what a step is when many ranks print it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hpcscale.record.reader import read

from .conftest import Importing, sample, steps_of


def megatron(step: int, milliseconds: float = 1000.0, total: int = 100, rank: str = "") -> str:
    return (
        f"{rank} iteration {step:8d}/{total:8d} | consumed samples: {step:12d} | elapsed time per iteration (ms): "
        f"{milliseconds:.1f} | learning rate: 1.0E-04 | global batch size:     8 | lm loss: {9 - step / 100:.6E} | "
        "loss scale: 1.0 | grad norm: 1.000 | number of skipped iterations:   0 | number of nan iterations:   0 |\n"
    )


def numbers(steps: list[dict[str, Any]]) -> list[int]:
    return [step["step"] for step in steps]


def test_a_restart_in_the_same_file_becomes_an_attempt_of_its_own(importing: Importing):
    text = sample("megatron-lm.txt").decode()
    found = importing.one(text + text)
    assert found.attempts == 2
    assert numbers(steps_of(found, 1)) == numbers(steps_of(found, 2)) == [1, 10, 20, 30, 40]


def test_a_restart_that_goes_on_where_the_first_try_ended_is_seen_by_its_start(importing: Importing):
    start = (
        "using world size: 2, data-parallel size: 2, tensor-model-parallel size: 1, pipeline-model-parallel size: 1\n"
    )
    found = importing.one(start + megatron(1) + megatron(2) + start + megatron(3) + megatron(4))
    assert [numbers(steps_of(found, each)) for each in (1, 2)] == [[1, 2], [3, 4]]


def test_a_restart_of_which_only_steps_are_left_is_seen_by_their_numbers(importing: Importing):
    found = importing.one("".join(megatron(step) for step in (10, 11, 12, 13, 11, 12, 13, 14)))
    assert [numbers(steps_of(found, each)) for each in (1, 2)] == [[10, 11, 12, 13], [11, 12, 13, 14]]


def test_a_named_rank_that_goes_back_is_a_restart_and_its_peers_follow(importing: Importing):
    lines = [megatron(step, rank=rank) for step in (10, 11, 12, 11, 12, 13) for rank in ("[rank0]:", "[rank1]:")]
    found = importing.one("".join(lines))
    assert [numbers(steps_of(found, each)) for each in (1, 2)] == [[10, 11, 12], [11, 12, 13]]


def test_a_restart_with_another_layout_is_a_point_of_its_own(importing: Importing):
    text = sample("megatron-lm.txt").decode()
    other = text.replace("data-parallel size: 2", "data-parallel size: 4").replace("world size: 32", "world size: 64")
    first, second = importing.all(text + other)
    assert second.folder.name == first.folder.name + "-2"
    told = [json.loads((each.folder / "point.json").read_text())["layout"]["dp"] for each in (first, second)]
    assert told == [2, 4]


@pytest.mark.parametrize("label", ["[rank{}]:", "[default{}]:", "{}: ", "[1,{}]<stdout>:"])
def test_a_step_that_every_rank_prints_is_as_slow_as_the_slowest(importing: Importing, label: str):
    lines = [
        megatron(step, 1000 + 10 * rank + step, rank=label.format(rank)) for step in range(1, 13) for rank in (2, 0, 1)
    ]
    steps = importing.steps("".join(lines))
    assert numbers(steps) == list(range(1, 13))
    assert steps[4]["step_seconds"] == pytest.approx(1.025)


def test_ranks_without_names_may_be_out_of_order(importing: Importing):
    order = [1, 1, 1, 2, 3, 2, 2, 3, 4, 3, 4, 4]
    assert numbers(importing.steps("".join(megatron(step) for step in order))) == [1, 2, 3, 4]


def test_a_rank_that_is_late_does_not_restart_the_others(importing: Importing):
    lines = [megatron(1, rank="0: "), megatron(2, rank="0: "), megatron(1, rank="1: "), megatron(3, rank="0: ")]
    found = importing.one("".join([*lines, megatron(2, rank="1: ")]))
    assert (found.attempts, numbers(steps_of(found))) == (1, [1, 2, 3])


def test_several_ranks_that_start_are_one_start(importing: Importing):
    text = sample("torchtitan.txt").decode()
    assert importing.one(text).attempts == 1
    unnamed = text.replace("[rank0]:", "").replace("[rank1]:", "")
    assert importing.one(unnamed).attempts == 1


def test_a_rank_that_starts_late_does_not_restart_the_others(importing: Importing):
    start = (
        "using world size: 2, data-parallel size: 2, tensor-model-parallel size: 1, pipeline-model-parallel size: 1\n"
    )
    lines = ["0: " + start, megatron(1, rank="0: "), "1: " + start, megatron(2, rank="0: "), megatron(2, rank="1: ")]
    assert importing.one("".join(lines)).attempts == 1


def test_memory_is_that_of_the_rank_with_most(importing: Importing):
    assert importing.row(sample("megatron-lm.txt"))["peak_memory_bytes"] == round(20480.5 * 2**20)
    steps = importing.steps(sample("torchtitan.txt"))
    assert [step["peak_memory_bytes"] for step in steps[:2]] == [round(30.5 * 2**30), round(37.1 * 2**30)]


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("[rank3]: torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 16.00 MiB.", "oom"),
        (
            "slurmstepd: error: Detected 1 oom_kill event in StepId=1.0. Some of the step tasks have been OOM Killed.",
            "oom",
        ),
        ("slurmstepd: error: *** JOB 12 ON node1 CANCELLED AT 2024-01-01T00:00:00 DUE TO TIME LIMIT ***", "timeout"),
        ("slurmstepd: error: *** JOB 12 ON node1 CANCELLED AT 2024-01-01T00:00:00 DUE TO PREEMPTION ***", "preempted"),
        ("slurmstepd: error: *** STEP 12.0 ON node1 CANCELLED AT 2024-01-01T00:00:00 DUE TO NODE FAILURE ***", "node"),
        ("ValueError: world size is not divisible", "error"),
    ],
)
def test_why_a_log_ends_is_the_status(importing: Importing, line: str, kind: str):
    row = importing.row(megatron(1) + megatron(2) + line + "\n")
    assert row["status"] == kind
    assert line[:60] in row["note"]


def test_a_traceback_gives_way_to_the_line_that_says_why(importing: Importing):
    record = importing.row(megatron(1) + "RuntimeError: a peer is gone\ntorch.OutOfMemoryError: CUDA out of memory\n")
    assert record["status"] == "oom"


def test_what_went_wrong_before_a_step_did_not_end_the_training(importing: Importing):
    assert importing.row(megatron(1) + "RuntimeError: retrying\n" + megatron(2))["status"] == "unfinished"


def test_a_log_that_reached_its_last_step_is_completed(importing: Importing):
    row = importing.row(megatron(1, total=2) + megatron(2, total=2) + "ValueError: at exit\n")
    assert row["status"] == "completed"
    path = importing.folder / "runs/imported"
    summary = read(next(path.glob("*/attempts/1.0/record.jsonl"))).summary
    assert summary is not None and (summary["steps"], summary["wall_seconds"]) == (2, 2.0)


def test_out_of_memory_before_the_first_step_is_a_row(importing: Importing):
    start = sample("megatron-lm.txt").decode().partition(" [2026")[0]
    row = importing.row(start + "torch.OutOfMemoryError: CUDA out of memory.\n")
    assert (row["status"], row["tp"], row["model"]) == ("oom", 4, "gpt-30b")


def test_a_line_that_is_the_mean_of_ten_steps_counts_as_ten(importing: Importing):
    steps = importing.steps(sample("megatron-lm.txt"))
    assert [step.get("averaged_steps", 1) for step in steps] == [1, 9, 10, 10, 10]
    assert importing.row(sample("megatron-lm.txt"))["measured_steps"] == 40


def test_the_first_line_of_an_old_megatron_is_the_mean_of_a_whole_interval(importing: Importing):
    steps = importing.steps(sample("megatron-lm-2021.txt"))
    assert [step["averaged_steps"] for step in steps] == [100, 100, 100]


@pytest.mark.parametrize("copies", [1, 30])
def test_the_joules_that_megatron_prints_per_gpu_are_those_of_all_gpus(importing: Importing, copies: int):
    # NVIDIA/Megatron-LM megatron/training/training.py, --log-energy: (joules of all GPUs / iterations) / world size
    start, *lines = sample("megatron-lm.txt").decode().partition(" [2026")
    steps = "".join(lines).replace(
        "| learning rate", "| energy per GPU (J/iter/GPU): 52000.0 | power per GPU (W/GPU): 519.1 | learning rate"
    )
    more = "".join(megatron(50 + 10 * i, 100000.0).replace("| learn", "| energy per GPU (J/iter/GPU): 52000.0 | learn") for i in range(copies))  # fmt: skip
    row = importing.row(start + steps + more)
    assert row["energy_joules_per_step"] == pytest.approx(52000 * 32)
    assert row["watts_per_device"] == pytest.approx(500, rel=0.05)
    assert row["energy_source"] == "nvml: as printed, times devices"


def test_joules_per_gpu_of_an_unknown_number_of_gpus_are_left_out(importing: Importing):
    line = megatron(1).replace("| learn", "| energy per GPU (J/iter/GPU): 52000.0 | learn")
    assert importing.row(line)["energy_joules_per_step"] is None
    assert importing.row(line, devices=4)["energy_joules_per_step"] == 208000


def test_sizes_of_an_encoder_are_not_those_of_the_layout(importing: Importing):
    start = (
        "using world size: 16, data-parallel size: 2, context-parallel size: 1, encoder-tensor-model-parallel size: 2, "
        "tensor-model-parallel size: 4, encoder-pipeline-model-parallel size: 1, pipeline-model-parallel size: 2\n"
    )
    row = importing.row(start + megatron(1))
    assert (row["dp"], row["tp"], row["pp"], row["devices"]) == (2, 4, 2, 16)


def test_lines_of_single_steps_with_gaps_are_no_means(importing: Importing):
    assert all("averaged_steps" not in step for step in importing.steps(sample("fmengine.txt")))
