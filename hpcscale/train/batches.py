"""Cutting a replica's batch into micro batches, as MPT (llm-foundry, composer) does: the last one may be ragged."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MicroBatch:
    """Sequences ``start`` to ``stop`` (excluded) of a replica's batch; ``weight`` is their share of it."""

    start: int
    stop: int
    weight: float
    last: bool


def micro_batches(replica_batch: int, micro_batch: int) -> list[MicroBatch]:
    """48 sequences by 11 -> 11, 11, 11, 11, 4.

    Each micro batch's mean loss times its ``weight`` sums to the mean over the whole batch (composer, trainer.py,
    ``microbatch_size / current_batch_size``). A micro batch larger than the batch is the batch.
    """
    starts = range(0, replica_batch, micro_batch)
    return [
        MicroBatch(start, stop, (stop - start) / replica_batch, stop == replica_batch)
        for start in starts
        for stop in [min(start + micro_batch, replica_batch)]
    ]
