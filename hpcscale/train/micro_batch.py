"""``micro_batch_size: auto``: the largest micro batch that fits, found by trying (composer's ``auto``, which halves on OOM).

Each rank tries on its own, before the ranks meet: its part of the real program on its real device, with collectives that
do nothing (torch's fake process group). So one rank may run out of memory without another one waiting for it in a
collective. Then the ranks agree on the smallest of their answers.
"""

from __future__ import annotations

import gc
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
import torch.distributed as dist

from hpcscale.record.attempt import RECORD, attempts
from hpcscale.record.reader import Record, read
from hpcscale.train.failures import classify
from hpcscale.train.point_file import Work
from hpcscale.train.rendezvous import Rendezvous

GPU_SHARE = 0.95  # of a GPU's memory that a trial may take: the real collectives need buffers too


class NothingFits(Exception):
    """Not even one sequence at a time fits; the text is the evidence of out of memory."""


def largest_that_fits(work: Work, place: Rendezvous, device: torch.device) -> int:
    """This rank's answer, in sequences. Call it before any process group exists; none exists afterwards.

    Raises NothingFits, with what the allocator said.
    """
    size = work.replica_batch
    while True:
        refusal = _try(with_micro_batch(work, size), place, device)
        if refusal is None:
            return size
        if size == 1:
            raise NothingFits(refusal)
        size //= 2


def smaller_than_what_failed(given: int, point_folder: Path, point_hash: str | None) -> int:
    """``given``, halved until it is smaller than what earlier attempts of this point ran out of memory with (``on_oom:
    halve_mbs``). An odd size goes to its largest divisor of at most half, so that the batch still divides."""
    failed = [_size_of(record, given) for record in _records(point_folder) if record.status == "oom"
              and record.point.get("hash") == point_hash]  # fmt: skip
    size = given
    while failed and size >= min(failed) and size > 1:
        size = max(each for each in range(1, size // 2 + 1) if size % each == 0)
    return size


def _records(point_folder: Path) -> list[Record]:
    return [read(attempt / RECORD) for attempt in attempts(point_folder)]


def _size_of(record: Record, given: int) -> int:
    size = record.run.get("micro_batch_size")
    return size if isinstance(size, int) else given


def with_micro_batch(work: Work, size: int) -> Work:
    return replace(work, training=work.training.model_copy(update={"micro_batch_size": size}))


def _try(work: Work, place: Rendezvous, device: torch.device) -> str | None:
    """None if a step of one full and one further micro batch fits, else what was said instead."""
    from torch.testing._internal.distributed.fake_pg import FakeStore

    from hpcscale.train.mesh import device_mesh
    from hpcscale.train.trainer import Trainer

    if work.layout.sharding != "ddp":
        import hpcscale.train.sharded  # noqa: F401  # not under the limit: that is for the step's own memory
    if work.layout.ranks > 1:
        dist.init_process_group("fake", store=FakeStore(), rank=place.rank, world_size=work.layout.ranks)
    try:
        with _limited(device, -(-place.world_size // place.nodes)):
            _two_steps(Trainer(work, device_mesh(work.layout, device), device))
            return _too_full(device)
    except Exception as error:
        if classify(error) != "oom":
            raise
        return next(iter(str(error).splitlines()), "") or "out of memory"  # Python's own MemoryError says nothing
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(device)


def _two_steps(trainer: object) -> None:
    """The second step has gradients, optimizer state and activations at once."""
    from hpcscale.train.trainer import Trainer

    assert isinstance(trainer, Trainer)
    trainer.batches = trainer.batches[:2]
    for step in (1, 2):
        trainer.step(step)


def _too_full(device: torch.device) -> str | None:
    if device.type != "cuda":
        return None
    total = torch.cuda.get_device_properties(device).total_memory
    used = torch.cuda.max_memory_reserved(device)
    if used <= GPU_SHARE * total:
        return None
    return f"out of memory: {used} of the GPU's {total} bytes are used, and collectives need some too"


@contextmanager
def _limited(device: torch.device, ranks: int) -> Iterator[None]:
    """On a CPU, where memory is promised and then not there: allocations beyond this rank's share of what is free fail."""
    available = _available_bytes()
    if device.type != "cpu" or available is None:
        yield
        return
    before, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * os.sysconf("SC_PAGE_SIZE") + available // ranks
    lower = [each for each in (limit, before, hard) if each != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_AS, (min(lower), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (before, hard))


def _available_bytes() -> int | None:
    """Memory that programs can still get on this node; None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return int(found[0]) * 1024 if found else None
