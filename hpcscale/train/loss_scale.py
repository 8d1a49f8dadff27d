"""Dynamic loss scaling for fp16 (Micikevicius et al., arXiv 1710.03740): halve on overflow, double after a good while."""

from __future__ import annotations

from dataclasses import dataclass

START = 2.0**16
GROW_EVERY = 2000  # good steps; torch.amp.GradScaler's default
SMALLEST = 1.0


@dataclass
class LossScale:
    """What the loss is multiplied by. All ranks see the same overflows (the global norm), so all have the same scale."""

    value: float = START
    good_steps: int = 0

    def update(self, overflowed: bool) -> None:
        """After a step."""
        if overflowed:
            self.value, self.good_steps = max(SMALLEST, self.value / 2), 0
            return
        self.good_steps += 1
        if self.good_steps == GROW_EVERY:
            self.value, self.good_steps = self.value * 2, 0
