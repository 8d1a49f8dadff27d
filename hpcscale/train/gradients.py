"""From the gradients of a rank's own weights to those of the whole model: shared weights summed, the global norm, clipping."""

from __future__ import annotations

import torch
import torch.distributed as dist

from hpcscale.train.mesh import Axis, Mesh
from hpcscale.train.weights import Weight

Gradients = list[torch.Tensor | None]


@torch.no_grad()
def sum_over_sequence(weights: list[Weight], gradients: Gradients, tp: Axis) -> None:
    """With sequence parallelism each tensor-parallel rank has seen its part of the sequence only: what it shares with the
    others (norms, biases added after a sum, position tables) is summed over them, in one message."""
    shared = [each for weight, each in zip(weights, gradients, strict=True) if weight.cut is None and each is not None]
    if not shared:
        return
    flat = torch.cat([each.flatten() for each in shared])
    dist.all_reduce(flat, group=tp.group)
    for each, piece in zip(shared, flat.split([each.numel() for each in shared]), strict=True):
        each.copy_(piece.view_as(each))


@torch.no_grad()
def global_norm(weights: list[Weight], gradients: Gradients, mesh: Mesh) -> torch.Tensor:
    """The 2-norm over all gradients of the whole model; a scalar tensor (fp64), the same on every rank.

    A weight that several ranks have counts once: on tensor-parallel rank 0 if it is not cut, on the first pipeline stage
    if it is tied.
    """
    own = [
        each
        for weight, each in zip(weights, gradients, strict=True)
        if each is not None and each.numel() and not weight.copy and (weight.cut is not None or mesh.tp.rank == 0)
    ]
    device = next((each.device for each in gradients if each is not None), torch.device("cpu"))
    square = torch.zeros((), dtype=torch.float64, device=device)
    if own:
        square += torch.nn.utils.get_total_norm(own).double().square()
    groups = [mesh.tp.group, mesh.pp.group]
    if mesh.shards is not None:
        groups.append(mesh.shards.get_group(mesh.shards.ndim - 1))
    for group in groups:
        if group is not None:
            dist.all_reduce(square, group=group)
    return square.sqrt()


@torch.no_grad()
def scale(gradients: Gradients, norm: torch.Tensor, largest: float | None, loss_scale: torch.Tensor | None) -> None:
    """Undoes the loss scale, and scales all gradients so that their global norm is at most ``largest`` (Pascanu et al.,
    arXiv 1211.5063). ``norm`` is that of the unscaled gradients.

    The factor is multiplied even where it is 1: asking first would make a GPU wait for the host.
    """
    factor = torch.ones_like(norm)
    if largest is not None:
        factor = (largest / (norm + 1e-6)).clamp(max=1.0)
    if loss_scale is not None:
        factor = factor / loss_scale
    present = [each for each in gradients if each is not None]
    if present and (largest is not None or loss_scale is not None):
        torch._foreach_mul_(present, factor.to(present[0].dtype))  # pyright: ignore[reportPrivateImportUsage] the public ones take floats only
