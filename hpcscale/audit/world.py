"""What a row means in a world: its model, work per token, peak, devices and batch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from hpcscale.audit import zoo
from hpcscale.audit.context import Context, device_in, precision_in
from hpcscale.audit.facts import STATED, Fact, Row
from hpcscale.audit.ways import Way, parameter_counts, work
from hpcscale.spec import device
from hpcscale.spec.model import Model


@dataclass(frozen=True)
class World:
    """What holds for a whole table, found by trying: how work is counted, which models, sizes and peaks are meant."""

    context: Context
    way: Way | None = None
    family: str | None = None
    model: Model | None = None  # given or found for all rows, whatever their labels say
    preferred: frozenset[str] = frozenset()  # names of the ways that win where several fit as well
    sequence_length: float | None = None  # of rows that print none
    full: bool = False  # whether rows that say nothing of checkpointing recompute everything
    peak: float | None = None  # TFLOP/s, where no device is known or its rounded peak was used
    devices_per_node: float | None = None
    layout_factor: float | None = None  # devices over dp tp pp cp in most rows
    batch_factor: float | None = None  # global batch over micro batch, accumulation and dp in most rows
    stated_batch: float | None = None  # where the text gives one global batch and the table another
    constants: Mapping[tuple[str, tuple[object, ...]], float] = field(
        default_factory=dict
    )  # of relations that hold up to a constant
    fitted: Mapping[tuple[object, ...], float] = field(default_factory=dict)  # FLOPs per token where no way fits
    noise: Mapping[str, float] = field(default_factory=dict)
    aggregate_factor: float = 1.0  # 1.024 where the text divides TFLOPs by 1024 for PFLOPs
    work_factor: float = 1.0  # of one row: what explaining it tries
    peak_factor: float = 1.0


def models_of(row: Row, world: World) -> dict[str, Model]:
    """The models that a row may be of, by family."""
    label, sizes = row.label
    return _meant(label, sizes, world.context.sizes, world.context.hints)


Sizes = tuple[tuple[str, int], ...]


@lru_cache(maxsize=4096)
def _meant(label: str, shape: Sizes, stated: Sizes, hints: tuple[str, ...]) -> dict[str, Model]:
    """A shape in the row counts more than its label, a label with its family more than a shape in the text."""
    whole = {**dict(stated), **dict(shape)}
    shaped = zoo.shaped(whole, label + " " + "\n".join(hints)) if {"layers", "hidden"} <= set(whole) else {}
    if shape and shaped:
        return shaped
    if shaped and not zoo.families_in(label):
        named = zoo.size_in(label)
        sizes = [parameter_counts(model, 2048)[0] for model in shaped.values()]  # pyright: ignore[reportArgumentType]
        if named is None or any(abs(size / named - 1) < 0.2 for size in sizes):
            return shaped
    return zoo.candidates(label, hints)


def model_of(row: Row, world: World) -> Model | None:
    if world.model is not None:
        return world.model
    found = models_of(row, world)
    if not found:
        return None
    return found.get(world.family or "") or next(iter(found.values()))


def sequence_of(row: Row, world: World) -> float | None:
    return row.value("sequence_length") or world.sequence_length


def full_of(row: Row, world: World) -> bool:
    mode = checkpointing(row.words.get("activation_checkpointing"))
    return world.full if mode is None else mode == "full"


def checkpointing(text: str | None) -> str | None:
    """``full``, ``none`` or ``selective`` as a table's cell says it; None where it says nothing of it."""
    word = (text or "").strip().lower()
    if not word:
        return None
    if word in ("no", "none", "false", "off", "0", "n", "-", "–", "w/o", "without", "✗", "✘", "×", "なし", "無"):
        return "none"
    return "selective" if "select" in word or "partial" in word or "layer" in word or "op" in word.split() else "full"


def devices_of(row: Row, world: World) -> Fact | None:
    """How many devices a row's job has: printed, from its nodes, or from its layout."""
    if "devices" in row.facts and row.facts["devices"].column != STATED:
        return row.facts["devices"]
    nodes, each = row.facts.get("nodes"), row.value("devices_per_node") or world.devices_per_node
    if nodes and each:
        return nodes.times(each)
    if {"dp", "tp", "pp"} <= set(row.facts) and row.facts["dp"].column != STATED:
        return Fact(layout_of(row) * (world.layout_factor or 1.0))
    return row.facts.get("devices")


def layout_of(row: Row) -> float:
    return math.prod(row.value(axis) or 1.0 for axis in ("dp", "tp", "pp", "cp"))


def replicas_of(row: Row, world: World) -> float | None:
    """Data-parallel size: printed, or what devices and the other axes leave."""
    if "dp" in row.facts:
        return row.value("dp")
    devices = devices_of(row, world)
    other = math.prod(row.value(axis) or 1.0 for axis in ("tp", "pp", "cp"))
    return devices.value / other if devices else None


def batch_of(row: Row, world: World) -> Fact | None:
    """Sequences of one step."""
    if "global_batch_size" in row.facts:
        return row.facts["global_batch_size"]
    sequence = sequence_of(row, world)
    if "tokens_per_step" in row.facts and sequence:
        return row.facts["tokens_per_step"].times(1 / sequence)
    micro, accumulation, replicas = row.value("micro_batch_size"), row.value("accumulation"), replicas_of(row, world)
    if micro and accumulation and replicas and row.facts["accumulation"].column != STATED:
        return Fact(micro * accumulation * replicas * (world.batch_factor or 1.0))
    return None


def device_name(row: Row, world: World) -> str | None:
    named = row.words.get("device")
    return (_device(named) if named else None) or world.context.device


@lru_cache(maxsize=512)
def _device(text: str) -> str | None:
    return text if text in device.catalogue() else device_in(text)


def precision_of(row: Row, world: World) -> str:
    return precision_in(row.words.get("precision", "")) or world.context.precision or "bf16"


def peaks_of(row: Row, world: World) -> tuple[float, ...]:
    """Dense peaks in TFLOP/s that a row's device may mean, the most likely first; none where no device is known."""
    found = device.find(device_name(row, world) or "")
    if found is None:
        return ()
    precision = precision_of(row, world)
    peaks = [mode.peak_tflops.get(precision) for mode in found.modes] if found.modes else [found.peak(precision)]  # type: ignore[call-overload]
    if found.modes:
        peaks += [mode.peak_tflops.get("fp32") for mode in found.modes]
    return tuple(dict.fromkeys(peak for peak in peaks if peak))


def peak_of(row: Row, world: World) -> float | None:
    if "peak_tflops" in row.facts:
        return row.facts["peak_tflops"].value * world.peak_factor
    known = peaks_of(row, world)
    if world.peak and (not known or any(abs(world.peak / each - 1) < 0.01 for each in known) or len(known) > 1):
        return world.peak * world.peak_factor
    return known[0] * world.peak_factor if known else None


def group_of(row: Row, world: World) -> tuple[object, ...]:
    """Rows of one model and sequence length do the same work per token."""
    found = model_of(row, world)
    return (
        found.name if found else row.words.get("model", ""), sequence_of(row, world), full_of(row, world),
        row.value("layers"), row.value("hidden"), row.value("parameters") if not found else None,
    )  # fmt: skip


def work_of(row: Row, world: World) -> float | None:
    """FLOPs per token in this world, or None where they are not known."""
    if world.way is None:
        fitted = world.fitted.get(group_of(row, world))
        return fitted * world.work_factor if fitted else None
    model, sequence = model_of(row, world), sequence_of(row, world)
    if world.way.short and "parameters" in row.facts and world.model is None:
        each = 8 if world.way.hardware else 6
        return each * row.facts["parameters"].value * world.work_factor
    if model is None or not sequence or sequence > 2**24:
        return None
    found = work(world.way, model, int(sequence), min(int(row.value("tp") or 1) or 1, 4096), full_of(row, world))  # pyright: ignore[reportArgumentType]
    return found * world.work_factor


def hardware_of(row: Row, world: World) -> float | None:
    """HFU over MFU; None where it depends on what is not known (selective checkpointing)."""
    if world.way is not None and world.way.hardware:
        return 1.0
    mode = checkpointing(row.words.get("activation_checkpointing"))
    if mode == "selective":
        return None
    return 4 / 3 if (world.full if mode is None else mode == "full") else 1.0
