"""The global gradient norm and clipping, over replicated and sharded gradients alike."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor


def local(tensor: torch.Tensor) -> torch.Tensor:
    """This rank's part of a tensor."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


@torch.no_grad()
def global_norm(parameters: Iterable[torch.nn.Parameter]) -> torch.Tensor:
    """The 2-norm over all gradients of the whole model; a scalar tensor, the same on every rank.

    Gradients sharded over the same groups of ranks are summed together: one collective a group, not one a parameter.
    """
    by_groups: dict[tuple[dist.ProcessGroup, ...], list[torch.Tensor]] = defaultdict(list)
    for parameter in parameters:
        if parameter.grad is not None:
            by_groups[_sharding_groups(parameter.grad)].append(local(parameter.grad))
    squares = []
    for groups, gradients in by_groups.items():
        square = torch.nn.utils.get_total_norm(gradients).square()
        for group in groups:
            dist.all_reduce(square, group=group)
        squares.append(square)
    return torch.stack(squares).sum().sqrt()


@torch.no_grad()
def clip(parameters: Iterable[torch.nn.Parameter], norm: torch.Tensor, largest: float) -> None:
    """Scales all gradients so that their global norm is at most ``largest`` (Pascanu et al., arXiv 1211.5063).

    The factor is multiplied even where it is 1: asking first would make a GPU wait for the host.
    """
    factor = (largest / (norm + 1e-6)).clamp(max=1.0)
    gradients = [local(parameter.grad) for parameter in parameters if parameter.grad is not None]
    torch._foreach_mul_(gradients, factor)  # pyright: ignore[reportPrivateImportUsage] the public ones take floats only


def _sharding_groups(gradient: torch.Tensor) -> tuple[dist.ProcessGroup, ...]:
    """The groups over which a gradient's parts are spread; none for one that every rank has whole."""
    if not isinstance(gradient, DTensor):
        return ()
    mesh = gradient.device_mesh
    return tuple(mesh.get_group(dim) for dim, placement in enumerate(gradient.placements) if placement.is_shard())
