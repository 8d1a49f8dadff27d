"""The checkpoints of a point: where they lie, how one appears whole or not at all, which is the newest, which may go.

``attempts/<id>/checkpoints/step-<N>/`` is a complete one. While it is written its name has ``.part`` and what follows after
the step; while it is removed, ``.removed``. Neither is ever read.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hpcscale.train.checkpoint_format import Damaged, Manifest, check_sizes, folder_name, read_manifest, step_of

FOLDER = "checkpoints"


@dataclass(frozen=True)
class Stored:
    """A complete checkpoint."""

    folder: Path
    manifest: Manifest

    @property
    def age_order(self) -> tuple[float, int]:
        return self.manifest.time, self.manifest.step


def part_folder(checkpoints: Path, step: int, token: str) -> Path:
    """Where step ``step`` is written. ``token`` differs from run to run: nothing of a killed one gets mixed in."""
    return checkpoints / f"{folder_name(step)}.part-{token}"


def publish(part: Path, manifest: Manifest) -> Path:
    """Gives a part whose files are all on disk its manifest and its name; from then on it is complete."""
    manifest.write(part)
    _sync(part)
    final = part.with_name(folder_name(manifest.step))
    if final.exists():  # a damaged one, or one of a run that was begun anew in the same attempt folder
        remove(final)
    part.rename(final)
    _sync(final.parent)
    return final


def remove(folder: Path) -> None:
    """Removes a checkpoint. Its name goes first: one that is half removed is not taken for complete."""
    going = folder.with_name(f"{folder.name}.removed-{os.getpid()}")
    with contextlib.suppress(OSError):
        folder.rename(going)
    shutil.rmtree(going, ignore_errors=True)


def prune(homes: Iterable[Path], keep: int) -> None:
    """Leaves the newest ``keep`` complete checkpoints of the folders ``homes``, and nothing that was cut off.

    Damaged ones do not count, and are left for a person to look at.
    """
    complete: list[Stored] = []
    for folder in (each for home in homes for each in _folders(home)):
        if step_of(folder) is None:
            remove(folder)
        elif isinstance(stored := whole(folder), Stored):
            complete.append(stored)
    for stored in sorted(complete, key=lambda each: each.age_order)[:-keep]:
        remove(stored.folder)


def whole(folder: Path) -> Stored | str:
    """The checkpoint ``folder`` if all its files are there and as long as they were; else the sentence that says what is wrong."""
    try:
        manifest = read_manifest(folder)
        check_sizes(folder, manifest)
    except Damaged as error:
        return str(error)
    return Stored(folder, manifest)


def homes(folder: Path) -> list[Path]:
    """The folders of checkpoints of a point or of one attempt."""
    return [home for home in (folder / FOLDER, *sorted(folder.glob(f"attempts/*/{FOLDER}"))) if home.is_dir()]


def newest_first(homes: Iterable[Path]) -> Iterator[Stored | str]:
    """All checkpoints that have a complete one's name, the newest first; damaged ones as the sentence that says so.

    The newest is the one written last, not the one with most steps: a run that was begun anew is not continued with an
    older run's weights.
    """
    found = [whole(folder) for home in homes for folder in _folders(home) if step_of(folder) is not None]
    yield from (each for each in found if isinstance(each, str))
    yield from sorted(
        (each for each in found if isinstance(each, Stored)), key=lambda each: each.age_order, reverse=True
    )


def _folders(home: Path) -> list[Path]:
    try:
        return sorted(each for each in home.iterdir() if each.name.startswith("step-") and each.is_dir())
    except OSError:
        return []


def _sync(folder: Path) -> None:
    """Names are on disk only when their folder is."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
