"""What a checkpoint is on disk: a folder ``step-<N>`` with torch.distributed.checkpoint's files and a manifest of them.

The manifest is written last, when all else is on disk, and says how long each file is and what its checksum is. So a
checkpoint that was cut off in writing or damaged later is told from a whole one without torch.
"""

from __future__ import annotations

import json
import os
import re
import zlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

MANIFEST = "checkpoint.json"
FORMAT = 1
_NAME = re.compile(r"step-([0-9]+)\Z")
_BLOCK_BYTES = 1 << 20


class Damaged(Exception):
    """A checkpoint that must not be loaded; the text is the sentence that says why."""


@dataclass(frozen=True)
class StoredFile:
    """One file as it was written."""

    bytes: int
    crc32: int


@dataclass(frozen=True)
class Manifest:
    """All of a checkpoint but its tensors."""

    step: int  # the last one that its weights have seen
    time: float  # Unix seconds
    point: str  # identity
    hash: str  # of the point
    model: dict[str, Any]  # the model spec
    precision: str
    layout: dict[str, Any]  # that it was written with; it can be loaded into any other
    optimizer_steps: int
    loss_scale: dict[str, Any] | None
    attempts: tuple[str, ...]  # of the point, whose steps these weights have seen, oldest first; the last one wrote it
    origin: str | None  # what ``--resume`` named when the first of those attempts began
    files: dict[str, StoredFile]

    def write(self, folder: Path) -> None:
        """Puts the manifest into ``folder``, on disk when this returns."""
        text = json.dumps({"format": FORMAT, **asdict(self)}, indent=1)
        with (folder / MANIFEST).open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())


def step_of(folder: Path) -> int | None:
    """The step that a folder's name tells; None if it is no complete checkpoint's name."""
    match = _NAME.match(folder.name)
    return int(match[1]) if match else None


def folder_name(step: int) -> str:
    return f"step-{step}"


def read_manifest(folder: Path) -> Manifest:
    """The manifest of the checkpoint ``folder``. Raises Damaged if there is none that can be read."""
    try:
        content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except OSError as error:
        raise Damaged(f"{folder} is no whole checkpoint: {MANIFEST}: {error.strerror}") from None
    except ValueError:
        raise Damaged(f"{folder} is damaged: {MANIFEST} is cut off or no JSON") from None
    try:
        if content["format"] != FORMAT:
            raise Damaged(f"{folder} has format {content['format']}; this version of hpcscale reads {FORMAT}")
        values = {field.name: content[field.name] for field in fields(Manifest)}
        values["files"] = {name: StoredFile(**each) for name, each in values["files"].items()}
        values["attempts"] = tuple(values["attempts"])
    except (KeyError, TypeError, AttributeError):
        raise Damaged(f"{folder} is damaged: {MANIFEST} lacks what a manifest has") from None
    return Manifest(**values)


def check_sizes(folder: Path, manifest: Manifest) -> None:
    """Raises Damaged if a file is missing or has another length than it was written with. Quick: no file is read."""
    for name, stored in manifest.files.items():
        try:
            size = (folder / name).stat().st_size
        except OSError:
            raise Damaged(f"{folder} is damaged: {name} is missing") from None
        if size != stored.bytes:
            raise Damaged(f"{folder} is damaged: {name} has {size} of {stored.bytes} bytes")


def check_sums(folder: Path, manifest: Manifest, names: Iterable[str]) -> None:
    """Raises Damaged if one of the files ``names`` holds other bytes than were written."""
    for name in names:
        crc = 0
        try:
            with (folder / name).open("rb") as file:
                while block := file.read(_BLOCK_BYTES):
                    crc = zlib.crc32(block, crc)
        except OSError as error:
            raise Damaged(f"{folder} is damaged: {name} cannot be read: {error.strerror}") from None
        if crc != manifest.files[name].crc32:
            raise Damaged(f"{folder} is damaged: the checksum of {name} is not the one that was written")
