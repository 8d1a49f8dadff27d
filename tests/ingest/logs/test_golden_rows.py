"""What the report's table holds of each sample. To accept a change: HPCSCALE_GOLDEN=write, then read the diff."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from hpcscale.ingest import records, schema

from .conftest import SAMPLES, Importing

GOLDEN = Path(__file__).parent / "golden"
# They depend on where the test runs.
_OWN = ("record", "point")


@pytest.mark.parametrize("name", sorted(path.name for path in SAMPLES.iterdir()))
def test_every_sample_gives_the_rows_of_its_golden_file(name: str, importing: Importing):
    importing.all((SAMPLES / name).read_bytes(), name=name)
    rows = [
        {key: value for key, value in row.items() if value is not None and key not in _OWN}
        for row in schema.rows(records.read(importing.folder / "runs"))
    ]
    golden = GOLDEN / f"{name}.json"
    if os.environ.get("HPCSCALE_GOLDEN") == "write":
        golden.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    assert rows == json.loads(golden.read_text(encoding="utf-8"))
