"""The transformer: exact parameter counts, causality, rotary positions, padding that changes nothing."""

from __future__ import annotations

import math

import pytest
import torch

from hpcscale.cost import parameters
from hpcscale.spec.model import Model, RopeScaling, named
from hpcscale.train import rotary
from hpcscale.train.initialise import initialise, parameter_count
from hpcscale.train.model import Transformer, next_token_loss

from .toys import SHAPES, toy_model

CPU = torch.device("cpu")


def made(spec: Model, length: int = 16, seed: int = 1) -> Transformer:
    with torch.device("meta"):
        model = Transformer(spec, length)
    model = model.double().to_empty(device=CPU)
    initialise(model, seed)
    return model


def tokens_of(spec: Model, length: int = 16) -> torch.Tensor:
    return torch.randint(spec.vocab, (2, length), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("tp", [1, 2])
@pytest.mark.parametrize("spec", [*map(toy_model, SHAPES), *map(named, ("gpt-124m", "mpt-125m", "llama2-7b", "llama3-8b"))],
                         ids=lambda each: each.name)  # fmt: skip
def test_parameters_are_as_many_as_the_cost_model_says(spec: Model, tp: int) -> None:
    with torch.device("meta"):
        assert parameter_count(Transformer(spec, 2048, tp)) == parameters.count(spec, 2048, tp).total


@pytest.mark.parametrize("family", SHAPES)
def test_a_token_changes_no_earlier_logits(family: str) -> None:
    spec = toy_model(family)
    model, tokens = made(spec), tokens_of(spec)
    changed = tokens.clone()
    changed[:, 9] = (changed[:, 9] + 1) % spec.vocab
    before, after = model(tokens), model(changed)
    assert torch.equal(before[:, :9], after[:, :9])
    assert not torch.allclose(before[:, 9:], after[:, 9:])


@pytest.mark.parametrize("family", SHAPES)
def test_the_first_loss_is_that_of_guessing(family: str) -> None:
    spec = toy_model(family)
    tokens = tokens_of(spec)
    loss = next_token_loss(made(spec)(tokens), tokens.roll(1, dims=1), spec.vocab).item()
    assert math.isclose(loss, math.log(spec.vocab), abs_tol=0.1)


@pytest.mark.parametrize("tied", [True, False])
def test_the_padding_of_the_vocabulary_changes_no_loss(tied: bool) -> None:
    losses = []
    for multiple in (1, 16, 128):
        spec = toy_model("gpt", vocab_multiple=multiple, tied_embeddings=tied)
        tokens = tokens_of(spec)
        losses.append(next_token_loss(made(spec)(tokens), tokens, spec.vocab).item())
        assert (made(spec).token_embedding.weight[60:] == 0).all()
    assert losses[0] == pytest.approx(losses[1], rel=1e-14) == pytest.approx(losses[2], rel=1e-14)


def test_grouped_queries_equal_full_attention_with_repeated_keys_and_values() -> None:
    grouped = made(toy_model("llama")).blocks["0"].attention
    full = made(toy_model("llama", kv_heads=4)).blocks["0"].attention
    queries, size = 2, grouped.head_size
    rows = grouped.qkv.weight.detach().view(2, queries + 2, size, 32)
    with torch.no_grad():
        full.qkv.weight.copy_(torch.stack([rows[head // 2, [head % 2, 2, 3]] for head in range(4)]).view(-1, 32))
        full.output.weight.copy_(grouped.output.weight)
    x = torch.randn(2, 16, 32, dtype=torch.float64)
    tables = rotary.tables(toy_model("llama"), 16, torch.float64, CPU)
    assert torch.allclose(grouped(x, tables), full(x, tables), atol=1e-12)


def test_rotated_products_depend_on_distance_alone() -> None:
    tables = rotary.tables(named("llama3-8b"), 64, torch.float64, CPU)
    query, key = torch.randn(2, 1, 1, 1, 128, dtype=torch.float64).expand(2, 1, 64, 1, 128).clone()
    products = torch.einsum("bqhd,bkhd->qk", rotary.rotate(query, *tables), rotary.rotate(key, *tables))
    assert torch.allclose(products[3, 1], products[40, 38])
    assert not torch.allclose(products[3, 1], products[3, 2])


def test_llama_31_stretches_slow_frequencies_only() -> None:
    scaling = RopeScaling(factor=8, low_frequency_factor=1, high_frequency_factor=4, original_max_positions=8192)
    plain = named("llama3-8b")
    kept = rotary.tables(plain, 2, torch.float64, CPU)
    stretched = rotary.tables(plain.model_copy(update={"rope_scaling": scaling}), 2, torch.float64, CPU)
    before, after = (torch.atan2(sines, cosines)[1] for cosines, sines in (kept, stretched))
    assert torch.allclose(after[0], before[0]), "the fastest frequency turned"
    assert torch.allclose(after[-1] * 8, before[-1]), "the slowest is divided by the factor"
    assert ((after <= before + 1e-15) & (after >= before / 8 - 1e-15)).all()


def test_each_weight_is_drawn_for_its_own_name_and_seed() -> None:
    spec = toy_model("gpt")
    first, again, other = (dict(made(spec, seed=seed).named_parameters()) for seed in (1, 1, 2))
    weights = [name for name, each in first.items() if each.ndim > 1]
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in weights)
    assert not torch.equal(first["blocks.0.mlp.up.weight"], first["blocks.1.mlp.up.weight"])


def test_weights_that_write_to_the_residual_stream_start_smaller() -> None:
    spec = toy_model("gpt", hidden=256, ffn=1024)
    parameters_ = dict(made(spec).named_parameters())
    for name, std in {"mlp.up": 0.02, "mlp.down": 0.01, "attention.qkv": 0.02, "attention.output": 0.01}.items():
        assert parameters_[f"blocks.1.{name}.weight"].std().item() == pytest.approx(std, rel=0.02)
    assert (parameters_["final_norm.weight"] == 1).all() and (parameters_["blocks.0.mlp.up.bias"] == 0).all()
