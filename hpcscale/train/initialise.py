"""Initial weights that do not depend on the layout: each parameter is drawn from a generator of its own.

The generator's seed is made from the run's seed and the parameter's full name. A rank draws the whole value of one
parameter at a time and keeps its shard, so no two parameters exist whole at once.
"""

from __future__ import annotations

import hashlib
import math

import torch
from torch import nn
from torch.distributed.tensor import DTensor, Replicate

from hpcscale.spec.model import Model
from hpcscale.train.model import Transformer

# What writes into the residual stream is scaled down by the number of writers (GPT-2; Megatron's scaled_init_method).
RESIDUAL_OUTPUTS = ("attention.output.weight", "mlp.down.weight")
VOCABULARY_ROWS = ("token_embedding.weight", "head.weight")


@torch.no_grad()
def initialise(model: Transformer, seed: int) -> None:
    """Normal(0, init_std), residual outputs / sqrt(2 layers), norms 1, biases 0. Plain tensors and DTensors alike.

    Values depend on the kind of device (CPU and GPU generators differ), never on the number of ranks.
    """
    for name, parameter in model.named_parameters():
        if isinstance(parameter, DTensor):
            full = _value(name, parameter.shape, parameter.dtype, parameter.device, model.spec, seed)
            # Every rank has the whole value already: cutting its shard out of it sends nothing.
            whole = DTensor.from_local(
                full, parameter.device_mesh, [Replicate()] * parameter.device_mesh.ndim, run_check=False
            )
            shard = whole.redistribute(placements=parameter.placements)
            parameter.to_local().copy_(shard.to_local())
        else:
            parameter.copy_(_value(name, parameter.shape, parameter.dtype, parameter.device, model.spec, seed))


def _value(
    name: str, shape: torch.Size, dtype: torch.dtype, device: torch.device, model: Model, seed: int
) -> torch.Tensor:
    if name.endswith("bias"):
        return torch.zeros(shape, dtype=dtype, device=device)
    if "norm" in name:
        return torch.ones(shape, dtype=dtype, device=device)
    std = model.init_std / math.sqrt(2 * model.layers) if name.endswith(RESIDUAL_OUTPUTS) else model.init_std
    generator = torch.Generator(device).manual_seed(_seed(seed, name))
    # Padding rows are never looked up: zero, so that the rows that count are the same whatever the padding is.
    rows = min(shape[0], model.vocab) if name in VOCABULARY_ROWS else shape[0]
    value = torch.zeros(shape, dtype=torch.float32, device=device)
    value[:rows].normal_(0.0, std, generator=generator)
    return value.to(dtype)


def _seed(seed: int, name: str) -> int:
    """63 bits from (seed, name); Python's own hash differs between processes."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:8], "big") >> 1


def parameter_count(model: nn.Module) -> int:
    """Parameters of the whole model, whatever part of them lies on this rank; tied ones count once."""
    return sum(parameter.numel() for parameter in model.parameters())
