"""What two ranks send, counted and traced. Run as a program, once per rank: ``observed_ranks.py RESULT``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed import _functional_collectives as functional
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.pipelining import PipelineStage, Schedule1F1B
from torch.distributed.tensor import DTensor, Shard

from hpcscale.train import trace, traffic

WIDTH, MICRO_BATCHES = 8, 4
SENT = 1_000_000  # numbers


def plain(axes: dict[str, str], group: dist.ProcessGroup) -> traffic.Counts:
    tensor = torch.ones(4)
    both = [torch.empty(4), torch.empty(4)]
    with traffic.counting(axes) as counted:
        dist.all_reduce(tensor, group=group)
        work = dist.all_reduce(tensor, async_op=True)
        assert work is not None
        work.wait()
        dist.all_gather(both, tensor)
        dist.broadcast(tensor, 0)
        dist.barrier()
        functional.wait_tensor(functional.all_reduce(tensor, "sum", group))
    return counted.counts


def sharded_training(axes: dict[str, str], mesh: Any) -> traffic.Counts:
    """One layer under FSDP2: gathered forwards and backwards, its gradient scattered in the backward pass."""
    model = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH))
    for layer in model:
        fully_shard(layer, mesh=mesh["dp"])
    fully_shard(model, mesh=mesh["dp"])
    with traffic.counting(axes) as counted:
        model(torch.ones(3, WIDTH)).sum().backward()
    return counted.counts


def distributed_tensor(axes: dict[str, str], mesh: Any) -> traffic.Counts:
    tensor = DTensor.from_local(torch.ones(4), mesh["dp"], [Shard(0)])
    with traffic.counting(axes) as counted:
        tensor.sum().sqrt()  # a root needs the whole sum: DTensor's own dispatch reduces it
    return counted.counts


def pipeline(axes: dict[str, str], group: dist.ProcessGroup) -> traffic.Counts:
    """1F1B over two stages: activations one way, gradients the other, one a micro batch."""
    rank = dist.get_rank()
    stage = PipelineStage(nn.Linear(WIDTH, WIDTH), rank, 2, torch.device("cpu"), group=group)
    schedule = Schedule1F1B(stage, MICRO_BATCHES, loss_fn=lambda out, target: (out - target).square().mean())
    batch = torch.ones(MICRO_BATCHES * 3, WIDTH)

    def step() -> None:
        if rank == 0:
            schedule.step(batch)
        else:
            schedule.step(target=batch)

    step()  # the first one also exchanges shapes
    with traffic.counting(axes) as counted:
        step()
    return counted.counts


def compiled(axes: dict[str, str], group: dist.ProcessGroup) -> tuple[traffic.Counts, int]:
    """(counts, how often the function was compiled while counting): counting must not put compiling off."""
    times = 0

    def backend(graph: torch.fx.GraphModule, _inputs: Any) -> Any:
        nonlocal times
        times += 1
        return graph

    function = torch.compile(
        lambda x: functional.wait_tensor(functional.all_reduce(x * 2, "sum", group)), backend=backend
    )
    with traffic.counting(axes) as counted:
        function(torch.ones(4))
    return counted.counts, times


def overlapping_send(folder: Path) -> dict[str, Any]:
    """A send with products beside it, then one that is waited for at once."""
    rank = dist.get_rank()
    path = folder / f"trace-rank{rank}.json.gz"
    tensor, matrix = torch.ones(SENT), torch.ones(400, 400)
    store = dist.distributed_c10d._get_default_store()
    with trace.recording(path, rank, torch.device("cpu")):
        if rank == 0:
            work = dist.isend(tensor, 1)
            for _ in range(10):
                _ = matrix @ matrix
            store.set("computed", "yes")
        else:
            store.wait(["computed"])  # the send cannot end before its receiver is there
            work = dist.irecv(tensor, 0)
        assert work is not None
        work.wait()
        for operation in dist.batch_isend_irecv(
            [dist.P2POp(dist.isend if rank == 0 else dist.irecv, tensor, 1 - rank)]
        ):
            operation.wait()
        dist.all_reduce(tensor)
    # Afterwards the group is as it was: this is in no trace.
    if rank == 0:
        dist.send(tensor, 1)
    else:
        dist.recv(tensor, 0)
    events = trace.read(path)
    return {
        "operations": sorted(event["name"] for event in events if event.get("cat") == trace.CATEGORY),
        "bytes": [event["args"].get("bytes") for event in events if event.get("name") == "send"],
        "rows": [event["args"]["name"] for event in events if event["name"] in ("process_name", "thread_name")],
        "send_seconds": trace.send_seconds(events),
        "overlap_seconds": trace.overlap_seconds(events),
    }


def main(result: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    mesh = init_device_mesh("cpu", (2, 1), mesh_dim_names=("dp", "tp"))
    group = dist.new_group([0, 1])
    axes = {mesh.get_group("dp").group_name: "dp", group.group_name: "pp"}
    own = {
        "plain": plain(axes, group),
        "unnamed": plain({}, group),
        "fsdp": sharded_training(axes, mesh),
        "dtensor": distributed_tensor(axes, mesh),
        "pipeline": pipeline(axes, group),
        "compiled": compiled(axes, group),
        "trace": overlapping_send(result.parent),
    }
    every: list[Any] = [None, None]
    dist.all_gather_object(every, own)
    if dist.get_rank() == 0:
        result.write_text(json.dumps(every))
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
