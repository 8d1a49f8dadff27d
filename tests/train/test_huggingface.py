"""Hugging Face weights: the same logits as transformers, written back to the bit, in pieces on real ranks, and refusals.

The models are transformers' own, made small from configurations, every parameter random; nothing is downloaded.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from hpcscale.spec.layout import Training
from hpcscale.spec.model import Model
from hpcscale.spec.problems import InputError
from hpcscale.train.checkpoint import Checkpointer
from hpcscale.train.huggingface import config, export, read, start, write
from hpcscale.train.huggingface.files import Folder
from hpcscale.train.mesh import Axis, Mesh
from hpcscale.train.model import Parts, Transformer
from hpcscale.train.pieces import Piece
from hpcscale.train.point_file import parse
from hpcscale.train.trainer import Trainer
from hpcscale.train.weights import weights_of

from . import forks, hf_ranks
from .toys import document

transformers = pytest.importorskip("transformers", reason="needs hpcscale[hf]")
safetensors = pytest.importorskip("safetensors.torch", reason="needs hpcscale[hf]")

LENGTH = 32
TOLERANCE = 1e-5
SMALL = {"vocab_size": 61, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
GPT2 = {
    "vocab_size": 61, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": LENGTH, "bos_token_id": None, "eos_token_id": None,
}  # fmt: skip
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}  # fmt: skip
# name -> (class of the configuration, its values)
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", {**SMALL, "intermediate_size": 50, "num_key_value_heads": 2, "rope_parameters": LLAMA3}),
    "llama-tied": ("Llama", {**SMALL, "intermediate_size": 50, "tie_word_embeddings": True, "rms_norm_eps": 1e-5}),
    "llama-biases": (
        "Llama",
        {**SMALL, "intermediate_size": 50, "num_key_value_heads": 1, "attention_bias": True, "mlp_bias": True},
    ),
    "gpt": ("GPT2", GPT2),
    "gpt-exact-untied": ("GPT2", {**GPT2, "activation_function": "gelu", "tie_word_embeddings": False, "n_inner": 50}),
    "mpt": ("Mpt", {"vocab_size": 61, "d_model": 36, "n_layers": 2, "n_heads": 6, "max_seq_len": LENGTH}),
    "bert": ("Bert", {**SMALL, "intermediate_size": 50, "max_position_embeddings": LENGTH}),
}
HEADS = {"Llama": "LlamaForCausalLM", "GPT2": "GPT2LMHeadModel", "Mpt": "MptForCausalLM", "Bert": "BertForMaskedLM"}
FOUR = ("llama", "gpt", "mpt", "bert")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Each case as transformers saves it, llama in several files."""
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    made = {}
    for seed, (name, (kind, values)) in enumerate(CASES.items()):
        model = getattr(transformers, HEADS[kind])(getattr(transformers, f"{kind}Config")(**values))
        torch.manual_seed(seed)
        with torch.no_grad():
            for key, parameter in model.named_parameters():
                norm = parameter.ndim == 1 and key.endswith("weight")
                parameter.normal_(1.0 if norm else 0.0, 0.2)
        made[name] = tmp_path_factory.mktemp("hf") / name
        model.save_pretrained(made[name], max_shard_size="20KB" if name == "llama" else "5GB")
    assert len(list(made["llama"].glob("*.safetensors"))) > 2
    return made


def model_of(folder: Path) -> Model:
    return config.model_of(config.read(folder), folder.name, "config.json")


def rank_of(model: Model, mesh: Mesh = Mesh(), parts: Parts | None = None) -> tuple[Transformer, list[Piece]]:  # noqa: B008
    """A stage of the model on a rank of ``mesh``, all zero, and its pieces."""
    with torch.device("meta"):
        stage = Transformer(model, LENGTH, mesh, False, parts or Parts(range(model.layers)))
    weights = weights_of([stage])
    stage.to_empty(device="cpu")
    tensors = [each.detach().zero_() for each in stage.parameters()]
    return stage, [weight.piece(each) for weight, each in zip(weights, tensors, strict=True)]


def loaded(model: Model, folder: Path) -> tuple[Transformer, list[Piece]]:
    stage, pieces = rank_of(model)
    read.load(pieces, model, LENGTH, folder)
    return stage, pieces


def theirs(folder: Path, tokens: torch.Tensor, types: torch.Tensor | None) -> torch.Tensor:
    """The logits of the model that transformers finds in ``folder``."""
    bert = config.read(folder)["model_type"] == "bert"
    auto = transformers.AutoModelForMaskedLM if bert else transformers.AutoModelForCausalLM
    with torch.no_grad():
        return (
            auto.from_pretrained(folder).eval()(tokens, **({} if types is None else {"token_type_ids": types})).logits
        )


def asked(model: Model) -> tuple[torch.Tensor, torch.Tensor | None]:
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(model.vocab, (3, LENGTH), generator=generator)
    types = torch.randint(2, (3, LENGTH), generator=generator) if model.token_types else None
    return tokens, types


def stored(folder: Path) -> dict[str, torch.Tensor]:
    """Every tensor of a folder's files."""
    return {name: each for path in folder.glob("*.safetensors") for name, each in safetensors.load_file(path).items()}


@pytest.mark.parametrize("name", CASES)
def test_the_logits_are_those_of_transformers(folders: dict[str, Path], name: str) -> None:
    model = model_of(folders[name])
    stage, _ = loaded(model, folders[name])
    tokens, types = asked(model)
    expected = theirs(folders[name], tokens, types)
    with torch.no_grad():
        found = stage(tokens, types)
    assert expected.std() > 0.5, "logits near zero are equal to anything"
    assert (found - expected).abs().max() < TOLERANCE


@pytest.mark.parametrize("name", CASES)
def test_what_is_saved_is_what_transformers_saved(folders: dict[str, Path], name: str, tmp_path: Path) -> None:
    model = model_of(folders[name])
    _, pieces = loaded(model, folders[name])
    tensors = [(piece.name, piece.tensor) for piece in reversed(pieces)]
    plan = write.write(tmp_path / "out", model, LENGTH, tensors, most_bytes=20_000)
    assert len(plan.files) > 2
    assert [path.name for path in tmp_path.iterdir()] == ["out"], "nothing else is left behind"
    assert all(len(entries) == 1 or sum(each.bytes for each in entries) <= 20_000 for entries in plan.files.values())
    before, after = stored(folders[name]), stored(tmp_path / "out")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[each], after[each]) for each in before)
    tokens, types = asked(model)
    assert torch.equal(theirs(folders[name], tokens, types), theirs(tmp_path / "out", tokens, types))
    assert model_of(tmp_path / "out").model_copy(update={"name": name}) == model
    architecture = transformers.AutoConfig.from_pretrained(tmp_path / "out").architectures
    assert architecture == [HEADS[CASES[name][0]]]


def test_one_file_is_enough_for_a_small_model_and_bf16_halves_it(folders: dict[str, Path], tmp_path: Path) -> None:
    model = model_of(folders["mpt"])
    _, pieces = loaded(model, folders["mpt"])
    for dtype in ("fp32", "bf16"):
        write.write(tmp_path / dtype, model, LENGTH, [(piece.name, piece.tensor) for piece in pieces], dtype)
        assert {path.name for path in (tmp_path / dtype).iterdir()} == {"config.json", "model.safetensors"}
    full, half = stored(tmp_path / "fp32"), stored(tmp_path / "bf16")
    assert all(torch.equal(full[name].bfloat16(), half[name]) for name in full)
    assert transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "bf16").dtype == torch.bfloat16
    _, again = loaded(model, tmp_path / "bf16")
    assert torch.equal(again[0].tensor, pieces[0].tensor.bfloat16().float()), "values are cast to the pieces' type"


@pytest.mark.parametrize("name", FOUR)
def test_a_rank_reads_the_rows_that_it_keeps_and_no_more(
    folders: dict[str, Path], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_of(folders[name])
    _, whole = loaded(model, folders[name])
    tensors = {piece.name: piece.tensor for piece in whole}
    elements = 0
    original = Folder.rows

    def counted(self: Folder, key: str, box: tuple[slice, ...]) -> torch.Tensor:
        nonlocal elements
        value = original(self, key, box)
        elements += value.numel()
        return value

    monkeypatch.setattr(Folder, "rows", counted)
    for tp, parts in [(1, Parts(range(1), head=False)), (0, Parts(range(1, 2), embedding=False)), (1, Parts(range(2)))]:
        elements = 0
        _, pieces = rank_of(model, Mesh(tp=Axis(None, 2, tp)), parts)
        pieces = [dataclasses.replace(each, tensor=each.tensor.double()) for each in pieces]
        read.load(pieces, model, LENGTH, folders[name])
        assert elements == sum(piece.tensor.numel() for piece in pieces)
        assert all(torch.equal(piece.tensor, tensors[piece.name][piece.box].double()) for piece in pieces)
        assert any(piece.offset[0] > 0 for piece in pieces) == bool(tp)


LAYOUTS: dict[str, dict[str, Any]] = {
    "tp": {"tp": 2},
    "fsdp": {"dp": 2, "sharding": "fsdp"},
    "pp": {"pp": 2},
    "ddp": {"dp": 2},
}


@pytest.fixture(scope="module")
def two_ranks(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two ranks, started once, load and save all families in all layouts."""
    folder = tmp_path_factory.mktemp("ranks")
    cases = {}
    for name in FOUR:
        for how, layout in LAYOUTS.items():
            point = document("gpt", layout, {"sequence_length": LENGTH, "micro_batch_size": 1})
            # Rows of padding, and a number of rows that two shards cannot share evenly.
            padded = model_of(folders[name]).model_copy(update={"vocab_multiple": 8})
            point["model"] = padded.model_dump(mode="json")
            cases[f"{name} {how}"] = {
                "document": point, "weights": str(folders[name]), "out": str(folder / f"{name} {how}"),
            }  # fmt: skip
    (folder / "cases.json").write_text(json.dumps(cases))
    forks.world([str(Path(hf_ranks.__file__))], [str(folder / "cases.json")], 2, folder)
    return folder


@pytest.mark.parametrize("how", LAYOUTS)
@pytest.mark.parametrize("name", FOUR)
def test_two_ranks_load_their_parts_of_the_whole(
    folders: dict[str, Path], two_ranks: Path, name: str, how: str
) -> None:
    whole = {piece.name: piece.tensor for piece in loaded(model_of(folders[name]), folders[name])[1]}
    covered = {key: torch.zeros_like(each) for key, each in whole.items()}
    for rank in range(2):
        for key, offset, tensor in torch.load(two_ranks / f"{name} {how}.{rank}.pt"):
            piece = Piece(key, tuple(whole[key].shape), offset, tensor)
            assert torch.equal(tensor, whole[key][piece.box]), key
            covered[key][piece.box] = 1
    assert all(each.all() for each in covered.values()), "the ranks together have every element"
    if how == "ddp":
        return
    sizes = [sum(each.numel() for _, _, each in torch.load(two_ranks / f"{name} {how}.{rank}.pt")) for rank in range(2)]
    assert max(sizes) < 0.75 * sum(each.numel() for each in whole.values())


@pytest.mark.parametrize("how", LAYOUTS)
@pytest.mark.parametrize("name", FOUR)
def test_two_ranks_save_what_they_loaded(folders: dict[str, Path], two_ranks: Path, name: str, how: str) -> None:
    before, after = stored(folders[name]), stored(two_ranks / f"{name} {how}")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[each], after[each]) for each in before)


@pytest.mark.parametrize(
    ("name", "changes", "answer"),
    [
        ("llama", {"hidden": 64}, "hidden_size is 32, but x has 64; model.hidden: 32 matches"),
        ("llama", {"layers": 3}, "num_hidden_layers is 2, but x has 3; model.layers: 2 matches"),
        ("llama", {"heads": 8}, "num_attention_heads is 4, but x has 8; model.heads: 4 matches"),
        ("llama", {"kv_heads": 4}, "num_key_value_heads is 2, but x has 4; model.kv_heads: 2 matches"),
        ("llama", {"vocab": 64}, "vocab_size is 61, but x has 64; model.vocab: 61 matches"),
        ("llama", {"ffn": 49}, "intermediate_size is 50, but x has 49; model.ffn: 50 matches"),
        ("llama", {"rope_theta": 1e4}, "rope_theta is 500000.0, but x has 10000.0; model.rope_theta: 500000.0 matches"),
        ("llama", {"rope_scaling": None}, "rope_scaling is {factor: 8, low_frequency_factor: 1, high_frequency_factor: 4, "
         "original_max_positions: 16}, but x has null"),
        ("llama", {"norm_eps": 1e-5}, "rms_norm_eps is 1e-06, but x has 1e-05; model.norm_eps: 1e-06 matches"),
        ("llama", {"tied_embeddings": True}, "tie_word_embeddings is false, but x has true"),
        ("llama", {"biases": True}, "mlp_bias is false, but x has true; model.biases: false matches"),
        ("llama", {"mlp": "gelu"}, "hidden_act is silu, but x has gelu; model.mlp: swiglu matches"),
        ("gpt", {"mlp": "gelu"}, "activation_function is gelu_new, but x has gelu; model.mlp: gelu-tanh matches"),
        ("gpt", {"max_positions": None, "vocab": 61}, None),
        ("gpt", {"max_positions": 64}, "n_positions is 32, but x has 64; model.max_positions: 32 matches"),
        ("gpt", {"family": "llama"}, "model_type is gpt2, but x is of the family llama"),
        ("gpt", {"biases": False}, "biases is true, but x has false"),
        ("mpt", {"positions": "learned"}, "positions is alibi, but x has learned; model.positions: alibi matches"),
        ("bert", {"norm_placement": "pre"}, "norm_placement is post, but x has pre; model.norm_placement: post matches"),
        ("bert", {"token_types": 0}, "type_vocab_size is 2, but x has 0; model.token_types: 2 matches"),
    ],
)  # fmt: skip
def test_another_model_is_refused_in_a_sentence(
    folders: dict[str, Path], name: str, changes: dict[str, Any], answer: str | None
) -> None:
    model = model_of(folders[name]).model_copy(update={"name": "x", **changes})
    if answer is None:
        loaded(model, folders[name])
        return
    with pytest.raises(InputError) as error:
        read.load([], model, LENGTH, folders[name])
    assert f"{folders[name]}/config.json: {answer}" in str(error.value)


def _edit(folder: Path, **values: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def _retensor(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    path = folder / "model.safetensors"
    tensors = safetensors.load_file(path)
    change(tensors)
    safetensors.save_file(tensors, path)


WTE, BIAS = "transformer.wte.weight", "transformer.blocks.1.norm_1.bias"


@pytest.mark.parametrize(
    ("damage", "answer"),
    [
        (lambda folder: (folder / "config.json").unlink(), "there is no {folder}/config.json"),
        (lambda folder: (folder / "config.json").write_text("{"), "config.json: this is no JSON"),
        (lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"), "pytorch_model.bin is a pickle"),
        (lambda folder: (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-100]),
         "model.safetensors: this is no whole safetensors file"),
        (lambda folder: (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": "b.safetensors"}}'),
         "there is no {folder}/b.safetensors"),
        (lambda folder: (folder / "model.safetensors.index.json").write_text("[]"), "this is no index"),
        (lambda folder: _retensor(folder, lambda each: each.pop(WTE)),
         "{folder}: there is no tensor transformer.wte.weight, which x needs for its token_embedding.weight"),
        (lambda folder: _retensor(folder, lambda each: each.update({WTE: each[WTE][:, :35].clone()})),
         "{folder}: transformer.wte.weight is 61 x 35, but x needs 61 x 36"),
        (lambda folder: _retensor(folder, lambda each: each.update({BIAS: torch.zeros(36)})),
         "{folder}: the tensor transformer.blocks.1.norm_1.bias has no place in x"),
        (lambda folder: _edit(folder, attn_config={"clip_qkv": 6.0}), "attn_config.clip_qkv is 6.0, which is not built"),
        (lambda folder: _edit(folder, attn_config={"alibi": False}), "attn_config.alibi is false, which is not built"),
        (lambda folder: _edit(folder, model_type="falcon"), "model_type is falcon; valid: llama, gpt2, mpt, bert"),
        (lambda folder: _edit(folder, d_model="wide"), "hidden wide and heads 6 are not both whole numbers"),
    ],
)  # fmt: skip
def test_a_damaged_folder_is_refused_before_anything_is_touched(
    folders: dict[str, Path], tmp_path: Path, damage: Callable[[Path], object], answer: str
) -> None:
    folder = tmp_path / "mpt"
    shutil.copytree(folders["mpt"], folder)
    model = model_of(folder).model_copy(update={"name": "x"})
    damage(folder)
    _, pieces = rank_of(model)
    with pytest.raises(InputError) as error:
        read.load(pieces, model, LENGTH, folder)
    assert answer.format(folder=folder) in str(error.value)
    assert not any(piece.tensor.any() for piece in pieces)


@pytest.mark.parametrize(
    ("values", "answer"),
    [
        ({"rope_parameters": {"rope_type": "yarn", "factor": 4.0}}, "rope_type is yarn; valid: default, llama3"),
        (
            {"rope_parameters": {"rope_type": "llama3", "factor": 4.0}},
            "the rotary scaling llama3 lacks low_freq_factor",
        ),
        ({"hidden_act": "relu"}, "hidden_act is relu; valid: silu"),
        ({"attention_bias": True}, "mlp_bias is False, unlike the other biases"),
        ({"head_dim": 16}, "head_dim is 16; ours is hidden / heads = 8"),
    ],
)
def test_what_our_transformer_does_not_compute_is_refused(
    folders: dict[str, Path], values: dict[str, Any], answer: str
) -> None:
    with pytest.raises(InputError, match=answer.replace("/", ".")):
        config.describe({**config.read(folders["llama"]), **values}, "config.json")


def test_files_of_older_transformers_are_read(folders: dict[str, Path], tmp_path: Path) -> None:
    """GPT-2 of the hub: names without the class's prefix, the causal mask among them. BERT of the hub: gamma and beta,
    a pooler, a second head."""
    for name in ("gpt", "bert", "llama-tied"):
        shutil.copytree(folders[name], tmp_path / name)
    mask = {"h.0.attn.bias": torch.ones(1, 1, 4, 4)}
    _retensor(tmp_path / "gpt", lambda each: _renamed(each, lambda key: key.removeprefix("transformer."), mask))
    extra = {"bert.pooler.dense.bias": torch.zeros(32), "cls.seq_relationship.weight": torch.zeros(2, 32)}
    old = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    _retensor(tmp_path / "bert", lambda each: _renamed(each, lambda key: _replaced(key, old), extra))
    # llama before version 5: theta beside the scaling, no rope_parameters
    text = json.loads((tmp_path / "llama-tied" / "config.json").read_text())
    theta = text.pop("rope_parameters")["rope_theta"]
    (tmp_path / "llama-tied" / "config.json").write_text(
        json.dumps({**text, "rope_theta": theta, "rope_scaling": None})
    )
    for name in ("gpt", "bert", "llama-tied"):
        model = model_of(folders[name])
        assert model_of(tmp_path / name) == model
        for new, before in zip(loaded(model, tmp_path / name)[1], loaded(model, folders[name])[1], strict=True):
            assert torch.equal(new.tensor, before.tensor)


def _renamed(tensors: dict[str, torch.Tensor], rename: Callable[[str], str], extra: dict[str, torch.Tensor]) -> None:
    changed = {rename(key): each for key, each in tensors.items()}
    assert changed.keys() != tensors.keys()
    tensors.clear()
    tensors.update({**changed, **extra})


def _replaced(key: str, words: dict[str, str]) -> str:
    for old, new in words.items():
        key = key.replace(old, new)
    return key


@pytest.mark.parametrize(
    ("name", "changes", "answer"),
    [
        ("mpt", {"positions": "learned"}, "positions learned of x has no place in MptForCausalLM, whose models have alibi"),
        ("mpt", {"biases": True}, "biases true of x has no place in MptForCausalLM, whose models have false"),
        ("mpt", {"ffn": 100}, "ffn 100 of x has no place in MptForCausalLM, whose models have 4 x hidden = 144"),
        ("mpt", {"kv_heads": 3}, "x has 3 key/value heads for 6 heads, but MptForCausalLM has as many of both"),
        ("bert", {"norm_placement": "pre"}, "norm_placement pre of x has no place in BertForMaskedLM, whose models have post"),
        ("bert", {"token_types": 0}, "token_types 0 of x has no place in BertForMaskedLM"),
        ("bert", {"mlp": "gelu-tanh"}, "mlp gelu-tanh of x has no place in BertForMaskedLM; valid: gelu"),
        ("gpt", {"positions": "rope"}, "positions rope of x has no place in GPT2LMHeadModel, whose models have learned"),
        ("llama", {"norm": "layernorm"}, "norm layernorm of x has no place in LlamaForCausalLM, whose models have rmsnorm"),
    ],
)  # fmt: skip
def test_a_model_without_a_place_in_the_format_is_refused(
    folders: dict[str, Path], tmp_path: Path, name: str, changes: dict[str, Any], answer: str
) -> None:
    model = model_of(folders[name]).model_copy(update={"name": "x", **changes})
    with pytest.raises(InputError) as error:
        write.write(tmp_path / "out", model, LENGTH, [])
    assert answer in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_fails_leaves_nothing_and_a_folder_in_use_is_kept(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    model = model_of(folders["mpt"])
    tensors = [(piece.name, piece.tensor) for piece in loaded(model, folders["mpt"])[1]]
    for wrong, answer in [
        (tensors[1:], "1 tensors of mpt are missing, token_embedding.weight among them"),
        ([*tensors, tensors[0]], "token_embedding.weight has no place in mpt, or came twice"),
        ([(tensors[0][0], tensors[0][1][:-1])], "token_embedding.weight is (60, 36), but mpt needs (61, 36)"),
    ]:
        with pytest.raises(InputError) as error:
            write.write(tmp_path / "out", model, LENGTH, wrong)
        assert answer in str(error.value)
        assert list(tmp_path.iterdir()) == []
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("x")
    with pytest.raises(InputError, match="exists and is kept"):
        write.write(tmp_path / "out", model, LENGTH, tensors)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]


def test_a_relative_folder_is_found_from_the_jobs_folder_upwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hub" / "m").mkdir(parents=True)
    below = tmp_path / "runs" / "study" / "point"
    assert start.find("hub/m", below) == tmp_path / "hub" / "m"
    assert start.find(str(tmp_path / "hub"), below) == tmp_path / "hub"
    monkeypatch.setenv("MODELS", str(tmp_path / "hub"))
    assert start.find("$MODELS/m", below) == tmp_path / "hub" / "m"
    with pytest.raises(InputError, match=r"there is no folder hub/n in .* or in a folder above it"):
        start.find("hub/n", below)


def test_a_run_is_refused_that_would_start_from_another_model(folders: dict[str, Path], tmp_path: Path) -> None:
    model = model_of(folders["llama"])
    asked_for = Training(sequence_length=LENGTH, global_batch_size=1, weights=str(folders["llama"]))
    assert start.refusals(model, asked_for) == []
    assert start.refusals(model, asked_for.model_copy(update={"weights": None})) == []
    (refusal,) = start.refusals(model.model_copy(update={"heads": 8, "name": "x"}), asked_for)
    assert refusal.startswith(f"training.weights {folders['llama']}: num_attention_heads is 4, but x has 8")
    (refusal,) = start.refusals(model, asked_for.model_copy(update={"weights": str(tmp_path / "none")}))
    assert refusal == f"there is no folder {tmp_path / 'none'} (training.weights)"


def test_a_run_starts_from_the_weights_that_it_names(folders: dict[str, Path]) -> None:
    trained_as = {"sequence_length": LENGTH, "global_batch_size": 4, "weights": str(folders["llama"])}
    padded = model_of(folders["llama"]).model_copy(update={"vocab_multiple": 8})
    point = {**document(training=trained_as), "model": padded.model_dump(mode="json")}
    trainer = Trainer(parse(point, "point.json"), Mesh(), torch.device("cpu"))
    whole = {piece.name: piece.tensor for piece in loaded(model_of(folders["llama"]), folders["llama"])[1]}
    assert all(torch.equal(piece.tensor, whole[piece.name]) for piece in trainer.pieces())
    samples = trainer.stream.samples(1, 0, 4)
    logits = theirs(folders["llama"], samples[:, :-1], None)
    expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), samples[:, 1:].flatten())
    assert trainer.backward(1).item() == pytest.approx(expected.item(), abs=TOLERANCE)


def test_the_newest_whole_checkpoint_is_exported(folders: dict[str, Path], tmp_path: Path) -> None:
    trained_as = {"sequence_length": LENGTH, "global_batch_size": 2, "checkpoint": {"every_steps": 1, "keep": 9}}
    padded = model_of(folders["llama"]).model_copy(update={"vocab_multiple": 8})
    point = {**document(training=trained_as), "model": padded.model_dump(mode="json")}
    (tmp_path / "point.json").write_text(json.dumps(point))
    work = parse(point, "point.json")
    trainer = Trainer(work, Mesh(), torch.device("cpu"))
    for attempt, value in (("old", 0.0), ("new", 1.0), ("cut-off", 2.0)):
        read.load(trainer.pieces(), work.model, LENGTH, folders["llama"])
        for piece in trainer.pieces():
            piece.tensor.mul_(value)
        trainer.replica.updated()
        Checkpointer(trainer, tmp_path / "attempts" / attempt, 5).before_leaving(3)
    (damaged,) = (tmp_path / "attempts" / "cut-off").rglob("*.distcp")
    damaged.write_bytes(damaged.read_bytes()[:-10])
    stored_, skipped = export.export(tmp_path, tmp_path / "out")
    assert stored_.folder == tmp_path / "attempts" / "new" / "checkpoints" / "step-3"
    assert len(skipped) == 1 and "is damaged" in skipped[0]
    before, after = stored(folders["llama"]), stored(tmp_path / "out")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[each], after[each]) for each in before)
    export.export(tmp_path / "attempts" / "old" / "checkpoints" / "step-3", tmp_path / "older", "bf16")
    assert not any(each.any() for each in stored(tmp_path / "older").values())
    with pytest.raises(InputError, match=r"there is no whole checkpoint in .*; .* is damaged"):
        export.export(tmp_path / "attempts" / "cut-off", tmp_path / "none")
    (tmp_path / "point.json").unlink()
    with pytest.raises(InputError, match=r"no folder above .* has a point.json"):
        export.export(stored_.folder, tmp_path / "none")
    assert not (tmp_path / "none").exists()
