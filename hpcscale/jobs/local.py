"""Running a point's job.sh on this computer, and stopping it with everything it started."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from hpcscale.record.attempt import RECORD, VARIABLE, attempt_name
from hpcscale.record.reader import Follower, Record, read

_POLL_SECONDS = 0.2
_GRACE_SECONDS = 30.0  # the trainer takes up to 20 to end a step and say why it stopped


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
            _stop(process)
            raise
    watch(follower.record())
    return process.returncode, attempt


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the job: ask the ranks, and kill what is left after the grace.

    Only the leaves of the process tree are asked, once: launchers end by themselves when their ranks do, and torchrun
    leaves its ranks behind when a second signal meets it while it tidies up. Its ranks have sessions of their own, so a
    signal to the process group would not reach them.
    """
    children = _children()
    tree = _below(process.pid, children)
    for leaf in [pid for pid in tree if pid not in children]:
        _send(leaf, signal.SIGTERM)
    deadline = time.monotonic() + _GRACE_SECONDS
    while time.monotonic() < deadline and (process.poll() is None or any(map(_runs, tree[1:]))):
        time.sleep(_POLL_SECONDS)
    for pid in {*tree, *_below(process.pid, _children())}:
        _send(pid, signal.SIGKILL)
    process.wait()


def _children() -> dict[int, list[int]]:
    """Every running process's children, from /proc."""
    found: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            continue  # it has ended meanwhile
        if fields[0] != "Z":
            found.setdefault(int(fields[1]), []).append(int(path.parent.name))
    return found


def _below(pid: int, children: dict[int, list[int]]) -> list[int]:
    """The process and everything that it started, itself first."""
    return [pid, *(each for child in children.get(pid, []) for each in _below(child, children))]


def _runs(pid: int) -> bool:
    try:
        return (
            Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0] != "Z"
        )
    except OSError:
        return False


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


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
