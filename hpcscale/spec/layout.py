"""What a point trains and how it is spread: layout, training, data and protocol."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from hpcscale.spec.machine import Communication
from hpcscale.spec.model import Count, Positive
from hpcscale.spec.typed import Strict

Sharding = Literal["ddp", "zero1", "fsdp", "hsdp"]
Schedule = Literal["1f1b", "gpipe", "interleaved-1f1b", "interleaved-zero-bubble", "zbv"]

_SELECTIVE_LAYER = re.compile(r"selective-layer:[1-9][0-9]*\Z")
_SPLIT = re.compile(r"[0-9]+(\.[0-9]+)?( *, *[0-9]+(\.[0-9]+)?){0,2}\Z")
ACTIVATION_CHECKPOINTING = ("none", "full", "selective-op", "selective-layer:k", "core-attention")


def _activation_checkpointing(value: str) -> str:
    if value in ACTIVATION_CHECKPOINTING[:3] or value == "core-attention" or _SELECTIVE_LAYER.match(value):
        return value
    raise ValueError(f"'{value}' is none of " + ", ".join(ACTIVATION_CHECKPOINTING) + " (k a whole number)")


ActivationCheckpointing = Annotated[
    str, AfterValidator(_activation_checkpointing), Field(examples=["none", "full", "selective-layer:2"])
]


class Layout(Strict):
    """How ranks are spread: sizes of the mesh axes. Rank order is Megatron's: tp fastest, then cp, dp, pp slowest."""

    dp: Positive = 1
    tp: Positive = 1
    pp: Positive = 1
    cp: Positive = 1
    sharding: Sharding = "ddp"
    dp_replicate: Positive | None = None  # hsdp: replicas of the sharded group
    sequence_parallel: bool = False
    schedule: Schedule = "1f1b"
    virtual_stages: Positive = 1
    embedding_weight: Count = 0  # layers that the embedding counts for when layers are dealt to pipeline stages
    head_weight: Count = 0  # the same for the output layer and the loss

    @property
    def ranks(self) -> int:
        return self.dp * self.tp * self.pp * self.cp

    @property
    def model_parallel(self) -> int:
        return self.tp * self.pp * self.cp


class Optimizer(Strict):
    """AdamW and its schedule: linear warm-up, then constant or cosine decay to ``min_learning_rate``."""

    name: Literal["adamw"] = "adamw"
    learning_rate: float = Field(default=3e-4, gt=0)
    min_learning_rate: float = Field(default=0.0, ge=0)
    schedule: Literal["constant", "cosine"] = "constant"
    warmup_steps: Count = 0
    decay_steps: Positive | None = None
    betas: tuple[float, float] = (0.9, 0.95)
    eps: float = Field(default=1e-8, gt=0)
    weight_decay: float = Field(default=0.1, ge=0)
    gradient_clip: float | None = Field(default=1.0, gt=0)


class Checkpoint(Strict):
    """When training is saved. Without ``every_steps`` and ``at_end`` never; with either, also when the run is asked to stop."""

    every_steps: Positive | None = None
    at_end: bool = False  # after the last step too
    keep: Positive = 2  # the newest ones; older ones go when a newer one is complete
    asynchronous: bool = True  # written while training goes on, from a copy in host memory

    @property
    def enabled(self) -> bool:
        return self.every_steps is not None or self.at_end


class Training(Strict):
    """One step's work. Batch sizes in sequences, the sequence length in tokens."""

    sequence_length: Positive
    global_batch_size: Positive
    micro_batch_size: Positive | Literal["auto"] = 1
    activation_checkpointing: ActivationCheckpointing = "none"
    precision: Literal["fp32", "tf32", "bf16", "fp16", "fp8", "fp64"] = "bf16"
    optimizer: Optimizer = Optimizer()
    seed: Count = 1234
    communication: Communication = "auto"
    compile: bool | Literal["auto"] = "auto"
    checkpoint: Checkpoint = Checkpoint()
    weights: str | None = None  # a folder of Hugging Face weights to start from; empty: random ones


def _split(value: str) -> str:
    if _SPLIT.match(value) and float(value.split(",", maxsplit=1)[0]) > 0:
        return value
    raise ValueError(f"'{value}' is no split such as 969,30,1, whose first share is trained on and is not 0")


class Data(Strict):
    """Where tokens come from: ``synthetic`` (learnable, seeded, the same in every layout) or Megatron's ``.bin/.idx``."""

    kind: Literal["synthetic", "megatron"] = "synthetic"
    path: str | None = None  # PREFIX of PREFIX.bin and PREFIX.idx; hpcscale/train/corpus.py says where it is looked for
    split: Annotated[str, AfterValidator(_split)] | None = None  # Megatron's --split; empty: all is trained on


class Protocol(Strict):
    """What is measured. Warm-up steps run and are recorded, but no figure uses them."""

    warmup_steps: Count = 2
    measured_steps: Positive = 5
    repeats: Positive = 1

    @property
    def steps(self) -> int:
        return self.warmup_steps + self.measured_steps
