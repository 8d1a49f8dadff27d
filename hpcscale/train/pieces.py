"""This rank's parts of the model's tensors, described without any layout: what initialisation, checkpoints and weight
files read and write.

A tensor has the shape that it has in one process: the vocabulary without padding. A piece is a box of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Piece:
    """``tensor`` holds the box of the tensor ``name`` (of ``shape``) that starts at ``offset``; it is a view into live memory.

    A piece may be empty (a shard without rows). Several ranks may hold the same piece.
    """

    name: str
    shape: tuple[int, ...]
    offset: tuple[int, ...]
    tensor: torch.Tensor

    @property
    def box(self) -> tuple[slice, ...]:
        """Indexing the whole tensor with this gives the piece."""
        return tuple(slice(start, start + size) for start, size in zip(self.offset, self.tensor.shape, strict=True))
