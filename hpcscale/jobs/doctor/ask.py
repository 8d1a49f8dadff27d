"""Asking a command, never for longer than a few seconds."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from dataclasses import dataclass

SECONDS = 10.0


@dataclass(frozen=True)
class Answer:
    """What a command said. ``failure``: why there is no answer, in words; empty if it ended with status 0."""

    output: str
    errors: str
    failure: str
    seconds: float

    def __bool__(self) -> bool:
        return not self.failure


def ask(command: list[str], limit: float = SECONDS) -> Answer:
    """Run ``command`` in the C locale and end it, with all that it started, after ``limit`` seconds."""
    start = time.monotonic()
    environment = {**os.environ, "LC_ALL": "C"}
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        return Answer("", "", f"{command[0]} cannot be started ({error.strerror})", 0.0)
    with process:
        try:
            out, err = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            _end(process)
            return Answer("", "", f"{command[0]} gave no answer in {limit:g} seconds", time.monotonic() - start)
    output, errors = out.decode("utf-8", "replace"), err.decode("utf-8", "replace")
    failure = ""
    if process.returncode:
        failure = f"{command[0]} failed: {last_line(errors or output) or f'exit code {process.returncode}'}"
    return Answer(output, errors, failure, time.monotonic() - start)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Its whole session: a wrapper's child would keep the pipes open."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.communicate(timeout=1)
    for pipe in (process.stdout, process.stderr):
        if pipe:
            pipe.close()


def last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else ""
