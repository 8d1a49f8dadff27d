"""Initial weights that do not depend on the layout: each parameter is drawn from a generator of its own.

The generator's seed is made from the run's seed and the parameter's full name. A rank draws the whole value of one
parameter at a time and keeps its piece, so no two parameters exist whole at once.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable

import torch

from hpcscale.spec.model import Model
from hpcscale.train.pieces import Piece

# What writes into the residual stream is scaled down by the number of writers (GPT-2; Megatron's scaled_init_method).
RESIDUAL_OUTPUTS = ("attention.output.weight", "mlp.down.weight")


@torch.no_grad()
def initialise(pieces: Iterable[Piece], model: Model, seed: int) -> None:
    """Normal(0, init_std), residual outputs / sqrt(2 layers), norms 1, biases 0.

    Values depend on the kind of device (CPU and GPU generators differ), never on the number of ranks. The memory outside
    the pieces (padding of the vocabulary) must be zero already.
    """
    for piece in pieces:
        if piece.name.endswith("bias") or piece.name == "head_bias.weight":
            piece.tensor.zero_()
        elif "norm" in piece.name:
            piece.tensor.fill_(1.0)
        else:
            small = piece.name.endswith(RESIDUAL_OUTPUTS)
            std = model.init_std / math.sqrt(2 * model.layers) if small else model.init_std
            device = piece.tensor.device
            generator = torch.Generator(device).manual_seed(_seed(seed, piece.name))
            value = torch.empty(piece.shape, dtype=torch.float32, device=device)
            value.normal_(0.0, std, generator=generator)
            piece.tensor.copy_(value[piece.box])


def _seed(seed: int, name: str) -> int:
    """63 bits from (seed, name); Python's own hash differs between processes."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:8], "big") >> 1
