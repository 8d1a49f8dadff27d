"""Running a point's job.sh on this computer, and stopping it with everything it started."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from hpcscale.jobs import processes
from hpcscale.record.attempt import RECORD, VARIABLE, attempt_name
from hpcscale.record.reader import Follower, Record, read

_POLL_SECONDS = 0.2


def run(folder: Path, number: int, watch: Callable[[Record], None]) -> tuple[int, Path]:
    """Run ``folder``'s job.sh to its end; ``watch`` sees the record as it grows. Returns (exit status, attempt folder).

    ``python3`` in the script means the interpreter that runs hpcscale. An exception in the caller's thread (Ctrl-C) ends
    the job and everything it started before it goes on.
    """
    attempt = folder / "attempts" / attempt_name({}).replace(".0", f"-{number}.0")
    attempt.mkdir(parents=True, exist_ok=True)
    follower = Follower(attempt / RECORD)
    environment = {**os.environ, VARIABLE: str(attempt)}
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", "")])
    # A session of its own: Ctrl-C reaches hpcscale alone, which then ends the job in order.
    with subprocess.Popen(
        ["bash", str(folder / "job.sh")], env=environment, start_new_session=True, stdin=subprocess.DEVNULL
    ) as process:
        try:
            while process.poll() is None:
                time.sleep(_POLL_SECONDS)
                watch(follower.record())
        except BaseException:
            processes.stop(process.pid, lambda: process.poll() is not None)
            process.wait()
            raise
    watch(follower.record())
    return process.returncode, attempt


def last_words(attempt: Path, lines: int = 3) -> str:
    """The end of the attempt's output, for a message about a failure without a record."""
    try:
        text = (attempt / "output").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return " / ".join(line.strip() for line in text.splitlines()[-lines:] if line.strip())


def completed(folder: Path, point_hash: str) -> bool:
    """Whether an attempt of this very point has completed."""
    for path in (folder / "attempts").glob(f"*/{RECORD}"):
        record = read(path)
        if record.status == "completed" and record.point.get("hash") == point_hash:
            return True
    return False
