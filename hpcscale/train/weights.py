"""The weights that this rank keeps: which tensors of the model they are parts of, and how the parts are cut."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from hpcscale.train.mesh import ALONE, Axis
from hpcscale.train.model import Transformer, VocabularyBias, VocabularyRows
from hpcscale.train.pieces import Piece
from hpcscale.train.tensor_parallel import VocabularyEmbedding

WORDS = (VocabularyEmbedding, VocabularyRows, VocabularyBias)  # their rows are words, and padding after them


@dataclass(frozen=True)
class Weight:
    """One parameter of one of this rank's stages. ``rows`` of ``shape`` (dim 0) may be cut further, over data-parallel ranks.

    ``cut``: the dim along which tensor parallelism cuts it; None: every tensor-parallel rank has it whole.
    ``shape``: of the tensor-parallel part. ``words``: size of the vocabulary, for a table of words.
    ``copy``: the second copy of a tied table, on the last pipeline stage.
    """

    stage: int  # which of this rank's stages, from 0
    name: str
    shape: tuple[int, ...]
    cut: int | None
    tp: Axis
    words: int | None
    copy: bool

    @property
    def decays(self) -> bool:
        """Norms and biases, all of one dim, do not decay (Megatron)."""
        return len(self.shape) > 1

    def piece(self, local: torch.Tensor, first_row: int = 0, prefix: str = "") -> Piece:
        """``local`` (rows from ``first_row`` of the tensor-parallel part) as a part of the whole tensor, without padding."""
        shape, offset = list(self.shape), [0] * len(self.shape)
        offset[0] = first_row
        if self.cut is not None:
            offset[self.cut] += self.tp.rank * self.shape[self.cut]
            shape[self.cut] *= self.tp.size
        if self.words is not None:
            shape[0] = self.words
            local = local[: max(0, min(local.shape[0], self.words - offset[0]))]
            offset[0] = min(offset[0], self.words)
        return Piece(prefix + self.name, tuple(shape), tuple(offset), local)


def weights_of(stages: list[Transformer]) -> list[Weight]:
    """Every parameter of a rank's stages, in the order of ``parameters()``. Call it before FSDP cuts them."""
    return [weight for number, stage in enumerate(stages) for weight in _of_stage(number, stage)]


def _of_stage(number: int, stage: Transformer) -> Iterator[Weight]:
    owners = {
        (f"{path}." if path else "") + own: (module, own)
        for path, module in stage.named_modules()
        for own, _ in module.named_parameters(recurse=False)
    }
    for name, parameter in stage.named_parameters():
        module, own = owners[name]
        cut = getattr(module, "CUT", {}).get(own) if stage.region.size > 1 else None
        yield Weight(
            number,
            name,
            tuple(parameter.shape),
            cut,
            stage.region.axis if cut is not None else ALONE,
            stage.spec.vocab if isinstance(module, WORDS) else None,
            name == "token_embedding.weight" and not stage.parts.embedding,
        )


def parameters_of(stages: list[Transformer]) -> list[nn.Parameter]:
    return [parameter for stage in stages for parameter in stage.parameters()]
