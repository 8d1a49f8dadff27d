"""The c10d process group over mpi4py: torch's names and arguments for the calls in collectives.py.

c10d calls some methods from C++ (functional collectives, DTensor) and the others from Python, under names that changed between
torch 2.6 and 2.13; both names are kept. A list of tensors with one entry per device is c10d's legacy: here it has one entry.
"""

# pyright: reportIncompatibleMethodOverride=false, reportIncompatibleVariableOverride=false, reportAssignmentType=false
# The base class is written in C++: its methods have overloads and names of arguments that no caller uses.

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from hpcscale.train.mpi import BACKEND, collectives
from hpcscale.train.mpi.library import MPI
from hpcscale.train.mpi.work import Joined, Transfer, Work

Tensors = Sequence[torch.Tensor]


class MpiGroup(dist.ProcessGroup):
    """The ranks of one communicator. It is its own backend, as far as torch asks for one."""

    supports_splitting = False
    supports_coalescing = False
    supports_time_estimate = False

    def __init__(self, communicator: MPI.Intracomm, ranks: Sequence[int], name: str, timeout: timedelta):
        super().__init__(communicator.rank, communicator.size)  # pyright: ignore[reportCallIssue] one of its constructors
        self._communicator, self._name, self._description, self.timeout = communicator, name, "undefined", timeout
        self._where = f"over ranks {_abbreviated(ranks)}"
        self._largest_tag = int(communicator.Get_attr(MPI.TAG_UB) or 32767)  # at least that, says the standard
        self._batch: list[Work] | None = None
        self._posted = 0

    # --- what torch asks

    def getBackendName(self) -> str:
        return BACKEND

    def name(self) -> str:
        return BACKEND

    def getGroupName(self) -> str:
        return self._name

    def setGroupName(self, name: str) -> None:
        self._name = name

    def getGroupDesc(self) -> str:
        return self._description

    def setGroupDesc(self, description: str) -> None:
        self._description = description

    _set_group_name, _set_group_desc = setGroupName, setGroupDesc
    group_name, group_desc = property(getGroupName), property(getGroupDesc)

    @property
    def _device_types(self) -> list[torch.device]:
        return [torch.device("cpu")]

    def _get_backend(self, device: torch.device) -> MpiGroup:
        if torch.device(device).type != "cpu":
            raise RuntimeError(f"the backend {BACKEND} moves CPU tensors; there is none for {device}")
        return self

    def supports_tensor_alloc(self, device: torch.device) -> bool:
        return False

    def set_timeout(self, timeout: timedelta) -> None:
        self.timeout = timeout

    def _get_sequence_number_for_group(self) -> int:
        return self._posted

    def shutdown(self) -> None:
        """Communicators are freed when MPI is finalised: freeing one is collective, and peers may be gone."""

    # --- collectives

    def allreduce(self, tensors: Tensors, opts: Any = None) -> Work:
        transfers = [collectives.all_reduce(self._communicator, tensor, _operation(opts)) for tensor in tensors]
        return self._post("all_reduce", _bytes(tensors), transfers, tensors, opts)

    allreduce_coalesced = allreduce

    def reduce(self, tensors: Tensors, opts: Any = None) -> Work:
        transfer = collectives.reduce(self._communicator, tensors[0], _operation(opts), _root(opts))
        return self._post("reduce", _bytes(tensors), [transfer], tensors, opts)

    def broadcast(self, tensors: Tensors, opts: Any = None) -> Work:
        transfer = collectives.broadcast(self._communicator, tensors[0], _root(opts))
        return self._post("broadcast", _bytes(tensors), [transfer], tensors, opts)

    def allgather(self, output_tensors: Sequence[Tensors], input_tensors: Tensors, opts: Any = None) -> Work:
        (outputs,), (own,) = output_tensors, input_tensors
        transfer = collectives.all_gather(self._communicator, outputs, own)
        return self._post("all_gather", _bytes(outputs), [transfer], outputs, opts)

    def allgather_coalesced(self, output_lists: Sequence[Tensors], inputs: Tensors, opts: Any = None) -> Joined:
        """``output_lists`` has a list of one output per rank for each input."""
        pairs = zip(output_lists, inputs, strict=True)
        return Joined([self.allgather([outputs], [own], opts) for outputs, own in pairs])

    def all_gather_single(self, output: torch.Tensor, given: torch.Tensor, opts: Any = None) -> Work:
        return self.all_gather_single_coalesced([output], [given], opts)

    def all_gather_single_coalesced(self, outputs: Tensors, inputs: Tensors, opts: Any = None) -> Work:
        pairs = zip(outputs, inputs, strict=True)
        transfers = [collectives.all_gather_single(self._communicator, output, own) for output, own in pairs]
        return self._post("all_gather", _bytes(outputs), transfers, outputs, opts)

    def reduce_scatter(self, outputs: Tensors, input_lists: Sequence[Tensors], opts: Any = None) -> Work:
        (output,), (inputs,) = outputs, input_lists
        transfer = collectives.reduce_scatter(self._communicator, output, inputs, _operation(opts))
        return self._post("reduce_scatter", _bytes(inputs), [transfer], outputs, opts)

    def reduce_scatter_single(self, output: torch.Tensor, given: torch.Tensor, opts: Any = None) -> Work:
        return self.reduce_scatter_single_coalesced([output], [given], opts)

    def reduce_scatter_single_coalesced(self, outputs: Tensors, inputs: Tensors, opts: Any = None) -> Work:
        transfers = [
            collectives.reduce_scatter_single(self._communicator, output, whole, _operation(opts))
            for output, whole in zip(outputs, inputs, strict=True)
        ]
        return self._post("reduce_scatter", _bytes(inputs), transfers, outputs, opts)

    def alltoall(self, outputs: Tensors, inputs: Tensors, opts: Any = None) -> Work:
        transfer = collectives.all_to_all(self._communicator, outputs, inputs)
        return self._post("all_to_all", _bytes(inputs), [transfer], outputs, opts)

    def all_to_all_single(
        self,
        output: torch.Tensor,
        given: torch.Tensor,
        output_rows: Sequence[int],
        input_rows: Sequence[int],
        opts: Any = None,
    ) -> Work:
        transfer = collectives.all_to_all_single(self._communicator, output, given, output_rows, input_rows)
        return self._post("all_to_all", _bytes([given]), [transfer], [output], opts)

    def gather(self, output_lists: Sequence[Tensors], inputs: Tensors, opts: Any = None) -> Work:
        outputs = output_lists[0] if self._communicator.rank == _root(opts) else []
        transfer = collectives.gather(self._communicator, outputs, inputs[0], _root(opts))
        return self._post("gather", _bytes(inputs) * self._communicator.size, [transfer], outputs, opts)

    def scatter(self, outputs: Tensors, input_lists: Sequence[Tensors], opts: Any = None) -> Work:
        inputs = input_lists[0] if self._communicator.rank == _root(opts) else []
        transfer = collectives.scatter(self._communicator, outputs[0], inputs, _root(opts))
        return self._post("scatter", _bytes(outputs) * self._communicator.size, [transfer], outputs, opts)

    def barrier(self, opts: Any = None) -> Work:
        return self._post("barrier", 0, [Transfer(self._communicator.Ibarrier)], [], opts)

    # The names of torch before 2.13.
    _allgather_base, _reduce_scatter_base, alltoall_base = all_gather_single, reduce_scatter_single, all_to_all_single
    allgather_into_tensor_coalesced = all_gather_single_coalesced
    reduce_scatter_tensor_coalesced = reduce_scatter_single_coalesced

    # --- from rank to rank

    def send(self, tensors: Tensors, destination: int, tag: int = 0) -> Work:
        transfer = collectives.send(self._communicator, tensors[0], destination, self._checked(tag))
        return self._post("send", _bytes(tensors), [transfer], tensors)

    def recv(self, tensors: Tensors, source: int, tag: int = 0) -> Work:
        status = MPI.Status()
        transfer = collectives.receive(self._communicator, tensors[0], source, self._checked(tag), status)
        return self._post("recv", _bytes(tensors), [transfer], tensors, statuses=[status])

    def recv_anysource(self, tensors: Tensors, tag: int = 0) -> Work:
        return self.recv(tensors, MPI.ANY_SOURCE, tag)

    # --- several at once

    def _start_coalescing(self, device: torch.device) -> None:
        self._batch = []

    def _end_coalescing(self, device: torch.device) -> Joined:
        batch, self._batch = self._batch or [], None
        return Joined(batch)

    def _post(
        self,
        operation: str,
        size: int,
        transfers: Sequence[Transfer],
        outputs: Tensors,
        opts: Any = None,
        statuses: list[MPI.Status] | None = None,
    ) -> Work:
        self._posted += 1
        background = getattr(opts, "asyncOp", True)
        work = Work(
            operation, size, self._where, self.timeout, transfers, outputs, statuses, background, self.group_name
        )
        if self._batch is not None:
            self._batch.append(work)
        return work

    def _checked(self, tag: int) -> int:
        if not 0 <= tag <= self._largest_tag:
            raise ValueError(f"the tag {tag} is not between 0 and {self._largest_tag}, MPI's largest")
        return tag


def _operation(opts: Any) -> Any:
    return dist.ReduceOp.SUM if opts is None else opts.reduceOp


def _root(opts: Any) -> int:
    return 0 if opts is None else opts.rootRank


def _bytes(tensors: Tensors) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _abbreviated(ranks: Sequence[int]) -> str:
    shown = [str(rank) for rank in ranks]
    return ", ".join(shown if len(shown) <= 8 else [*shown[:4], "...", shown[-1]])
