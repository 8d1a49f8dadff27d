"""The manifest of an archive: what is in it, with a hash of each file, what was replaced, and by which versions it was made."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import hpcscale
from hpcscale.spec.problems import InputError, Problem

MANIFEST = "manifest.json"
FORMAT = 1
# What computes the report's figures and writes them.
_LIBRARIES = ("numpy", "pandas", "scipy", "pydantic", "pyyaml")


@dataclass(frozen=True)
class Entry:
    """One file."""

    sha256: str
    bytes: int


@dataclass(frozen=True)
class Manifest:
    """``report``: what ``hpcscale report`` was asked for, in the archive's folder. ``replaced``: placeholder -> what it stands for and
    how often, never what was replaced. ``left_out``: in words."""

    study: str
    report: tuple[str, ...]
    versions: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, Entry] = field(default_factory=dict)
    replaced: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()

    def text(self) -> str:
        document = {"format": FORMAT, **asdict(self)}
        return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def versions() -> dict[str, str]:
    """Of this computer."""
    return {
        "hpcscale": hpcscale.__version__,
        "python": platform.python_version(),
        **{name: version(name) for name in _LIBRARIES},
    }


def entry(path: Path) -> Entry:
    with path.open("rb") as file:
        return Entry(hashlib.file_digest(file, "sha256").hexdigest(), path.stat().st_size)


def parse(text: str, place: str) -> Manifest:
    """Raises InputError."""
    try:
        document = json.loads(text)
        if document["format"] != FORMAT:
            way = "this hpcscale knows format " + str(FORMAT)
            raise InputError(
                Problem(place, 0, 0, f"{MANIFEST} has format {document['format']!r}; {way}, take another version")
            )
        files = {str(name): Entry(str(each["sha256"]), int(each["bytes"])) for name, each in document["files"].items()}
        return Manifest(
            str(document["study"]), tuple(map(str, document["report"])), dict(document["versions"]), files, dict(document["replaced"]),
            tuple(document["left_out"]),
        )  # fmt: skip
    except (ArithmeticError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise InputError(Problem(place, 0, 0, f"{MANIFEST} is no manifest of hpcscale bundle")) from None
