"""What the scheduler said of an attempt that could not say so itself: killed whole, by memory, time or a lost node."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from hpcscale.record.schema import FAILURES

OUTCOME = "outcome.json"
# A file that the trainer leaves when it stopped early and another job can go on: its content is the failure word.
WISH = "requeue"


def write(attempt: Path, kind: str, evidence: str) -> None:
    """Beside a record without a last line: why the attempt ended. Raises OSError."""
    temporary = attempt / f"{OUTCOME}.{os.getpid()}.tmp"
    temporary.write_text(json.dumps({"kind": kind, "evidence": evidence}) + "\n", encoding="utf-8")
    temporary.replace(attempt / OUTCOME)


def read(attempt: Path) -> dict[str, Any] | None:
    """``{"kind": ..., "evidence": ...}``; None where there is none, or none that can be read."""
    try:
        found = json.loads((attempt / OUTCOME).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and found.get("kind") in FAILURES else None
