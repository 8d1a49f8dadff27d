"""Small things between rank 0 and the others: objects that pickle. Without a process group this process is rank 0, and alone.

``communication.gather_objects`` gives each rank everything; with thousands of ranks that is too much for what only rank 0
needs or knows.
"""

from __future__ import annotations

from typing import Any

import torch.distributed as dist


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def ranks() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def to_rank_0(value: Any) -> list[Any] | None:
    """Every rank's ``value``, by rank, on rank 0; None elsewhere."""
    if not dist.is_initialized():
        return [value]
    gathered: list[Any] | None = [None] * ranks() if rank() == 0 else None
    dist.gather_object(value, gathered)
    return gathered


def from_rank_0(value: Any) -> Any:
    """Rank 0's ``value``."""
    if not dist.is_initialized():
        return value
    held = [value]
    dist.broadcast_object_list(held)
    return held[0]


def own_from_rank_0(values: list[Any] | None) -> Any:
    """This rank's of the ``values``, by rank, that rank 0 has."""
    if not dist.is_initialized():
        assert values is not None
        return values[0]
    own = [None]
    dist.scatter_object_list(own, values)
    return own[0]
