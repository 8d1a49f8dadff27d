"""Where ranks write: -std-proc and its kin, or the site's default (FUG on MPI input and output)."""

from __future__ import annotations

import os

from . import names
from .mpi_options import Launch


class RankFiles:
    """The output and error file of each rank of the k-th mpiexec of a job."""

    def __init__(self, job: dict, launch: Launch, count: int, site: dict, directory: str, empty_files: bool) -> None:
        self.job, self.launch, self.count, self.directory = job, launch, count, directory
        self.fugaku = site.get("mpi_default_output") == "fugaku"
        self.empty_files = empty_files
        self.words = {
            **names.words(job),
            "m": count,
            "S": 0,
            "o": os.environ.get("PJM_STDOUT_PATH", ""),
            "e": os.environ.get("PJM_STDERR_PATH", ""),
        }

    def path(self, rank: int, stream: str) -> str:
        given = self.launch.out if stream == "out" else self.launch.err
        pattern = given or self.launch.both
        shared = next((file for _, streams, file in reversed(self.launch.shared) if stream in streams), None)
        if shared is not None and not self.fugaku:
            name = names.expand(shared, self.words)
        elif pattern is not None:
            name = f"{names.expand(pattern, self.words, rank)}.{self.count}.{rank}"
        elif self.fugaku:
            block = rank // 1000 * 1000
            name = f"output.{self.job['id']}/{block}/{self.count}/std{stream}.{self.count}.{rank}"
        else:
            whole = self.words["o" if stream == "out" else "e"]
            name = f"{whole}.{self.count}.{rank}"
        return os.path.join(self.directory, name)

    def open(self, rank: int) -> tuple[int, int]:
        """Descriptors of both files, which may be one."""
        paths = [self.path(rank, stream) for stream in ("out", "err")]
        opened = {}
        for path in dict.fromkeys(paths):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            opened[path] = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        return opened[paths[0]], opened[paths[1]]

    def drop_empty(self, ranks: int) -> None:
        """Files of ranks that wrote nothing do not stay, unless PLE_MPI_STD_EMPTYFILE=on."""
        if self.empty_files:
            return
        for rank in range(ranks):
            for stream in ("out", "err"):
                path = self.path(rank, stream)
                try:
                    if os.path.getsize(path) == 0:
                        os.unlink(path)
                except OSError:
                    pass
        self.drop_folders(ranks)

    def drop_folders(self, ranks: int) -> None:
        """Folders that held only such files, up to the working directory."""
        used = {os.path.dirname(self.path(rank, stream)) for rank in range(ranks) for stream in ("out", "err")}
        for folder in used:
            while folder.startswith(self.directory + os.sep):
                try:
                    os.rmdir(folder)
                except OSError:
                    break
                folder = os.path.dirname(folder)  # noqa: PLW2901
