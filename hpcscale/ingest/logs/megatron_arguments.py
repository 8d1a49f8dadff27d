"""What Megatron and its forks print when they start: world size, every argument, the padded vocabulary, as facts.

An argument that the list lacks did not exist in that version, whose behaviour is the default given here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from hpcscale.ingest.logs.collect import Collector, Match
from hpcscale.ingest.logs.format import Pattern
from hpcscale.ingest.logs.numbers import whole

# using world size: 8, data-parallel size: 2, context-parallel size: 1, ..., tensor-model-parallel size: 4, ...
_WORLD = re.compile(rb"using world size: (\d+), data-parallel[- ]size: (\d+)([^\r\n]*)")
_SIZES = {
    "layout.cp": re.compile(rb"\bcontext-parallel size: (\d+)"),
    "layout.tp": re.compile(rb"(?<!encoder-)tensor-model-parallel size: (\d+)"),
    "layout.pp": re.compile(rb"(?<!encoder-)pipeline-model-parallel size: (\d+)"),
}
#   num_layers ...................................... 48
_ARGUMENT = re.compile(rb"[ \t]([a-z][a-z0-9_]*) \.{2,} ?([^\r\n]*)")
_END = re.compile(rb"-+ end of arguments -+")
# > padded vocab (size: 50257) with 431 dummy tokens (new size: 50688)
_VOCAB = re.compile(rb"padded vocab \(size: (\d+)\)")

_NUMBERS = {
    "world_size": "devices",
    "tensor_model_parallel_size": "layout.tp",
    "pipeline_model_parallel_size": "layout.pp",
    "context_parallel_size": "layout.cp",
    "data_parallel_size": "layout.dp",
    "seq_length": "training.sequence_length",
    "global_batch_size": "training.global_batch_size",
    "micro_batch_size": "training.micro_batch_size",
    "log_interval": "log_interval",
}
_SHAPE = {
    "num_layers": "layers",
    "hidden_size": "hidden",
    "num_attention_heads": "heads",
    "ffn_hidden_size": "ffn",
    "make_vocab_size_divisible_by": "vocab_multiple",
}
_POSITIONS = {"learned_absolute": "learned", "rope": "rope", "rotary": "rope", "alibi": "alibi"}

Arguments = dict[str, str]


def patterns(collector: Collector) -> Sequence[Pattern]:
    arguments: Arguments = {}

    def world(match: Match) -> None:
        collector.start(match)
        arguments.clear()
        collector.fact("devices", whole(match[1]))
        collector.fact("layout.dp", whole(match[2]))
        for name, size in _SIZES.items():
            found = size.search(match[3])
            collector.fact(name, whole(found[1]) if found else None)

    def argument(match: Match) -> None:
        # DeepSpeed's forks end a line in the argument's origin: `0.0......default`.
        value = match[2].decode("utf-8", "replace").strip()
        arguments.setdefault(match[1].decode(), re.sub(r"\.{2,}(default|updated)$", "", value))

    def end(_: Match) -> None:
        for name, value in facts(arguments).items():
            collector.fact(name, value)
        if _given(arguments, "num_experts") and arguments["num_experts"] not in ("[1]", "1"):
            collector.remark("a mixture of experts: the model's FLOPs are not counted")

    def vocabulary(match: Match) -> None:
        collector.fact("model.vocab", whole(match[1]))

    return (
        Pattern(b"using world size: ", _WORLD, world, start=True),
        Pattern(b" ...", _ARGUMENT, argument, header=True),
        Pattern(b"end of arguments", _END, end, header=True),
        Pattern(b"padded vocab (", _VOCAB, vocabulary, header=True),
    )


def facts(arguments: Arguments) -> dict[str, Any]:
    """What the whole list of arguments says of layout, training and model; nothing where it is not clear."""
    found: dict[str, Any] = {fact: whole(arguments.get(name)) for name, fact in _NUMBERS.items()}
    found["training.precision"] = _precision(arguments)
    found["training.activation_checkpointing"] = _checkpointing(arguments)
    found["layout.sharding"] = _sharding(arguments)
    if not _given(arguments, "num_experts") or arguments["num_experts"] in ("[1]", "1"):
        found |= _model(arguments)
    return {name: value for name, value in found.items() if value is not None}


def _given(arguments: Arguments, name: str) -> bool:
    return arguments.get(name, "None") not in ("None", "False", "")


def _precision(arguments: Arguments) -> str:
    names = ("fp8", "bf16", "fp16")
    return next((name for name in names if _given(arguments, name)), "fp32")


def _checkpointing(arguments: Arguments) -> str | None:
    granularity = arguments.get("recompute_granularity", "None")
    if granularity == "selective":
        modules = arguments.get("recompute_modules", "['core_attn']")
        return "core-attention" if modules in ("['core_attn']", "None") else None
    if granularity == "full":
        # `block` recomputes only some layers of each stage.
        return "full" if arguments.get("recompute_method") != "block" else None
    if _given(arguments, "checkpoint_activations") or _given(arguments, "activations_checkpoint_method"):
        return "full"
    return "core-attention" if _given(arguments, "recompute_activations") else "none"


def _sharding(arguments: Arguments) -> str | None:
    stage = arguments.get("zero_stage") if _given(arguments, "deepspeed") else None
    if stage is not None:
        return {"0": "ddp", "1": "zero1", "3": "fsdp"}.get(stage.removesuffix(".0"))
    if any(_given(arguments, name) for name in ("use_torch_fsdp2", "use_megatron_fsdp", "use_custom_fsdp")):
        return "fsdp"
    return "zero1" if _given(arguments, "use_distributed_optimizer") else "ddp"


def _model(arguments: Arguments) -> dict[str, Any]:
    found: dict[str, Any] = {f"model.{key}": whole(arguments.get(name)) for name, key in _SHAPE.items()}
    rotary = _given(arguments, "use_rotary_position_embeddings")
    positions = arguments.get("position_embedding_type", "learned_absolute").rpartition(".")[2]
    groups = _given(arguments, "group_query_attention") or "group_query_attention" not in arguments
    kv_heads = whole(arguments.get("num_query_groups", arguments.get("num_key_value_heads"))) if groups else None
    found |= {
        "model.kv_heads": kv_heads or found["model.heads"],
        "model.positions": "rope" if rotary else _POSITIONS.get(positions),
        "model.max_positions": whole(arguments.get("max_position_embeddings")) if not rotary else None,
        "model.norm": {
            "LayerNorm": "layernorm",
            "layernorm": "layernorm",
            "RMSNorm": "rmsnorm",
            "rmsnorm": "rmsnorm",
        }.get(arguments.get("normalization", "LayerNorm")),
        "model.mlp": "swiglu" if _given(arguments, "swiglu") else "gelu",
        "model.biases": arguments.get("add_bias_linear", "True") == "True",
        "model.tied_embeddings": not _given(arguments, "untie_embeddings_and_output_weights"),
        "model.vocab": whole(arguments.get("vocab_size")),
    }
    if found["model.positions"] != "learned":
        found["model.max_positions"] = None
    family = "llama" if found["model.norm"] == "rmsnorm" and found["model.mlp"] == "swiglu" else "gpt"
    return {**found, "model.family": family}
