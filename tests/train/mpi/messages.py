"""From rank to rank, in whatever order; pending work, its time-out, its trace."""

from __future__ import annotations

import datetime

import torch
import torch.distributed as dist

from hpcscale.train import mpi
from hpcscale.train.failures import classify

from .values import DTYPES, fails, held, rank, same, size


def messages() -> None:
    to, source = (rank() + 1) % size(), (rank() - 1) % size()
    for dtype in DTYPES:
        received = {tag: torch.empty(5, dtype=dtype) for tag in (7, 3)}
        # Posted in the other order than sent: the tag decides.
        receives = [dist.irecv(tensor, source, tag=tag) for tag, tensor in received.items()]
        sends = [
            dist.isend(torch.tensor(held(rank() + tag, dtype), dtype=dtype), to, tag=tag) for tag in sorted(received)
        ]
        for work in (*receives, *sends):
            assert work is not None
            work.wait()
        for tag, tensor in received.items():
            same(tensor, held(source + tag, dtype), (dtype, tag))
    large = torch.full((300_000,), float(rank()))
    incoming = torch.empty(600_000)[::2]  # not contiguous, and larger than what MPI sends at once
    works = dist.batch_isend_irecv([dist.P2POp(dist.isend, large, to), dist.P2POp(dist.irecv, incoming, source)])
    for work in works:
        work.wait()
    assert bool((incoming == source).all())
    if rank() == 0:
        seen = set()
        for _ in range(size() - 1):
            tensor = torch.empty(2)
            sender = dist.recv(tensor)
            same(tensor, [float(sender)] * 2)
            seen.add(sender)
        assert seen == set(range(1, size()))
    else:
        dist.send(torch.full((2,), float(rank())), 0)
    nothing = torch.empty(0)
    if rank() == 0:
        dist.send(nothing, 1)
    elif rank() == 1:
        dist.recv(nothing, 0)


def wrong_sizes_are_refused() -> None:
    dist.barrier()
    if rank() == 0:
        dist.send(torch.ones(3), 1, tag=1)
        dist.send(torch.ones(3), 1, tag=2)
    elif rank() == 1:
        fails(lambda: dist.recv(torch.empty(5), 0, tag=1), "3 elements came for 5")
        fails(lambda: dist.recv(torch.empty(2), 0, tag=2), "MPI recv over ranks 0, 1")
    fails(
        lambda: dist.all_gather_into_tensor(torch.empty(7), torch.empty(3)), "3 elements of torch.float32 from each of"
    )
    fails(lambda: dist.reduce_scatter_tensor(torch.empty(3), torch.empty(7)), "7 elements of torch.float32 into 3")
    fails(lambda: dist.all_reduce(torch.empty(2, device="meta")), "moves dense CPU tensors")
    fails(lambda: dist.send(torch.ones(1), (rank() + 1) % size(), tag=2**31), "tag")
    dist.barrier()


def works_may_be_waited_for_in_any_order() -> None:
    tensors = [torch.full((1000,), float(rank() + place), dtype=torch.float64) for place in range(8)]
    works = [dist.all_reduce(tensor, async_op=True) for tensor in tensors]
    for place in reversed(range(8)):
        work = works[place]
        assert work is not None
        work.wait()
        assert work.is_completed()
        same(tensors[place], [float(sum(range(size())) + place * size())] * 1000)


def a_future_is_settled_without_waiting() -> None:
    tensor = torch.ones(3, dtype=torch.bfloat16)
    work = dist.all_reduce(tensor, async_op=True)
    assert work is not None
    doubled = work.get_future().then(lambda future: future.value()[0] * 2)
    same(doubled.wait(), [2.0 * size()] * 3)
    same(work.get_future().wait()[0], [float(size())] * 3)


def a_work_is_pending_until_its_peer_comes() -> None:
    dist.barrier()
    tensor = torch.empty(1)
    if rank() == 1:
        work = dist.irecv(tensor, 0)
        assert work is not None and not work.is_completed()
        dist.send(torch.ones(1), 0, tag=5)
        work.wait()
        assert work.is_completed()
    elif rank() == 0:
        dist.recv(tensor, 1, tag=5)
        dist.send(tensor, 1)
    dist.barrier()


def a_wait_ends_after_its_time_out() -> None:
    dist.barrier()
    tensor = torch.empty(1)
    if rank() == 1:
        work = dist.irecv(tensor, 0)
        assert work is not None
        error = fails(lambda: work.wait(datetime.timedelta(seconds=0.2)), "timed out after 0.2 s")
        assert classify(error) == "node"
        dist.barrier()
        work.wait()
        same(tensor, [1.0])
    else:
        dist.barrier()
        if rank() == 0:
            dist.send(torch.ones(1), 1)


def calls_and_bytes_are_counted() -> None:
    dist.barrier()
    mpi.reset_traffic()
    dist.all_reduce(torch.ones(10))
    dist.all_reduce(torch.ones(10, dtype=torch.bfloat16))
    dist.all_gather_into_tensor(torch.empty(6 * size()), torch.empty(6))
    dist.reduce_scatter_tensor(torch.empty(6), torch.empty(6 * size()))
    assert mpi.traffic() == {
        "all_reduce": (2, 60), "all_gather": (1, 24 * size()), "reduce_scatter": (1, 24 * size()),
    }, mpi.traffic()  # fmt: skip


def events_are_recorded_while_asked_for() -> None:
    mpi.record_events(True)
    dist.all_reduce(torch.ones(10))
    dist.broadcast(torch.ones(3, dtype=torch.int64), 0)
    mpi.record_events(False)
    dist.barrier()
    first, second = mpi.events()
    assert (first.operation, first.bytes, second.operation, second.bytes) == ("all_reduce", 40, "broadcast", 24)
    assert first.start < first.end <= second.start < second.end


def a_transfer_goes_on_while_python_computes() -> None:
    # More than MPI would buffer: without progress in the background neither side's transfer can end before it waits.
    to, source = (rank() + 1) % size(), (rank() - 1) % size()
    received = torch.empty(1_000_000)
    dist.barrier()
    mpi.record_events(True)
    works = [dist.irecv(received, source), dist.isend(torch.full((1_000_000,), float(rank())), to)]
    busy = torch.eye(64, dtype=torch.float64)
    for _ in range(100_000):
        busy = busy @ busy
        if len(mpi.events()) == 2:
            break
    mpi.record_events(False)
    arrived = {event.operation for event in mpi.events()}
    for work in works:
        assert work is not None
        work.wait()
    assert arrived == {"send", "recv"}, arrived
    assert bool((received == source).all())


CHECKS = (
    messages, wrong_sizes_are_refused, works_may_be_waited_for_in_any_order, a_future_is_settled_without_waiting,
    a_work_is_pending_until_its_peer_comes, a_wait_ends_after_its_time_out, calls_and_bytes_are_counted,
    events_are_recorded_while_asked_for, a_transfer_goes_on_while_python_computes,
)  # fmt: skip
