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


class Data(Strict):
    """Where tokens come from: ``synthetic`` (learnable, seeded, the same in every layout) or Megatron's ``.bin/.idx``."""

    kind: Literal["synthetic", "megatron"] = "synthetic"
    path: str | None = None


class Protocol(Strict):
    """What is measured. Warm-up steps run and are recorded, but no figure uses them."""

    warmup_steps: Count = 2
    measured_steps: Positive = 5
    repeats: Positive = 1

    @property
    def steps(self) -> int:
        return self.warmup_steps + self.measured_steps
