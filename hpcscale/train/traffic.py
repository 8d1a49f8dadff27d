"""What a step sends: calls and bytes of every collective and point-to-point operation, by mesh axis.

Bytes are the payload of one call on one rank, as NCCL's own tests define the size of an operation: the larger of what the
rank gives and what it gets. So an all-gather counts its gathered output, a reduce-scatter its whole input, an all-reduce
its tensor once; what the algorithm moves over the wire is another number.

A rank counts what torch dispatches, in backward passes too. Our MPI backend is called without the dispatcher and keeps
counts of its own.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch.utils._python_dispatch import TorchDispatchMode

from hpcscale.train import mpi

# The dispatcher's words -> one word a kind. Coalesced forms count as one call with the bytes of all their tensors.
KINDS: dict[str, tuple[str, ...]] = {
    "all_reduce": ("allreduce_", "allreduce_coalesced_", "all_reduce", "all_reduce_", "all_reduce_coalesced", "all_reduce_coalesced_"),
    "all_gather": (
        "allgather_", "_allgather_base_", "allgather_coalesced_", "allgather_into_tensor_coalesced_",
        "all_gather_into_tensor", "all_gather_into_tensor_out", "all_gather_into_tensor_coalesced",
    ),
    "reduce_scatter": (
        "reduce_scatter_", "_reduce_scatter_base_", "reduce_scatter_tensor_coalesced_",
        "reduce_scatter_tensor", "reduce_scatter_tensor_out", "reduce_scatter_tensor_coalesced",
    ),
    "all_to_all": ("alltoall_", "alltoall_base_", "all_to_all_single"),
    "broadcast": ("broadcast_", "broadcast"),
    "reduce": ("reduce_",),
    "gather": ("gather_",),
    "scatter": ("scatter_",),
    "send": ("send", "isend"),
    "recv": ("recv_", "recv_any_source_", "irecv"),
    "barrier": ("barrier", "monitored_barrier_"),
}  # fmt: skip
COMPILER = "torch._dynamo"
NAMESPACES = ("c10d", "_c10d_functional")
_KIND_OF = {name: kind for kind, names in KINDS.items() for name in names}
_NO_PAYLOAD = ("barrier",)  # its tensor is a placeholder

Counts = dict[str, dict[str, int]]


class Traffic:
    """``counts`` after ``with counting(...) as traffic``: ``{"tp.all_reduce": {"calls": 4, "bytes": 1024}}``."""

    def __init__(self) -> None:
        self.counts: Counts = {}

    def add(self, key: str, calls: int, size: int) -> None:
        count = self.counts.setdefault(key, {"calls": 0, "bytes": 0})
        count["calls"] += calls
        count["bytes"] += size


class _Mode(TorchDispatchMode):
    def __init__(self, traffic: Traffic, axes: Mapping[str, str]):
        super().__init__()
        self._traffic, self._axes = traffic, axes

    @classmethod
    def ignore_compile_internals(cls) -> bool:
        """Without this, torch.compile would run the step uncompiled, and compile in a later step that is measured."""
        return True

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Skipping loads torch's compiler: two seconds and 800 modules for each rank, in the first step."""
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if any(each.__name__ == "DTensor" for each in types):  # by name: importing it takes half a second
            return NotImplemented  # DTensor first: the operations that it turns into come back here
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if func.namespace in NAMESPACES:
            kind = _KIND_OF.get(func._opname)
            if kind is not None:
                given = (*args, *kwargs.values())
                size = 0 if kind in _NO_PAYLOAD else _payload_bytes(func.namespace, given, result)
                self._traffic.add(f"{_axis(given, self._axes)}.{kind}", 1, size)
        return result


class _ModeBesideCompiler(_Mode):
    """Where blocks are compiled, the compiler is loaded, and has to leave the counting alone."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return True

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return super().__torch_dispatch__(func, types, args, kwargs)


@contextlib.contextmanager
def counting(axes: Mapping[str, str] | None = None) -> Iterator[Traffic]:
    """Counts this rank's operations. ``axes``: names of process groups -> the mesh axis that each one joins."""
    axes = axes or {}
    traffic, before = Traffic(), _mpi_totals()
    mode = _ModeBesideCompiler if COMPILER in sys.modules else _Mode
    with mode(traffic, axes):
        yield traffic
    after = _mpi_totals()
    if after:
        # Functional collectives pass the dispatcher on their way to MPI: there only MPI's own counts are whole.
        traffic.counts.clear()
    for (group, kind), (calls, size) in after.items():
        calls_before, size_before = before.get((group, kind), (0, 0))
        if calls > calls_before:
            traffic.add(f"{_named(group, axes)}.{kind}", calls - calls_before, size - size_before)


def combined(every: list[Counts]) -> Counts:
    """All ranks' counts as one: of each operation the most calls and bytes of any rank, how many ranks took part, and
    the bytes of all of them."""
    result: Counts = {}
    for key in sorted({key for counts in every for key in counts}):
        own = [counts[key] for counts in every if key in counts]
        result[key] = {
            "calls": max(each["calls"] for each in own),
            "bytes": max(each["bytes"] for each in own),
            "ranks": len(own),
            "bytes_of_all_ranks": sum(each["bytes"] for each in own),
        }
    return result


def _axis(given: tuple[Any, ...], axes: Mapping[str, str]) -> str:
    """The mesh axis of a call, ``all`` for the group of all ranks, else ``other``."""
    name = next((found for each in given if (found := _group_name(each)) is not None), "")
    return _named(name, axes)


def _named(name: str, axes: Mapping[str, str]) -> str:
    if name in axes:
        return axes[name]
    return "all" if dist.is_initialized() and name == dist.group.WORLD.group_name else "other"  # pyright: ignore[reportOptionalMemberAccess]


def _group_name(given: Any) -> str | None:
    """c10d's operations carry the group as a script object, functional ones its name as text."""
    if isinstance(given, str):
        return given if _is_group(given) else None
    if isinstance(given, torch.ScriptObject):
        with contextlib.suppress(RuntimeError, TypeError):  # a reduction's kind is a script object too
            return dist.ProcessGroup.unbox(given).group_name
    return None


def _is_group(name: str) -> bool:
    """Of the texts of a functional call one is the reduction ("sum") and one the group."""
    return name in dist.distributed_c10d._world.pg_names.values()


def _payload_bytes(namespace: str, given: tuple[Any, ...], result: Any) -> int:
    """The larger of input and output. c10d's operations get both as arguments, functional ones return the output."""
    buffers = [_bytes(each) for each in given]
    if namespace != "c10d":
        buffers.append(_bytes(result))
    return max(buffers, default=0)


def _bytes(value: Any) -> int:
    if isinstance(value, torch.Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, list | tuple):
        return sum(_bytes(each) for each in value)
    return 0


def _mpi_totals() -> dict[tuple[str, str], tuple[int, int]]:
    """The MPI backend's counts by group and operation since the start; none where another backend runs."""
    return mpi.traffic_by_group() if dist.is_initialized() and "mpi" in dist.get_backend() else {}
