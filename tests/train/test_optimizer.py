from __future__ import annotations

import math

import pytest
import torch

from hpcscale.spec.layout import Optimizer
from hpcscale.train import gradients, optimizer
from hpcscale.train.loss_scale import LossScale
from hpcscale.train.mesh import ALONE, Mesh
from hpcscale.train.weights import Weight, weights_of

from .test_model import shaped
from .toys import toy_model

COSINE = Optimizer(learning_rate=1.0, min_learning_rate=0.1, schedule="cosine", warmup_steps=4, decay_steps=14)


@pytest.mark.parametrize(("step", "rate"), [(1, 0.25), (4, 1.0), (9, 0.55), (14, 0.1), (99, 0.1)])
def test_the_rate_warms_up_and_follows_a_cosine(step: int, rate: float) -> None:
    assert optimizer.learning_rate(COSINE, step) == pytest.approx(rate)


def test_a_constant_rate_stays() -> None:
    settings = Optimizer(learning_rate=0.5, warmup_steps=2)
    assert [optimizer.learning_rate(settings, step) for step in (1, 2, 3, 50)] == [0.25, 0.5, 0.5, 0.5]


def test_norms_and_biases_do_not_decay() -> None:
    weights = weights_of([shaped(toy_model("gpt"), 8)])
    assert [weight.name for weight in weights if not weight.decays] == [
        weight.name for weight in weights if "norm" in weight.name or weight.name.endswith("bias")
    ]


def test_a_step_is_torchs_own_adamw_with_and_without_decay() -> None:
    weights = [Weight(0, name, shape, None, ALONE, None, False) for name, shape in (("w", (3, 2)), ("b", (3,)))]
    ours = [torch.arange(6.0).view(3, 2) + 1, torch.ones(3)]
    theirs = [torch.nn.Parameter(each.clone()) for each in ours]
    settings = Optimizer(learning_rate=0.1, weight_decay=0.3)
    mine = optimizer.AdamW(settings, weights, ours)
    other = torch.optim.AdamW(
        [{"params": theirs[:1], "weight_decay": 0.3}, {"params": theirs[1:], "weight_decay": 0.0}],
        lr=0.1, betas=settings.betas, eps=settings.eps,
    )  # fmt: skip
    for number in range(5):
        slopes = [torch.full_like(each, 0.5 + number) for each in ours]
        mine.step(ours, list(slopes), 0.1)
        for parameter, slope in zip(theirs, slopes, strict=True):
            parameter.grad = slope
        other.step()
    assert all(torch.allclose(a, b, rtol=1e-6) for a, b in zip(ours, theirs, strict=True))


def test_clipping_scales_all_gradients_to_the_largest_norm_and_leaves_small_ones() -> None:
    weights = [Weight(0, name, (3,), None, ALONE, None, False) for name in "ab"]
    found: gradients.Gradients = [torch.full((3,), 2.0), torch.full((4,), 2.0)]
    norm = gradients.global_norm(weights, found, Mesh())
    assert norm.item() == pytest.approx(math.sqrt(28))
    gradients.scale(found, norm, 100.0, None)
    assert gradients.global_norm(weights, found, Mesh()).item() == pytest.approx(math.sqrt(28))
    gradients.scale(found, norm, 1.0, None)
    assert gradients.global_norm(weights, found, Mesh()).item() == pytest.approx(1.0, rel=1e-5)


def test_the_second_copy_of_a_tied_weight_counts_once_in_the_norm() -> None:
    weights = [Weight(0, "token_embedding.weight", (3,), None, ALONE, 3, copy) for copy in (False, True)]
    found: gradients.Gradients = [torch.full((3,), 2.0), torch.full((3,), 2.0)]
    assert gradients.global_norm(weights, found, Mesh()).item() == pytest.approx(math.sqrt(12))


def test_the_loss_scale_halves_on_overflow_and_doubles_after_many_good_steps() -> None:
    scale = LossScale()
    scale.update(overflowed=True)
    assert scale.value == 2.0**15
    for _ in range(2000):
        scale.update(overflowed=False)
    assert scale.value == 2.0**16
