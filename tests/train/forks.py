"""Ranks as real processes, forked from one that has imported torch (fork_server.py): half of a short run is importing it.

``forks.start(...)`` is subprocess.Popen as far as tests use it; ``forks.world(...)`` starts ranks that meet, and waits for them;
``forks.command(...)`` runs ``hpcscale`` as subprocess.run would, forked from a process that has imported all that commands import.
Where the start itself is looked at (launchers, the command line), processes are started anew.
"""

from __future__ import annotations

import atexit
import itertools
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from .toys import TIMEOUT, clean_environment, free_port

REPOSITORY = Path(__file__).resolve().parents[2]


class Fork:
    """A rank: its process id, and subprocess.Popen's methods."""

    def __init__(self, server: Server, pid: int, stdout: Path, stderr: Path):
        self.pid, self.returncode = pid, None
        self._server, self._files = server, (stdout, stderr)

    returncode: int | None

    def poll(self) -> int | None:
        return self._waited(0)

    def wait(self, timeout: float | None = None) -> int:
        if self._waited(timeout) is None:
            raise subprocess.TimeoutExpired(f"rank {self.pid}", timeout or 0)
        assert self.returncode is not None
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        self.wait(timeout)
        out, err = (path.read_text(encoding="utf-8", errors="replace") for path in self._files)
        return out, err

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _waited(self, timeout: float | None) -> int | None:
        if self.returncode is None:
            self.returncode = self._server.code(self.pid, timeout)
        return self.returncode


class Server:
    """fork_server.py, and how the ranks that it started ended."""

    def __init__(self, kind: str) -> None:
        """``kind``: ``ranks`` or ``commands``, what is imported."""
        self.folder = Path(tempfile.mkdtemp(prefix="forks-"))
        self._codes: dict[int, int] = {}
        self._numbers = itertools.count()
        self._connection, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        program = str(Path(__file__).with_name("fork_server.py"))
        environment = {**clean_environment(), "OMP_NUM_THREADS": "1"}
        path = os.pathsep.join(filter(None, [str(REPOSITORY), environment.get("PYTHONPATH")]))
        self._process = subprocess.Popen(
            [sys.executable, program, str(theirs.fileno()), kind], env={**environment, "PYTHONPATH": path},
            pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        theirs.close()

    def start(
        self, program: Sequence[str], arguments: Sequence[str], environment: Mapping[str, str], folder: Path
    ) -> Fork:
        number = next(self._numbers)
        stdout, stderr = self.folder / f"{number}.out", self.folder / f"{number}.err"
        request = {"program": list(program), "arguments": list(arguments), "environment": dict(environment),
                   "folder": str(folder), "stdout": str(stdout), "stderr": str(stderr)}  # fmt: skip
        self._connection.send(json.dumps(request).encode())
        while True:
            message = self._message()
            if "began" in message:
                return Fork(self, message["began"], stdout, stderr)

    def code(self, pid: int, timeout: float | None) -> int | None:
        """How the rank ended; None if it has not within the time-out."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while pid not in self._codes:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not select.select([self._connection], [], [], left)[0]:
                return None
            self._message()
        return self._codes[pid]

    def close(self) -> None:
        """The server kills what still runs, and ends."""
        self._connection.close()
        self._process.wait(30)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _message(self) -> dict[str, int]:
        raw = self._connection.recv(4096)
        if not raw:
            raise RuntimeError("the process that forks ranks has ended; its traceback stands above")
        message = json.loads(raw)
        if "ended" in message:
            self._codes[message["ended"]] = message["code"]
        return message


_servers: dict[str, Server] = {}
# What Python reads before a program does: a fork cannot have its own.
_OF_PYTHON = ("PYTHON", "LC_", "LANG")


def _server(kind: str) -> Server:
    if kind not in _servers:
        _servers[kind] = Server(kind)
        atexit.register(_servers[kind].close)
    return _servers[kind]


def start(program: Sequence[str], arguments: Sequence[str], environment: Mapping[str, str], folder: Path) -> Fork:
    """A process like ``python PROGRAM ARGUMENTS``; program: ``("-m", module)``, ``("-c", text)`` or ``(path,)``."""
    return _server("ranks").start(program, arguments, environment, folder)


def command(
    arguments: Sequence[object],
    folder: Path,
    environment: Mapping[str, str],
    timeout: float = 300,
    stdin: str | None = None,
) -> subprocess.CompletedProcess[str]:
    """``hpcscale ARGUMENTS``. With text to read, or another Python than this one, a process of its own."""
    words = [str(each) for each in arguments]
    differ = {name for name in {*environment, *os.environ} if environment.get(name) != os.environ.get(name)}
    if stdin is not None or any(name.startswith(_OF_PYTHON) for name in differ):
        return subprocess.run(
            [sys.executable, "-m", "hpcscale", *words], cwd=folder, env=environment, input=stdin, capture_output=True,
            text=True, timeout=timeout, check=False,
        )  # fmt: skip
    fork = _server("commands").start(("-m", "hpcscale"), words, environment, folder)
    try:
        out, err = fork.communicate(timeout)
    finally:
        fork.kill()
    assert fork.returncode is not None
    return subprocess.CompletedProcess(["hpcscale", *words], fork.returncode, out, err)


def world(
    program: Sequence[str], arguments: Sequence[str], ranks: int, folder: Path, timeout: float = 5 * TIMEOUT
) -> None:
    """Runs the program as so many ranks that meet; fails with what they said if one fails."""
    common = {**clean_environment(), "OMP_NUM_THREADS": "1"}
    master = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(ranks)}
    own = [{**common, **master, "RANK": str(rank)} if ranks > 1 else common for rank in range(ranks)]
    started = [start(program, arguments, each, folder) for each in own]
    try:
        errors = [rank.communicate(timeout=timeout)[1] for rank in started]
    finally:
        for rank in started:
            rank.kill()
    assert [rank.returncode for rank in started] == [0] * ranks, "\n".join(errors)
