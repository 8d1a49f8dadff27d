"""Attempts of a log as folders of runs: ``RUNS/<study>/<point>/attempts/<n>.0/record.jsonl``, replaced as a whole."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpcscale.ingest.logs.attempt import Attempt
from hpcscale.ingest.logs.blocks import BLOCK
from hpcscale.record.attempt import RECORD
from hpcscale.record.writer import RecordWriter
from hpcscale.spec.problems import InputError

DESCRIPTION = "point.json"
_SCHEMA = 1
_NO_NAME = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass
class Point:
    """One configuration that a log holds, with its attempts in the log's order."""

    told: dict[str, Any]  # what was run
    imported: dict[str, Any]  # where it comes from
    attempts: list[Attempt] = field(default_factory=list)


@contextmanager
def workshop(runs: Path) -> Iterator[Path]:
    """A folder for what is not finished, on the file system of the runs; it goes whatever happens."""
    runs.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".import-", dir=runs))
    try:
        parts = folder / "parts"  # so deep that no report looks there for runs
        parts.mkdir()
        yield parts
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def identity(log: Path, number: int) -> str:
    """A name for a log's point: the same file gets the same one again, another file of the same name another one."""
    where = hashlib.sha256(os.fsencode(log.resolve())).hexdigest()[:8]
    stem = log.name.removesuffix(".gz").removesuffix(".zst").rpartition(".")[0] or log.name
    words = _NO_NAME.sub("-", stem).strip("-.")[:60] or "log"
    return f"{words}-{where}" + (f"-{number}" if number > 1 else "")


def write(point: Point, name: str, digest: str, study: str, runs: Path, folder: Path, time: float) -> Path:
    """The point's folder, made in ``folder`` and then put in its place. Raises InputError if something else is there."""
    place = runs / study / name
    if place.exists() and not _is_imported(place):
        raise InputError(f"{place} is no imported run and stays as it is; choose another --out or --study")
    made = folder / name
    document = {
        "schema": _SCHEMA, "study": study, "point": name, "hash": digest, "scaling": "none", "repeat": 1, "resources": {},
        **point.told, "imported": point.imported,
    }  # fmt: skip
    for number, attempt in enumerate(point.attempts, 1):
        _record(made / "attempts" / f"{number}.0" / RECORD, attempt, document, time + number)
    (made / DESCRIPTION).write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.exists():
        place.rename(folder / f"{name}.old")
    made.rename(place)
    return place


def _record(path: Path, attempt: Attempt, document: dict[str, Any], time: float) -> None:
    with RecordWriter(path) as writer:
        writer.run(
            time=time, point=document, versions={}, hosts=[], ranks=document.get("ranks"),
            device=document.get("device", {}).get("name"), backend=None, imported_from_line=attempt.first_line,
            peak_memory_bytes=attempt.peak_memory_bytes, memory_kind=document["imported"].get("memory_kind"),
            **({"energy_source": source} if (source := document["imported"].get("energy_source")) else {}),
        )  # fmt: skip
        if attempt.count:
            writer.copy(_pieces(attempt.steps))
        if attempt.completed:
            writer.summary(
                time=time, steps=attempt.last_step, wall_seconds=attempt.seconds,
                peak_memory_bytes=attempt.peak_memory_bytes, memory_kind=document["imported"].get("memory_kind"),
            )  # fmt: skip
        elif attempt.failure is not None:
            writer.failure(*attempt.failure, time=time)


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(BLOCK):
            yield piece


def _is_imported(place: Path) -> bool:
    try:
        found = json.loads((place / DESCRIPTION).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and "imported" in found
