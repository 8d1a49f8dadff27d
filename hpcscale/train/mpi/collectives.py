"""Each of torch's collectives as one non-blocking MPI call: what it sends, where it writes, what is left to do afterwards.

Every function checks that tensors fit (MPI would write past their end), and returns the call without starting it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from hpcscale.train.mpi.buffers import Reduction, copy, evenly, moved, overlap, reduced, writable
from hpcscale.train.mpi.library import MPI
from hpcscale.train.mpi.work import Transfer

Tensors = Sequence[torch.Tensor]


def all_reduce(group: MPI.Intracomm, tensor: torch.Tensor, op: Any) -> Transfer:
    reduction = Reduction.of(op, tensor.dtype, group.size)
    buffer = reduction.buffer(tensor)
    message = reduced(buffer)
    return Transfer(
        lambda: group.Iallreduce(MPI.IN_PLACE, message, reduction.operation),
        reduction.finish(buffer, tensor),
        (buffer,),
    )


def reduce(group: MPI.Intracomm, tensor: torch.Tensor, op: Any, root: int) -> Transfer:
    reduction = Reduction.of(op, tensor.dtype, group.size)
    buffer = reduction.buffer(tensor)
    message = reduced(buffer)
    if group.rank != root:
        return Transfer(lambda: group.Ireduce(message, None, reduction.operation, root), None, (buffer,))
    finish = reduction.finish(buffer, tensor)
    return Transfer(lambda: group.Ireduce(MPI.IN_PLACE, message, reduction.operation, root), finish, (buffer,))


def broadcast(group: MPI.Intracomm, tensor: torch.Tensor, root: int) -> Transfer:
    buffer, finish = (tensor.contiguous(), None) if group.rank == root else writable(tensor)
    message = moved(buffer)
    return Transfer(lambda: group.Ibcast(message, root), finish, (buffer,))


def all_gather(group: MPI.Intracomm, outputs: Tensors, own: torch.Tensor) -> Transfer:
    """A tensor from each rank, which may differ in size."""
    _expect(len(outputs) == group.size, "all_gather", f"{len(outputs)} outputs for {group.size} ranks")
    expected = outputs[group.rank]
    _expect(
        own.numel() == expected.numel() and all(each.dtype == own.dtype for each in outputs),
        "all_gather",
        f"{own.numel()} elements of {own.dtype} into {expected.numel()} of {expected.dtype}",
    )
    sent, (whole, finish) = own.contiguous(), _one_buffer(outputs, own.dtype)
    messages = moved(sent), moved(whole, _sizes(outputs))
    return Transfer(lambda: group.Iallgatherv(*messages), finish, (sent, whole))


def all_gather_single(group: MPI.Intracomm, output: torch.Tensor, own: torch.Tensor) -> Transfer:
    """The equal parts of all ranks, one after the other."""
    _expect(
        output.numel() == own.numel() * group.size and output.dtype == own.dtype,
        "all_gather",
        f"{own.numel()} elements of {own.dtype} from each of {group.size} ranks into {output.numel()} of {output.dtype}",
    )
    sent = own.contiguous()
    if output.is_contiguous() and sent.data_ptr() == output.data_ptr() + group.rank * sent.nbytes:
        message = evenly(moved(output), group.size)  # FSDP's input is a slice of its output
        return Transfer(lambda: group.Iallgather(MPI.IN_PLACE, message), None, (output,))
    whole, finish = writable(output, sent)
    messages = moved(sent), evenly(moved(whole), group.size)
    return Transfer(lambda: group.Iallgather(*messages), finish, (sent, whole))


def reduce_scatter(group: MPI.Intracomm, output: torch.Tensor, inputs: Tensors, op: Any) -> Transfer:
    """The reduced tensor that is this rank's; those of the ranks may differ in size."""
    _expect(len(inputs) == group.size, "reduce_scatter", f"{len(inputs)} inputs for {group.size} ranks")
    own = inputs[group.rank]
    _expect(own.numel() == output.numel(), "reduce_scatter", f"{own.numel()} elements into {output.numel()}")
    reduction = Reduction.of(op, output.dtype, group.size)
    whole = torch.cat([each.detach().reshape(-1).to(reduction.dtype) for each in inputs])
    part = torch.empty(output.shape, dtype=reduction.dtype)
    messages, sizes = (reduced(whole), reduced(part)), _sizes(inputs)
    return Transfer(
        lambda: group.Ireduce_scatter(*messages, sizes, reduction.operation),
        reduction.finish(part, output),
        (whole, part),
    )


def reduce_scatter_single(group: MPI.Intracomm, output: torch.Tensor, whole: torch.Tensor, op: Any) -> Transfer:
    """This rank's part of the reduced whole, of which each rank has an equal one."""
    _expect(
        whole.numel() == output.numel() * group.size and whole.dtype == output.dtype,
        "reduce_scatter",
        f"{whole.numel()} elements of {whole.dtype} into {output.numel()} of {output.dtype} on each of {group.size} ranks",
    )
    reduction = Reduction.of(op, output.dtype, group.size)
    sent = reduction.buffer(whole)
    direct = output.dtype == reduction.dtype and output.is_contiguous() and not overlap(output, sent)
    part = output if direct else torch.empty(output.shape, dtype=reduction.dtype)
    messages = evenly(reduced(sent), group.size), reduced(part)
    return Transfer(
        lambda: group.Ireduce_scatter_block(*messages, reduction.operation),
        reduction.finish(part, output),
        (sent, part),
    )


def all_to_all(group: MPI.Intracomm, outputs: Tensors, inputs: Tensors) -> Transfer:
    """A tensor to each rank and one from each, which may differ in size."""
    for tensors in (outputs, inputs):
        _expect(len(tensors) == group.size, "all_to_all", f"{len(tensors)} tensors for {group.size} ranks")
    dtype = inputs[0].dtype
    _expect(all(each.dtype == dtype for each in (*inputs, *outputs)), "all_to_all", "tensors of several dtypes")
    sent = torch.cat([each.detach().reshape(-1) for each in inputs])
    whole, finish = _one_buffer(outputs, dtype)
    messages = moved(sent, _sizes(inputs)), moved(whole, _sizes(outputs))
    return Transfer(lambda: group.Ialltoallv(*messages), finish, (sent, whole))


def all_to_all_single(
    group: MPI.Intracomm,
    output: torch.Tensor,
    given: torch.Tensor,
    output_rows: Sequence[int],
    input_rows: Sequence[int],
) -> Transfer:
    """Rows of ``given`` to each rank, and rows of ``output`` from each; no numbers of rows mean equal ones."""
    incoming, outgoing = _split(output, output_rows, group.size), _split(given, input_rows, group.size)
    _expect(
        output.dtype == given.dtype and incoming[group.rank] == outgoing[group.rank],
        "all_to_all",
        f"{outgoing[group.rank]} own elements of {given.dtype} into {incoming[group.rank]} of {output.dtype}",
    )
    sent = given.contiguous()
    whole, finish = writable(output, sent)
    messages = moved(sent, outgoing), moved(whole, incoming)
    return Transfer(lambda: group.Ialltoallv(*messages), finish, (sent, whole))


def gather(group: MPI.Intracomm, outputs: Tensors, own: torch.Tensor, root: int) -> Transfer:
    """``outputs`` count on the root only."""
    sent = own.contiguous()
    if group.rank != root:
        message = moved(sent)
        return Transfer(lambda: group.Igatherv(message, None, root), None, (sent,))
    whole, finish = _one_buffer(outputs, own.dtype)
    messages = moved(sent), moved(whole, _sizes(outputs))
    return Transfer(lambda: group.Igatherv(*messages, root), finish, (sent, whole))


def scatter(group: MPI.Intracomm, output: torch.Tensor, inputs: Tensors, root: int) -> Transfer:
    """``inputs`` count on the root only."""
    part, finish = writable(output)
    message = moved(part)
    if group.rank != root:
        return Transfer(lambda: group.Iscatterv(None, message, root), finish, (part,))
    sent = torch.cat([each.detach().reshape(-1) for each in inputs])
    whole = moved(sent, _sizes(inputs))
    return Transfer(lambda: group.Iscatterv(whole, message, root), finish, (sent, part))


def send(group: MPI.Intracomm, tensor: torch.Tensor, destination: int, tag: int) -> Transfer:
    sent = tensor.contiguous()
    message = moved(sent)
    return Transfer(lambda: group.Isend(message, destination, tag), None, (sent,))


def receive(group: MPI.Intracomm, tensor: torch.Tensor, source: int, tag: int, status: MPI.Status) -> Transfer:
    """Fails if fewer elements come than ``tensor`` has; of more, MPI itself complains."""
    buffer, finish = writable(tensor)
    message = moved(buffer)

    def check_and_finish() -> None:
        count = status.Get_count(message[-1])
        _expect(count == buffer.numel(), "recv", f"{count} elements came for {buffer.numel()}")
        if finish is not None:
            finish()

    return Transfer(lambda: group.Irecv(message, source, tag), check_and_finish, (buffer,))


def _one_buffer(outputs: Tensors, dtype: torch.dtype) -> tuple[torch.Tensor, Callable[[], None]]:
    """One buffer for what comes for all ``outputs``, and what brings it to them."""
    sizes = _sizes(outputs)
    whole = torch.empty(sum(sizes), dtype=dtype)

    def finish() -> None:
        for part, output in zip(whole.split(sizes), outputs, strict=True):
            copy(part, output)

    return whole, finish


def _split(tensor: torch.Tensor, rows: Sequence[int], ranks: int) -> list[int]:
    """Elements for each rank of a tensor whose first dim is split into ``rows``, or evenly where there are none."""
    first = tensor.shape[0] if tensor.dim() else 1
    if not rows:
        _expect(first % ranks == 0, "all_to_all", f"{first} rows between {ranks} ranks without split sizes")
        return [tensor.numel() // ranks] * ranks
    _expect(
        len(rows) == ranks and sum(rows) == first,
        "all_to_all",
        f"split sizes {list(rows)} for {first} rows and {ranks} ranks",
    )
    row = tensor.numel() // first if first else 0
    return [each * row for each in rows]


def _sizes(tensors: Tensors) -> list[int]:
    return [each.numel() for each in tensors]


def _expect(right: bool, operation: str, problem: str) -> None:
    if not right:
        raise ValueError(f"MPI {operation}: {problem}")
