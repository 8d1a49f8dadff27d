"""What is built on the collectives: FSDP2, DTensor, pipelines and checkpoints, against one process in float64."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.pipelining import PipelineStage, Schedule1F1B, ScheduleInterleaved1F1B
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

from .values import close, rank, size


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up = torch.nn.Linear(8, 12)
        self.down = torch.nn.Linear(12, 8)

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return batch + self.down(torch.nn.functional.gelu(self.up(batch)))


def nets(count: int) -> torch.nn.Sequential:
    torch.manual_seed(3)
    return torch.nn.Sequential(*(Net() for _ in range(count))).double()


def batch(count: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(4)
    return torch.randn(count, 8, dtype=torch.float64), torch.randn(count, 8, dtype=torch.float64)


def loss_of(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return (output - target).square().mean()


def trained(model: torch.nn.Module, share: slice | None = None, steps: int = 3) -> torch.optim.AdamW:
    """Trains in place, on ``share`` of each batch."""
    inputs, targets = batch()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05)
    for _ in range(steps):
        loss_of(model(inputs[share] if share else inputs), targets[share] if share else targets).backward()
        optimizer.step()
        optimizer.zero_grad()
    return optimizer


def share() -> slice:
    width = 8 // size()
    return slice(rank() * width, (rank() + 1) * width)


def whole(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def reference(count: int = 2) -> dict[str, torch.Tensor]:
    model = nets(count)
    trained(model)
    return model.state_dict()


def fsdp_trains_like_one_process() -> None:
    shapes = {"fsdp": (size(),), "hsdp": (size() // 2, 2)}
    for name, shape in shapes.items():
        mesh = init_device_mesh("cpu", shape, mesh_dim_names=("replicate", "shard")[-len(shape) :])
        model = nets(2)
        for layer in model:
            fully_shard(layer, mesh=mesh)
        fully_shard(model, mesh=mesh)
        trained(model, share())
        for key, expected in reference().items():
            close(whole(model.state_dict()[key]), expected, (name, key))
    # bf16 forward and reduction: other code paths, close to the float64 run
    model = nets(2).float()
    policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.bfloat16, output_dtype=torch.float64)
    for layer in model:
        fully_shard(layer, mp_policy=policy)
    fully_shard(model, mp_policy=policy)
    inputs, targets = batch()
    loss_of(model(inputs[share()].bfloat16()), targets[share()]).backward()
    plain = nets(2)
    loss_of(plain(inputs), targets).backward()
    for (key, parameter), expected in zip(model.named_parameters(), plain.parameters(), strict=True):
        assert parameter.grad is not None and expected.grad is not None
        error = (whole(parameter.grad).double() - expected.grad).norm() / expected.grad.norm()
        assert 0 < error < 0.05, (key, error)


def tensor_parallel_trains_like_one_process() -> None:
    mesh = (
        init_device_mesh("cpu", (2,))
        if size() == 2
        else init_device_mesh("cpu", (2, 2), mesh_dim_names=("dp", "tp"))["tp"]
    )
    model = nets(2)
    for layer in model:
        parallelize_module(layer, mesh, {"up": ColwiseParallel(), "down": RowwiseParallel()})
    trained(model)
    for key, expected in reference().items():
        close(whole(model.state_dict()[key]), expected, key)
    given = torch.arange(24.0).reshape(4, 6)
    world = init_device_mesh("cpu", (size(),))
    spread = distribute_tensor(given, world, [Shard(0)])
    close(spread.redistribute(world, [Shard(1)]).redistribute(world, [Replicate()]).to_local(), given)


def pipelines_train_like_one_process() -> None:
    if size() != 2:
        return
    inputs, targets = batch()
    for schedule, chunks in ((Schedule1F1B, 1), (ScheduleInterleaved1F1B, 2)):
        mine = nets(2 * chunks)
        places = [rank() + 2 * chunk for chunk in range(chunks)]
        stages = [PipelineStage(mine[place], place, 2 * chunks, torch.device("cpu")) for place in places]
        optimizer = torch.optim.AdamW([weight for place in places for weight in mine[place].parameters()], lr=0.05)
        if chunks == 1:
            runner = schedule(stages[0], n_microbatches=4, loss_fn=loss_of)
        else:
            runner = schedule(stages, n_microbatches=4, loss_fn=loss_of)
        for _ in range(3):
            last = {"target": targets, "losses": []} if rank() == 1 else {}
            runner.step(*([inputs] if rank() == 0 else []), **last)
            optimizer.step()
            optimizer.zero_grad()
        for key, expected in reference(2 * chunks).items():
            if int(key.split(".")[0]) in places:
                close(mine.state_dict()[key], expected, (schedule.__name__, key))


def checkpoints_are_saved_and_loaded() -> None:
    told = [tempfile.mkdtemp() if rank() == 0 else ""]
    dist.broadcast_object_list(told, 0)
    folder = Path(told[0])
    model = nets(2)
    fully_shard(model)
    optimizer = trained(model, share())
    state, optimizer_state = get_state_dict(model, optimizer)
    dcp.save({"model": state, "optimizer": optimizer_state}, checkpoint_id=folder / "one")
    saved = dcp.async_save({"model": state}, checkpoint_id=folder / "two")
    getattr(saved, "upload_completion", saved).result()
    other = nets(2)
    for weight in other.parameters():
        torch.nn.init.zeros_(weight)
    fully_shard(other)
    other_optimizer = torch.optim.AdamW(other.parameters(), lr=0.05)
    state, optimizer_state = get_state_dict(other, other_optimizer)
    dcp.load({"model": state, "optimizer": optimizer_state}, checkpoint_id=folder / "one")
    set_state_dict(other, other_optimizer, model_state_dict=state, optim_state_dict=optimizer_state)
    for key, expected in reference().items():
        close(whole(other.state_dict()[key]), expected, key)
    single = {"model": nets(2).state_dict()}
    dcp.load(single, checkpoint_id=folder / "two")
    for key, expected in reference().items():
        close(single["model"][key], expected, key)
    dist.barrier()
    if rank() == 0:
        shutil.rmtree(folder)


CHECKS = (
    fsdp_trains_like_one_process, tensor_parallel_trains_like_one_process, pipelines_train_like_one_process,
    checkpoints_are_saved_and_loaded,
)  # fmt: skip
