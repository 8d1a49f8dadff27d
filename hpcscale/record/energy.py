"""What accounting said of an attempt's energy: ``energy.json`` beside its record, where no counter was read inside the job."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

FILE = "energy.json"


@dataclass(frozen=True)
class JobEnergy:
    """Of a whole job: its start, warm-up and checkpoints too. ``source`` as ``sacct`` or ``pjm: IDEAL``."""

    joules: float
    seconds: float  # that they were used in
    source: str
    nodes: int | None = None
    note: str = ""

    @property
    def watts(self) -> float:
        """The job's mean power."""
        return self.joules / self.seconds


def write(attempt: Path, energy: JobEnergy) -> None:
    """Raises OSError."""
    temporary = attempt / f"{FILE}.{os.getpid()}.tmp"
    temporary.write_text(json.dumps(asdict(energy)) + "\n", encoding="utf-8")
    temporary.replace(attempt / FILE)


def read(attempt: Path | str) -> JobEnergy | None:
    """None where there is none, or none that can be read."""
    try:
        # reports ask this of every run, most of which have none
        with open(os.path.join(attempt, FILE), encoding="utf-8") as file:  # noqa: PTH118, PTH123
            found = JobEnergy(**json.load(file))
        return found if found.joules > 0 and found.seconds > 0 else None
    except (OSError, ValueError, TypeError, RecursionError):
        return None
