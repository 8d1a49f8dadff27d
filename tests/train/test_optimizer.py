from __future__ import annotations

import math

import pytest
import torch

from hpcscale.spec.layout import Optimizer
from hpcscale.train import gradients, optimizer
from hpcscale.train.model import Transformer

from .toys import toy_model

COSINE = Optimizer(learning_rate=1.0, min_learning_rate=0.1, schedule="cosine", warmup_steps=4, decay_steps=14)


@pytest.mark.parametrize(("step", "rate"), [(1, 0.25), (4, 1.0), (9, 0.55), (14, 0.1), (99, 0.1)])
def test_the_rate_warms_up_and_follows_a_cosine(step: int, rate: float) -> None:
    assert optimizer.learning_rate(COSINE, step) == pytest.approx(rate)


def test_a_constant_rate_stays() -> None:
    settings = Optimizer(learning_rate=0.5, warmup_steps=2)
    assert [optimizer.learning_rate(settings, step) for step in (1, 2, 3, 50)] == [0.25, 0.5, 0.5, 0.5]


def test_norms_and_biases_do_not_decay() -> None:
    model = Transformer(toy_model("gpt"), 8)
    names = {id(each): name for name, each in model.named_parameters()}
    decays = {
        names[id(each)]: group["weight_decay"]
        for group in optimizer.adamw(model, Optimizer(weight_decay=0.1)).param_groups
        for each in group["params"]
    }
    assert decays == {
        name: 0.0 if "norm" in name or name.endswith("bias") else 0.1 for name, _ in model.named_parameters()
    }


def test_clipping_scales_all_gradients_to_the_largest_norm_and_leaves_small_ones() -> None:
    weights = [torch.nn.Parameter(torch.zeros(3)), torch.nn.Parameter(torch.zeros(2, 2))]
    for weight in weights:
        weight.grad = torch.full_like(weight, 2.0)
    norm = gradients.global_norm(weights)
    assert norm.item() == pytest.approx(math.sqrt(28))
    gradients.clip(weights, norm, 100.0)
    assert gradients.global_norm(weights).item() == pytest.approx(math.sqrt(28))
    gradients.clip(weights, norm, 1.0)
    assert gradients.global_norm(weights).item() == pytest.approx(1.0, rel=1e-5)
