"""The transformer: exact parameter counts, causality, rotary positions, padding that changes nothing."""

from __future__ import annotations

import math

import pytest
import torch

from hpcscale.cost import parameters
from hpcscale.spec.model import Model, RopeScaling, named
from hpcscale.train import loss, rotary
from hpcscale.train.activation_checkpointing import apply
from hpcscale.train.attention import Positions
from hpcscale.train.initialise import initialise
from hpcscale.train.loss import IGNORED
from hpcscale.train.mesh import ALONE, Mesh
from hpcscale.train.model import Parts, Transformer
from hpcscale.train.weights import weights_of

from .toys import SHAPES, toy_model

CPU = torch.device("cpu")


def shaped(spec: Model, length: int = 16) -> Transformer:
    """The whole model of one process, without memory."""
    with torch.device("meta"):
        return Transformer(spec, length, Mesh(), sequence_parallel=False, parts=Parts(range(spec.layers)))


def made(spec: Model, length: int = 16, seed: int = 1) -> Transformer:
    model = shaped(spec, length).double().to_empty(device=CPU)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    tensors = [parameter.detach() for parameter in model.parameters()]
    initialise([w.piece(t) for w, t in zip(weights_of([model]), tensors, strict=True)], spec, seed)
    return model


def mean_loss(model: Transformer, tokens: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return model(tokens, targets=targets) / (targets != IGNORED).sum()


def tokens_of(spec: Model, length: int = 16) -> torch.Tensor:
    return torch.randint(spec.vocab, (2, length), generator=torch.Generator().manual_seed(0))


COUNTED = (
    "gpt-124m", "mpt-125m", "mpt-7b", "llama2-7b", "llama3-8b", "llama3-70b", "bert-base", "bert-large", "gpt-30b",
)  # fmt: skip


@pytest.mark.parametrize("spec", [*map(toy_model, SHAPES), *map(named, COUNTED)], ids=lambda each: each.name)
def test_parameters_are_as_many_as_the_cost_model_says(spec: Model) -> None:
    built = sum(each.numel() for each in shaped(spec, 512).parameters())
    assert built == parameters.count(spec, 512).total


def test_models_without_biases_have_none_in_their_norms_either() -> None:
    spec = toy_model("mpt", positions="alibi", biases=False)
    names = [name for name, _ in shaped(spec).named_parameters()]
    assert not [name for name in names if name.endswith("bias")]
    assert sum(each.numel() for each in shaped(spec).parameters()) == parameters.count(spec, 16).total


CAUSAL = [family for family in SHAPES if family != "bert"]


@pytest.mark.parametrize("family", CAUSAL)
def test_a_token_changes_no_earlier_logits(family: str) -> None:
    spec = toy_model(family)
    model, tokens = made(spec), tokens_of(spec)
    changed = tokens.clone()
    changed[:, 9] = (changed[:, 9] + 1) % spec.vocab
    before, after = model(tokens).detach(), model(changed).detach()
    assert torch.equal(before[:, :9], after[:, :9])
    assert not torch.allclose(before[:, 9:], after[:, 9:])


def test_a_bert_sees_what_follows() -> None:
    spec = toy_model("bert")
    model, tokens = made(spec), tokens_of(spec)
    changed = tokens.clone()
    changed[:, 9] = (changed[:, 9] + 1) % spec.vocab
    assert not torch.allclose(model(tokens)[:, 0], model(changed)[:, 0])


def test_alibi_needs_no_position_to_tell_near_from_far() -> None:
    spec = toy_model("mpt", positions="alibi", biases=False)
    model, tokens = made(spec), tokens_of(spec)
    longer = torch.cat((tokens, tokens), 1)
    assert torch.allclose(model(longer)[:, :16], model(tokens)), "what comes later changes nothing"
    swapped = tokens.clone()
    swapped[:, [2, 12]] = tokens[:, [12, 2]]
    assert not torch.allclose(model(swapped)[:, -1], model(tokens)[:, -1]), "order is seen"


@pytest.mark.parametrize("mode", ["full", "selective-op", "selective-layer:2", "core-attention"])
def test_recomputing_keeps_less_for_the_backward_pass(mode: str) -> None:
    spec = toy_model("llama", layers=4)
    model, tokens = made(spec), tokens_of(spec)
    kept: dict[str, int] = {}
    for name in ("none", mode):
        apply(model, name)
        found: dict[int, int] = {}

        def pack(tensor: torch.Tensor, found: dict[int, int] = found) -> torch.Tensor:
            found[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            model(tokens)
        kept[name] = sum(found.values())
    assert kept[mode] < kept["none"]


@pytest.mark.parametrize("family", SHAPES)
def test_the_first_loss_is_that_of_guessing(family: str) -> None:
    spec = toy_model(family)
    tokens = tokens_of(spec)
    loss = mean_loss(made(spec), tokens, tokens.roll(1, dims=1)).item()
    assert math.isclose(loss, math.log(spec.vocab), abs_tol=0.1)


@pytest.mark.parametrize("tied", [True, False])
def test_the_padding_of_the_vocabulary_changes_no_loss(tied: bool) -> None:
    losses = []
    for multiple in (1, 16, 128):
        spec = toy_model("gpt", vocab_multiple=multiple, tied_embeddings=tied)
        tokens = tokens_of(spec)
        losses.append(mean_loss(made(spec), tokens, tokens).item())
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
    tables = Positions(rotary=rotary.tables(toy_model("llama"), torch.arange(16), torch.float64))
    assert torch.allclose(grouped(x, tables), full(x, tables), atol=1e-12)


def test_rotated_products_depend_on_distance_alone() -> None:
    tables = rotary.tables(named("llama3-8b"), torch.arange(64), torch.float64)
    query, key = torch.randn(2, 1, 1, 1, 128, dtype=torch.float64).expand(2, 1, 64, 1, 128).clone()
    products = torch.einsum("bqhd,bkhd->qk", rotary.rotate(query, *tables), rotary.rotate(key, *tables))
    assert torch.allclose(products[3, 1], products[40, 38])
    assert not torch.allclose(products[3, 1], products[3, 2])


def test_llama_31_stretches_slow_frequencies_only() -> None:
    scaling = RopeScaling(factor=8, low_frequency_factor=1, high_frequency_factor=4, original_max_positions=8192)
    plain = named("llama3-8b")
    kept = rotary.tables(plain, torch.arange(2), torch.float64)
    stretched = rotary.tables(plain.model_copy(update={"rope_scaling": scaling}), torch.arange(2), torch.float64)
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


@pytest.mark.parametrize("precision", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("with_bias", [True, False])
def test_the_loss_in_chunks_is_torchs_of_the_whole(
    precision: torch.dtype, with_bias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 22 tokens in chunks of 5, with padding rows and targets that do not count: loss and all gradients."""
    rows, words, hidden = 24, 21, 8
    monkeypatch.setitem(loss.CHUNK_LOGITS, "cpu", 5 * rows)
    torch.manual_seed(1)
    features = torch.randn(2, 11, hidden, dtype=precision)
    weight, bias = torch.randn(rows, hidden, dtype=precision), torch.randn(rows, dtype=precision) if with_bias else None
    targets = torch.randint(words, (2, 11))
    targets[0, 3], targets[1, 7:] = IGNORED, IGNORED

    def gradients(of: torch.dtype, ours: bool) -> list[torch.Tensor]:
        given = [each.to(of, copy=True).requires_grad_() for each in (features, weight, bias) if each is not None]
        if ours:
            part = loss.vocabulary(words, rows, ALONE)
            total = loss.summed_cross_entropy(*given[:2], given[2] if with_bias else None, targets, part, 0.25)
        else:
            logits = torch.nn.functional.linear(*given)[..., :words]
            total = 0.25 * torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum")
        total.backward()
        return [total.detach(), *(each.grad for each in given if each.grad is not None)]

    found, expected = gradients(precision, True), gradients(torch.float64, False)
    assert len(found) == len(expected) == (4 if with_bias else 3)
    tolerance = {torch.float64: 1e-13, torch.float32: 1e-5, torch.bfloat16: 2e-2}[precision]
    for mine, theirs in zip(found, expected, strict=True):
        assert (mine.double() - theirs).abs().max() <= tolerance * theirs.abs().max()
