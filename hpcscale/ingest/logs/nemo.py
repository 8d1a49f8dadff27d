"""NeMo: version 2 prints a line an interval, version 1 a progress bar that ends its lines with carriage returns.

The bar's numbers have three or four characters (``9e+3``), so its own counter says the step where ``global_step`` cannot.
``global_step`` counts from 0. A line of version 2 is the mean since the line before (lightning/pytorch/callbacks/progress_printer.py).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence

from hpcscale.ingest.logs.attempt import Values
from hpcscale.ingest.logs.bars import Bars, Numbers
from hpcscale.ingest.logs.bulk import PREFIX, Bulk, Columns, Shape, Texts, all_positive, one, product
from hpcscale.ingest.logs.collect import Collector, Match
from hpcscale.ingest.logs.format import Evidence, Format, Pattern
from hpcscale.ingest.logs.numbers import count, number, whole

_LITERAL = b"train_step_timing in s"
# Training epoch 0, iteration 9/99 | lr: 1.5e-06 | global_batch_size: 512 | global_step: 9 | ...
_PRINTED = re.compile(rb"Training epoch \d+, iteration (\d+)/(\d+) \|([^\r\n]*train_step_timing in s: [^\r\n]*)")
# Epoch 0: :  47%|####     | 7/15 [06:19<07:13, reduced_train_loss=11.50, global_step=5.000, ...]
_BAR = re.compile(rb"Epoch \d+: :?[^\r\n\[]*?\| *(\d+)/(\d+) \[([^\r\n\]]*train_step_timing in s=[^\r\n\]]*)\]")
_FIELD = re.compile(rb"([A-Za-z_][\w ./]*?)(?:: |=) ?([-+.\w]+)")

_FIELDS = {
    b"global_batch_size": "batch",
    b"global_step": "global_step",
    b"train_step_timing in s": "step_seconds",
    b"reduced_train_loss": "loss",
    b"grad_norm": "gradient_norm",
    b"lr": "learning_rate",
    b"TFLOPS_per_GPU": "tflops_per_device_published",
    b"tflops_per_sec_per_gpu": "tflops_per_device_published",
}

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
    fields = Bars(_FIELDS)

    def place(match: Match) -> tuple[int, int]:
        return int(match[1]) + 1, int(match[2]) + 1

    step = _step(collector, place, lambda match: fields(match[3]))
    return (Pattern(_LITERAL, _PRINTED, step, bulk=_bulk(collector, fields)), *_start(collector))


def _bar(collector: Collector) -> Sequence[Pattern]:
    def place(match: Match) -> tuple[int, int]:
        return int(match[1]), int(match[2])

    return (Pattern(_LITERAL, _BAR, _step(collector, place, _of_bar)), *_start(collector))


def _of_bar(match: Match) -> Numbers:
    """The numbers of a bar, as far as its three or four characters tell them."""
    texts = {_FIELDS.get(name.strip()): value for name, value in _FIELD.findall(match[3])}
    if b"e" in texts.get("global_step", b"").lower():
        del texts["global_step"]  # 9e+3 may be any of a hundred steps
    if whole(texts.get("batch")) is None:
        texts.pop("batch", None)
    if "loss" in texts:
        texts["loss"] = texts["loss"].removesuffix(b".0")  # a bar prints `nan.0`
    numbers = {name: number(text) for name, text in texts.items()}
    return {name: value for name, value in numbers.items() if name is not None and value is not None}


def _start(collector: Collector) -> Sequence[Pattern]:
    return (
        Pattern(b"Experiment configuration", _EXPERIMENT, collector.start, start=True),
        Pattern(b"GLOBAL_RANK: 0,", _RANK_ZERO, collector.start, start=True),
        Pattern(b"GLOBAL_RANK: ", _MEMBERS, lambda match: collector.fact("devices", whole(match[1])), header=True),
        Pattern(b" parallel group", _GROUP, lambda match: _group(collector, match), header=True),
        Pattern(b"Mixed Precision", _AMP, lambda match: _precision(collector, match), header=True),
        Pattern(b": ", _SETTING, lambda match: _setting(collector, match), header=True),
    )


def _step(
    collector: Collector, place: Callable[[Match], tuple[int, int]], fields: Callable[[Match], Numbers]
) -> Callable[[Match], None]:
    """``place``: the step and the number of all steps, as the line counts them."""

    def read(match: Match) -> None:
        found = fields(match)
        if not 0 < found.get("step_seconds", 0) < math.inf:
            return
        batch, length = count(found.pop("batch", 0)), collector.known("training.sequence_length")
        collector.fact("training.global_batch_size", batch)
        batch = batch or collector.known("training.global_batch_size")
        counted, planned = place(match)
        before = found.pop("global_step", -1.0)
        step = int(before) + 1 if 0 <= before < 1e12 else counted
        if not 0 < found.get("tflops_per_device_published", 1) < math.inf:
            del found["tflops_per_device_published"]
        values: Values = {"loss": None, **found, "tokens": batch * length if batch and length else None}
        # Behind a first epoch the line counts that epoch's steps.
        collector.step(match, step, values, collector.known("planned_steps") or (planned if step <= planned else None))

    return read


def _bulk(collector: Collector, fields: Bars) -> Bulk:
    """What :func:`_step` makes of a line, of many."""

    def shape() -> Shape | None:
        head = PREFIX + rb"Training epoch \d+, iteration (\d+)/(\d+) \|"
        return Shape(head + fields.shape, ((_LITERAL, 1),)) if fields.shape else None

    def columns(counted: list[int], texts: Sequence[Texts]) -> tuple[Columns, int | None] | None:
        last, found = one(texts[0]), fields.columns(texts[1:])
        if last is None or found is None:
            return None
        if not all(
            all_positive(found[name]) for name in ("step_seconds", "tflops_per_device_published") if name in found
        ):
            return None
        if "step_seconds" not in found:
            return None
        found = {**found, "step_seconds": list(map(float, found["step_seconds"]))}
        before = [float(each) for each in found.pop("global_step", counted)]
        batch = found.pop("batch", None) or collector.known("training.global_batch_size")
        tokens = product(batch, collector.known("training.sequence_length"), len(counted))
        if tokens is None or min(before) < 0 or max(before) >= 1e12:
            return None
        steps, planned = [int(each) + 1 for each in before], int(last) + 1
        values: Columns = {"step": steps, "loss": [None] * len(steps), **found, "tokens": tokens}
        return values, collector.known("planned_steps") or (planned if steps[0] <= planned else None)

    return Bulk(shape, columns)


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
