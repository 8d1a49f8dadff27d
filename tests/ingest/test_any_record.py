"""Whatever stands in point.json and record.jsonl: the report shows a row for each point, and never fails."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpcscale.ingest import records
from hpcscale.report.build import build
from hpcscale.spec import study
from hpcscale.spec.expand import expand

JUNK = st.sampled_from([None, True, -1, 0, 1e308, "x", "nan", [], [1], {}, {"a": {}}, 10**25, "\u2028"])
DOCUMENT: dict[str, Any] = expand(study.read("quickstart")).points[0].document()
LINES: list[dict[str, Any]] = [
    {"schema": "run", "version": 1, "time": 1.0, "point": DOCUMENT, "memory_kind": "resident"},
    *({"schema": "step", "version": 1, "step": i, "step_seconds": 0.5, "loss": 2.0, "tokens": 4096, "peak_memory_bytes": 9} for i in range(1, 7)),
    {"schema": "summary", "version": 1, "time": 2.0, "steps": 6, "wall_seconds": 3.0, "peak_memory_bytes": 9},
    {"schema": "failure", "version": 1, "time": 2.0, "kind": "oom", "evidence": "x"},
]  # fmt: skip


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(choice=st.data())
def test_any_record_gives_a_row(choice: st.DataObject, tmp_path: Path) -> None:
    document, lines = json.loads(json.dumps(DOCUMENT)), json.loads(json.dumps(LINES))
    for mapping in (document, *lines):
        if choice.draw(st.booleans()):
            key = choice.draw(st.sampled_from(sorted(mapping)))
            mapping[key] = choice.draw(JUNK)
    text = "\n".join(json.dumps(line) for line in lines[: choice.draw(st.integers(0, len(lines)))])
    text = text[: choice.draw(st.integers(0, len(text)))] + choice.draw(
        st.sampled_from(["", "\n", "\x00", "\nnull\n[1]\n"])
    )
    point = tmp_path / "runs" / "s" / "p"
    attempt = point / "attempts" / "1.0"
    attempt.mkdir(parents=True, exist_ok=True)
    (point / "point.json").write_text(json.dumps(document))
    (attempt / "record.jsonl").write_text(text)
    assert len(records.read(tmp_path / "runs")) == 1
    build([str(tmp_path / "runs")], tmp_path / "runs", None)
