"""Megatron-LM, Megatron-DeepSpeed and DeepSpeedFugaku: one line every log interval, printed by the last rank.

The lines differ in what stands between and behind (a time stamp, ``consumed tokens``, ``samples per second``, ``TFLOPs``), so
fields are found by name. Times are means over the interval; memory is in MiB.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from hpcscale.ingest.logs import megatron_arguments
from hpcscale.ingest.logs.attempt import Values
from hpcscale.ingest.logs.collect import Collector, Match
from hpcscale.ingest.logs.format import Evidence, Format, Pattern
from hpcscale.ingest.logs.numbers import MIB, number, positive, whole

_LITERAL = b" elapsed time per iteration ("
STEP = re.compile(rb"iteration +(\d{1,12})/ *(\d{1,12}|infinity) \|([^\r\n]*)")
# [Rank 0] (after 2 iterations) memory (MB) | allocated: 1.0 | max allocated: 1.0 | reserved: 1.0 | max reserved: 1.0
_MEMORY = re.compile(rb"memory \(MB\) \|[^\r\n]*?max allocated: ([0-9.]+)")

# Seconds: milliseconds in Megatron-LM and most others, seconds where bigscience's fork prints them (as CARAML's patch does).
_SECONDS = ((b"elapsed time per iteration (ms)", 1000), (b"elapsed time per iteration (s)", 1))
_NUMBERS: tuple[tuple[bytes, str], ...] = (
    (b"grad norm", "gradient_norm"),
    (b"learning rate", "learning_rate"),
)
_PRINTED: tuple[tuple[bytes, str], ...] = (
    (b"throughput per GPU (TFLOP/s/GPU)", "tflops_per_device_published"),
    (b"TFLOPs", "tflops_per_device_published"),
    (b"tokens per gpu per second (tgs)", "tokens_per_second_per_device_published"),
    (b"samples per second", "samples_per_second_published"),
)


def fields(line: bytes) -> dict[bytes, bytes]:
    """``name: value`` between bars."""
    found = {}
    for part in line.split(b"|"):
        name, colon, value = part.partition(b": ")
        if colon:
            found[name.strip()] = value
    return found


def reader(collector: Collector) -> Sequence[Pattern]:
    return (
        Pattern(_LITERAL, STEP, _step(collector)),
        Pattern(b"memory (MB)", _MEMORY, lambda match: collector.memory(round(float(match[1]) * MIB))),
        *megatron_arguments.patterns(collector),
    )


def _step(collector: Collector) -> Callable[[Match], None]:
    def read(match: Match) -> None:
        found = fields(match[3])
        seconds = _seconds(found)
        if seconds is None:
            return
        batch = whole(found.get(b"global batch size"))
        collector.fact("training.global_batch_size", batch)
        length = whole(found.get(b"actual seqlen")) or collector.known("training.sequence_length")
        values: Values = {
            "step_seconds": seconds,
            "loss": _loss(found),
            "tokens": batch * length if batch and length else None,
        }
        for name, key in _NUMBERS:
            if (value := number(found.get(name))) is not None:
                values[key] = value
        for name, key in _PRINTED:
            if (value := positive(found.get(name))) is not None:
                values[key] = value
        step = int(match[1])
        interval = collector.known("log_interval")
        # Since 2024 the first iteration is printed alone; before, the first line was that of the first interval.
        if interval and step % interval == 0 and collector.in_header:
            values["first_averages"] = interval
        if b"sop loss" in found:
            collector.fact("model.family", "bert")
        collector.step(match, step, values, whole(match[2]))

    return read


def _seconds(found: dict[bytes, bytes]) -> float | None:
    for name, divisor in _SECONDS:
        if name in found:
            value = positive(found[name].partition(b"/")[0])  # some print the mean of all behind a slash
            return value / divisor if value is not None else None
    return None


def _loss(found: dict[bytes, bytes]) -> float | None:
    return number(found.get(b"lm loss", found.get(b"lm_loss", found.get(b"loss"))))


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
