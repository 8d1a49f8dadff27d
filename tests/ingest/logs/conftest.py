"""Logs as the tools print them, shortened: one for each format and version, named after it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hpcscale.ingest import records, schema
from hpcscale.ingest.logs.importer import Imported, import_logs

SAMPLES = Path(__file__).parent / "samples"


def sample(name: str) -> bytes:
    return (SAMPLES / name).read_bytes()


def steps_of(imported: Imported, attempt: int = 1) -> list[dict[str, Any]]:
    """The lines of steps in a record."""
    record = imported.folder / "attempts" / f"{attempt}.0" / "record.jsonl"
    lines = [json.loads(line) for line in record.read_text(encoding="utf-8").splitlines()]
    assert [line["schema"] for line in lines].count("run") == 1 and lines[0]["schema"] == "run"
    return [line for line in lines if line["schema"] == "step"]


class Importing:
    """Imports what a test writes, and shows what came of it."""

    def __init__(self, folder: Path):
        self.folder = folder

    def log(self, content: bytes | str, name: str = "train.log") -> Path:
        path = self.folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def all(self, content: bytes | str, name: str = "train.log", form: str = "auto", **sets: Any) -> list[Imported]:
        pairs = [(key.replace("__", "."), value) for key, value in sets.items()]
        return import_logs([self.log(content, name)], self.folder / "runs", "imported", form, pairs)

    def one(self, content: bytes | str, **options: Any) -> Imported:
        (imported,) = self.all(content, **options)
        return imported

    def steps(self, content: bytes | str, **options: Any) -> list[dict[str, Any]]:
        return steps_of(self.one(content, **options))

    def row(self, content: bytes | str, **options: Any) -> dict[str, Any]:
        (row,) = schema.rows(records.read(self.one(content, **options).folder))
        return row


@pytest.fixture
def importing(tmp_path: Path) -> Importing:
    return Importing(tmp_path)
