"""NeMo: version 2 prints a line an interval, version 1 a progress bar that ends its lines with carriage returns.

The bar's numbers have three or four characters (``9e+3``), so its own counter says the step where ``global_step`` cannot.
``global_step`` counts from 0. A line of version 2 is the mean since the line before (lightning/pytorch/callbacks/progress_printer.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from hpcscale.ingest.logs.attempt import Values
from hpcscale.ingest.logs.collect import Collector, Match
from hpcscale.ingest.logs.format import Evidence, Format, Pattern
from hpcscale.ingest.logs.numbers import number, positive, whole

_LITERAL = b"train_step_timing in s"
# Training epoch 0, iteration 9/99 | lr: 1.5e-06 | global_batch_size: 512 | global_step: 9 | ...
_PRINTED = re.compile(rb"Training epoch \d+, iteration (\d+)/(\d+) \|([^\r\n]*train_step_timing in s: [^\r\n]*)")
# Epoch 0: :  47%|####     | 7/15 [06:19<07:13, reduced_train_loss=11.50, global_step=5.000, ...]
_BAR = re.compile(rb"Epoch \d+: :?[^\r\n\[]*?\| *(\d+)/(\d+) \[([^\r\n\]]*train_step_timing in s=[^\r\n\]]*)\]")
_FIELD = re.compile(rb"([A-Za-z_][\w ./]*?)(?:: |=) ?([-+.\w]+)")

_EXPERIMENT = re.compile(rb"\*+ Experiment configuration \*+")
_RANK_ZERO = re.compile(rb"GLOBAL_RANK: 0,")
_GROUP = re.compile(rb"Rank 0 has (data|tensor model|pipeline model|context) parallel group ?: ?\[([0-9, ]+)\]")
_AXES = {b"data": "dp", b"tensor model": "tp", b"pipeline model": "pp", b"context": "cp"}
_MEMBERS = re.compile(rb"GLOBAL_RANK: \d+, MEMBER: \d+/(\d+)")
_AMP = re.compile(rb"Using (bfloat16|16bit) Automatic Mixed Precision")
# Experiment configuration of version 1, YAML:   "  micro_batch_size: 4"
_SETTING = re.compile(rb"[ \t]([a-z_]+): ([0-9.]+|[a-z_]+)[ \t]*(?=[\r\n])")

_NUMBERS = {
    "micro_batch_size": "training.micro_batch_size",
    "global_batch_size": "training.global_batch_size",
    "tensor_model_parallel_size": "layout.tp",
    "pipeline_model_parallel_size": "layout.pp",
    "context_parallel_size": "layout.cp",
    "encoder_seq_length": "training.sequence_length",
    "seq_length": "training.sequence_length",
    "num_nodes": "nodes",
    "num_layers": "model.layers",
    "hidden_size": "model.hidden",
    "num_attention_heads": "model.heads",
    "ffn_hidden_size": "model.ffn",
    "num_query_groups": "model.kv_heads",
}
_CHECKPOINTING = {"full": "full", "selective": "core-attention", "null": "none"}


def _printed(collector: Collector) -> Sequence[Pattern]:
    def place(match: Match) -> tuple[int, int]:
        return int(match[1]) + 1, int(match[2]) + 1

    return (Pattern(_LITERAL, _PRINTED, _step(collector, place)), *_start(collector))


def _bar(collector: Collector) -> Sequence[Pattern]:
    def place(match: Match) -> tuple[int, int]:
        return int(match[1]), int(match[2])

    return (Pattern(_LITERAL, _BAR, _step(collector, place)), *_start(collector))


def _start(collector: Collector) -> Sequence[Pattern]:
    return (
        Pattern(b"Experiment configuration", _EXPERIMENT, collector.start, start=True),
        Pattern(b"GLOBAL_RANK: 0,", _RANK_ZERO, collector.start, start=True),
        Pattern(b"GLOBAL_RANK: ", _MEMBERS, lambda match: collector.fact("devices", whole(match[1])), header=True),
        Pattern(b" parallel group", _GROUP, lambda match: _group(collector, match), header=True),
        Pattern(b"Mixed Precision", _AMP, lambda match: _precision(collector, match), header=True),
        Pattern(b": ", _SETTING, lambda match: _setting(collector, match), header=True),
    )


def _step(collector: Collector, place: Callable[[Match], tuple[int, int]]) -> Callable[[Match], None]:
    """``place``: the step and the number of all steps, as the line counts them."""

    def read(match: Match) -> None:
        found = {name.strip(): value for name, value in _FIELD.findall(match[3])}
        seconds = positive(found.get(b"train_step_timing in s"))
        if seconds is None:
            return
        batch = whole(found.get(b"global_batch_size"))
        collector.fact("training.global_batch_size", batch)
        batch, length = (
            batch or collector.known("training.global_batch_size"),
            collector.known("training.sequence_length"),
        )
        printed = found.get(b"global_step")
        value = number(printed)
        # 9e+3 may be any of a hundred steps.
        exact = printed is not None and value is not None and value < 1e12 and b"e" not in printed.lower()
        counted, planned = place(match)
        step = int(value) + 1 if exact and value is not None else counted
        values: Values = {
            "step_seconds": seconds,
            "loss": number(found.get(b"reduced_train_loss", b"").removesuffix(b".0")),  # a bar prints `nan.0`
            "tokens": batch * length if batch and length else None,
        }
        for name, key in ((b"grad_norm", "gradient_norm"), (b"lr", "learning_rate")):
            if (other := number(found.get(name))) is not None:
                values[key] = other
        for name in (b"TFLOPS_per_GPU", b"tflops_per_sec_per_gpu"):
            if (tflops := positive(found.get(name))) is not None:
                values["tflops_per_device_published"] = tflops
        # Behind a first epoch the line counts that epoch's steps.
        collector.step(match, step, values, collector.known("planned_steps") or (planned if step <= planned else None))

    return read


def _group(collector: Collector, match: Match) -> None:
    collector.fact(f"layout.{_AXES[match[1]]}", match[2].count(b",") + 1)


def _precision(collector: Collector, match: Match) -> None:
    collector.fact("training.precision", "bf16" if match[1] == b"bfloat16" else "fp16")


def _setting(collector: Collector, match: Match) -> None:
    key, value = match[1].decode(), match[2].decode()
    if key in _NUMBERS:
        collector.fact(_NUMBERS[key], whole(value))
    elif key == "activations_checkpoint_granularity":
        collector.fact("training.activation_checkpointing", _CHECKPOINTING.get(value))
    elif key == "max_steps":
        collector.fact("planned_steps", whole(value))


NEMO = Format(
    "nemo",
    "NeMo",
    "nemo",
    "NVIDIA/NeMo nemo/lightning/pytorch/callbacks/progress_printer.py, megatron_init.py (8cfedd7203)",
    (
        Evidence(_LITERAL, _PRINTED),
        Evidence(b"[NeMo I ", re.compile(rb"\[NeMo I [^\r\n]*Rank 0 has data parallel group"), step=False),
    ),
    _printed,
    averages="interval",
)
NEMO_BAR = Format(
    "nemo-bar",
    "NeMo (progress bar)",
    "nemo",
    "NVIDIA/NeMo nemo/lightning/pytorch/callbacks/megatron_progress_bar.py; version 1: nemo/collections/nlp/parts",
    (Evidence(_LITERAL, _BAR),),
    _bar,
)
