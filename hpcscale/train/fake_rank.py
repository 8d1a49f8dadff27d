"""One rank of a job without the others and without memory: its program on fake tensors, in a fake process group.

It is the trainer itself that runs, so what it would raise there it raises here. Fake tensors have shapes, types and
storages, but no bytes; collectives return at once. A GPU's tensors stand as CPU tensors: with this computer's torch a GPU
need not exist.
"""

from __future__ import annotations

import math
import resource
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.testing._internal.distributed.fake_pg import FakeStore

from hpcscale.spec.stages import layers_of_rank, stages_of_rank
from hpcscale.train import loss
from hpcscale.train.data_parallel import Whole
from hpcscale.train.memory_tracker import GRADIENTS, STATES, WEIGHTS, MemoryTracker
from hpcscale.train.mesh import Mesh, device_mesh
from hpcscale.train.point_file import Work
from hpcscale.train.trainer import Trainer
from hpcscale.train.weights import parameters_of

if TYPE_CHECKING:
    from hpcscale.train.pipeline import Pipeline

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Memory:
    """What one rank holds, in bytes, and how many parameters.

    ``parameters``: of its stages, its tensor-parallel part of them, padding included; ``own_parameters``: those of which it
    keeps masters and optimizer state (FSDP cuts them). ``building_peak_bytes`` is the most while weights are made and
    filled, ``step_peak_bytes`` the most in a step; ``peak_by_kind`` what the larger one consists of.
    """

    parameters: int
    own_parameters: int
    master_bytes: int
    compute_copy_bytes: int
    gradient_bytes: int
    optimizer_state_bytes: int
    building_peak_bytes: int
    step_peak_bytes: int
    peak_bytes: int
    peak_by_kind: dict[str, int]


def dry_run(work: Work, rank: int) -> dict[str, Any]:
    """What rank ``rank`` of the job would be and hold. Raises what the job would raise."""
    started = time.perf_counter()
    layout = work.layout
    dist.init_process_group("fake", store=FakeStore(), rank=rank, world_size=layout.ranks)
    try:
        mesh = device_mesh(layout, CPU)
        with _chunks_of(work.device_kind), _sends_that_keep():
            memory = measured(work, mesh, FakeTensorMode(allow_non_fake_inputs=True), alone=True)
    finally:
        dist.destroy_process_group()
    layers = layers_of_rank(work.model.layers, layout, mesh.pp.rank)
    return {
        "rank": rank,
        "place": {axis: getattr(mesh, axis).rank for axis in ("pp", "dp", "cp", "tp")},
        "stages": stages_of_rank(layout, mesh.pp.rank),
        "layers": [[each.start, each.stop - 1] for each in layers],
        **asdict(memory),
        "seconds": time.perf_counter() - started,
        "process_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,  # Linux counts in KiB
    }


def measured(work: Work, mesh: Mesh, fake: AbstractContextManager[Any] | None = None, alone: bool = False) -> Memory:
    """Makes this rank's trainer and runs a step under a tracker, within ``fake`` if it is given.

    ``alone``: no other rank is there. Otherwise every rank of a real job calls it, which is how it is checked.
    """
    tracker = MemoryTracker()

    @contextmanager
    def tracked() -> Iterator[None]:
        with fake or nullcontext(), tracker:
            yield

    trainer = Trainer(work, mesh, CPU, tracked())
    if alone and trainer.pipeline is not None:
        _do_not_ask_around(trainer.pipeline)
    sizes = _sizes(trainer)
    gradient_bytes = _mark(trainer, tracker)
    building, building_by_kind = tracker.peak_bytes, tracker.peak_by_kind
    tracker.start_anew()
    with tracked():
        trainer.step(1)
    step, step_by_kind = tracker.peak_bytes, tracker.peak_by_kind
    return Memory(
        **sizes,
        gradient_bytes=sum(gradient_bytes),
        building_peak_bytes=building,
        step_peak_bytes=step,
        peak_bytes=max(building, step),
        peak_by_kind=step_by_kind if step >= building else building_by_kind,
    )


def _sizes(trainer: Trainer) -> dict[str, int]:
    """What stays from step to step."""
    masters, states = trainer.replica.masters(), (trainer.optimizer.averages, trainer.optimizer.squares)
    copies = isinstance(trainer.replica, Whole) and trainer.precision.mixed
    return {
        "parameters": sum(math.prod(weight.shape) for weight in trainer.weights),
        "own_parameters": sum(each.numel() for each in masters),
        "master_bytes": _bytes(masters),
        "compute_copy_bytes": _bytes(parameters_of(trainer.stages)) if copies else 0,
        "optimizer_state_bytes": sum(_bytes(each) for each in states),
    }


def _mark(trainer: Trainer, tracker: MemoryTracker) -> list[int]:
    """Tells the tracker what is what. In the list are the bytes of the gradients that AdamW has taken, once it has.

    Gradients are what autograd gives to a parameter, where they gather, and what AdamW takes.
    """
    taken: list[int] = []
    tracker.mark([*trainer.replica.masters(), *parameters_of(trainer.stages)], WEIGHTS)
    tracker.mark([*trainer.optimizer.averages, *trainer.optimizer.squares], STATES)
    if isinstance(trainer.replica, Whole):
        tracker.mark(trainer.replica.main.values(), GRADIENTS)
        for parameter in trainer.replica.parameters:
            parameter.register_hook(lambda gradient: tracker.mark([gradient], GRADIENTS))
    step = trainer.optimizer.step

    def seen(masters: list[torch.Tensor], gradients: list[torch.Tensor | None], rate: float) -> None:
        present = [each for each in gradients if each is not None]
        tracker.mark(masters, WEIGHTS)  # FSDP pads shards of odd length in the first step: these are others by now
        tracker.mark(present, GRADIENTS)
        taken.append(_bytes(present))
        step(masters, gradients, rate)

    trainer.optimizer.step = seen
    return taken


def _do_not_ask_around(pipeline: Pipeline) -> None:
    """torch's stages ask each other whether all know their shapes; ours do, and nobody is there to answer."""

    def known(stages: list[Any], *_: object) -> None:
        from torch.distributed.pipelining._utils import InferenceMode

        for stage in stages:
            stage._inference_mode = InferenceMode.STATIC

    pipeline.schedule._warmup_p2p = known


class _Sent:
    """A message on its way. It keeps its tensor until it is forgotten, as gloo's does; a fake one would keep nothing.

    It matters where nobody waits: torch's interleaved schedules wait for what they have sent at the end of the step.
    """

    def __init__(self, tensor: torch.Tensor, work: dist.Work | None):
        self.tensor, self.work = tensor, work

    def wait(self) -> bool:
        return self.work is None or self.work.wait()


@contextmanager
def _sends_that_keep() -> Iterator[None]:
    own = dist.isend

    def isend(tensor: torch.Tensor, *arguments: Any, **others: Any) -> _Sent:
        return _Sent(tensor, own(tensor, *arguments, **others))

    places = (dist, dist.distributed_c10d)  # the second is where torch asks which functions may send
    for place in places:
        place.isend = isend  # pyright: ignore[reportAttributeAccessIssue]
    try:
        yield
    finally:
        for place in places:
            place.isend = own  # pyright: ignore[reportAttributeAccessIssue]


@contextmanager
def _chunks_of(device_kind: str) -> Iterator[None]:
    """The loss cuts its logits into chunks, a GPU's larger than a CPU's: those of the device that the point is for."""
    own = loss.CHUNK_LOGITS["cpu"]
    loss.CHUNK_LOGITS["cpu"] = loss.CHUNK_LOGITS["cuda" if device_kind == "gpu" else "cpu"]
    try:
        yield
    finally:
        loss.CHUNK_LOGITS["cpu"] = own


def _bytes(tensors: Any) -> int:
    return sum(each.numel() * each.element_size() for each in tensors)
