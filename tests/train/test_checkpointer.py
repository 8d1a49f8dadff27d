"""When checkpoints are written, kept and removed: one rank, in this process."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from hpcscale.spec.keys import resolve
from hpcscale.spec.layout import Training
from hpcscale.train import checkpoint_files, checkpoint_format, checkpoint_store
from hpcscale.train.checkpoint import Checkpointer
from hpcscale.train.checkpoint_files import tensors
from hpcscale.train.checkpoint_format import read_manifest
from hpcscale.train.checkpoint_resume import resume
from hpcscale.train.failures import Ended
from hpcscale.train.loss_scale import LossScale
from hpcscale.train.mesh import Mesh
from hpcscale.train.point_file import parse
from hpcscale.train.trainer import Trainer

from .cases import case
from .toys import TIMEOUT


def _checkpointer(folder: Path, steps: int = 100, **settings: Any) -> tuple[Trainer, Checkpointer]:
    trainer = Trainer(parse(case("gpt", {}, checkpoint=settings)["document"], "test"), Mesh(), torch.device("cpu"))
    return trainer, Checkpointer(trainer, folder, steps)


def _slow(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Nothing is written until the event is set."""
    go, real = threading.Event(), checkpoint_files.write

    def write(*arguments: Any) -> Any:
        assert go.wait(TIMEOUT)
        return real(*arguments)

    monkeypatch.setattr(checkpoint_files, "write", write)
    return go


def test_training_goes_on_while_a_checkpoint_is_written_as_of_its_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer, checkpointer = _checkpointer(tmp_path, every_steps=2)
    go = _slow(monkeypatch)
    for step in (1, 2):
        trainer.step(step)
        checkpointer.after_step(step, {})
    then = {piece.name: piece.tensor.clone() for piece in [*trainer.pieces(), *trainer.optimizer_pieces()]}
    trainer.step(3)
    checkpointer.after_step(3, {})
    assert checkpointer.saved is None
    go.set()
    checkpointer.before_leaving(3)
    for name, tensor in tensors(tmp_path / "checkpoints/step-2", averages=True):
        assert torch.equal(tensor, then[name]), name
    assert read_manifest(tmp_path / "checkpoints/step-2").optimizer_steps == 2
    assert checkpointer.saved == 3


def test_without_asynchronous_the_checkpoint_is_whole_before_training_goes_on(tmp_path: Path) -> None:
    trainer, checkpointer = _checkpointer(tmp_path, every_steps=1, asynchronous=False)
    trainer.step(1)
    checkpointer.after_step(1, {})
    assert isinstance(checkpoint_store.whole(tmp_path / "checkpoints/step-1"), checkpoint_store.Stored)
    assert checkpointer.seconds > 0


def test_the_loss_scale_is_kept(tmp_path: Path) -> None:
    work = parse(case("gpt", {}, precision="fp16", checkpoint={"every_steps": 3})["document"], "test")
    trainers = [Trainer(work, Mesh(), torch.device("cpu")) for _ in range(2)]
    trainers[0].loss_scale = LossScale(1024.0, 7)
    Checkpointer(trainers[0], tmp_path / "attempts/1", 100).before_leaving(5)
    assert resume(trainers[1], tmp_path, tmp_path / "attempts/2") is not None
    assert trainers[1].loss_scale == LossScale(1024.0, 7)


@pytest.mark.parametrize(
    ("settings", "step", "saved"),
    [
        ({}, 5, None),
        ({}, 10, None),
        ({"at_end": True}, 5, 5),
        ({"at_end": True}, 10, 10),
        ({"every_steps": 4}, 7, 7),
        ({"every_steps": 4}, 10, None),
        ({"every_steps": 5}, 10, 10),
    ],
)
def test_what_is_saved_on_leaving(tmp_path: Path, settings: dict[str, Any], step: int, saved: int | None) -> None:
    """A run that stops early (of 10 steps) saves if it saves at all; one that has ended if it is to, or if it is due."""
    _, checkpointer = _checkpointer(tmp_path, 10, **settings)
    checkpointer.before_leaving(step)
    assert checkpointer.saved == saved


def test_a_checkpoint_that_cannot_be_made_complete_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "checkpoint.json")

    trainer, checkpointer = _checkpointer(tmp_path, every_steps=1)
    monkeypatch.setattr(checkpoint_format.Manifest, "write", full)
    trainer.step(1)
    checkpointer.after_step(1, {})
    with pytest.raises(Ended, match=r"step 1 could not .* rank 0: No space left on device: checkpoint\.json; no other"):
        checkpointer.before_leaving(1)
    assert list((tmp_path / "checkpoints").iterdir()) == []


def _fake(home: Path, step: int, when: float) -> Path:
    """A complete checkpoint, as far as the store can see."""
    part = checkpoint_store.part_folder(home, step, "x")
    part.mkdir(parents=True)
    (part / "__0_0.distcp").write_bytes(b"12345")
    files = {"__0_0.distcp": checkpoint_format.StoredFile(5, 0)}
    manifest = checkpoint_format.Manifest(step, when, "p", "h", {}, "fp32", {}, step, None, ("1",), None, files)
    return checkpoint_store.publish(part, manifest)


def test_a_damaged_checkpoint_is_not_counted_among_those_kept(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        _fake(tmp_path, step, step)
    (tmp_path / "step-3/__0_0.distcp").unlink()
    checkpoint_store.part_folder(tmp_path, 4, "killed").mkdir()
    checkpoint_store.prune([tmp_path], 1)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["step-2", "step-3"]


def test_the_newest_is_the_one_written_last(tmp_path: Path) -> None:
    """A run that was begun anew has fewer steps than the one before."""
    _fake(tmp_path / "checkpoints", 100, when=1.0)
    _fake(tmp_path / "attempts/2/checkpoints", 20, when=2.0)
    found = [
        each for each in checkpoint_store.newest_first(checkpoint_store.homes(tmp_path)) if not isinstance(each, str)
    ]
    assert [each.manifest.step for each in found] == [20, 100]


def test_a_checkpoint_takes_the_place_of_a_damaged_one_of_its_step(tmp_path: Path) -> None:
    (_fake(tmp_path, 5, 1.0) / "__0_0.distcp").unlink()
    assert isinstance(checkpoint_store.whole(tmp_path / "step-5"), str)
    _fake(tmp_path, 5, 2.0)
    assert isinstance(checkpoint_store.whole(tmp_path / "step-5"), checkpoint_store.Stored)
    assert [each.name for each in tmp_path.iterdir()] == ["step-5"]


def test_the_checkpoint_keys_can_be_swept() -> None:
    assert resolve("training.checkpoint.every_steps") == ("training", "checkpoint", "every_steps")


def test_a_training_without_checkpoints_has_the_hash_that_it_had() -> None:
    training = Training(sequence_length=1, global_batch_size=1)
    assert "checkpoint" not in training.model_dump(exclude_defaults=True)
    assert not training.checkpoint.enabled
