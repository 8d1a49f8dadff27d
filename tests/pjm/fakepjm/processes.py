"""Processes by their ids: who descends from whom, whether one still is the same, and ending them all."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress

SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER, linux/prctl.h
SUPERVISOR = "pjm-supervisor"  # up to 15 characters
STATE, PARENT, START, COMMAND = 0, 1, 19, -1


def start_time(pid: int) -> str | None:
    """When the kernel started the process: with the id it names a process for good. None for one that is gone."""
    fields = stat(pid)
    return fields[START] if fields and fields[STATE] not in ("Z", "X") else None


def stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat after the command (state, parent, …), and the command last."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            text = file.read()
    except OSError:
        return None
    end = text.rindex(")")
    return [*text[end + 2 :].split(), text[text.index("(") + 1 : end]]


def alive(process: dict | None) -> bool:
    return bool(process) and start_time(process["pid"]) == process["start"]


def this() -> dict:
    return {"pid": os.getpid(), "start": start_time(os.getpid())}


def adopt_orphans() -> None:
    """Makes this process the parent of descendants whose own parent ends, so that none can leave the tree."""
    import ctypes

    ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)


def become_supervisor() -> None:
    """Names this process, and those it forks until they exec, so that it does not count to the job that submitted its own."""
    with open("/proc/self/comm", "w", encoding="utf-8") as file:
        file.write(SUPERVISOR)


def descendants(pid: int) -> list[int]:
    """All processes below ``pid``, parents first, without zombies and without supervisors of other jobs and their processes."""
    children: dict[int, list[int]] = {}
    gone = set()
    for name in os.listdir("/proc"):
        fields = stat(int(name)) if name.isdigit() else None
        if fields and fields[COMMAND] != SUPERVISOR:
            children.setdefault(int(fields[PARENT]), []).append(int(name))
            if fields[STATE] in ("Z", "X"):
                gone.add(int(name))
    found: list[int] = []
    queue = [pid]
    while queue:
        below = children.get(queue.pop(0), [])
        found += below
        queue += below
    return [process for process in found if process not in gone]


def send(pids: list[int], number: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def kill_below(pid: int) -> None:
    """SIGKILL to everything below ``pid`` until nothing is left."""
    for _ in range(200):
        below = descendants(pid)
        if not below:
            return
        send(below, signal.SIGKILL)
        if pid == os.getpid():
            reap()
        time.sleep(0.002)


def reap() -> None:
    """Takes note of children that have ended."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def with_variables(**wanted: str) -> list[int]:
    """This user's processes whose environment holds all the given values."""
    needles = [f"{name}={value}".encode() for name, value in wanted.items()]
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/environ", "rb") as file:
                variables = file.read().split(b"\0")
        except OSError:
            continue
        if all(needle in variables for needle in needles):
            found.append(int(name))
    return found
