"""FLOP conventions: how each tool counts the work of one token, and what TFLOPs, MFU and HFU follow from it.

The same tokens per second give up to 9 % (sequence length 4096) or 19 % (8192) different MFU under these conventions, so
every figure names its own. Symbols: L layers, d hidden size, h heads, k key/value heads, e head size, f feed-forward
size, V vocabulary (V' padded for tensor parallelism), S sequence length, N parameters. All counts are FLOPs per token
of one training step, forward and backward; a multiply-add is two.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hpcscale.cost.parameters import count
from hpcscale.spec.model import Model
from hpcscale.spec.problems import InputError, suggestion

OWN = "palm-full"  # of hpcscale's own runs


@dataclass(frozen=True)
class Work:
    """What a token's FLOPs depend on. ``sequence_length`` in tokens; ``full_recompute``: all blocks are checkpointed."""

    model: Model
    sequence_length: int
    tp: int = 1
    activation_checkpointing: str = "none"

    @property
    def full_recompute(self) -> bool:
        return self.activation_checkpointing == "full"


@dataclass(frozen=True)
class Convention:
    """One way to count. A ``hardware`` convention counts recomputed work too, so its TFLOPs belong to HFU."""

    name: str
    tools: tuple[str, ...]
    formula: str
    source: str
    count: Callable[[Work], float]
    hardware: bool = False

    def flops_per_token(
        self, model: Model, sequence_length: int, tp: int = 1, activation_checkpointing: str = "none"
    ) -> float:
        """FLOPs per token, forward and backward. Checkpointing matters only to hardware conventions."""
        return float(self.count(Work(model, sequence_length, tp, activation_checkpointing)))


def _full_attention(work: Work) -> int:
    """Scores and their use on values over the whole S x S square: 4 L d S forward, three times that with backward."""
    return 12 * work.model.layers * work.model.hidden * work.sequence_length


def _palm_full(work: Work) -> int:
    parameters = count(work.model, work.sequence_length, work.tp)
    # Looking a row up multiplies nothing; a tied embedding is also the output layer, which does.
    lookups = parameters.position_embedding + parameters.token_type_embedding
    if not work.model.tied_embeddings:
        lookups += parameters.token_embedding
    return 6 * (parameters.total - lookups) + _full_attention(work)


def _six_n(work: Work) -> int:
    return 6 * count(work.model, work.sequence_length, work.tp).total + _full_attention(work)


def _nanogpt(work: Work) -> int:
    parameters = count(work.model, work.sequence_length, work.tp)
    return 6 * (parameters.total - parameters.position_embedding) + _full_attention(work)


def _block_matmuls(model: Model) -> list[int]:
    """Weights of one block's matrices, in the order in which it multiplies by them: q, k, v, output, then the MLP's."""
    d, kv = model.hidden, model.kv_heads * model.head_size
    return [d * d, d * kv, d * kv, d * d] + [d * model.ffn] * model.mlp_matrices


def _matmul_parameters(model: Model, vocab: int) -> int:
    return model.layers * sum(_block_matmuls(model)) + vocab * model.hidden


def _nanotron(work: Work) -> int:
    return 6 * _matmul_parameters(work.model, work.model.vocab) + _full_attention(work)


def _nanochat(work: Work) -> int:
    return 6 * _matmul_parameters(work.model, work.model.padded_vocab(work.tp)) + _full_attention(work)


def _megatron_causal(work: Work) -> int:
    return 6 * _matmul_parameters(work.model, work.model.padded_vocab(work.tp)) + _full_attention(work) // 2


def _megatron_deepspeed(work: Work) -> int:
    m, s = work.model, work.sequence_length
    # Integer division: with more than two query heads a key/value head the tool forgets the key and value matrices.
    projections = (2 + 2 // (m.heads // m.kv_heads)) * m.hidden**2
    attention = 2 * m.hidden * s
    layers = m.layers * (projections + attention + m.mlp_matrices * m.ffn * m.hidden)
    macs = 3 * (layers + m.padded_vocab(work.tp) * m.hidden)
    if work.full_recompute:
        macs += layers
    elif work.activation_checkpointing == "core-attention":
        macs += m.layers * attention
    return 2 * macs


def _eq3_hardware(work: Work) -> float:
    m, s, vocab = work.model, work.sequence_length, work.model.padded_vocab(work.tp)
    passes = 4 if work.full_recompute else 3
    return 24 * passes * m.layers * m.hidden**2 * (1 + s / (6 * m.hidden) + vocab / (16 * m.layers * m.hidden))


# NeMo's perf_metrics_utils.py fixes the vocabulary by model family; a Llama's is its own there.
_NEMO_VOCABULARY = {"gpt": 51200, "bert": 29000}


def _nemo(work: Work) -> float:
    m, s = work.model, work.sequence_length
    d, layers, vocab = m.hidden, m.layers, _NEMO_VOCABULARY.get(m.family, m.vocab)
    if m.family == "bert":
        return 72 * layers * d**2 * (1 + s / (6 * d) + vocab / (12 * d * layers))
    if m.family == "llama":
        blocks = 12 + 12 * m.kv_heads / m.heads + 18 * m.ffn / d + 6 * s / d
        return layers * d**2 * (blocks + 6 * vocab / (layers * d))
    return (24 * d**2 + 2 * s * d) * 3 * layers + 6 * d * vocab


CONVENTIONS: tuple[Convention, ...] = (
    Convention(
        "palm-full",
        ("torchtitan",),
        "6 (N - N_embedding) + 12 L d S; a tied embedding stays in N, position tables never count",
        "PaLM, arXiv 2204.02311, appendix B; torchtitan since 2024-04-26 (PR 280), models/utils.py",
        _palm_full,
    ),
    Convention(
        "6N",
        ("llm-foundry", "composer", "picotron", "litgpt"),
        "6 N + 12 L d S, N with every embedding",
        "llm-foundry scripts/train/benchmarking/collect_results.py; torchtitan before 2024-04-26",
        _six_n,
    ),
    Convention(
        "nanotron",
        ("nanotron",),
        "6 (L (2 d^2 + 2 d k e + 3 d f) + V d) + 12 L d S",
        "nanotron src/nanotron/models/llama.py, get_flops",
        _nanotron,
    ),
    Convention(
        "megatron-causal",
        ("megatron-lm",),
        "6 (L (2 d^2 + 2 d k e + 3 d f) + V' d) + 6 L d S: only the unmasked half of attention",
        "Megatron-LM megatron/training/training.py, transformer_flops",
        _megatron_causal,
    ),
    Convention(
        "megatron-deepspeed",
        ("megatron-deepspeed",),
        "2 (3 (L ((2 + 2 // (h/k)) d^2 + 2 d S + 3 d f) + V' d) + what is recomputed)",
        "microsoft/Megatron-DeepSpeed megatron/utils.py; its integer division drops k and v where h/k > 2",
        _megatron_deepspeed,
        hardware=True,
    ),
    Convention(
        "eq3-hardware",
        ("deepspeed-fugaku", "deepspeedfugaku"),
        "24 c L d^2 (1 + S/(6d) + V'/(16 L d)), c = 4 with full activation checkpointing, else 3",
        "arXiv 2104.04473, equation 3; DeepSpeedFugaku megatron/utils.py",
        _eq3_hardware,
        hardware=True,
    ),
    Convention(
        "nemo",
        ("nemo",),
        "gpt 72 L d^2 + 6 L d S + 6 d V; llama as megatron-causal; bert 72 L d^2 (1 + S/(6d) + V/(12 L d))",
        "NeMo nemo/utils/flops_formulas.py; V fixed at 51200 (gpt) and 29000 (bert)",
        _nemo,
    ),
    Convention("nanogpt", ("nanogpt",), "6 (N - N_positions) + 12 L d S", "nanoGPT model.py, estimate_mfu", _nanogpt),
    Convention(
        "nanochat",
        ("nanochat",),
        "6 (L (2 d^2 + 2 d k e + 3 d f) + V' d) + 12 L d S",
        "nanochat nanochat/gpt.py, estimate_flops",
        _nanochat,
    ),
)

_BY_NAME = {tool: each for each in CONVENTIONS for tool in (*each.tools, each.name.lower())}


def convention(name: str) -> Convention:
    """The convention of this name, or the one that the tool of this name uses. Raises InputError for neither."""
    found = _BY_NAME.get(name.lower())
    if found is None:
        names = sorted({each.name for each in CONVENTIONS} | set(_BY_NAME))
        raise InputError(f"there is no FLOP convention '{name}'{suggestion(name, names)}")
    return found


def recomputed_share(model: Model, sequence_length: int, activation_checkpointing: str) -> float:
    """Share of the forward pass's FLOPs that the backward pass computes again.

    ``full``: 1, as llm-foundry counts (4/3 of the work in all). ``selective-layer:k``: every k-th of the L blocks.
    ``core-attention`` (arXiv 2205.05198): scores and their use on values, 4 L d S. ``selective-op`` (torchtitan): of
    a block's matrices multiplied in the order q, k, v, output, MLP, every second one; attention's result is kept.

    These are conventions, as published tables have them. hpcscale's own trainer computes a little less again: torch stops
    when the last needed value is there, before a block's last matrix, and q, k and v are one matrix, which is kept.
    """
    if activation_checkpointing in ("none", "full"):
        return float(activation_checkpointing == "full")
    if activation_checkpointing.startswith("selective-layer:"):
        return (model.layers // int(activation_checkpointing.partition(":")[2])) / model.layers
    attention = 4 * model.layers * model.hidden * sequence_length
    forward = 2 * _matmul_parameters(model, model.vocab) + attention
    again = {
        "core-attention": attention,
        "selective-op": 2 * model.layers * sum(_block_matmuls(model)[1::2]),
    }
    return again[activation_checkpointing] / forward


def hardware_factor(model: Model, sequence_length: int, activation_checkpointing: str) -> float:
    """HFU over MFU: backward costs twice the forward, so recomputing a share s of the forward makes 3 + s of 3."""
    return 1 + recomputed_share(model, sequence_length, activation_checkpointing) / 3


class ImpossibleUtilisation(ValueError):
    """More FLOPs than the device can do: the peak, the device count or the time is wrong."""


def tflops_per_device(flops_per_token: float, tokens_per_second_per_device: float) -> float:
    """TFLOP/s of one device."""
    return flops_per_token * tokens_per_second_per_device / 1e12


def utilisation(tflops: float, peak_tflops: float, what: str = "MFU") -> float:
    """``tflops`` over the dense peak, 0 to 1. Raises ImpossibleUtilisation above 1."""
    share = tflops / peak_tflops
    if share > 1:
        raise ImpossibleUtilisation(
            f"{what} would be {100 * share:.1f} %: {tflops:.4g} TFLOP/s of a peak of {peak_tflops:.4g}; "
            "check peak, precision, number of devices and step time"
        )
    return share
