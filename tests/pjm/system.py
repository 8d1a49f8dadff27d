"""A PJM system of one's own for a test: installed in a folder, its commands on PATH, nothing left running afterwards.

In another folder's conftest: ``from pjm.system import pjm`` (a fixture), or ``PJM(folder)`` with ``close()``.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from .fakepjm import processes
from .fakepjm.install import describe, install
from .fakepjm.site import load

Result = subprocess.CompletedProcess[str]
Variables = Mapping[str, str]
NONE: Variables = {}
GROUP = "hp000000"
# The 10 seconds between SIGXCPU and SIGKILL, as a test waits for them.
GRACE_SECONDS = 0.5
SUBMITTED = re.compile(r"pjsub Job (\S+) submitted\.")
ENDED = ("EXT", "CCL", "RJT")


class PJM:
    """``run("pjstat")``, ``submit("echo hi")``, ``wait(job)``; ``environment`` is what the submitting shell has."""

    def __init__(self, folder: Path, site: str = "fugaku") -> None:
        self.home = folder / "fakepjm"
        self.work = folder / "vol0004" / "work"
        self.work.mkdir(parents=True)
        self.bin = install(self.home, site, root=folder)
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("PJM_", "FAKEPJM_"))},
            "PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}",
            "FAKEPJM_HOME": str(self.home),
        }
        self.hurry(1)

    def run(self, *command: object, cwd: Path | None = None, stdin: str = "", variables: Variables = NONE) -> Result:
        """A command as the user would type it, in the data area unless ``cwd`` says otherwise."""
        return subprocess.run(
            [str(word) for word in command], cwd=cwd or self.work, env={**self.environment, **variables}, input=stdin,
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    def script(self, body: str, *directives: str, name: str = "job.sh", header: str = "#!/bin/bash") -> Path:
        """Writes a job script with the least that Fugaku asks for, ``directives`` beside it."""
        lines = [
            header,
            f"#PJM -L rscgrp=small,elapse=1:00:00 -g {GROUP}",
            *(f"#PJM {line}" for line in directives),
            "",
            body,
            "",
        ]
        path = self.work / name
        path.write_text("\n".join(lines))
        return path

    def pjsub(
        self, *arguments: object, cwd: Path | None = None, stdin: str = "", variables: Variables = NONE
    ) -> Result:
        return self.run("pjsub", *arguments, cwd=cwd, stdin=stdin, variables=variables)

    def submit(self, body: str, *directives: str, options: tuple[str, ...] = (), variables: Variables = NONE) -> str:
        """Submits a script of these lines; the job id."""
        done = self.pjsub(*options, self.script(body, *directives), variables=variables)
        found = SUBMITTED.search(done.stdout)
        assert found, done.stdout + done.stderr
        return found[1]

    def inject(self, fault: str | None) -> None:
        """The fault of jobs submitted from now on: ``node_down@5s``, ``oom``, ``shell_fail``, …"""
        self.environment.pop("FAKEPJM_INJECT", None)
        if fault:
            self.environment["FAKEPJM_INJECT"] = fault

    def unreachable(self, down: bool = True) -> None:
        """Whether the commands find no PJM to talk to; jobs run on all the same."""
        (self.home / "down").touch()
        if not down:
            (self.home / "down").unlink()

    def hurry(self, times: float) -> None:
        """The machine's clock runs so many times faster for jobs submitted from now on: limits come sooner, programs do not."""
        self.environment |= {"FAKEPJM_TIME_SCALE": f"{times:g}", "FAKEPJM_GRACE": f"{GRACE_SECONDS * times:g}"}

    def set(self, **values: object) -> None:
        """Changes keys of site.yaml: ``set(job_messages=False)``."""
        describe(self.home, {**load(str(self.home)), **values})

    def login(self, **variables: str) -> None:
        """What a job's login shell exports on this machine."""
        self.set(login_environment={**load(str(self.home)).get("login_environment", {}), **variables})

    def job(self, key: str) -> dict[str, Any]:
        """All that the emulator knows of a job or sub job."""
        return json.loads((self.home / "jobs" / key / "job.json").read_text())

    def jobs(self) -> list[str]:
        return sorted(path.name for path in (self.home / "jobs").iterdir()) if (self.home / "jobs").is_dir() else []

    def until(self, key: str, *states: str, timeout: float = 60.0) -> dict[str, Any]:
        """The job once it is in one of the states."""
        end = time.monotonic() + timeout
        while True:
            job = self.job(key)
            if job["state"] in states:
                return job
            assert time.monotonic() < end, f"job {key} is still {job['state']} after {timeout:g} s"
            time.sleep(0.01)

    def wait(self, key: str, timeout: float = 60.0) -> dict[str, Any]:
        return self.until(key, *ENDED, timeout=timeout)

    def text(self, name: str) -> str:
        return (self.work / name).read_text()

    def written(self, name: str, timeout: float = 60.0) -> str:
        """The text of a file in the data area once there is some."""
        end = time.monotonic() + timeout
        path = self.work / name
        while not (path.exists() and path.stat().st_size):
            assert time.monotonic() < end, f"{name} is still empty after {timeout:g} s"
            time.sleep(0.01)
        return path.read_text()

    def status(self, key: str, items: str = "jid,st,ec,pc,sn,ermsg") -> dict[str, str]:
        """pjstat's line of a job, by heading; also of one that has ended."""
        for history in ((), ("-H",)):
            lines = self.run("pjstat", *history, "--data", "--choose", items, key).stdout.splitlines()
            if len(lines) > 1:
                return dict(zip(lines[0].split(",")[1:], lines[1].split(",")[1:], strict=True))
        return {}

    def close(self) -> None:
        """Ends every process that this system started: none is begun any more, then all go by their ids."""
        (self.home / "closed").touch()
        mine: set[int] = set()
        for _ in range(100):
            mine = set(processes.with_variables(FAKEPJM_HOME=str(self.home)))
            for path in (self.home / "jobs").glob("*/job.json") if (self.home / "jobs").is_dir() else ():
                supervisor = json.loads(path.read_text())["supervisor"]
                if processes.alive(supervisor):
                    mine |= {supervisor["pid"], *processes.descendants(supervisor["pid"])}
            mine -= {os.getpid()}
            if not mine:
                return
            processes.send(sorted(mine), signal.SIGKILL)
            time.sleep(0.01)
        raise AssertionError(f"processes of {self.home} do not end: {sorted(mine)}")


@pytest.fixture
def pjm(tmp_path: Path) -> Iterator[PJM]:
    """Fugaku as its users see it, with room for one job at a time."""
    system = PJM(tmp_path)
    yield system
    system.close()


@pytest.fixture
def wisteria(tmp_path: Path) -> Iterator[PJM]:
    """Wisteria's Odyssey: the same processor with other queues, options and refusals."""
    system = PJM(tmp_path, site="wisteria")
    yield system
    system.close()
