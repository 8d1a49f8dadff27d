"""mpiexec as PLE (plexec) runs it: ranks with their variables and files, and its messages when one fails (CmdRef p.104-122).

Ranks are plain processes. With FAKEPJM_REAL_MPI=1 the host's MPICH starts them instead, so that MPI programs communicate;
variables, files and messages stay the same.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys

from . import mpi_options, placement, processes
from . import site as sites
from .commands import home
from .mpi_options import Launch, ple
from .rank_files import RankFiles
from .settings import number
from .store import Lock, Store

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGXCPU)


def main(_command: str, arguments: list[str]) -> int:
    key = os.environ.get("PJM_SUBJOBID")
    store = Store(home())
    job = store.find(key) if key and os.environ.get("PJM_JOBID") else None
    if job is None:
        raise ple(2, "PLE service error occurred.(not in a job)")
    launch = mpi_options.read(arguments, dict(os.environ))
    if job["node"]["count"] == 1 and not job["mpi"]["given"]:
        raise ple(15, "cannot execute as sequential job.")
    site = sites.load(store.home)
    total = counts(job, launch)
    if total > placement.most_ranks(job):
        raise ple(5, f"The specified number of processes is too many.(nid={placement.nid(0)})(CODE={placement.CODE})")
    coordinates = placement.vcoordfile(launch.vcoordfile, job["mpi"]["shape"], total) if launch.vcoordfile else None
    for part in launch.parts:
        check_program(part["command"][0])
    run = Run(store, job, launch, site, total, coordinates)
    if os.environ.get("FAKEPJM_REAL_MPI") == "1":
        from .real_mpi import start

        return start(run)
    from .ranks import start

    return start(run)


def counts(job: dict, launch: Launch) -> int:
    """Fills in the parts' numbers of ranks; their sum. Without -n: what the job declared."""
    for part in launch.parts:
        if part["count"] is None:
            part["count"] = job["mpi"]["declared"] if len(launch.parts) == 1 else 1
    return sum(part["count"] for part in launch.parts)


def check_program(program: str) -> None:
    if shutil.which(program) is None:
        reason = "Permission denied" if os.path.exists(program) else "No such file or directory"
        raise ple(18, f"The program({program}) cannot be executed.(nid={placement.nid(0)})(error={reason})")


class Run:
    """One launch: its number in the job, its ranks with their places, commands, variables and files."""

    def __init__(
        self, store: Store, job: dict, launch: Launch, site: dict, total: int, coordinates: list[int] | None
    ) -> None:
        self.store, self.job, self.launch, self.total = store, job, launch, total
        self.started = min(total, max(1, int(number("FAKEPJM_MAX_RANKS", 16))))
        if self.started < total:
            self.cut()
        self.count = next_count(store, job["key"])
        self.nodes = placement.nodes_of(job, self.started, coordinates)
        self.local = placement.on_node(self.nodes)
        empty = os.environ.get("PLE_MPI_STD_EMPTYFILE") == "on"
        self.files = RankFiles(job, launch, self.count, site, os.getcwd(), empty)
        for option, streams, _ in dict.fromkeys(launch.shared) if self.files.fugaku else ():
            shown = self.files.path(0, streams[0])
            print(
                f"[WARN] PLE 0605 plexec ignore option {option}(std{streams[0]} outputs to {shown}).", file=sys.stderr
            )
        sys.stderr.flush()

    def cut(self) -> None:
        """Only some of the ranks really run; a note in the emulator's log, nothing where the job could see it."""
        if os.environ.get("FAKEPJM_RANK_POLICY") == "refuse":
            raise ple(
                5, f"The specified number of processes is too many.(nid={placement.nid(0)})(CODE={placement.CODE})"
            )
        with open(self.store.file(self.job["key"], "emulator.log"), "a", encoding="utf-8") as file:
            file.write(f"fakepjm: truncated {self.total} ranks to {self.started}\n")

    def command(self, rank: int) -> list[str]:
        for part in self.launch.parts:
            if rank < part["count"]:
                return part["command"]
            rank -= part["count"]
        raise IndexError(rank)

    def variables(self, rank: int) -> dict[str, str]:
        """What a rank sees beside the script's environment. Fujitsu's manuals name no OMPI_COMM_WORLD_RANK."""
        found = {
            **self.launch.environment,
            "PMIX_RANK": str(rank),
            "PMIX_NAMESPACE": f"{self.job['id']}.{self.count}",
            "PLE_RANK_ON_NODE": str(self.local[rank]),
        }
        if os.environ.get("FAKEPJM_OMPI_ENV") == "1":
            found["OMPI_COMM_WORLD_RANK"] = str(rank)
            found["OMPI_COMM_WORLD_SIZE"] = str(self.total)
            found["OMPI_COMM_WORLD_LOCAL_RANK"] = str(self.local[rank])
        preload = preloadable(found.get("LD_PRELOAD", os.environ.get("LD_PRELOAD")))
        return {**found, **preload}

    def explain(self, rank: int, status: int, aborted: bool) -> int:
        """Prints why the launch failed; the code that mpiexec ends with (the mapping is an emulator choice)."""
        node = placement.nid(self.nodes[rank])
        second = (
            f"[ERR.] PLE The program that the user specified may be illegal or inaccessible on the node.(nid={node})"
        )
        if aborted:
            text, code = (
                f"0019 plexec One of MPI processes was aborted.(rank={rank})(nid={node})(CODE={placement.CODE})",
                status,
            )
            lines = [text]
        elif status < 0:
            lines = [f"0017 plexec The process terminated with the signal.(rank={rank})(nid={node})(sig={-status})"]
            code = 128 - status
        else:
            where = f"(rank={rank})(nid={node})(exitstatus={status})(CODE={placement.CODE})"
            lines = [f"0014 plexec The process terminated abnormally.{where}", second]
            code = status
        print("\n".join(line if line.startswith("[") else f"[ERR.] PLE {line}" for line in lines), file=sys.stderr)
        return code or 1


def preloadable(text: str | None) -> dict[str, str]:
    """LD_PRELOAD without libraries that only the real machine has: ld.so would complain in every rank."""
    if text is None:
        return {}
    kept = [path for path in text.replace(":", " ").split() if os.path.exists(path)]
    return {"LD_PRELOAD": ":".join(kept)}


def next_count(store: Store, key: str) -> int:
    """Which mpiexec of the job this is, from 1."""
    with Lock(store.file(key, "mpiexec.lock")):
        path = store.file(key, "mpiexec.count")
        count = 1
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                count = int(file.read()) + 1
        with open(path, "w", encoding="utf-8") as file:
            file.write(str(count))
    return count


def end_with_signals() -> None:
    """A signal to mpiexec ends its ranks with it."""

    def leave(received: int, _frame: object) -> None:
        processes.kill_below(os.getpid())
        os._exit(128 + received)

    for each in SIGNALS:
        signal.signal(each, leave)
