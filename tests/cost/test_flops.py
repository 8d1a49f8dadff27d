"""FLOP conventions against the figures that each tool prints for known models."""

import pytest

from hpcscale.cost import flops
from hpcscale.spec.model import Model, named
from hpcscale.spec.problems import InputError

# GFLOP per token, as computed by the tools' own code (facts/training.md, section 1)
GOLDEN = {
    ("llama2-7b", 4096): {
        "palm-full": 46.0865, "nanotron": 46.0849, "6N": 46.8729, "megatron-causal": 42.8637, "nemo": 42.8637,
        "eq3-hardware": 45.6870,
    },
    ("llama2-70b", 4096): {
        "palm-full": 444.4993, "nanotron": 444.4914, "6N": 446.0721, "megatron-causal": 428.3852, "nemo": 428.3852,
        "eq3-hardware": 419.9390,
    },
    ("llama3-8b", 8192): {
        "palm-full": 57.9144, "nanotron": 57.9129, "6N": 61.0665, "megatron-causal": 51.4704, "nemo": 51.4704,
        "eq3-hardware": 53.9036,
    },
    ("mpt-7b", 2048): {"6N": 43.1744},
    ("bert-base", 512): {"nemo": 0.69986},
    ("bert-large", 512): {"nemo": 2.14111},
}  # fmt: skip
CASES = [(*key, name, value) for key, by_name in GOLDEN.items() for name, value in by_name.items()]


@pytest.mark.parametrize(("model", "sequence_length", "name", "expected"), CASES)
def test_a_convention_gives_the_tools_figure(model: str, sequence_length: int, name: str, expected: float):
    found = flops.convention(name).flops_per_token(named(model), sequence_length) / 1e9
    digits = len(str(expected).partition(".")[2])
    assert round(found, max(digits, 4)) == expected


@pytest.mark.parametrize(
    ("name", "checkpointing", "expected"),
    [
        ("megatron-causal", "none", 183.9779),
        ("eq3-hardware", "none", 187.6608),
        ("eq3-hardware", "full", 250.2144),
        ("eq3-hardware", "selective-layer:2", 187.6608),
    ],
)
def test_the_30b_model_over_tp_4_counts_the_padded_vocabulary(name: str, checkpointing: str, expected: float):
    model = named("gpt-30b")
    assert model.padded_vocab(4) == 50688
    found = flops.convention(name).flops_per_token(model, 2048, tp=4, activation_checkpointing=checkpointing)
    assert round(found / 1e9, 4) == expected


@pytest.mark.parametrize(
    ("tool", "name"),
    [
        ("torchtitan", "palm-full"), ("llm-foundry", "6N"), ("composer", "6N"), ("picotron", "6N"), ("litgpt", "6N"),
        ("Megatron-LM", "megatron-causal"), ("deepspeed-fugaku", "eq3-hardware"), ("6n", "6N"),
    ],
)  # fmt: skip
def test_a_tool_names_its_convention(tool: str, name: str):
    assert flops.convention(tool).name == name


def test_an_unknown_convention_gets_the_nearest_name():
    with pytest.raises(InputError, match="did you mean 'palm-full'"):
        flops.convention("palm-ful")


def test_a_position_table_multiplies_nothing_but_6n_counts_it():
    model = named("mpt-125m")
    difference = flops.convention("6N").flops_per_token(model, 65536) - flops.convention("nanogpt").flops_per_token(
        model, 65536
    )
    assert difference == 6 * 65536 * 768
    assert flops.convention("palm-full").flops_per_token(model, 65536) == flops.convention("nanogpt").flops_per_token(
        model, 65536
    )


def test_megatron_deepspeed_counts_recomputation():
    model = named("gpt-13b")
    tool = flops.convention("megatron-deepspeed")
    none = tool.flops_per_token(model, 2048)
    assert none == flops.convention("nanotron").flops_per_token(model, 2048) + 6 * model.hidden * (
        model.padded_vocab() - model.vocab
    )
    layers = none / 6 - model.padded_vocab() * model.hidden
    assert tool.flops_per_token(model, 2048, activation_checkpointing="full") == none + 2 * layers
    attention = 4 * model.layers * model.hidden * 2048
    assert tool.flops_per_token(model, 2048, activation_checkpointing="core-attention") == none + attention


@pytest.mark.parametrize(
    ("checkpointing", "factor"),
    [("none", 1.0), ("full", 4 / 3), ("selective-layer:1", 4 / 3), ("selective-layer:2", 1 + 1 / 6),
     ("selective-layer:5", 1 + 6 / 32 / 3)],
)  # fmt: skip
def test_hardware_factor_of_whole_blocks(checkpointing: str, factor: float):
    assert flops.hardware_factor(named("llama3-8b"), 8192, checkpointing) == pytest.approx(factor, rel=1e-12)


def test_hardware_factor_of_parts_of_a_block():
    # Made so that a person can check it: block matrices q, k, v, o of 16 weights each, MLP 64 and 64, output layer 256.
    model = Model(
        name="small", family="gpt", layers=1, hidden=4, heads=1, kv_heads=1, ffn=16, vocab=64, positions="learned",
        norm="layernorm", mlp="gelu", biases=True, tied_embeddings=True,
    )  # fmt: skip
    forward = 2 * (4 * 16 + 2 * 64 + 256) + 4 * 4 * 8
    assert flops.recomputed_share(model, 8, "core-attention") == 4 * 4 * 8 / forward
    assert flops.recomputed_share(model, 8, "selective-op") == 2 * (16 + 16 + 64) / forward  # k, o, second of the MLP


def test_utilisation_above_one_is_an_error_with_the_numbers():
    assert flops.utilisation(156.0, 312.0) == 0.5
    with pytest.raises(flops.ImpossibleUtilisation, match=r"MFU would be 112\.2 %: 350 TFLOP/s of a peak of 312"):
        flops.utilisation(350.0, 312.0)


def test_tflops_of_a_device():
    # 70B on 128 A100: 376 tokens/s/GPU under 6N
    per_token = flops.convention("6N").flops_per_token(named("mpt-70b"), 2048)
    assert flops.tflops_per_device(per_token, 376) == pytest.approx(152.4, abs=0.1)
