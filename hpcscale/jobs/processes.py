"""Processes of this computer, from /proc: which run, what they were started with, and ending one with all that it started."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path

GRACE_SECONDS = 30.0  # the trainer takes up to 20 to end a step and say why it stopped
_POLL_SECONDS = 0.2


def stop(pid: int, ended: Callable[[], bool] | None = None) -> None:
    """End a process and everything below it: ask the ranks, and kill what is left after the grace.

    Only the leaves of the process tree are asked, once: launchers end by themselves when their ranks do, and torchrun
    leaves its ranks behind when a second signal meets it while it tidies up. Its ranks have sessions of their own, so a
    signal to the process group would not reach them.
    """
    children = _children()
    tree = _below(pid, children)
    for leaf in [each for each in tree if each not in children]:
        _send(leaf, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_SECONDS
    gone = ended or (lambda: not runs(pid))
    while time.monotonic() < deadline and (not gone() or any(map(runs, tree[1:]))):
        time.sleep(_POLL_SECONDS)
    for each in {*tree, *_below(pid, _children())}:
        _send(each, signal.SIGKILL)


def all_ids() -> list[int]:
    return [int(path.name) for path in Path("/proc").glob("[0-9]*")]


def runs(pid: int) -> bool:
    """Whether the process is there and no zombie."""
    fields = _stat(pid)
    return bool(fields) and fields[0] != "Z"


def started(pid: int) -> str:
    """When the process began, in clock ticks since boot: with the number it names one process for good; empty if it is gone."""
    fields = _stat(pid)
    return fields[19] if len(fields) > 19 else ""


def environment(pid: int, names: Iterable[str]) -> dict[str, str]:
    """Those of the variables that the process was started with; none of another person's process."""
    try:
        pairs = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return {}
    wanted = set(names)
    return {name: value for name, _, value in (pair.partition("=") for pair in pairs) if name in wanted}


def commands_with(word: str) -> list[int]:
    """Processes that have the word among their command line's."""
    found = []
    for pid in all_ids():
        with contextlib.suppress(OSError):
            if word.encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return found


def _stat(pid: int) -> list[str]:
    """The fields of /proc/<pid>/stat from the state on (field 3); empty if the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def _children() -> dict[int, list[int]]:
    """Every running process's children."""
    found: dict[int, list[int]] = {}
    for pid in all_ids():
        fields = _stat(pid)
        if fields and fields[0] != "Z":
            found.setdefault(int(fields[1]), []).append(pid)
    return found


def _below(pid: int, children: dict[int, list[int]]) -> list[int]:
    """The process and everything that it started, itself first."""
    return [pid, *(each for child in children.get(pid, []) for each in _below(child, children))]


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
