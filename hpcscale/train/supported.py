"""What this version cannot train, as sentences. Asked before any process group exists: a refusal costs a second."""

from __future__ import annotations

from collections.abc import Iterator

from hpcscale.spec import rules
from hpcscale.spec.layout import Data, Layout, Training
from hpcscale.spec.model import Model
from hpcscale.train.point_file import Work

FAMILIES = ("gpt", "mpt", "llama")
SHARDING = ("ddp", "fsdp")
PRECISION = ("fp32", "tf32", "bf16", "fp64")
COMMUNICATION = ("auto", "nccl", "gloo")


def refusals(work: Work, cuda: bool) -> list[str]:
    """Why this point cannot be trained here; empty if it can. ``cuda``: whether this rank trains on a GPU."""
    broken = list(rules.layout_violations(work.model, work.layout, work.training))
    parts = not_built(work.model, work.layout, work.training, work.data, work.communication, cuda)
    return [*parts, *_device(work, cuda), *broken]


def not_built(
    model: Model, layout: Layout, training: Training, data: Data, communication: str, cuda: bool
) -> list[str]:
    """What of a point this version cannot train on any machine with (or without) GPUs; needs no torch."""
    return [
        *_model(model),
        *_layout(layout),
        *_training(training, cuda),
        *_communication(communication, cuda),
        *_data(data.kind),
    ]


def _model(model: Model) -> Iterator[str]:
    if model.family not in FAMILIES:
        yield f"models of the family {model.family} cannot be trained yet; valid: {', '.join(FAMILIES)}"
        return
    variations = {
        "positions": (model.positions, ("learned", "rope")),
        "norm_placement": (model.norm_placement, ("pre",)),
        "causal": (model.causal, (True,)),
        "head": (model.head, ("lm",)),
        "pooler": (model.pooler, (False,)),
        "token_types": (model.token_types, (0,)),
    }
    for key, (value, valid) in variations.items():
        if value not in valid:
            choices = ", ".join(str(each) for each in valid)
            yield f"model.{key} is {value} for {model.name}, which cannot be trained yet; valid: {choices}"
    if model.positions == "rope" and model.head_size % 2:
        yield f"rotary positions turn pairs, but the head size {model.head_size} of {model.name} is odd"


def _layout(layout: Layout) -> Iterator[str]:
    for axis, technique in (("tp", "tensor"), ("pp", "pipeline"), ("cp", "context")):
        size = getattr(layout, axis)
        if size > 1:
            yield f"{axis} {size}: {technique} parallelism cannot be trained yet; use {axis} 1"
    if layout.sharding not in SHARDING:
        yield f"sharding {layout.sharding} cannot be trained yet; valid: {', '.join(SHARDING)}"


def _training(training: Training, cuda: bool) -> Iterator[str]:
    if training.precision not in PRECISION:
        yield f"precision {training.precision} cannot be trained yet; valid: {', '.join(PRECISION)}"
    elif training.precision == "tf32" and not cuda:
        yield "precision tf32 exists on NVIDIA GPUs only, and this rank sees none; use fp32"
    checkpointing = training.activation_checkpointing
    if checkpointing in ("selective-op", "core-attention"):
        yield f"activation_checkpointing {checkpointing} cannot be trained yet; valid: none, full, selective-layer:k"
    if training.micro_batch_size == "auto":
        yield "micro_batch_size auto cannot be trained yet; give a number of sequences"
    if training.compile is True:
        yield "compile true cannot be trained yet; use false or auto"


def _device(work: Work, cuda: bool) -> Iterator[str]:
    if work.device_kind == "gpu" and not cuda:
        name = work.document["device"].get("name", "a GPU")
        yield f"the point is for {name}, but this rank sees no GPU: a run on the CPU would be taken for the GPU's"


def _communication(communication: str, cuda: bool) -> Iterator[str]:
    if communication not in COMMUNICATION:
        valid = ", ".join(COMMUNICATION)
        yield f"communication {communication} is not built yet; valid: {valid}"
    elif communication == "nccl" and not cuda:
        yield "communication nccl needs an NVIDIA GPU, and this rank sees none; use gloo or auto"


def _data(kind: str) -> Iterator[str]:
    if kind != "synthetic":
        yield f"data of the kind {kind} cannot be trained yet; valid: synthetic"
