"""nanotron: one line an iteration, numbers in three digits with K, M, B, T; the configuration as Python prints it.

The keys between the bars move between versions, so they are found by name. Memory is in MiB.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence

from hpcscale.ingest.logs.attempt import Values
from hpcscale.ingest.logs.bars import Bars
from hpcscale.ingest.logs.bulk import PREFIX, Bulk, Columns, Shape, Texts, all_positive, one
from hpcscale.ingest.logs.collect import Collector, Match
from hpcscale.ingest.logs.format import Evidence, Format, Pattern
from hpcscale.ingest.logs.numbers import MIB, human, size, whole

_LITERAL = b"tokens_per_sec_per_gpu: "
_STEP = re.compile(rb"iteration: (\d{1,12}) / (\d{1,12}) \|([^\r\n]*)")
_START = re.compile(rb"Config\(general=GeneralArgs\(")
_MEMORY = re.compile(rb"Peak allocated: ([0-9.]+)MiB")
# parallelism=ParallelismArgs(dp=2,   or alone on a line:   pp=1,
_KEY = re.compile(rb"[ (]([a-z_]+)=([^,()\s]+)")

_FIELDS = {
    b"time_per_iteration_ms": "milliseconds",
    b"elapsed_time_per_iteration_ms": "milliseconds",
    b"lm_loss": "loss",
    b"grad_norm": "gradient_norm",
    b"lr": "learning_rate",
    b"model_tflops_per_gpu": "tflops_per_device_published",
    b"tokens_per_sec": "tokens_per_second_published",
    b"tokens_per_sec_per_gpu": "tokens_per_second_per_device_published",
}
_NUMBERS = {
    "dp": "layout.dp",
    "pp": "layout.pp",
    "tp": "layout.tp",
    "context_parallel_size": "layout.cp",
    "sequence_length": "training.sequence_length",
    "micro_batch_size": "training.micro_batch_size",
    "hidden_size": "model.hidden",
    "intermediate_size": "model.ffn",
    "num_attention_heads": "model.heads",
    "num_hidden_layers": "model.layers",
    "num_key_value_heads": "model.kv_heads",
    "vocab_size": "model.vocab",
    "make_vocab_size_divisible_by": "model.vocab_multiple",
    "batch_accumulation_per_replica": "batch_accumulation",
}
_WORDS: dict[str, tuple[str, dict[str, object]]] = {
    "dtype": ("training.precision", {"torch.bfloat16": "bf16", "torch.float16": "fp16", "torch.float32": "fp32"}),
    "recompute_layer": ("training.activation_checkpointing", {"True": "full", "False": "none"}),
    "tie_word_embeddings": ("model.tied_embeddings", {"True": True, "False": False}),
    "zero_stage": ("layout.sharding", {"0": "ddp", "1": "zero1"}),
    "is_llama_config": ("model.family", {"True": "llama"}),
}
# What nanotron's Llama is (src/nanotron/models/llama.py); the configuration does not say it.
_LLAMA = {"model.positions": "rope", "model.norm": "rmsnorm", "model.mlp": "swiglu", "model.biases": False}


def reader(collector: Collector) -> Sequence[Pattern]:
    fields = Bars(_FIELDS, human)
    return (
        Pattern(_LITERAL, _STEP, _step(collector, fields), bulk=_bulk(collector, fields)),
        Pattern(b"Config(general=", _START, collector.start, start=True),
        Pattern(b"Peak allocated: ", _MEMORY, lambda match: collector.memory(size(match[1], MIB))),
        Pattern(b"=", _KEY, _configuration(collector), header=True),
    )


def _configuration(collector: Collector) -> Callable[[Match], None]:
    def read(match: Match) -> None:
        key, value = match[1].decode(), match[2].decode("utf-8", "replace")
        if key in _NUMBERS:
            collector.fact(_NUMBERS[key], whole(value))
        elif key in _WORDS:
            fact, words = _WORDS[key]
            collector.fact(fact, words.get(value))
            if fact == "model.family" and value == "True":
                for name, constant in _LLAMA.items():
                    collector.fact(name, constant)

    return read


def _step(collector: Collector, fields: Bars) -> Callable[[Match], None]:
    def read(match: Match) -> None:
        found = fields(match[3])
        milliseconds = found.pop("milliseconds", 0.0)
        if collector.in_header:
            _batch(collector)
        batch, length = collector.known("training.global_batch_size"), collector.known("training.sequence_length")
        values: Values = {
            "step_seconds": milliseconds / 1000 if 0 < milliseconds < math.inf else None,
            "loss": None,
            **found,
            "tokens": batch * length if batch and length else None,
        }
        collector.step(match, int(match[1]), values, int(match[2]))

    return read


def _bulk(collector: Collector, fields: Bars) -> Bulk:
    """What :func:`_step` makes of a line, of many."""

    def shape() -> Shape | None:
        head = PREFIX + rb"iteration: (\d{1,12}) / (\d{1,12}) \|"
        return Shape(head + fields.shape, ((_LITERAL, 1),)) if fields.shape else None

    def columns(steps: list[int], texts: Sequence[Texts]) -> tuple[Columns, int | None] | None:
        planned, found = one(texts[0]), fields.columns(texts[1:])
        if planned is None or found is None:
            return None
        milliseconds = found.pop("milliseconds", None)
        if milliseconds is not None and not all_positive(milliseconds):
            return None
        batch, length = collector.known("training.global_batch_size"), collector.known("training.sequence_length")
        values: Columns = {
            "step_seconds": [None] * len(steps)
            if milliseconds is None
            else [float(each) / 1000 for each in milliseconds],
            "loss": [None] * len(steps),
            **found,
            "tokens": [batch * length if batch and length else None] * len(steps),
        }
        return values, int(planned)

    return Bulk(shape, columns)


def _batch(collector: Collector) -> None:
    """Sequences: dp x micro batch x accumulation. The line's own figure has three digits, and counts tokens in some versions."""
    parts = [collector.known(name) for name in ("layout.dp", "training.micro_batch_size", "batch_accumulation")]
    if all(parts):
        collector.fact("training.global_batch_size", parts[0] * parts[1] * parts[2])


NANOTRON = Format(
    "nanotron",
    "nanotron",
    "nanotron",
    "huggingface/nanotron src/nanotron/logging/base.py, src/nanotron/trainer.py (2411b022)",
    (Evidence(_LITERAL, _STEP), Evidence(b"Config(general=", _START, step=False)),
    reader,
    memory_kind="allocated",
)
