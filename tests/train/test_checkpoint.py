"""A run can be killed at any instant and goes on as if nothing had happened; on another layout, to rounding.

Losses and gradient norms are compared step by step with those of a run that nothing interrupted. Ranks are real processes.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed.checkpoint.metadata import TensorStorageMetadata

from hpcscale.record import reader
from hpcscale.train import checkpoint_store
from hpcscale.train.checkpoint_files import Reader, tensors
from hpcscale.train.checkpoint_format import Damaged, read_manifest
from hpcscale.train.mesh import Mesh
from hpcscale.train.point_file import parse
from hpcscale.train.stop_signal import StopSignal
from hpcscale.train.trainer import Trainer

from . import checkpointing, forks
from .cases import INTERLEAVED, SEQUENCE, ZBV, case
from .toys import TIMEOUT, Start, clean_environment

Job = dict[str, Any]
Curve = dict[int, tuple[float, float]]
EVERY_3 = {"every_steps": 3}
PROGRAM = (str(Path(checkpointing.__file__)),)


def _job(folder: Path, content: dict[str, Any], steps: int, attempt: str = "1", **others: Any) -> Job:
    return {"document": content, "folder": str(folder), "steps": steps, "attempt": attempt, **others}


def _world(folder: Path, ranks: int, jobs: list[Job], communication: str = "gloo") -> None:
    """Trains the jobs one after the other, in processes that are started once."""
    (folder / "jobs.json").write_text(json.dumps(jobs))
    arguments = [str(folder / "jobs.json"), communication]
    if communication != "mpi":
        forks.world(PROGRAM, arguments, ranks, folder)
        return
    command = [str(Path(sys.executable).with_name("mpiexec")), "-n", str(ranks), sys.executable, *PROGRAM, *arguments]
    environment = {**clean_environment(), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=4 * TIMEOUT, check=False)
    assert done.returncode == 0, done.stderr


def _alone(job: Job) -> int:
    """Trains a job of one rank in this process, and returns what would be its exit code."""
    return checkpointing.train(job, 0, 1, Unasked())


class Unasked(StopSignal):
    """No signal: this process keeps its handlers."""

    def __init__(self) -> None:
        self.number = 0


def _curve(attempt: Path) -> Curve:
    steps = reader.read(attempt / "record.jsonl").steps
    return {line["step"]: (line["loss"], line["gradient_norm"]) for line in steps}


def _attempt(folder: Path, name: str = "1") -> Path:
    return folder / "attempts" / name


def _checkpoints(attempt: Path) -> list[str]:
    return sorted(each.name for each in (attempt / checkpoint_store.FOLDER).iterdir())


def _resumed(attempt: Path) -> dict[str, Any]:
    return reader.read(attempt / "record.jsonl").run["resume"]


# --- the same layout: bitwise

SAME: dict[str, tuple[str, dict[str, Any], str]] = {
    "fp32 ddp": ("gpt", {"dp": 2}, "fp32"),
    "bf16 ddp": ("llama", {"dp": 2}, "bf16"),
    "fp32 fsdp": ("llama", {"dp": 2, "sharding": "fsdp"}, "fp32"),
    "bf16 fsdp": ("gpt", {"dp": 2, "sharding": "fsdp"}, "bf16"),
    "fp16 zero1": ("gpt", {"dp": 2, "sharding": "zero1"}, "fp16"),
    "bf16 tp+sp": ("gpt", {"tp": 2, **SEQUENCE}, "bf16"),
    "fp32 zbv": ("gpt", {"pp": 2, **ZBV}, "fp32"),
    "bf16 cp": ("bert", {"cp": 2}, "bf16"),
}


def _same(name: str) -> dict[str, Any]:
    family, layout, precision = SAME[name]
    layers = {"layers": layout.get("pp", 1) * layout.get("virtual_stages", 2)}
    return case(family, layout, layers, precision=precision, checkpoint={"every_steps": 2})["document"]


@pytest.fixture(scope="module")
def same(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each layout: a run of 6 steps, and one of 5 steps whose checkpoint of step 4 another attempt takes to 6."""
    folder = tmp_path_factory.mktemp("same")
    jobs = []
    for name in SAME:
        whole, parts = folder / f"{name} whole", folder / name
        jobs += [_job(whole, _same(name), 6), _job(parts, _same(name), 5), _job(parts, _same(name), 6, "2")]
    _world(folder, 2, jobs)
    return folder


@pytest.mark.parametrize("name", SAME)
def test_a_resumed_run_is_bitwise_the_uninterrupted_one(same: Path, name: str) -> None:
    whole = _curve(_attempt(same / f"{name} whole"))
    resumed = _curve(_attempt(same / name, "2"))
    assert list(resumed) == [5, 6]
    assert resumed == {step: whole[step] for step in resumed}


def test_the_record_says_where_a_run_was_resumed(same: Path) -> None:
    assert _resumed(_attempt(same / "fp32 ddp")) is None
    line = _resumed(_attempt(same / "fp32 ddp", "2"))
    assert (line["step"], line["attempt"], line["skipped"]) == (4, "1", [])


def test_only_the_newest_are_kept_also_over_attempts(same: Path) -> None:
    assert _checkpoints(_attempt(same / "fp32 ddp")) == ["step-4"], "step 2 went when step 6 was complete"
    assert _checkpoints(_attempt(same / "fp32 ddp", "2")) == ["step-6"]


@pytest.mark.parametrize("name", ["fp32 ddp", "fp32 fsdp", "bf16 tp+sp", "fp32 zbv"])
def test_what_several_ranks_hold_is_written_once_and_by_turns(same: Path, name: str) -> None:
    folder = _attempt(same / name, "2") / "checkpoints/step-6"
    numbers = sum(tensor.numel() for _, tensor in tensors(folder, averages=True))
    stored = [
        each for each in Reader(folder).metadata.state_dict_metadata.values() if isinstance(each, TensorStorageMetadata)
    ]
    assert sum(chunk.sizes.numel() for each in stored for chunk in each.chunks) == numbers
    sizes = [each.bytes for name, each in read_manifest(folder).files.items() if name.endswith(".distcp")]
    assert len(sizes) == 2
    assert max(sizes) < 0.75 * sum(sizes)


# --- killed


def _wait_for_step(attempts: Path, step: int, processes: list[subprocess.Popen[str]]) -> None:
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        for record in attempts.glob("*/record.jsonl"):
            if any(line["step"] >= step for line in reader.read(record).steps):
                return
        assert all(process.poll() is None for process in processes), "ended by itself"
        time.sleep(0.01)
    raise AssertionError(f"step {step} was never recorded")


def _wait_for_checkpoint(attempts: Path, processes: list[subprocess.Popen[str]]) -> None:
    """On a busy machine the first may still be on its way when several steps have been recorded."""
    deadline = time.monotonic() + TIMEOUT
    while not any(re.fullmatch(r"step-\d+", path.name) for path in attempts.glob("*/checkpoints/*")):
        assert time.monotonic() < deadline, "no checkpoint was written"
        assert all(process.poll() is None for process in processes), "ended by itself"
        time.sleep(0.01)


def test_killed_at_three_random_moments_the_loss_curve_is_bitwise_the_uninterrupted_one(
    start: Start, tmp_path: Path
) -> None:
    steps, seed = 24, time.time_ns()
    moments = random.Random(seed)
    family, layout, precision = SAME["bf16 fsdp"]
    content = case(family, layout, {"layers": 2}, precision=precision, checkpoint={"every_steps": 2})["document"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert start([_job(whole, content, steps)], 2, program=PROGRAM).wait() == [0, 0]
    for kill in range(3):
        run = start([_job(killed, content, steps, str(kill))], 2, program=PROGRAM)
        # Later each time, so that each attempt has trained; then anywhere in a step, a write or a removal.
        _wait_for_step(killed / "attempts", 7 * kill + moments.randint(3, 6), run.processes)
        _wait_for_checkpoint(killed / "attempts", run.processes)
        time.sleep(moments.uniform(0, 0.1))
        for process in run.processes:
            os.killpg(process.pid, signal.SIGKILL)
        run.wait()
    assert start([_job(killed, content, steps, "3")], 2, program=PROGRAM).wait() == [0, 0]

    expected = _curve(_attempt(whole))
    attempts = [_curve(_attempt(killed, str(number))) for number in range(4)]
    for number, curve in enumerate(attempts):
        assert curve == {step: expected[step] for step in curve}, f"attempt {number}, seed {seed}"
        assert number == 0 or min(curve) > 1, f"attempt {number} began anew, seed {seed}"
    assert set().union(*attempts) == set(expected)


# --- stopped


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM, signal.SIGXCPU])
def test_a_signal_saves_the_step_and_exits_with_the_requeue_code(start: Start, tmp_path: Path, number: int) -> None:
    point = tmp_path / "point"
    content = case("gpt", {}, checkpoint={"at_end": True})["document"]
    run = start([_job(point, content, 1_000_000)], program=PROGRAM)
    _wait_for_step(point / "attempts", 2, run.processes)
    run.processes[0].send_signal(number)
    assert run.wait() == [checkpointing.REQUEUE], run.outputs
    assert _checkpoints(_attempt(point)) == [f"step-{max(_curve(_attempt(point)))}"]


def test_a_stopped_run_goes_on_bitwise(start: Start, tmp_path: Path) -> None:
    whole, point = tmp_path / "whole", tmp_path / "point"
    content = case("gpt", {"dp": 2}, precision="bf16", checkpoint={"at_end": True})["document"]
    run = start([_job(point, content, 1_000_000)], 2, program=PROGRAM)
    _wait_for_step(point / "attempts", 2, run.processes)
    run.processes[1].send_signal(signal.SIGTERM)
    assert run.wait() == [checkpointing.REQUEUE] * 2, run.outputs
    last = max(_curve(_attempt(point)))
    _world(tmp_path, 2, [_job(point, content, last + 2, "2"), _job(whole, content, last + 2)])
    expected = _curve(_attempt(whole))
    assert _curve(_attempt(point, "2")) == {step: expected[step] for step in (last + 1, last + 2)}


# --- other layouts: to rounding

OTHERS: dict[int, dict[str, dict[str, Any]]] = {
    1: {"one process": {}},
    2: {
        "fsdp": {"dp": 2, "sharding": "fsdp"},
        "tp+sp": {"tp": 2, **SEQUENCE},
        "cp": {"cp": 2},
        "zbv": {"pp": 2, **ZBV},
    },
    4: {
        "hsdp": {"dp": 4, "sharding": "hsdp", "dp_replicate": 2},
        "fsdp x tp": {"dp": 2, "tp": 2, "sharding": "fsdp"},
        "pp x fsdp": {"dp": 2, "pp": 2, "sharding": "fsdp", **INTERLEAVED},
    },
}
WRITERS = {"ddp x tp": {"dp": 2, "tp": 2}, "pp x fsdp": {"dp": 2, "pp": 2, "sharding": "fsdp", **INTERLEAVED}}
RESUMED = [
    (name, writer)
    for layouts in OTHERS.values()
    for name in layouts
    for writer in WRITERS
    if writer == "ddp x tp" or name in ("one process", "tp+sp", "hsdp")
]
# A tied table of padded vocabulary over two stages, and shards of different lengths.
SHAPE = {"layers": 4, "ffn": 66}


def _exact(layout: dict[str, Any]) -> dict[str, Any]:
    return case("gpt", layout, SHAPE, checkpoint=EVERY_3)["document"]


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two layouts of four ranks write step 3 and train on; each of the others takes these checkpoints to step 8."""
    folder = tmp_path_factory.mktemp("others")
    writing = [_job(folder / "written" / name, _exact(layout), 4) for name, layout in WRITERS.items()]
    for ranks in (4, 2, 1):
        resuming = [
            _job(
                folder / f"{name} after {writer}",
                _exact(layout),
                8,
                resume=str(_attempt(folder / "written" / writer) / "checkpoints/step-3"),
            )
            for writer in WRITERS
            for name, layout in OTHERS[ranks].items()
            if (name, writer) in RESUMED
        ]
        alone = [_job(folder / "alone", _exact({}), 8)]
        _world(folder, ranks, {4: writing, 2: [], 1: alone}[ranks] + resuming)
    return folder


@pytest.mark.parametrize(("name", "writer"), RESUMED)
def test_another_layout_goes_on_to_rounding(others: Path, name: str, writer: str) -> None:
    alone, resumed = _curve(_attempt(others / "alone")), _curve(_attempt(others / f"{name} after {writer}"))
    assert list(resumed) == [4, 5, 6, 7, 8]
    for step, numbers in resumed.items():
        assert numbers == pytest.approx(alone[step], rel=1e-10)


def test_the_offline_reader_gives_whole_tensors_one_at_a_time(others: Path) -> None:
    """Two layouts have trained the same three steps: their checkpoints hold the same model."""
    found = [
        dict(tensors(_attempt(others / "written" / writer) / "checkpoints/step-3", averages=True)) for writer in WRITERS
    ]
    trainer = Trainer(parse(_exact({}), "test"), Mesh(), torch.device("cpu"))
    shapes = {piece.name: piece.shape for piece in [*trainer.pieces(), *trainer.optimizer_pieces()]}
    assert {name: tuple(tensor.shape) for name, tensor in found[0].items()} == shapes
    assert found[0].keys() == found[1].keys()
    for name, tensor in found[0].items():
        torch.testing.assert_close(tensor, found[1][name], rtol=1e-9, atol=1e-12)


def test_the_offline_reader_leaves_the_optimizers_tensors_out_unless_asked(others: Path) -> None:
    folder = _attempt(others / "written/ddp x tp") / "checkpoints/step-3"
    trainer = Trainer(parse(_exact({}), "test"), Mesh(), torch.device("cpu"))
    assert sorted(name for name, _ in tensors(folder)) == sorted(piece.name for piece in trainer.pieces())


def test_checkpoints_pass_through_mpi_alone(tmp_path: Path) -> None:
    content = {**_same("bf16 fsdp"), "communication": "mpi"}
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    _world(tmp_path, 2, [_job(whole, content, 5), _job(parts, content, 4), _job(parts, content, 5, "2")], "mpi")
    assert _curve(_attempt(parts, "2")) == {5: _curve(_attempt(whole))[5]}


# --- cut off, damaged, misfitting

EXACT_ALONE = case("gpt", {}, {"layers": 4}, checkpoint=EVERY_3)["document"]


@pytest.fixture(scope="module")
def _two_checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    point = tmp_path_factory.mktemp("two") / "point"
    assert _alone(_job(point, EXACT_ALONE, 7)) == checkpointing.TRAINED
    return point


@pytest.fixture
def two_checkpoints(_two_checkpoints: Path, tmp_path: Path) -> Path:
    """A point with checkpoints of the steps 3 (older) and 6, to do with as one likes."""
    shutil.copytree(_two_checkpoints, tmp_path / "point")
    return tmp_path / "point"


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGES = {
    "cut off": (lambda folder: _cut(folder / "__0_0.distcp"), "bytes"),
    "missing": (lambda folder: (folder / "__0_0.distcp").unlink(), "is missing"),
    "another bit": (lambda folder: _flip(folder / "__0_0.distcp"), "checksum of __0_0.distcp"),
    "metadata cut off": (lambda folder: _cut(folder / ".metadata"), ".metadata has"),
    "manifest cut off": (lambda folder: _cut(folder / "checkpoint.json"), "cut off or no JSON"),
    "no manifest": (lambda folder: (folder / "checkpoint.json").unlink(), "no whole checkpoint"),
    "unfinished": (lambda folder: folder.rename(folder.with_name("step-6.part-1")), None),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(
    two_checkpoints: Path, tmp_path: Path, damage: str
) -> None:
    do, words = DAMAGES[damage]
    do(_attempt(two_checkpoints) / "checkpoints/step-6")
    assert _alone(_job(two_checkpoints, EXACT_ALONE, 5, "2")) == checkpointing.TRAINED
    line = _resumed(_attempt(two_checkpoints, "2"))
    assert line["step"] == 3
    assert [words is not None and words in each for each in line["skipped"]] == ([True] if words else [])


def test_the_offline_reader_refuses_a_damaged_checkpoint(two_checkpoints: Path) -> None:
    folder = _attempt(two_checkpoints) / "checkpoints/step-6"
    _flip(folder / "__0_0.distcp")
    with pytest.raises(Damaged, match=r"checksum of __0_0\.distcp"):
        next(tensors(folder))


def test_a_full_disk_ends_the_run_in_a_sentence_and_leaves_the_older_checkpoint(
    two_checkpoints: Path, start: Start
) -> None:
    run = start([_job(two_checkpoints, EXACT_ALONE, 30, "2", largest_file=65536)], program=PROGRAM)
    assert run.wait() == [checkpointing.FAILED]
    failure = reader.read(_attempt(two_checkpoints, "2") / "record.jsonl").failure
    assert failure is not None
    assert failure["kind"] == "error"
    assert failure["evidence"] == (
        "the checkpoint of step 9 could not be written by rank 0: File too large; that of step 6 is whole"
    )
    assert _checkpoints(_attempt(two_checkpoints)) == ["step-3", "step-6"]
    assert _checkpoints(_attempt(two_checkpoints, "2")) == []


def test_a_run_resumes_its_own_work_before_the_checkpoint_that_was_named(two_checkpoints: Path, tmp_path: Path) -> None:
    """A requeued job repeats its command line, --resume and all."""
    content = {**EXACT_ALONE, "hash": "another"}
    named, point = str(_attempt(two_checkpoints) / "checkpoints/step-3"), tmp_path / "other"
    jobs = [
        _job(point, content, 7, "1", resume=named),
        _job(point, content, 8, "2", resume=named),
        _job(point, content, 8, "3", resume=named, fresh=True),
        _job(point, content, 1, "4", fresh=True),
    ]
    assert [_alone(job) for job in jobs] == [checkpointing.TRAINED] * 4
    lines = [_resumed(_attempt(point, name)) for name in ("1", "2", "3", "4")]
    assert [line and line["step"] for line in lines] == [3, 6, 3, None]
    assert [line and line["attempt"] for line in lines] == ["1", "1", "1", None]
    assert _checkpoints(_attempt(two_checkpoints)) == ["step-3", "step-6"], "another point's are left alone"


def test_a_run_that_is_to_begin_elsewhere_does_not_go_on_with_its_own_work(
    two_checkpoints: Path, tmp_path: Path
) -> None:
    content = {**EXACT_ALONE, "hash": "another"}
    folder, point = _attempt(two_checkpoints) / "checkpoints", tmp_path / "other"
    for attempt, named in (("1", "step-3"), ("2", "step-6")):
        assert _alone(_job(point, content, 7, attempt, resume=str(folder / named))) == checkpointing.TRAINED
        assert _resumed(_attempt(point, attempt))["checkpoint"] == str(folder / named)


def test_a_run_whose_checkpoints_are_all_damaged_does_not_silently_begin_anew(two_checkpoints: Path) -> None:
    for step in (3, 6):
        _cut(_attempt(two_checkpoints) / f"checkpoints/step-{step}/__0_0.distcp")
    assert _alone(_job(two_checkpoints, EXACT_ALONE, 1, "2")) == checkpointing.FAILED
    failure = reader.read(_attempt(two_checkpoints, "2") / "record.jsonl").failure
    assert failure is not None
    assert failure["evidence"].startswith("no checkpoint of this point is whole, --fresh begins anew; ")
    assert _alone(_job(two_checkpoints, EXACT_ALONE, 1, "3", fresh=True)) == checkpointing.TRAINED


def test_a_point_that_was_changed_begins_anew(two_checkpoints: Path, tmp_path: Path) -> None:
    content = {**EXACT_ALONE, "hash": "another"}
    assert _alone(_job(two_checkpoints, content, 1, "2")) == checkpointing.TRAINED
    assert _resumed(_attempt(two_checkpoints, "2")) is None


@pytest.mark.parametrize(
    ("family", "model", "training", "words"),
    [
        ("gpt", {}, {"precision": "fp32"}, "it was trained in fp64, and this point trains in fp32"),
        ("gpt", {"layers": 2}, {}, "layers 4 (here 2)"),
        ("llama", {}, {}, "its model toy-gpt is another one"),
        ("gpt", {}, {"sequence_length": 12}, "its position_embedding.weight is [24, 32], not [12, 32]"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused_in_a_sentence(
    two_checkpoints: Path, family: str, model: dict[str, Any], training: dict[str, Any], words: str
) -> None:
    folder = _attempt(two_checkpoints) / "checkpoints/step-6"
    content = case(family, {}, {"layers": 4, **model}, checkpoint=EVERY_3, **training)["document"]
    point = two_checkpoints.parent / "other"
    assert _alone(_job(point, content, 8, resume=str(folder))) == checkpointing.FAILED
    failure = reader.read(_attempt(point) / "record.jsonl").failure
    assert failure is not None
    assert failure["evidence"].startswith(f"{folder} cannot be resumed here: ")
    assert words in failure["evidence"]


def test_a_folder_without_checkpoints_cannot_be_resumed(tmp_path: Path) -> None:
    job = _job(tmp_path / "point", EXACT_ALONE, 8, resume=str(tmp_path))
    assert _alone(job) == checkpointing.FAILED
    failure = reader.read(_attempt(tmp_path / "point") / "record.jsonl").failure
    assert failure is not None and "there is no whole checkpoint" in failure["evidence"]
