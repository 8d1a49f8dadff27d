"""Ranks as plain processes: started together, and ended together when one fails."""

from __future__ import annotations

import os
import signal

from . import processes

TYPE_CHECKING = False  # as in typing, which takes long to import
if TYPE_CHECKING:
    from .mpiexec import Run


def start(run: Run) -> int:
    """Runs all ranks; mpiexec's exit code."""
    from .mpiexec import end_with_signals

    processes.adopt_orphans()
    end_with_signals()
    children = {launch(run, rank): rank for rank in range(run.started)}
    failure: tuple[int, int] | None = None
    left = dict(children)
    while left:
        pid, status = os.wait()
        rank = left.pop(pid, None)
        if rank is not None and status and failure is None:
            failure = rank, os.waitstatus_to_exitcode(status)
            processes.kill_below(os.getpid())
            break
    processes.kill_below(os.getpid())
    run.files.drop_empty(run.started)
    return run.explain(*failure, aborted=False) if failure else 0


def launch(run: Run, rank: int) -> int:
    """Forks one rank; its process id."""
    out, err = run.files.open(rank)
    child = os.fork()
    if child:
        for file in {out, err}:
            os.close(file)
        return child
    try:
        become(run.command(rank), {**os.environ, **run.variables(rank)}, run.launch.stdin, out, err)
    finally:
        os._exit(127)


def become(command: list[str], variables: dict[str, str], stdin: str | None, out: int, err: int) -> None:
    """Replaces this process by the rank's program. Only -stdin reaches ranks, each with a copy of its own."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGXCPU, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    source = os.open(stdin or os.devnull, os.O_RDONLY)
    os.dup2(source, 0)
    os.dup2(out, 1)
    os.dup2(err, 2)
    for file in {source, out, err} - {0, 1, 2}:
        os.close(file)
    os.execvpe(command[0], command, variables)
