"""Each step's numbers as TensorBoard scalars, where somebody asks for them."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

VARIABLE = "HPCSCALE_TENSORBOARD"
KEY = "tensorboard"  # in the point's document

# Key of a step's line -> tag, as TensorBoard groups them.
SCALARS = {
    "loss": "training/loss",
    "gradient_norm": "training/gradient_norm",
    "learning_rate": "training/learning_rate",
    "loss_scale": "training/loss_scale",
    "step_seconds": "speed/step_seconds",
    "peak_memory_bytes": "memory/peak_bytes",
    "energy_joules": "energy/joules",
}


class Board:
    """Writes into the attempt folder. Rank 0 makes one."""

    def __init__(self, folder: Path):
        # The package takes seconds to import, and most runs have no use for it.
        from torch.utils.tensorboard.writer import SummaryWriter

        self._writer = SummaryWriter(str(folder))

    def step(self, step: int, line: Mapping[str, Any]) -> None:
        """One step's scalars, on disk at once: whoever watches sees them, and a killed run keeps them."""
        for key, tag in SCALARS.items():
            if key in line:
                self._writer.add_scalar(tag, line[key], step)
        self._writer.add_scalar("speed/tokens_per_second", line["tokens"] / line["step_seconds"], step)
        self._writer.flush()


def wanted(document: Mapping[str, Any], environment: Mapping[str, str] = os.environ) -> bool:
    """The variable decides (``1`` or ``0``) where it is set, else the point's document."""
    said = environment.get(VARIABLE)
    return said == "1" if said else bool(document.get(KEY))


def refusal(document: Mapping[str, Any], environment: Mapping[str, str] = os.environ) -> str | None:
    """Why TensorBoard's files cannot be written although they are wanted; asked before training."""
    if not wanted(document, environment) or importlib.util.find_spec("tensorboard") is not None:
        return None
    return (
        f"TensorBoard's files are asked for, but the package tensorboard is not installed for this Python; install it "
        f"(pip install 'hpcscale[tensorboard]') or set {VARIABLE}=0"
    )
