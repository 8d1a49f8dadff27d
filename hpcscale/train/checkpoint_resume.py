"""Where a run begins: at the newest complete checkpoint of its point, at one that is named, or from nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, TypeVar

from pydantic import ValidationError

from hpcscale.record import reader
from hpcscale.record.attempt import RECORD
from hpcscale.spec.model import Model
from hpcscale.train import checkpoint_store, communication
from hpcscale.train.checkpoint_boxes import boxes, difference
from hpcscale.train.checkpoint_files import Reader
from hpcscale.train.checkpoint_format import Damaged, Manifest, check_sums, read_manifest, step_of
from hpcscale.train.checkpoint_store import FOLDER, Stored
from hpcscale.train.failures import Ended
from hpcscale.train.loss_scale import LossScale
from hpcscale.train.point_file import Work
from hpcscale.train.rank_zero import from_rank_0, rank, ranks
from hpcscale.train.trainer import Trainer

# What tells models apart but changes neither a weight nor what is computed with it.
NOT_THE_MODELS = ("name", "source", "vocab_multiple", "init_std")


@dataclass(frozen=True)
class Resumed:
    """The checkpoint that a run began from. ``attempts``: of this point, whose work it continues. ``earlier``: their
    checkpoints, which go when there are newer ones. ``skipped``: sentences about damaged ones."""

    folder: Path
    manifest: Manifest
    attempts: tuple[str, ...]
    earlier: tuple[Path, ...]
    origin: str | None
    skipped: tuple[str, ...]

    def told(self) -> str:
        """For a person who watches."""
        began = f"continues attempt {self.manifest.attempts[-1]} after step {self.manifest.step} ({self.folder})"
        return "; ".join([began, *self.skipped])

    def line(self) -> dict[str, Any]:
        """``resume`` in the record's run line."""
        return {
            "step": self.manifest.step,
            "attempt": self.manifest.attempts[-1],
            "point": self.manifest.point,
            "checkpoint": str(self.folder),
            "skipped": list(self.skipped),
        }


def resume(
    trainer: Trainer,
    point: Path,
    attempt: Path,
    named: Path | None = None,
    fresh: bool = False,
    steps: int | None = None,
) -> Resumed | None:
    """Loads the checkpoint to begin from, if there is one. Collective.

    ``point`` and ``attempt``: their folders. ``named`` (``--resume``): a checkpoint, or an attempt or point with some, to begin
    at instead of from nothing; the point's own that have begun there go on, unless ``fresh``, which leaves the point's own
    alone. ``steps``: the last step of this run; an attempt that has completed as many is over, and this one begins anew.
    Raises Ended, on all ranks, if what is named cannot be loaded or does not fit, or if the point has checkpoints and
    none of them is whole.
    """
    work = trainer.work
    if named is None and (fresh or not work.training.checkpoint.enabled):
        return None
    origin = None if named is None else str(named.absolute())
    candidates: Iterator[Stored | str] = iter(())
    if rank() == 0:
        own = iter(()) if fresh else _own(work, point, attempt, origin, steps)
        candidates = own if named is None else chain(own, _named(named))
    stored, skipped = _first_whole(candidates)
    if stored is None:
        why = "".join(f"; {each}" for each in skipped)
        if named is not None:
            raise Ended("error", f"--resume {named}: there is no whole checkpoint{why}")
        if skipped:
            raise Ended("error", f"no checkpoint of this point is whole, --fresh begins anew{why}")
        return None
    manifest = stored.manifest
    _agree(misfit(work, manifest), stored.folder)
    _load(trainer, stored)
    is_own = named is None or (manifest.hash == work.document["hash"] and manifest.origin == origin)
    attempts = manifest.attempts if is_own else ()
    earlier = tuple(point / "attempts" / each / FOLDER for each in attempts)
    return Resumed(stored.folder, manifest, attempts, earlier, manifest.origin if is_own else origin, tuple(skipped))


def misfit(work: Work, manifest: Manifest) -> str | None:
    """Why ``work`` cannot go on from a checkpoint, in one sentence; None if it can."""
    if manifest.precision != work.training.precision:
        return f"it was trained in {manifest.precision}, and this point trains in {work.training.precision}"
    try:
        there = Model.model_validate(manifest.model)  # with the defaults of keys that are younger than the checkpoint
    except ValidationError:
        return f"its model {manifest.model.get('name')} has keys that this version does not know"
    different = [
        f"{name} {getattr(there, name)} (here {getattr(work.model, name)})"
        for name in Model.model_fields
        if name not in NOT_THE_MODELS and getattr(there, name) != getattr(work.model, name)
    ]
    return f"its model {there.name} is another one: {', '.join(different)}" if different else None


def _own(work: Work, point: Path, attempt: Path, origin: str | None, steps: int | None) -> Iterator[Stored | str]:
    """The point's own checkpoints, the newest first: those of another spec, or (with --resume) another beginning, are left out.

    None at all if the newest is of an attempt that has completed ``steps``: who runs the point again wants it from the beginning.
    """

    def fits(manifest: Manifest) -> bool:
        return manifest.hash == work.document["hash"] and (origin is None or manifest.origin == origin)

    homes = {*checkpoint_store.homes(point), *checkpoint_store.homes(attempt)}
    newest = True
    for each in checkpoint_store.newest_first(homes):
        if isinstance(each, str):
            yield each
        elif fits(each.manifest):
            if newest and steps is not None and _has_completed(each.folder.parent.parent, steps):
                return
            newest = False
            yield each


def _has_completed(attempt: Path, steps: int) -> bool:
    path = attempt / RECORD
    summary = reader.read(path).summary if path.exists() else None
    return summary is not None and summary.get("steps", 0) >= steps


def _named(path: Path) -> Iterator[Stored | str]:
    if step_of(path) is not None:
        yield checkpoint_store.whole(path)
    else:
        homes = [path] if path.name == FOLDER else checkpoint_store.homes(path)
        yield from checkpoint_store.newest_first(homes)


def _first_whole(candidates: Iterator[Stored | str]) -> tuple[Stored | None, list[str]]:
    """The first candidate of rank 0 whose files all hold what was written, and why others were passed over.

    Each rank reads some of the files.
    """
    skipped: list[str] = []
    while True:
        folder = None
        for each in candidates:
            if isinstance(each, Stored):
                folder = each.folder
                break
            skipped.append(each)
        folder, skipped = from_rank_0((folder, skipped))
        if folder is None:
            return None, skipped
        stored, problem = None, None
        try:
            stored = Stored(folder, read_manifest(folder))
            check_sums(folder, stored.manifest, sorted(stored.manifest.files)[rank() :: ranks()])
        except Damaged as error:
            problem = str(error)
        problems = [each for each in communication.gather_objects(problem) if each is not None]
        if not problems:
            return stored, skipped
        skipped.append(problems[0])


def _load(trainer: Trainer, stored: Stored) -> None:
    """Fills weights and optimizer state; the layout may be any."""
    state = boxes([*trainer.pieces(), *trainer.optimizer_pieces()])
    reader = _on_all_ranks(stored.folder, lambda: Reader(stored.folder))
    _agree(difference(reader.metadata, state), stored.folder)
    _on_all_ranks(stored.folder, lambda: reader.load(state))
    trainer.replica.updated()
    trainer.optimizer.steps = stored.manifest.optimizer_steps
    if trainer.loss_scale is not None and stored.manifest.loss_scale is not None:
        trainer.loss_scale = LossScale(**stored.manifest.loss_scale)


T = TypeVar("T")


def _on_all_ranks(folder: Path, read: Callable[[], T]) -> T:
    """What ``read`` gives, if it succeeds on all ranks."""
    result, problem = None, None
    try:
        result = read()
    except (OSError, EOFError, RuntimeError, UnpicklingError) as error:
        problem = f"it cannot be read: {' '.join(str(error).split())}"
    _agree(problem, folder)
    return result  # pyright: ignore[reportReturnType] None only where there was a problem


def _agree(problem: str | None, folder: Path) -> None:
    """Raises Ended on all ranks if any of them has a problem with the checkpoint."""
    problems = [each for each in communication.gather_objects(problem) if each is not None]
    if problems:
        raise Ended("error", f"{folder} cannot be resumed here: {problems[0]}")
