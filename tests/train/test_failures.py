"""Exceptions and signals become the record's failure words; refusals are sentences; secrets stay out of the record."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import torch

from hpcscale.record import reader
from hpcscale.train import measure, provenance
from hpcscale.train.failures import Ended, classify, evidence, signal_failure
from hpcscale.train.journal import Journal
from hpcscale.train.point_file import parse
from hpcscale.train.supported import refusals

from .toys import document

FACTS = {"point": {}, "versions": {}, "hosts": ["h"], "ranks": 2, "device": {}, "backend": "gloo"}


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
    assert signal_failure(number, elapsed, limit).kind == kind


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"layout": {"tp": 2}}, "tp 2: tensor parallelism cannot be trained yet"),
        ({"layout": {"pp": 2}}, "pp 2: pipeline parallelism"),
        ({"layout": {"cp": 2}}, "cp 2: context parallelism"),
        ({"layout": {"dp": 2, "sharding": "zero1"}}, "sharding zero1"),
        ({"training": {"precision": "fp16"}}, "precision fp16"),
        ({"training": {"precision": "tf32"}}, "this rank sees none"),
        ({"training": {"activation_checkpointing": "selective-op"}}, "activation_checkpointing selective-op"),
        ({"training": {"micro_batch_size": "auto"}}, "micro_batch_size auto"),
        ({"training": {"compile": True}}, "compile true"),
        ({"model": {"positions": "alibi"}}, "model.positions is alibi"),
        ({"communication": "mpi"}, "communication mpi is not built yet"),
        ({"communication": "nccl"}, "nccl needs an NVIDIA GPU"),
        ({"data": {"kind": "megatron", "path": "x"}}, "data of the kind megatron"),
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


def test_a_step_takes_as_long_as_its_slowest_rank() -> None:
    rows = [measure.RankStep(1.0, 4.0, 0.5, 100, 0).numbers(), measure.RankStep(3.0, 2.0, 0.5, 50, 15).numbers()]
    line, signal_number = measure.combine(rows)
    assert line == {
        "step_seconds": 3.0, "fastest_rank_seconds": 1.0, "slowest_rank": 1, "loss": 3.0, "peak_memory_bytes": 100,
    }  # fmt: skip
    assert signal_number == 15


def test_rank_0_hears_why_another_rank_failed(tmp_path: Path) -> None:
    first, second = Journal(tmp_path, 0, FACTS), Journal(tmp_path, 1, FACTS)
    assert first.peers_note(0.0) is None
    second.leave_note("oom", "no memory")
    Journal(tmp_path, 2, FACTS).leave_note("error", "a later consequence")
    note = first.peers_note(0.0)
    assert note is not None and (note["rank"], note["kind"], note["evidence"]) == (1, "oom", "no memory")


def test_only_the_first_reason_for_a_failure_is_written(tmp_path: Path) -> None:
    journal = Journal(tmp_path, 0, FACTS)
    journal.fail("node", "first", 1)
    journal.fail("error", "second", 0)
    journal.finish(steps=1, wall_seconds=1.0, peak_memory_bytes=1)
    record = reader.read(tmp_path / "record.jsonl")
    assert record.run["hosts"] == ["h"], "a record begins with its run, even one that failed before the ranks met"
    assert record.failure is not None and record.failure["evidence"] == "first"
    assert record.summary is None
