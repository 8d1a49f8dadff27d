"""Exceptions and signals become the record's failure words; refusals are sentences; secrets stay out of the record."""

from __future__ import annotations

import signal
import socket
import time
from pathlib import Path

import pytest
import torch

from hpcscale.record import reader
from hpcscale.train import journal as journal_module
from hpcscale.train import last_words, provenance, roll_call, trace
from hpcscale.train.failures import Ended, classify, evidence, signal_failure
from hpcscale.train.job_clock import START, JobClock
from hpcscale.train.journal import Journal
from hpcscale.train.point_file import parse
from hpcscale.train.supported import refusals

from .toys import TIMEOUT, Start, document

FACTS = {"point": {}, "versions": {}, "hosts": ["h"], "ranks": 2, "device": {}, "backend": "gloo"}
ENDLESS = ("--steps", "1000000")


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A survivor gives rank 0 time to write; here rank 0 has done what it does."""
    monkeypatch.setattr(journal_module.time, "sleep", lambda _: None)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), "oom"),
        (MemoryError(), "oom"),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes"),
            "oom",
        ),
        (RuntimeError("[../gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:1"), "node"),
        (RuntimeError("[gloo/unbound_buffer.cc:81] Timed out waiting 3000ms for recv operation to complete"), "node"),
        (torch.distributed.DistBackendError("NCCL error: remote process exited or there was a network error"), "node"),
        (RuntimeError("ProcessGroupGloo::allgather: invalid tensor size at index 0"), "error"),
        (ValueError("some mistake"), "error"),
        (Ended("nan", "the loss is nan"), "nan"),
        (OSError(28, "No space left on device", "record.jsonl"), "error"),
    ],
)
def test_exceptions_have_their_word(error: Exception, kind: str) -> None:
    assert classify(error) == kind


def test_evidence_is_one_short_line() -> None:
    text = evidence(RuntimeError("first\n" + "x" * 5000 + "\nlast"))
    assert text.startswith("RuntimeError: first") and text.endswith("last")
    assert "\n" not in text and len(text) < 700


@pytest.mark.parametrize(
    ("number", "elapsed", "limit", "kind"),
    [
        (signal.SIGTERM, 10, 600, "preempted"),
        (signal.SIGTERM, 541, 600, "timeout"),
        (signal.SIGUSR1, 539, 600, "preempted"),
        (signal.SIGXCPU, 10, 600, "timeout"),
        (signal.SIGTERM, 1e9, None, "preempted"),
    ],
)
def test_signals_mean_the_time_limit_or_preemption(number: int, elapsed: float, limit: float | None, kind: str) -> None:
    clock = JobClock(limit, {START: str(time.time() - elapsed)})
    assert signal_failure(number, clock).kind == kind


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"training": {"precision": "fp8"}}, "precision fp8 cannot be trained yet"),
        ({"training": {"precision": "tf32"}}, "this rank sees none"),
        ({"layout": {"pp": 2}, "training": {"micro_batch_size": "auto"}}, "micro_batch_size auto"),
        ({"model": {"causal": False}}, "would see what it is to predict"),
        ({"communication": "nccl"}, "nccl needs an NVIDIA GPU"),
        ({"device": {"name": "a100-40gb", "kind": "gpu"}}, "the point is for a100-40gb, but this rank sees no GPU"),
        ({"layout": {"dp": 4}}, "global_batch_size 14 is not divisible by dp 4"),
    ],
    ids=str,
)
def test_what_cannot_be_trained_is_said(changes: dict, words: str) -> None:
    sentences = refusals(parse(document(**changes), "test"), cuda=False)
    assert any(words in sentence for sentence in sentences), sentences


@pytest.mark.parametrize("family", ["gpt", "mpt", "llama"])
def test_what_can_be_trained_is_not_refused(family: str) -> None:
    training = {"precision": "bf16", "activation_checkpointing": "selective-layer:2"}
    assert refusals(parse(document(family, {"dp": 2, "sharding": "fsdp"}, training), "test"), cuda=False) == []


def test_the_record_keeps_no_secrets() -> None:
    variables = {
        "SLURM_JOB_ID": "1",
        "OMP_NUM_THREADS": "4",
        "HOME": "/h",
        "SLURM_JOB_TOKEN": "s",
        "HPCSCALE_API_KEY": "s",
    }
    assert provenance.environment(variables) == {"OMP_NUM_THREADS": "4", "SLURM_JOB_ID": "1"}


def test_rank_0_hears_why_another_rank_failed(tmp_path: Path) -> None:
    first, second = Journal(tmp_path, 0, FACTS), Journal(tmp_path, 1, FACTS)
    assert first.peers_note(0.0) is None
    second.leave_note("oom", "no memory")
    Journal(tmp_path, 2, FACTS).leave_note("error", "a later consequence")
    note = first.peers_note(0.0)
    assert note is not None and (note["rank"], note["kind"], note["evidence"]) == (1, "oom", "no memory")


def test_only_the_first_reason_for_a_failure_is_written(tmp_path: Path) -> None:
    journal = Journal(tmp_path, 0, FACTS)
    journal.fail("node", "first", 1, "far")
    journal.fail("error", "second", 0)
    journal.finish(steps=1, wall_seconds=1.0, peak_memory_bytes=1)
    record = reader.read(tmp_path / "record.jsonl")
    assert record.run["hosts"] == ["h"], "a record begins with its run, even one that failed before the ranks met"
    assert record.failure is not None
    assert (record.failure["evidence"], record.failure["rank"], record.failure["host"]) == ("first", 1, "far")
    assert record.summary is None


def _survivor(folder: Path, error: Exception) -> None:
    """Rank 1 loses a peer and does all that it can do about it."""
    journal = Journal(folder, 1, FACTS)
    last_words.stand_in(last_words.say(error, journal, 0.0), journal, 0.0)


def _failures(folder: Path) -> list[str]:
    return [line for line in (folder / "record.jsonl").read_text().splitlines() if '"failure"' in line]


LOST = RuntimeError("Connection closed by peer")


def test_a_survivor_writes_the_last_line_of_a_rank_0_that_is_gone(tmp_path: Path, no_waiting: None) -> None:
    Journal(tmp_path, 0, FACTS).begin()
    _survivor(tmp_path, LOST)
    failure = reader.read(tmp_path / "record.jsonl").failure
    assert failure is not None
    assert (failure["kind"], failure["rank"], failure["written_by_rank"]) == ("node", 0, 1)
    assert failure["evidence"] == "RuntimeError: Connection closed by peer; no word from rank 0"


def test_a_survivor_tells_another_ranks_own_reason(tmp_path: Path, no_waiting: None) -> None:
    Journal(tmp_path, 0, FACTS).begin()
    Journal(tmp_path, 2, FACTS).leave_note("oom", "no memory")
    _survivor(tmp_path, LOST)
    failure = reader.read(tmp_path / "record.jsonl").failure
    assert failure is not None and (failure["kind"], failure["rank"]) == ("oom", 2)


def test_two_ranks_never_both_write_the_last_line(tmp_path: Path, no_waiting: None) -> None:
    rank_0 = Journal(tmp_path, 0, FACTS)
    rank_0.begin()
    _survivor(tmp_path, LOST)
    _survivor(tmp_path, LOST)
    rank_0.fail("error", "I was only slow", 0)
    assert len(_failures(tmp_path)) == 1


@pytest.mark.parametrize("end", ["failed", "completed"])
def test_a_survivor_leaves_a_record_that_has_ended_alone(end: str, tmp_path: Path, no_waiting: None) -> None:
    rank_0 = Journal(tmp_path, 0, FACTS)
    rank_0.begin()
    if end == "failed":
        rank_0.fail("nan", "the loss is nan", 0)
    else:
        rank_0.finish(steps=1, wall_seconds=1.0, peak_memory_bytes=1)
    before = (tmp_path / "record.jsonl").read_bytes()
    _survivor(tmp_path, LOST)
    assert (tmp_path / "record.jsonl").read_bytes() == before


def test_an_attempt_in_an_old_folder_can_fail_again(tmp_path: Path) -> None:
    Journal(tmp_path, 0, FACTS).fail("nan", "first", 0)
    Journal(tmp_path, 0, FACTS).fail("oom", "second", 0)
    assert len(_failures(tmp_path)) == 2


def test_the_silent_ranks_are_named_but_not_all_of_thousands() -> None:
    assert roll_call.sentence([3]) == "no word from rank 3"
    assert roll_call.sentence(list(range(20))) == "no word from ranks 0, 1, 2, 3, 4, 5, 6, 7 and 12 more"


# Real processes


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "hanging"])
def test_a_lost_rank_0_is_a_node_failure_that_a_survivor_records(start: Start, how: signal.Signals) -> None:
    limit = {"HPCSCALE_COLLECTIVE_TIMEOUT_SECONDS": "3"}
    run = start(document(layout={"dp": 2}), ranks=2, arguments=ENDLESS, environment=limit)
    run.wait_for_step(1)
    run.processes[0].send_signal(how)
    run.processes[1].communicate(timeout=TIMEOUT)
    assert run.processes[1].returncode == 1
    failure = run.record.failure
    assert failure is not None
    assert (failure["kind"], failure["rank"], failure["written_by_rank"]) == ("node", 0, 1)
    assert failure["host"] == socket.gethostname()
    if how == signal.SIGSTOP:  # one that was only slow finds its last line written
        run.processes[0].send_signal(signal.SIGCONT)
        run.processes[0].communicate(timeout=TIMEOUT)
        assert run.record.failure == failure


def test_the_lost_rank_is_named(start: Start) -> None:
    run = start(document(layout={"dp": 2}), ranks=2, arguments=ENDLESS)
    run.wait_for_step(1)
    run.processes[1].send_signal(signal.SIGKILL)
    run.processes[0].communicate(timeout=TIMEOUT)
    failure = run.record.failure
    assert failure is not None
    assert (failure["kind"], failure["rank"], failure["host"]) == ("node", 1, socket.gethostname())
    assert "no word from rank 1" in failure["evidence"]


def test_a_job_that_is_nearly_over_stops_by_itself_on_all_ranks(start: Start) -> None:
    started = {"HPCSCALE_JOB_START": str(time.time() - 575)}
    run = start(document(layout={"dp": 2}), ranks=2, arguments=ENDLESS, environment=started)
    assert run.wait() == [1, 1]
    assert run.record.status == "timeout"
    assert "stopped by itself after step 1" in run.record.failure["evidence"]  # type: ignore[index]


# A disk with room for the reserve and some steps. Files that are deleted give room back, if RETURNS says so.
FULL_DISK = """
import errno, os, sys
from pathlib import Path
from hpcscale.train.run import Options, leave, run
real = os.write
def write(file, data):
    path = Path(os.readlink(f"/proc/self/fd/{file}"))
    if path.name == "record.jsonl":
        taken = path.parent.iterdir() if os.environ["RETURNS"] == "1" else [path]
        size = 2**16 if os.environ["RETURNS"] == "1" else 0
        room = size + 6000 - sum(each.stat().st_size for each in taken)
        if room <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        data = data[:room]
    return real(file, data)
os.write = write
leave(run(Path(sys.argv[1]), Options(steps=1000)))
"""


@pytest.mark.parametrize("returns", ["1", "0"], ids=["room returns", "room does not return"])
def test_a_full_disk_ends_all_ranks_and_damages_no_line(start: Start, returns: str) -> None:
    environment = {"RETURNS": returns}
    run = start(document(layout={"dp": 2}), ranks=2, program=("-c", FULL_DISK), environment=environment)
    assert run.wait() == [1, 1]
    assert "No space left on device" in run.outputs[0][1] and "record.jsonl" in run.outputs[0][1]
    record = run.record
    assert record.damaged_lines == 0
    assert len(record.steps) > 1
    if returns == "1":
        assert record.failure is not None and record.failure["kind"] == "error"
        assert "No space left on device" in record.failure["evidence"]
    else:
        assert record.status == "unfinished"
        assert "the record lacks its last line" in run.outputs[0][1]


def test_a_run_can_be_traced_watched_and_counted(start: Start) -> None:
    run = start(
        document(layout={"dp": 2, "sharding": "fsdp"}),
        ranks=2,
        arguments=("--trace", "3"),
        environment={"HPCSCALE_TENSORBOARD": "1"},
    )
    assert run.wait() == [0, 0], run.outputs
    record = run.record
    collectives = {key.split(".")[1]: count for key, count in record.steps[0]["collectives"].items()}
    assert collectives["all_gather"]["ranks"] == collectives["reduce_scatter"]["ranks"] == 2
    assert [line["step"] for line in record.steps if "traced" in line] == [3]
    assert sorted(path.name for path in record.path.parent.glob("trace-*")) == [
        "trace-rank0.json.gz",
        "trace-rank1.json.gz",
    ]
    events = trace.read(record.path.parent / "trace-rank1.json.gz")
    assert "aten::mm" in {event["name"] for event in events}
    assert "all_gather" in {event["name"] for event in events if event.get("cat") == trace.CATEGORY}
    assert list(record.path.parent.glob("events.out.tfevents.*"))
    assert not (record.path.parent / "record.reserve").exists()
