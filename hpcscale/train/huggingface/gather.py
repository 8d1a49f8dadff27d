"""From the pieces of all ranks to a folder of Hugging Face weights: rank 0 collects one tensor at a time and writes it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist

from hpcscale.spec.model import Model
from hpcscale.spec.problems import InputError
from hpcscale.train.communication import gather_objects
from hpcscale.train.huggingface import write
from hpcscale.train.huggingface.names import Shape
from hpcscale.train.pieces import Piece


@dataclass(frozen=True)
class Part:
    """A box of a tensor, which ``rank`` has as the ``number``-th of its pieces."""

    rank: int
    number: int
    offset: Shape
    sizes: Shape

    @property
    def box(self) -> tuple[slice, ...]:
        return tuple(slice(start, start + size) for start, size in zip(self.offset, self.sizes, strict=True))


def save(
    pieces: list[Piece],
    model: Model,
    sequence_length: int,
    folder: Path,
    dtype: str = "fp32",
    most_bytes: int = write.MOST_FILE_BYTES,
) -> None:
    """Writes the model whose pieces the ranks hold. Collective; beside the model, rank 0 has one tensor in memory.

    Raises InputError, on all ranks, for a model that the format cannot hold and for a folder in use.
    """
    problem = None
    if _rank() == 0:
        try:
            write.check(folder, model, dtype)
        except InputError as error:
            problem = error.problems
    problem = gather_objects(problem)[0]
    if problem:
        raise InputError(problem)
    tensors = gathered(pieces)
    if _rank() == 0:
        write.write(folder, model, sequence_length, tensors, dtype, most_bytes)
    else:
        for _ in tensors:
            raise AssertionError("only rank 0 is given tensors")


@torch.no_grad()
def gathered(pieces: list[Piece]) -> Iterator[tuple[str, torch.Tensor]]:
    """On rank 0 every tensor of the model, whole, one after another; the other ranks send theirs and are given none.

    Collective: every rank must go through the iterator to its end.
    """
    own = [(piece.name, piece.shape, piece.offset, tuple(piece.tensor.shape)) for piece in pieces]
    plan = _plan(gather_objects(own))
    for (name, shape), parts in plan.items():
        if _rank() == 0:
            yield name, _collected(shape, parts, pieces)
        else:
            for part in parts:
                if part.rank == _rank():
                    dist.send(pieces[part.number].tensor.contiguous(), 0)


def _plan(ranks: list[list[tuple[str, Shape, Shape, Shape]]]) -> dict[tuple[str, Shape], list[Part]]:
    """Which boxes make up each tensor: of a box that several ranks have, the lowest rank's."""
    found: dict[tuple[str, Shape], dict[tuple[Shape, Shape], Part]] = {}
    for rank, described in enumerate(ranks):
        for number, (name, shape, offset, sizes) in enumerate(described):
            boxes = found.setdefault((name, shape), {})
            if torch.Size(sizes).numel():
                boxes.setdefault((offset, sizes), Part(rank, number, offset, sizes))
    for (name, shape), boxes in found.items():
        elements = sum(torch.Size(part.sizes).numel() for part in boxes.values())
        if elements != torch.Size(shape).numel():
            raise AssertionError(f"the ranks hold {elements} elements of {name}, whose shape is {shape}")
    return {key: list(boxes.values()) for key, boxes in found.items()}


def _collected(shape: Shape, parts: list[Part], pieces: list[Piece]) -> torch.Tensor:
    """The whole tensor, in this process's main memory."""
    like = pieces[0].tensor
    whole = torch.empty(shape, dtype=like.dtype)
    for part in parts:
        if part.rank == 0:
            value = pieces[part.number].tensor
        else:
            value = torch.empty(part.sizes, dtype=like.dtype, device=like.device)
            dist.recv(value, part.rank)
        whole[part.box] = value.to(whole.device)
    return whole


def _rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0
