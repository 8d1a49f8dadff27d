"""What this version cannot train, as sentences. Asked before any process group exists: a refusal costs a second."""

from __future__ import annotations

from collections.abc import Iterator

from hpcscale.spec import rules
from hpcscale.spec.layout import Data, Layout, Training
from hpcscale.spec.model import Model
from hpcscale.spec.stages import SPLIT_BACKWARD
from hpcscale.train.point_file import Work

PRECISION = ("fp32", "tf32", "bf16", "fp16", "fp64")


def refusals(work: Work, cuda: bool) -> list[str]:
    """Why this point cannot be trained here; empty if it can. ``cuda``: whether this rank trains on a GPU."""
    broken = list(rules.layout_violations(work.model, work.layout, work.training))
    parts = not_built(work.model, work.layout, work.training, work.data, work.communication, cuda)
    # numpy; not_built is asked by commands that do without
    from hpcscale.train import corpus
    from hpcscale.train.huggingface import start

    tokens = corpus.refusals(work.data, work.training, work.model.vocab)
    weights = start.refusals(work.model, work.training)
    return [*parts, *_device(work, cuda), *broken, *tokens, *weights]


def not_built(
    model: Model, layout: Layout, training: Training, data: Data, communication: str, cuda: bool
) -> list[str]:
    """What of a point this version cannot train on any machine with (or without) GPUs; needs no torch."""
    return [*_model(model, layout), *_training(model, layout, training, cuda), *_communication(communication, cuda)]


def _model(model: Model, layout: Layout) -> Iterator[str]:
    if model.pooler:
        yield f"model.pooler is true for {model.name}: no loss of this version uses a pooler; set it to false"
    if model.positions == "rope" and model.head_size % 2:
        yield f"rotary positions turn pairs, but the head size {model.head_size} of {model.name} is odd"
    if model.head == "mlm" and model.causal:
        yield f"model.head is mlm for {model.name}, but a causal model cannot see what follows a mask; set causal: false"
    if model.head == "lm" and not model.causal:
        yield f"{model.name} is not causal and has the head lm: it would see what it is to predict; set head: mlm"
    if model.positions == "alibi" and layout.cp > 1:
        yield f"cp {layout.cp}: ring attention has no biases, but {model.name} has ALiBi; use cp 1, or tp and pp"


def _training(model: Model, layout: Layout, training: Training, cuda: bool) -> Iterator[str]:
    if training.precision not in PRECISION:
        yield f"precision {training.precision} cannot be trained yet; valid: {', '.join(PRECISION)}"
    elif training.precision == "tf32" and not cuda:
        yield "precision tf32 exists on NVIDIA GPUs only, and this rank sees none; use fp32"
    if training.micro_batch_size == "auto" and layout.pp > 1:
        yield (
            f"micro_batch_size auto fills the memory, but with pp {layout.pp} it also sets how long stages wait for each other; "
            "give a number of sequences"
        )
    if training.compile is True and layout.pp > 1 and layout.schedule in SPLIT_BACKWARD:
        yield f"compile true: the schedule {layout.schedule} goes back in two parts, which compiled blocks cannot; use auto"
    if cuda and layout.cp > 1 and training.precision not in ("bf16", "fp16"):
        yield f"cp {layout.cp} on GPUs needs a flash kernel, which has bf16 and fp16, not {training.precision}"
    if cuda and layout.cp > 1 and model.head_size % 8:
        yield f"cp {layout.cp} on GPUs needs a flash kernel, and the head size {model.head_size} is no multiple of 8"


def _device(work: Work, cuda: bool) -> Iterator[str]:
    if work.device_kind == "gpu" and not cuda:
        name = work.document["device"].get("name", "a GPU")
        yield f"the point is for {name}, but this rank sees no GPU: a run on the CPU would be taken for the GPU's"


def _communication(communication: str, cuda: bool) -> Iterator[str]:
    if communication == "nccl" and not cuda:
        yield "communication nccl needs an NVIDIA GPU, and this rank sees none; use gloo or auto"
    if communication == "mpi" and cuda:
        yield "communication mpi carries tensors in host memory, but this rank trains on a GPU; use nccl or auto"
