"""Collectives and send/receive: which ranks talk, and how much.

Sizes are nccl-tests' (doc/PERFORMANCE.md): the whole buffer of an all-reduce, what an all-gather ends with, what a
reduce-scatter begins with, what a rank sends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh

from hpcscale.spec.probe import Sizes
from hpcscale.train import communication
from hpcscale.train.probe.cases import Call, Case
from hpcscale.train.tensor_parallel import all_gather, reduce_scatter

ELEMENT_BYTES = 4
Start = Callable[..., Any]  # begins a collective; with async_op=True it gives what to wait for


@dataclass(frozen=True)
class Group:
    """Ranks that talk, and the group that they are. All groups of one kind talk at the same time.

    ``stride``: to which rank of the group this one sends, counted from itself; None: no sending is measured here.
    """

    group: dist.ProcessGroup
    ranks: int
    span: str
    stride: int | None


def ranks_per_node(hosts: Sequence[str]) -> int | None:
    """If the hosts by rank are whole nodes one after the other, the ranks of each; else None."""
    count = len(dict.fromkeys(hosts))
    each, rest = divmod(len(hosts), count)
    blocks = (hosts[first : first + each] for first in range(0, len(hosts), each))
    return each if rest == 0 and all(len(set(block)) == 1 for block in blocks) else None


def groups(hosts: Sequence[str], device: torch.device, timeout: float) -> list[Group]:
    """Collective. All ranks; with several equal nodes also those of a node, and those with the same place on each node.

    Over several nodes a rank sends to the one in its place on the next node, as pipeline stages do: every message then leaves
    its node.
    """
    world = dist.group.WORLD
    if world is None:
        return []
    ranks, nodes, on_node = len(hosts), len(set(hosts)), ranks_per_node(hosts)
    everyone = Group(world, ranks, "node" if nodes == 1 else "job", on_node if on_node and nodes > 1 else 1)
    if nodes == 1 or on_node is None or on_node == 1:
        return [everyone]
    mesh = init_device_mesh(device.type, (nodes, on_node), mesh_dim_names=("across", "node"))
    inside, across = mesh.get_group("node"), mesh.get_group("across")
    for group in (inside, across):
        communication.limit_wait(group, timeout)
    return [Group(inside, on_node, "node", 1), everyone, Group(across, nodes, "job", None)]


def cases(group: Group, sizes: Sizes, device: torch.device) -> Iterator[Case]:
    """Each kind of message from the smallest on."""
    kinds = [*COLLECTIVES, *(["send_recv"] if group.stride else [])]
    for kind in kinds:
        for size in sorted(sizes.message_bytes):
            elements = elements_of(size, group)
            line: dict[str, Any] = {
                "kind": kind, "dtype": "fp32", "bytes": elements * ELEMENT_BYTES, "ranks": group.ranks, "span": group.span,
            }  # fmt: skip
            if kind == "send_recv":
                line["stride"] = group.stride
            prepare = partial(_MAKE[kind], group, elements, device)
            yield Case(line, prepare, elements * ELEMENT_BYTES)


def elements_of(size: int, group: Group) -> int:
    """Of a message of about ``size`` bytes of which each rank's part is as long."""
    return -(-size // ELEMENT_BYTES // group.ranks) * group.ranks


def _all_reduce(group: Group, elements: int, device: torch.device) -> Start:
    return partial(dist.all_reduce, torch.zeros(elements, device=device), group=group.group)


def _all_gather(group: Group, elements: int, device: torch.device) -> Start:
    whole, part = torch.zeros(elements, device=device), torch.zeros(elements // group.ranks, device=device)
    return partial(all_gather, whole, part, group=group.group)


def _reduce_scatter(group: Group, elements: int, device: torch.device) -> Start:
    whole, part = torch.zeros(elements, device=device), torch.zeros(elements // group.ranks, device=device)
    return partial(reduce_scatter, part, whole, group=group.group)


def _send_recv(group: Group, elements: int, device: torch.device) -> Call:
    assert group.stride is not None
    sent, received = torch.zeros(elements, device=device), torch.zeros(elements, device=device)
    own = dist.get_group_rank(group.group, dist.get_rank())
    following = dist.get_global_rank(group.group, (own + group.stride) % group.ranks)
    previous = dist.get_global_rank(group.group, (own - group.stride) % group.ranks)

    def shift() -> None:
        operations = [
            dist.P2POp(dist.isend, sent, following, group.group),
            dist.P2POp(dist.irecv, received, previous, group.group),
        ]
        for work in dist.batch_isend_irecv(operations):
            work.wait()

    return shift


COLLECTIVES: dict[str, Callable[[Group, int, torch.device], Start]] = {
    "all_reduce": _all_reduce,
    "all_gather": _all_gather,
    "reduce_scatter": _reduce_scatter,
}
_MAKE = {**COLLECTIVES, "send_recv": _send_recv}
