"""The tensors of a whole model, as one process would have them."""

from __future__ import annotations

import torch

from hpcscale.spec.model import Model
from hpcscale.train.huggingface.names import Shape
from hpcscale.train.mesh import Mesh
from hpcscale.train.model import Parts, Transformer
from hpcscale.train.weights import weights_of


def shapes(model: Model, sequence_length: int) -> dict[str, Shape]:
    """Name and shape of every tensor, the vocabulary without padding. Takes no memory."""
    with torch.device("meta"):
        whole = Transformer(model, sequence_length, Mesh(), False, Parts(range(model.layers)))
    tensors = list(whole.parameters())
    return {
        piece.name: piece.shape
        for piece in (weight.piece(tensor) for weight, tensor in zip(weights_of([whole]), tensors, strict=True))
    }
