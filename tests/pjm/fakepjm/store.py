"""Jobs as files: ``jobs/<key>/job.json``, replaced atomically under one lock; no daemon.

A job's key is its sub job id: ``123``, ``123[4]`` (bulk), ``123_0`` (step). ``live/`` holds one empty marker for each job that has
not ended, ``w.<key>`` while it waits and ``r.<key>`` while it runs, so that the commands need not read what is over.
"""

from __future__ import annotations

import fcntl
import json
import os
import re

KEY = re.compile(r"(\d+)(?:\[(\d+)\]|_(\d+))?")


class Lock:
    """An exclusive lock on a file; the descriptor is closed, so that no child can hold it."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __enter__(self) -> None:
        self.descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        fcntl.flock(self.descriptor, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        fcntl.flock(self.descriptor, fcntl.LOCK_UN)
        os.close(self.descriptor)


class Store:
    def __init__(self, home: str) -> None:
        self.home = home
        self.jobs = os.path.join(home, "jobs")
        self.markers = os.path.join(home, "live")
        for folder in (self.jobs, self.markers):
            os.makedirs(folder, exist_ok=True)

    def lock(self) -> Lock:
        return Lock(os.path.join(self.home, "lock"))

    def next_id(self) -> int:
        """A new job id; under the lock."""
        path = os.path.join(self.home, "seq")
        try:
            with open(path, encoding="utf-8") as file:
                last = int(file.read())
        except FileNotFoundError:
            last = 0
        write_atomically(path, f"{last + 1}\n")
        return last + 1

    def folder(self, key: str) -> str:
        return os.path.join(self.jobs, key)

    def file(self, key: str, name: str) -> str:
        return os.path.join(self.jobs, key, name)

    def read(self, key: str) -> dict:
        with open(self.file(key, "job.json"), encoding="utf-8") as file:
            return json.load(file)

    def find(self, key: str) -> dict | None:
        try:
            return self.read(key)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def write(self, job: dict) -> None:
        """Stores the job and moves its marker; under the lock."""
        key = job["key"]
        os.makedirs(self.folder(key), exist_ok=True)
        write_atomically(self.file(key, "job.json"), json.dumps(job, indent=1))
        self.mark(key, marker_of(job["state"]))

    def mark(self, key: str, kind: str | None) -> None:
        for other in ("w", "r"):
            path = os.path.join(self.markers, f"{other}.{key}")
            if other == kind:
                with open(path, "a", encoding="utf-8"):
                    pass
            elif os.path.lexists(path):
                os.unlink(path)

    def waiting(self) -> list[str]:
        return self.marked("w")

    def running(self) -> list[str]:
        return self.marked("r")

    def live(self) -> list[str]:
        return sorted({name[2:] for name in os.listdir(self.markers)}, key=order)

    def marked(self, kind: str) -> list[str]:
        return sorted((name[2:] for name in os.listdir(self.markers) if name.startswith(kind + ".")), key=order)

    def all(self) -> list[str]:
        return sorted((name for name in os.listdir(self.jobs) if KEY.fullmatch(name)), key=order)

    def of(self, number: int) -> list[str]:
        """The keys of one job: its own, or those of its sub jobs."""
        own = str(number)
        if os.path.isdir(self.folder(own)):
            return [own]
        return [key for key in self.all() if key.startswith((own + "[", own + "_"))]


def marker_of(state: str) -> str | None:
    from .codes import ENDED, RUNNING

    if state in ENDED:
        return None
    return "r" if state in RUNNING else "w"


def order(key: str) -> tuple[int, int]:
    found = KEY.fullmatch(key)
    return (int(found[1]), int(found[2] or found[3] or 0)) if found else (0, 0)


def write_atomically(path: str, text: str) -> None:
    own = f"{path}.{os.getpid()}"
    with open(own, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(own, path)
