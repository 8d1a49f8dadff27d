"""Number formats: what the weights are kept in, and what the matrix products are done in."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Precision:
    """``master``: weights and optimizer state, and what gradients are summed in. ``compute``: all of a pass but the loss.

    ``scaled``: the loss is scaled, so that small gradients do not vanish (loss_scale.py).
    """

    master: torch.dtype
    compute: torch.dtype
    tf32: bool = False
    scaled: bool = False

    @property
    def mixed(self) -> bool:
        return self.compute != self.master


PRECISIONS = {
    "fp64": Precision(torch.float64, torch.float64),
    "fp32": Precision(torch.float32, torch.float32),
    "tf32": Precision(torch.float32, torch.float32, tf32=True),
    "bf16": Precision(torch.float32, torch.bfloat16),
    "fp16": Precision(torch.float32, torch.float16, scaled=True),
}


def use_matmul_precision(precision: Precision) -> None:
    """float32 products on GPUs: TF32 only where it is asked for (it keeps 10 of 23 bits)."""
    torch.set_float32_matmul_precision("high" if precision.tf32 else "highest")
