"""torch.distributed.checkpoint's files: a rank's part written with checksums, any part of the whole read back."""

from __future__ import annotations

import io
import os
import zlib
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint.filesystem import FileSystem, FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.metadata import Metadata, TensorStorageMetadata
from torch.distributed.checkpoint.planner import SavePlan, SavePlanner
from torch.distributed.checkpoint.storage import WriteResult

from hpcscale.train.checkpoint_boxes import Boxes, BoxLoadPlanner, boxes
from hpcscale.train.checkpoint_format import StoredFile, check_sizes, check_sums, read_manifest
from hpcscale.train.pieces import Piece

AVERAGES = ("exp_avg.", "exp_avg_sq.")  # what the optimizer's tensors begin with


class _Counted:
    """A file that is being written, with its length and checksum so far. ``file`` is unbuffered: no later flush can fail.

    A write that fails is kept for ``fileno``, which is asked for when all is written: torch.save writes from C++ code, which
    answers an exception there with one of its own that no longer knows the cause.
    """

    def __init__(self, file: io.FileIO):
        self.file, self.bytes, self.crc32 = file, 0, 0
        self.error: OSError | None = None
        self.flush, self.close = file.flush, file.close

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        self.bytes += view.nbytes
        self.crc32 = zlib.crc32(view, self.crc32)
        rest = view if self.error is None else view[:0]
        try:
            while rest.nbytes:
                rest = rest[self.file.write(rest) :]
        except OSError as error:
            self.error = error
        return view.nbytes

    def tell(self) -> int:
        return self.bytes

    def fileno(self) -> int:
        if self.error is not None:
            raise self.error
        return self.file.fileno()


class _CountedFiles(FileSystem):
    """torch's way to open files, which notes what was written to each."""

    def __init__(self) -> None:
        self.stored: dict[str, StoredFile] = {}

    @contextmanager
    def create_stream(self, path: str | os.PathLike[str], mode: str) -> Generator[Any, None, None]:
        with io.FileIO(path, mode) as file:
            counted = _Counted(file)
            yield counted
        self.stored[Path(path).name] = StoredFile(counted.bytes, counted.crc32)

    def rename(self, path: str | os.PathLike[str], new_path: str | os.PathLike[str]) -> None:
        super().rename(path, new_path)
        self.stored[Path(new_path).name] = self.stored.pop(Path(path).name)


def _writer(folder: Path) -> tuple[FileSystemWriter, _CountedFiles]:
    files = _CountedFiles()
    writer = FileSystemWriter(folder, sync_files=True, per_thread_copy_ahead=0)
    writer.fs = files
    writer.set_up_storage_writer(True)
    return writer, files


def with_file_names(plans: list[SavePlan]) -> list[SavePlan]:
    """The plans of all ranks, each with the name of the file that its rank will write."""
    return FileSystemWriter("unused").prepare_global_plan(plans)


def write(folder: Path, plan: SavePlan, planner: SavePlanner) -> tuple[list[WriteResult], dict[str, StoredFile]]:
    """Writes this rank's part; it is on disk when this returns. A rank without a part writes no file."""
    folder.mkdir(parents=True, exist_ok=True)
    if not plan.items:
        return [], {}
    writer, files = _writer(folder)
    results = writer.write_data(plan, planner).wait()
    return results, files.stored


def write_metadata(folder: Path, metadata: Metadata, results: list[list[WriteResult]]) -> dict[str, StoredFile]:
    """Writes where each box lies, from what :func:`write` gave on each rank."""
    writer, files = _writer(folder)
    writer.finish(metadata, results)
    return files.stored


class Reader:
    """Reads boxes of a checkpoint's tensors. Opening one reads the metadata, no tensor."""

    def __init__(self, folder: Path):
        self.reader = FileSystemReader(folder)
        self.metadata = self.reader.read_metadata()
        self.reader.set_up_storage_reader(self.metadata, False)

    def load(self, state: dict[str, Boxes]) -> None:
        """Fills the boxes, wherever the ranks that wrote them cut the tensors."""
        planner = BoxLoadPlanner()
        planner.set_up_planner(state, self.metadata)
        plan = self.reader.prepare_local_plan(planner.create_local_plan())
        self.reader.read_data(planner.finish_plan(plan), planner).wait()

    def whole(self, name: str) -> torch.Tensor:
        """The whole tensor ``name``, in host memory."""
        stored = self.metadata.state_dict_metadata[name]
        assert isinstance(stored, TensorStorageMetadata)
        tensor = torch.empty(stored.size, dtype=stored.properties.dtype)
        self.load(boxes([Piece(name, tuple(stored.size), (0,) * tensor.dim(), tensor)]))
        return tensor


def tensors(folder: Path, averages: bool = False) -> Iterator[tuple[str, torch.Tensor]]:
    """(name, whole tensor) of each weight, one at a time, in one process and without process groups.

    ``averages``: the optimizer's tensors too. Raises Damaged before the first tensor if the checkpoint is not as it was written.
    """
    manifest = read_manifest(folder)
    check_sizes(folder, manifest)
    check_sums(folder, manifest, manifest.files)
    reader = Reader(folder)
    for name in _names(reader.metadata, averages):
        yield name, reader.whole(name)


def _names(metadata: Metadata, averages: bool) -> Iterable[str]:
    return [name for name in metadata.state_dict_metadata if averages or not name.startswith(AVERAGES)]
