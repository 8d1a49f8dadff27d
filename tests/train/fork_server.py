"""Imports what ranks (or commands) import once, then forks one for every request of forks.py, until that is gone.

A rank is a process and a session of its own with the environment, folder and files that were asked for. It does what
``python PROGRAM ARGUMENTS`` does, without the two to five seconds that torch and its parts take to be imported.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import sys
import tempfile
import threading
import traceback
from pathlib import Path
from typing import Any

LARGEST_REQUEST = 1 << 20
APART = ("hpcscale.train.mpi", "hpcscale.jobs.executors")  # they start MPI, or belong to submitit


def import_everything() -> None:
    """torch with its parts and the trainer, but nothing that starts threads or MPI."""

    import hpcscale.train.pipeline
    import hpcscale.train.run
    import hpcscale.train.sharded  # noqa: F401

    gc.freeze()  # pages that the collector does not touch stay shared


def import_commands() -> None:
    """All that a command may import, torch too: most of a short command's time is this."""
    import matplotlib.backends.backend_agg
    import matplotlib.backends.backend_pdf
    import matplotlib.backends.backend_svg  # noqa: F401

    import hpcscale

    for each in pkgutil.walk_packages(hpcscale.__path__, "hpcscale."):
        if not each.name.startswith(APART) and not each.name.endswith("__main__"):
            importlib.import_module(each.name)
    gc.freeze()


def serve(connection: socket.socket) -> dict[str, Any]:
    """Returns in each rank, with its request; in the server never."""
    bell, ring = os.pipe()
    for end in (bell, ring):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(ring, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    ranks: set[int] = set()
    while True:
        ready, _, _ = select.select([connection, bell], [], [])
        if bell in ready:
            os.read(bell, 4096)
        while ranks and (ended := os.waitpid(-1, os.WNOHANG))[0]:
            ranks.remove(ended[0])
            _tell(connection, {"ended": ended[0], "code": os.waitstatus_to_exitcode(ended[1])})
        if connection in ready:
            message = connection.recv(LARGEST_REQUEST)
            if not message:  # pytest is gone, however it went
                _kill(ranks)
            rank = os.fork()
            if rank == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                connection.close()
                os.close(bell)
                os.close(ring)
                return json.loads(message)
            ranks.add(rank)
            _tell(connection, {"began": rank})


def _tell(connection: socket.socket, message: dict[str, int]) -> None:
    with contextlib.suppress(OSError):
        connection.send(json.dumps(message).encode())


def _kill(ranks: set[int]) -> None:
    for rank in ranks:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(rank, signal.SIGKILL)
    os._exit(0)


def become(request: dict[str, Any]) -> None:
    """A session, files, environment and folder of one's own."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, path in ((0, os.devnull), (1, request["stdout"]), (2, request["stderr"])):
        file = os.open(path, os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    tempfile.tempdir = None  # this environment's, not the server's


def run(program: list[str], arguments: list[str]) -> None:
    """As ``python -m module``, ``python -c text`` or ``python file`` would."""
    sys.argv = [program[-1], *arguments]
    if program[0] == "-m":
        runpy.run_module(program[1], run_name="__main__", alter_sys=True)
    elif program[0] == "-c":
        sys.argv[0] = "-c"
        exec(compile(program[1], "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.path.insert(0, str(Path(program[0]).parent))
        runpy.run_path(program[0], run_name="__main__")


def run_and_leave(program: list[str], arguments: list[str]) -> None:
    """As the end of an interpreter, but without taking apart all that the server has imported: that takes half a second."""
    code: object = 1
    try:
        run(program, arguments)
        code = 0
    except SystemExit as wish:
        code = wish.code
    except BaseException:
        traceback.print_exc()
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    if isinstance(code, str):
        print(code, file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


if __name__ == "__main__":
    sys.path.pop(0)  # this file's folder
    {"ranks": import_everything, "commands": import_commands}[sys.argv[2]]()
    asked = serve(socket.socket(fileno=int(sys.argv[1])))
    become(asked)
    (run_and_leave if sys.argv[2] == "commands" else run)(asked["program"], asked["arguments"])
