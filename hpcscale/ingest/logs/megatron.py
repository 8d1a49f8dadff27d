"""Megatron-LM, Megatron-DeepSpeed and DeepSpeedFugaku: one line every log interval, printed by the last rank.

The lines differ in what stands between and behind (a time stamp, ``consumed tokens``, ``samples per second``, ``TFLOPs``), so
fields are found by name. Times and (``--log-energy``: NVML's counters of all GPUs over their number) joules are means over the
interval; memory is in MiB.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from hpcscale.ingest.logs import megatron_arguments
from hpcscale.ingest.logs.attempt import Values
from hpcscale.ingest.logs.bars import Bars
from hpcscale.ingest.logs.bulk import PREFIX, Bulk, Columns, Shape, Texts, all_positive, one, product
from hpcscale.ingest.logs.collect import Collector, Match
from hpcscale.ingest.logs.format import Evidence, Format, Pattern
from hpcscale.ingest.logs.numbers import MIB, count, size

_LITERAL = b" elapsed time per iteration ("
STEP = re.compile(rb"iteration +(\d{1,12})/ *(\d{1,12}|infinity) \|([^\r\n]*)")
# [Rank 0] (after 2 iterations) memory (MB) | allocated: 1.0 | max allocated: 1.0 | reserved: 1.0 | max reserved: 1.0
_MEMORY = re.compile(rb"memory \(MB\) \|[^\r\n]*?max allocated: ([0-9.]+)")

# Milliseconds in Megatron-LM and most others, seconds where bigscience's fork prints them (as CARAML's patch does).
_FIELDS = {
    b"elapsed time per iteration (ms)": "milliseconds",
    b"elapsed time per iteration (s)": "step_seconds",
    b"global batch size": "batch",
    b"actual seqlen": "length",
    b"lm loss": "loss",
    b"lm_loss": "loss",
    b"loss": "loss",
    b"sop loss": "sop_loss",
    b"grad norm": "gradient_norm",
    b"learning rate": "learning_rate",
    b"throughput per GPU (TFLOP/s/GPU)": "tflops_per_device_published",
    b"TFLOPs": "tflops_per_device_published",
    b"energy per GPU (J/iter/GPU)": "joules_per_device",
    b"tokens per gpu per second (tgs)": "tokens_per_second_per_device_published",
    b"samples per second": "samples_per_second_published",
}


def reader(collector: Collector) -> Sequence[Pattern]:
    fields = Bars(_FIELDS)
    return (
        Pattern(_LITERAL, STEP, _step(collector, fields), bulk=_bulk(collector, fields)),
        Pattern(b"memory (MB)", _MEMORY, lambda match: collector.memory(size(match[1], MIB))),
        *megatron_arguments.patterns(collector),
    )


def _step(collector: Collector, fields: Bars) -> Callable[[Match], None]:
    def read(match: Match) -> None:
        found = fields(match[3])
        if "milliseconds" in found:
            found["step_seconds"] = found.pop("milliseconds") / 1000
        if not 0 < found.get("step_seconds", 0) < math.inf:
            return
        step, batch = int(match[1]), count(found.pop("batch", 0))
        length = count(found.pop("length", 0)) or collector.known("training.sequence_length")
        sop_loss, joules = found.pop("sop_loss", None), found.pop("joules_per_device", 0.0)
        values: Values = {"loss": None, **found, "tokens": batch * length if batch and length else None}
        if 0 < joules < math.inf and (devices := collector.known("devices")):
            values["energy_joules"] = joules * devices
        if collector.in_header:
            collector.fact("training.global_batch_size", batch)
            collector.fact("model.family", None if sop_loss is None else "bert")
            values["first_averages"] = _first_interval(collector, step)
        collector.step(match, step, values, None if match[2] == b"infinity" else int(match[2]))

    return read


def _bulk(collector: Collector, fields: Bars) -> Bulk:
    """What :func:`_step` makes of a line, of many."""

    def shape() -> Shape | None:
        head = PREFIX + rb"iteration +(\d{1,12})/ *(\d{1,12}|infinity) \|"
        return Shape(head + fields.shape, ((_LITERAL, 1),)) if fields.shape else None

    def columns(steps: list[int], texts: Sequence[Texts]) -> tuple[Columns, int | None] | None:
        planned, found = one(texts[0]), fields.columns(texts[1:])
        if planned is None or found is None:
            return None
        printed = found.pop("step_seconds", None) or found.pop("milliseconds", None)
        if printed is None or not all_positive(printed):
            return None
        batch, length = found.pop("batch", None), found.pop("length", None)
        tokens = product(batch, length or collector.known("training.sequence_length"), len(steps))
        if tokens is None:
            return None
        found.pop("sop_loss", None)
        unit = 1000 if "milliseconds" in fields.keys else 1
        values: Columns = {
            "loss": [None] * len(steps),
            **found,
            "step_seconds": [float(each) / unit for each in printed],
        }
        values["tokens"] = tokens
        joules, devices = values.pop("joules_per_device", None), collector.known("devices")
        if joules is not None and devices:
            if not all_positive(joules):
                return None
            values["energy_joules"] = [float(each) * devices for each in joules]
        return values, None if planned == b"infinity" else int(planned)

    return Bulk(shape, columns)


def _first_interval(collector: Collector, step: int) -> int:
    """Since 2024 the first iteration is printed alone; before, the first line was the mean of an interval."""
    interval = collector.known("log_interval")
    return interval if interval and step % interval == 0 else 1


MEGATRON_LM = Format(
    "megatron-lm",
    "Megatron-LM",
    "megatron-causal",
    "NVIDIA/Megatron-LM megatron/training/training.py, training_log (d98e8a64dd; older: megatron/training.py)",
    (
        Evidence(_LITERAL, STEP),
        Evidence(b"using world size: ", re.compile(rb"using world size: \d+, data-parallel"), step=False),
    ),
    reader,
    averages="interval",
    memory_kind="allocated",
    energy_source="nvml: as printed, times devices",
)
MEGATRON_DEEPSPEED = replace(
    MEGATRON_LM,
    name="megatron-deepspeed",
    tool="Megatron-DeepSpeed",
    convention="megatron-deepspeed",
    source="microsoft/Megatron-DeepSpeed megatron/training.py, training_log (f4157bea); bigscience's fork: seconds",
    evidence=(
        Evidence(b"samples per second: ", re.compile(rb"elapsed time per iteration [^\r\n]*\| samples per second: ")),
        Evidence(b" deepspeed ..", re.compile(rb" deepspeed \.+ True"), step=False),
    ),
)
# Its lines are Megatron-DeepSpeed's without `tgs`; that it ran on Fugaku says a line of its arguments.
DEEPSPEED_FUGAKU = replace(
    MEGATRON_DEEPSPEED,
    name="deepspeed-fugaku",
    tool="DeepSpeedFugaku",
    convention="eq3-hardware",
    source="rioyokotalab/DeepSpeedFugaku and Fugaku-LLM/DeepSpeedFugaku megatron/training.py (74753f9)",
    also=Evidence(b" cpu_torch_adam ..", re.compile(rb" cpu_torch_adam \.+ True"), step=False),
    memory_kind=None,
)
