"""The model of a row: of the catalogue or, where its study describes one, of its record."""

from __future__ import annotations

from pathlib import Path

from hpcscale.ingest.describe import model_of
from hpcscale.record.reader import read
from hpcscale.report.columns import Row
from hpcscale.spec.model import Model, named
from hpcscale.spec.problems import InputError


def of_row(row: Row) -> Model | None:
    """None where nobody knows its shape."""
    try:
        return named(row["model"]) if row["model"] else None
    except InputError:
        pass
    try:
        return model_of(read(Path(row["record"])).point) if row["record"] else None
    except OSError:
        return None
