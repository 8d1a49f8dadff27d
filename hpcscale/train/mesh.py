"""The device mesh: which ranks share which part of the work."""

from __future__ import annotations

import torch
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from hpcscale.spec.layout import Layout

# Slowest first: neighbouring ranks share a tensor-parallel group (Megatron's order).
AXES = ("pp", "dp", "cp", "tp")


def device_mesh(layout: Layout, device: torch.device) -> DeviceMesh | None:
    """A mesh with an axis for each kind of parallelism, also for those of size 1; None for a single rank."""
    if layout.ranks == 1:
        return None
    return init_device_mesh(device.type, tuple(getattr(layout, axis) for axis in AXES), mesh_dim_names=AXES)


def replica(mesh: DeviceMesh | None) -> int:
    """Which data-parallel replica this rank belongs to."""
    return 0 if mesh is None else mesh.get_local_rank("dp")
