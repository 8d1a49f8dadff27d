"""The attempt folder: ``<point>/attempts/<job id>.<restart count>/``."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path

RECORD = "record.jsonl"
# Set by the job script; by hand, the trainer makes a folder of its own.
VARIABLE = "HPCSCALE_ATTEMPT"

_JOB_ID = ("SLURM_JOB_ID", "PJM_SUBJOBID", "PJM_JOBID")


def attempt_name(environment: Mapping[str, str] = os.environ) -> str:
    """``<job id>.<restart count>`` under a scheduler, else ``local-<date>-<process id>.0``."""
    for variable in _JOB_ID:
        if environment.get(variable):
            restart = environment.get("SLURM_RESTART_COUNT") or "0"
            return re.sub(r"[^A-Za-z0-9._-]", "_", environment[variable]) + f".{restart}"
    return time.strftime("local-%Y%m%d-%H%M%S-") + f"{os.getpid()}.0"


def attempt_folder(point_folder: Path, environment: Mapping[str, str] = os.environ) -> Path:
    """Where this attempt writes: what the job script says, else a new folder beside the point's others."""
    given = environment.get(VARIABLE)
    return Path(given) if given else point_folder / "attempts" / attempt_name(environment)


def attempts(point_folder: Path) -> list[Path]:
    """The attempt folders of a point that hold a record, oldest first (by the record's start, then name)."""
    found = [path.parent for path in (point_folder / "attempts").glob(f"*/{RECORD}") if path.is_file()]
    return sorted(found, key=lambda folder: (_started(folder / RECORD), folder.name))


def _started(record: Path) -> float:
    """When the record's first line says it began; the file's own time stands in for a record without one."""
    with record.open("rb") as file:
        try:
            started = json.loads(file.readline()).get("time")
        except (ValueError, AttributeError, RecursionError):
            started = None
    return float(started) if isinstance(started, int | float) else record.stat().st_mtime
