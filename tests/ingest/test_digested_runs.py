"""What is kept of a run beside its row: the measured steps, also after the cache's JSON."""

import json
from collections.abc import Callable
from pathlib import Path

from hpcscale.ingest import records
from hpcscale.ingest.run import Run


def test_the_measured_steps_are_kept_exactly(tmp_path: Path, write_run: Callable[..., Path]):
    attempt = write_run(tmp_path, [9.0, 9.0, 0.1, 1 / 3, 1e-9])
    record = attempt / "record.jsonl"
    record.write_text(record.read_text().replace('"loss": 2.0', '"energy_joules": 12.5, "loss": 2.0'))
    ((found,),) = records.grouped(tmp_path)
    again = Run(**json.loads(json.dumps(vars(found.run))))
    for run in (found.run, again):
        assert run.steps == [
            {"step": 3, "step_seconds": 0.1, "energy_joules": 12.5},
            {"step": 4, "step_seconds": 1 / 3},
            {"step": 5, "step_seconds": 1e-9},
        ]
        assert type(run.steps[0]["step"]) is int
    assert found.record == str(record)
