"""The device mesh: which ranks share which part of the work."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from hpcscale.spec.layout import Layout

# Slowest first: neighbouring ranks share a tensor-parallel group (Megatron's order).
AXES = ("pp", "dp", "cp", "tp")


@dataclass(frozen=True)
class Axis:
    """One axis of the mesh as a rank sees it: the group of ranks along it, and this rank's place there."""

    group: dist.ProcessGroup | None = None
    size: int = 1
    rank: int = 0


ALONE = Axis()


@dataclass(frozen=True)
class Mesh:
    """A rank's axes. ``data`` is dp and cp together: all ranks whose gradients of the same weights are averaged.

    ``shards`` is the mesh over which FSDP2 cuts weights (1D, or 2D with replicas first), None without sharding.
    """

    pp: Axis = ALONE
    dp: Axis = ALONE
    cp: Axis = ALONE
    tp: Axis = ALONE
    data: Axis = ALONE
    shards: DeviceMesh | None = None

    @property
    def groups(self) -> list[dist.ProcessGroup]:
        """The process groups of all axes."""
        found = [axis.group for axis in (self.pp, self.dp, self.cp, self.tp, self.data) if axis.group is not None]
        return found + ([] if self.shards is None else self.shards.get_all_groups())

    @property
    def axis_of_group(self) -> dict[str, str]:
        """Name of a process group -> the axis it runs along."""
        axes = {name: getattr(self, name) for name in ("data", *AXES)}  # where dp is all of data, it is called dp
        names = {axis.group.group_name: name for name, axis in axes.items() if axis.group is not None}
        if self.shards is not None:
            for dim in self.shards.mesh_dim_names or ():
                names.setdefault(self.shards.get_group(dim).group_name, "data")
        return names


def device_mesh(layout: Layout, device: torch.device) -> Mesh:
    """The mesh of a layout; every rank calls it. Collective: it makes the process groups."""
    if layout.ranks == 1:
        return Mesh()
    sizes = tuple(getattr(layout, axis) for axis in AXES)
    mesh = init_device_mesh(device.type, sizes, mesh_dim_names=AXES)
    pp, dp, cp, tp = (_axis(mesh, name) for name in AXES)
    # dp and cp lie side by side in the rank order, so that together they are one axis of a second mesh.
    replicas = layout.dp_replicate if layout.sharding == "hsdp" and layout.dp_replicate else 1
    if replicas == 1 and layout.cp == 1:
        return Mesh(pp, dp, cp, tp, dp, mesh["dp"] if layout.sharding != "ddp" and layout.dp > 1 else None)
    by_replica = init_device_mesh(
        device.type,
        (layout.pp, replicas, layout.dp // replicas * layout.cp, layout.tp),
        mesh_dim_names=("pp", "replica", "shard", "tp"),
    )
    if layout.sharding == "ddp":
        return Mesh(pp, dp, cp, tp, _axis(by_replica, "shard"))
    shards = by_replica["replica", "shard"] if replicas > 1 else by_replica["shard"]
    return Mesh(pp, dp, cp, tp, Axis(None, layout.dp * layout.cp), shards)


def _axis(mesh: DeviceMesh, name: str) -> Axis:
    size = mesh[name].size()
    return Axis(mesh.get_group(name), size, mesh.get_local_rank(name)) if size > 1 else ALONE
