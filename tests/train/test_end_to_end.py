"""``python -m hpcscale.train``: real processes, from point.json to a whole record, and every way to end early."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from hpcscale.record import reader
from hpcscale.record.schema import REQUIRED

from .toys import Run, Start, document

ENDLESS = ("--steps", "1000000")
RUN_KEYS = {
    *REQUIRED["run"],
    "nodes",
    "launcher",
    "git_commit",
    "model_parameters",
    "threads",
    "memory_kind",
    "environment",
}
STEP_KEYS = {
    *REQUIRED["step"], "fastest_rank_seconds", "slowest_rank", "gradient_norm", "learning_rate", "peak_memory_bytes", "warmup",
}  # fmt: skip
SUMMARY_KEYS = {*REQUIRED["summary"], "peak_memory_bytes_by_rank", "final_loss"}
PROTOCOL = {"protocol": {"warmup_steps": 2, "measured_steps": 18}}
# Fails on rank 1 as a GPU would, in the middle of the second step.
OUT_OF_MEMORY_ON_RANK_1 = """
import sys, torch
from pathlib import Path
from hpcscale.train import trainer
from hpcscale.train.run import Options, leave, run
import os
real = trainer.Trainer.backward
def backward(self, step):
    if step == 2 and os.environ["RANK"] == "1":
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
    return real(self, step)
trainer.Trainer.backward = backward
leave(run(Path(sys.argv[1])))
"""


# What is free on the node, as rank 1 reads it: 30 MB a rank.
LITTLE_MEMORY_ON_RANK_1 = """
import os, sys
from pathlib import Path
from hpcscale.train import micro_batch
from hpcscale.train.run import Options, leave, run
if os.environ["RANK"] == "1":
    micro_batch._available_bytes = lambda: 2 * 30_000_000
leave(run(Path(sys.argv[1]), Options(steps=int(sys.argv[3]) if len(sys.argv) > 3 else None)))
"""


def _is_complete(run: Run, ranks: int) -> None:
    record = run.record
    assert record.status == "completed"
    assert record.summary is not None
    assert record.run.keys() >= RUN_KEYS
    assert record.summary.keys() >= SUMMARY_KEYS
    assert all(line.keys() >= STEP_KEYS for line in record.steps)
    assert [line["step"] for line in record.steps] == list(range(1, 21))
    assert [line["warmup"] for line in record.steps] == [True] * 2 + [False] * 18
    assert all(line["tokens"] == 14 * 24 for line in record.steps)
    assert record.run["ranks"] == ranks
    assert len(record.summary["peak_memory_bytes_by_rank"]) == ranks
    assert record.steps[-1]["loss"] < record.steps[0]["loss"] - 0.5
    assert record.summary["final_loss"] == record.steps[-1]["loss"]


def test_one_process_and_torchrun_train_the_same_point(start: Start, tmp_path: Path) -> None:
    alone = start(document(**PROTOCOL))
    assert alone.wait() == [0], alone.outputs
    _is_complete(alone, ranks=1)
    losses = [line["loss"] for line in alone.record.steps]
    assert alone.outputs[0][0].count("tokens/s") == 20
    (tmp_path / "attempts").rename(tmp_path / "first")

    pair = start(document(layout={"dp": 2, "sharding": "fsdp"}, **PROTOCOL), ranks=2, torchrun=True)
    assert pair.wait() == [0], pair.outputs
    _is_complete(pair, ranks=2)
    assert pair.record.run["launcher"] == "torchrun"
    assert [line["loss"] for line in pair.record.steps] == pytest.approx(losses, rel=1e-3)


def test_a_loss_that_is_no_number_ends_all_ranks(start: Start) -> None:
    training = {"optimizer": {"learning_rate": 1e30}}
    run = start(document(layout={"dp": 2}, training=training), ranks=2)
    assert run.wait() == [1, 1]
    assert run.record.status == "nan"
    assert run.record.steps, "the step with the bad loss is recorded"


@pytest.mark.parametrize("spent", [0, 545])
def test_sigterm_is_preemption_or_the_time_limit(start: Start, spent: int) -> None:
    began = {"HPCSCALE_JOB_START": str(int(time.time()) - spent)}
    run = start(document(job={"time_seconds": 600}), arguments=ENDLESS, environment=began)
    run.wait_for_step(1)
    run.processes[0].send_signal(signal.SIGTERM)
    assert run.wait() == [1]
    assert run.record.status == ("preempted" if spent == 0 else "timeout")
    assert "SIGTERM" in run.record.failure["evidence"]  # type: ignore[index]


def test_a_signal_to_one_rank_stops_all_in_the_same_step(start: Start) -> None:
    run = start(document(layout={"dp": 2}), ranks=2, arguments=ENDLESS)
    run.wait_for_step(1)
    run.processes[1].send_signal(signal.SIGUSR1)
    assert run.wait() == [1, 1]
    assert run.record.status == "preempted"


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "hanging"])
def test_a_lost_rank_is_a_node_failure_within_the_time_out(start: Start, how: signal.Signals) -> None:
    limit = {"HPCSCALE_COLLECTIVE_TIMEOUT_SECONDS": "3"}
    run = start(document(layout={"dp": 2}), ranks=2, arguments=ENDLESS, environment=limit)
    run.wait_for_step(1)
    run.processes[1].send_signal(how)
    run.processes[0].communicate(timeout=30)
    assert run.processes[0].returncode == 1
    assert run.record.status == "node"


def test_a_signal_in_a_step_that_never_ends_is_obeyed_after_its_grace(start: Start) -> None:
    run = start(document(layout={"dp": 2}), ranks=2, arguments=ENDLESS)
    run.wait_for_step(1)
    run.processes[1].send_signal(signal.SIGSTOP)
    run.processes[0].send_signal(signal.SIGXCPU)
    run.processes[0].communicate(timeout=30)
    assert run.processes[0].returncode == 1
    assert run.record.status == "timeout"


def test_a_worker_that_torchrun_loses_is_a_node_failure_too(start: Start) -> None:
    run = start(document(layout={"dp": 2}), ranks=2, torchrun=True, arguments=ENDLESS)
    run.wait_for_step(1)
    children = Path(f"/proc/{run.processes[0].pid}/task/{run.processes[0].pid}/children").read_text().split()
    ranks = {_variable(int(child), "RANK"): int(child) for child in children}
    os.kill(ranks["1"], signal.SIGKILL)
    assert run.wait() != [0]
    assert run.record.status == "node"


def _variable(process: int, name: str) -> str | None:
    pairs = Path(f"/proc/{process}/environ").read_text().split("\0")
    return dict(pair.split("=", 1) for pair in pairs if "=" in pair).get(name)


def test_the_micro_batch_that_fits_is_found_by_halving_and_agreed_on(start: Start) -> None:
    """Rank 1 gets little memory: it finds a smaller size, and rank 0 takes it too."""
    run = start(
        document(
            layout={"dp": 2}, training={"micro_batch_size": "auto", "sequence_length": 512, "global_batch_size": 64}
        ),
        ranks=2,
        arguments=("--steps", "2"),
        program=("-c", LITTLE_MEMORY_ON_RANK_1),
    )
    assert run.wait() == [0, 0], run.outputs
    assert run.record.status == "completed"
    assert 1 <= run.record.run["micro_batch_size"] < 32


def test_a_rank_that_not_even_one_sequence_fits_is_out_of_memory(start: Start) -> None:
    training = {"micro_batch_size": "auto", "sequence_length": 512, "global_batch_size": 8}
    large = {"hidden": 512, "ffn": 2048}  # 25 MB of weights, and twice that of optimizer state
    run = start(
        document(layout={"dp": 2}, training=training, model=large), ranks=2, program=("-c", LITTLE_MEMORY_ON_RANK_1)
    )
    assert run.wait() == [1, 1]
    assert run.record.status == "oom"
    assert "not even one sequence fits into the memory of rank 1" in run.record.failure["evidence"]  # type: ignore[index]


def test_a_ranks_own_failure_reaches_the_record(start: Start) -> None:
    run = start(document(layout={"dp": 2}), ranks=2, program=("-c", OUT_OF_MEMORY_ON_RANK_1))
    assert run.wait() == [1, 1]
    failure = run.record.failure
    assert failure is not None
    assert (failure["kind"], failure["rank"]) == ("oom", 1)
    assert "Tried to allocate" in failure["evidence"]
    assert "Traceback" not in run.outputs[0][1] + run.outputs[1][1]


def test_an_unsupported_precision_is_refused_in_a_sentence(start: Start) -> None:
    run = start(document(training={"precision": "fp8"}))
    assert run.wait() == [2]
    assert "precision fp8 cannot be trained yet" in run.outputs[0][1]
    assert "Traceback" not in run.outputs[0][1]
    assert run.record.status == "error"


def test_a_stopped_run_asks_to_be_requeued_and_goes_on_where_it_was(start: Start, tmp_path: Path) -> None:
    content = document(
        layout={"dp": 2}, training={"checkpoint": {"at_end": True}}, protocol={"warmup_steps": 2, "measured_steps": 98}
    )
    first = start(content, ranks=2, arguments=("--attempt", str(tmp_path / "attempts" / "first.0")))
    first.wait_for_step(2)
    first.processes[0].send_signal(signal.SIGUSR2)
    assert first.wait() == [75, 75], first.outputs
    stopped = first.record
    assert stopped.status == "preempted"
    last = stopped.steps[-1]["step"]

    second = start(content, ranks=2, arguments=("--attempt", str(tmp_path / "attempts" / "second.0")))
    assert second.wait() == [0, 0], second.outputs
    resumed = reader.read(tmp_path / "attempts" / "second.0" / "record.jsonl")
    assert resumed.run["resume"]["step"] == last
    assert [line["step"] for line in resumed.steps] == list(range(last + 1, 101))

    third = start(content, ranks=2, arguments=("--attempt", str(tmp_path / "attempts" / "third.0"), "--steps", "2"))
    assert third.wait() == [0, 0], third.outputs
    anew = reader.read(tmp_path / "attempts" / "third.0" / "record.jsonl")
    assert anew.run["resume"] is None, "what has completed begins anew when it is run again"


def test_a_wrong_number_of_ranks_is_refused_in_a_sentence(start: Start) -> None:
    run = start(document(layout={"dp": 2}))
    assert run.wait() == [2]
    assert "the layout needs 2 ranks, but no launcher was found" in run.outputs[0][1]


def test_a_time_out_that_is_no_number_is_refused_in_a_sentence(start: Start) -> None:
    run = start(document(), environment={"HPCSCALE_COLLECTIVE_TIMEOUT_SECONDS": "soon"})
    assert run.wait() == [2]
    assert "HPCSCALE_COLLECTIVE_TIMEOUT_SECONDS is 'soon'" in run.outputs[0][1]


def test_a_damaged_point_is_refused_in_a_sentence(start: Start) -> None:
    run = start({"model": {}})
    assert run.wait() == [2]
    assert "point.json: model." in run.outputs[0][1]
    assert "Traceback" not in run.outputs[0][1]
