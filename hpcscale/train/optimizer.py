"""AdamW and its learning-rate schedule."""

from __future__ import annotations

import math

import torch
from torch.optim.adamw import adamw

from hpcscale.spec.layout import Optimizer
from hpcscale.train.gradients import Gradients
from hpcscale.train.weights import Weight


class AdamW:
    """AdamW (Loshchilov and Hutter, arXiv 1711.05101) over this rank's parts of the weights, as plain tensors.

    torch's own function does the arithmetic; the state is ours, so that it can be written and read as pieces of the model
    whatever the layout. Norms and biases, all of one dim, do not decay (Megatron).
    """

    def __init__(self, settings: Optimizer, weights: list[Weight], masters: list[torch.Tensor]):
        self.settings = settings
        self.averages = [torch.zeros_like(each) for each in masters]
        self.squares = [torch.zeros_like(each) for each in masters]
        self.steps = 0  # made so far; a skipped one is none
        self._groups = [
            (decay, [i for i, weight in enumerate(weights) if weight.decays == bool(decay) and masters[i].numel()])
            for decay in (1, 0)
        ]

    @torch.no_grad()
    def step(self, masters: list[torch.Tensor], gradients: Gradients, rate: float) -> None:
        beta1, beta2 = self.settings.betas
        for decay, members in self._groups:
            used = [i for i in members if gradients[i] is not None]
            if not used:
                continue
            device = masters[used[0]].device
            adamw(
                [masters[i] for i in used],
                [gradient for i in used if (gradient := gradients[i]) is not None],
                [self.averages[i] for i in used],
                [self.squares[i] for i in used],
                [],
                # the function counts them up itself, each on its own
                [torch.full((), float(self.steps), dtype=torch.float32, device=device) for _ in used],
                fused=True,
                amsgrad=False,
                beta1=beta1,
                beta2=beta2,
                lr=rate,
                weight_decay=self.settings.weight_decay * decay,
                eps=self.settings.eps,
                maximize=False,
            )
        self.steps += 1


def learning_rate(settings: Optimizer, step: int) -> float:
    """The rate of ``step`` (from 1): linear warm-up, then constant, or half a cosine down to ``min_learning_rate``."""
    peak, least = settings.learning_rate, settings.min_learning_rate
    if step <= settings.warmup_steps:
        return peak * step / settings.warmup_steps
    if settings.schedule == "constant" or settings.decay_steps is None:
        return peak
    span = max(1, settings.decay_steps - settings.warmup_steps)
    progress = min(1.0, (step - settings.warmup_steps) / span)
    return least + (peak - least) * 0.5 * (1 + math.cos(math.pi * progress))
