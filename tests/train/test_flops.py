"""The FLOPs that the cost model claims are the FLOPs that the program does, counted by torch while it does them."""

from __future__ import annotations

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from hpcscale.cost import flops
from hpcscale.spec.model import Model
from hpcscale.train import activation_checkpointing

from .test_model import made, tokens_of
from .toys import SHAPES, toy_model

LENGTH, BATCH = 16, 2


def counted(spec: Model, mode: str) -> int:
    """Of one forward and backward pass. The math kernel, because torch does not count the CPU's flash kernel."""
    model, tokens = made(spec, LENGTH), tokens_of(spec, LENGTH)
    activation_checkpointing.apply(model, mode)
    # torch counts it under its other name only
    in_place = {torch.ops.aten.addmm_: lambda into, a, b, **_: flop_registry[torch.ops.aten.mm](a, b)}
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False, custom_mapping=in_place) as counter:
        model(tokens, targets=tokens).backward()
    return counter.get_total_flops()


@pytest.mark.parametrize("family", SHAPES)
def test_a_step_does_what_the_convention_with_full_attention_says(family: str) -> None:
    spec = toy_model(family, vocab_multiple=1, head="mlm" if family == "bert" else "lm")
    per_token = flops.convention("nanotron").flops_per_token(spec, LENGTH)
    if family == "bert":
        per_token += 6 * spec.hidden**2  # the dense layer of its head
    assert counted(spec, "none") == per_token * LENGTH * BATCH


def blocks(spec: Model) -> tuple[list[int], int]:
    """(FLOPs of each matrix of a block in our order: qkv, output, MLP; of attention), forward, for the whole batch."""
    d, kv = spec.hidden, spec.kv_heads * spec.head_size
    weights = [d * (d + 2 * kv), d * d] + [d * spec.ffn] * spec.mlp_matrices
    tokens = LENGTH * BATCH
    return [2 * weight * tokens for weight in weights], 4 * d * LENGTH * tokens


@pytest.mark.parametrize("family", ["gpt", "llama"])
@pytest.mark.parametrize("mode", ["full", "selective-layer:2", "selective-op", "core-attention"])
def test_checkpointing_does_again_what_it_threw_away_and_no_more(family: str, mode: str) -> None:
    spec = toy_model(family, vocab_multiple=1)
    matrices, attention = blocks(spec)
    again = {
        "full": spec.layers * (sum(matrices[:-1]) + attention),  # nothing needs a block's last product again
        "selective-layer:2": spec.layers // 2 * (sum(matrices[:-1]) + attention),
        "selective-op": spec.layers * sum(matrices[1:-1:2]),
        "core-attention": spec.layers * attention // 2,  # the scores; nothing needs their use on the values again
    }
    assert counted(spec, mode) - counted(spec, "none") == again[mode]
