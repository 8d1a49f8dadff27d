"""What ``hpcscale probe`` measured: the lines with schema ``probe`` of its record, one measurement each.

Every line has ``kind``, ``dtype``, ``seconds`` (the median over ``repeats``, each the slowest rank's), ``seconds_low`` and
``seconds_high`` (the median's 95 % interval), ``mean_seconds`` (their mean), ``rank_seconds`` (the mean over repeats and ranks,
slow or not; neither in records of older versions), and, by kind:

``matmul``     ``m, n, k`` ([m, k] times the transpose of [n, k], as a linear layer does), ``flops``, ``flops_per_second``
``attention``  ``batch, heads, sequence, head_size, causal``: forward and backward; ``flops``, ``flops_per_second``
``memory``     ``operation`` (``copy``, ``add``), ``bytes`` (read and written), ``bytes_per_second``
``launch``     one kernel on one element: ``seconds`` is what a kernel costs that does nothing
``all_reduce, all_gather, reduce_scatter, send_recv``
               ``bytes, ranks`` (of one group), ``span``, ``bytes_per_second``, ``bus_bytes_per_second``
``beside``     a ``collective`` of ``bytes`` among ``ranks`` that runs while a product ``m, n, k`` does: ``seconds`` until both are
               done; ``product_seconds`` and ``collective_seconds`` are those of each alone

All ranks measure at the same time, so ranks that share a memory or a network share it here too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from hpcscale.record import reader
from hpcscale.record.attempt import RECORD, attempts
from hpcscale.record.schema import Status

Span = Literal["node", "job"]  # the group's ranks are all on one node, or on several

# How often a ring passes each rank's part round to all the others.
_ROUNDS = {"all_reduce": 2, "all_gather": 1, "reduce_scatter": 1, "send_recv": 0}
FOLDER = "probes"  # in the folder of all runs: probes/<machine>/<nodes and ranks>/attempts/<id>/record.jsonl


def attention_flops(batch: int, heads: int, sequence: int, head_size: int) -> int:
    """Forward and backward of softmax(Q K^T) V: two products forward, four backward, a multiply-add is two.

    The whole square is counted also where a mask hides half of it, and no recomputation (the convention ``palm-full``).
    """
    return 12 * batch * heads * sequence**2 * head_size


def bus_factor(kind: str, ranks: int) -> float:
    """Bus bandwidth over algorithm bandwidth: what each rank's link carries for a byte of the message.

    nccl-tests, doc/PERFORMANCE.md: 2 (n-1)/n for all-reduce, (n-1)/n for all-gather and reduce-scatter, 1 for send/receive.
    """
    rounds = _ROUNDS[kind]
    return rounds * (ranks - 1) / ranks if rounds else 1.0


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """Seconds of one call: the median over ``repeats`` and its 95 % interval; the slowest rank counts.

    ``mean_seconds`` is what one of many calls in a row takes, bursts included; ``rank_seconds`` the same of ranks that wait for
    no other one. None if the record does not say.
    """

    kind: str
    dtype: str  # fp64, fp32, tf32, bf16, fp16
    seconds: float
    seconds_low: float
    seconds_high: float
    repeats: int
    mean_seconds: float | None = None
    rank_seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class Matmul(Measurement):
    """[m, k] times the transpose of [n, k]: m tokens, k features in, n out; 2 m n k FLOPs."""

    m: int
    n: int
    k: int

    @property
    def flops(self) -> int:
        return 2 * self.m * self.n * self.k

    @property
    def flops_per_second(self) -> float:
        return self.flops / self.seconds


@dataclass(frozen=True, kw_only=True)
class Attention(Measurement):
    """torch's scaled_dot_product_attention, forward and backward, on [batch, heads, sequence, head size]."""

    batch: int
    heads: int
    sequence: int
    head_size: int
    causal: bool = True

    @property
    def flops(self) -> int:
        return attention_flops(self.batch, self.heads, self.sequence, self.head_size)

    @property
    def flops_per_second(self) -> float:
        return self.flops / self.seconds


@dataclass(frozen=True, kw_only=True)
class Memory(Measurement):
    """An element-wise operation on arrays beyond the caches. ``bytes`` are those read and written, as STREAM counts."""

    operation: str  # copy: 2 arrays, add: 3
    bytes: int

    @property
    def bytes_per_second(self) -> float:
        return self.bytes / self.seconds


@dataclass(frozen=True, kw_only=True)
class Launch(Measurement):
    """A kernel on one element."""


@dataclass(frozen=True, kw_only=True)
class Message(Measurement):
    """A collective, or a shift by some ranks (``send_recv``), in all groups of this size and span at the same time.

    ``bytes`` as in nccl-tests: the buffer (all-reduce), the gathered result (all-gather), what goes in (reduce-scatter), what
    each rank sends (send/receive). ``stride``: how many ranks further send_recv sends.
    """

    bytes: int
    ranks: int
    span: Span
    stride: int | None = None

    @property
    def bytes_per_second(self) -> float:
        """Algorithm bandwidth: bytes over seconds."""
        return self.bytes / self.seconds

    @property
    def bus_bytes_per_second(self) -> float:
        """Bus bandwidth: the algorithm's times :func:`bus_factor`."""
        return self.bytes_per_second * bus_factor(self.kind, self.ranks)


@dataclass(frozen=True, kw_only=True)
class Beside(Measurement):
    """A collective that is begun before a product and waited for after it, as FSDP gathers the weights of the next layer.

    ``bytes``, ``ranks`` and ``span`` are those of the message, ``dtype``, ``m``, ``n`` and ``k`` those of the product.
    """

    collective: str
    bytes: int
    ranks: int
    span: Span
    m: int
    n: int
    k: int
    product_seconds: float  # alone
    collective_seconds: float  # alone

    @property
    def added_seconds(self) -> float:
        """What the collective adds to the product: nothing if it is hidden, more than it takes alone if they disturb each other."""
        return max(0.0, self.seconds - self.product_seconds)


_RATES = ("flops", "flops_per_second", "bytes_per_second", "bus_bytes_per_second")
_TYPES: dict[str, type | tuple[type, ...]] = {
    "int": int,
    "float": (int, float),
    "float | None": (int, float, type(None)),
    "str": str,
    "bool": bool,
}
KINDS: dict[str, type[Measurement]] = {
    "matmul": Matmul,
    "attention": Attention,
    "memory": Memory,
    "launch": Launch,
    **dict.fromkeys(_ROUNDS, Message),
    "beside": Beside,
}


@dataclass(frozen=True)
class Probe:
    """One probe: where it ran, and its measurements in the order of the record."""

    path: Path
    run: dict[str, Any] = field(default_factory=dict)
    measurements: tuple[Measurement, ...] = ()
    status: Status = "unfinished"  # completed, or why not everything is here
    left_out: int = 0  # sizes of which a call would have taken too long
    damaged_lines: int = 0

    @property
    def machine(self) -> str:
        """The profile that it ran for; empty if the record does not say."""
        point = self.run.get("point")
        return str(point.get("machine", "")) if isinstance(point, dict) else ""

    @property
    def device_name(self) -> str:
        """The device as it names itself."""
        device = self.run.get("device")
        return str(device.get("name", "")) if isinstance(device, dict) else ""

    @property
    def ranks(self) -> int:
        return int(self.run.get("ranks", 1))

    @property
    def nodes(self) -> int:
        return int(self.run.get("nodes", 1))

    @property
    def threads(self) -> int | None:
        return self.run.get("threads")

    @property
    def backend(self) -> str:
        """torch's name of what carried the messages; ``none`` for a single rank."""
        return str(self.run.get("backend", "none"))

    @property
    def unmeasured_precisions(self) -> list[str]:
        """Those that were asked for, but that the device does not compute in."""
        point = self.run.get("point")
        asked = point.get("precisions", []) if isinstance(point, dict) else []
        return [each for each in asked if each not in self.run.get("precisions", asked)]

    @property
    def matmuls(self) -> tuple[Matmul, ...]:
        return tuple(each for each in self.measurements if isinstance(each, Matmul))

    @property
    def attentions(self) -> tuple[Attention, ...]:
        return tuple(each for each in self.measurements if isinstance(each, Attention))

    @property
    def memory(self) -> tuple[Memory, ...]:
        return tuple(each for each in self.measurements if isinstance(each, Memory))

    @property
    def launches(self) -> tuple[Launch, ...]:
        return tuple(each for each in self.measurements if isinstance(each, Launch))

    @property
    def messages(self) -> tuple[Message, ...]:
        return tuple(each for each in self.measurements if isinstance(each, Message))

    @property
    def besides(self) -> tuple[Beside, ...]:
        return tuple(each for each in self.measurements if isinstance(each, Beside))


def read(path: Path) -> Probe:
    """The probe of a record, or of the attempt folder that holds it. Lines that cannot be read are counted, never guessed at.

    OSError if the file cannot be opened. A probe that was cut off has what was measured until then.
    """
    file = path / RECORD if path.is_dir() else path
    record = reader.read(file)
    found, damaged = [], record.damaged_lines
    for line in _lines(file):
        measurement = parse(line)
        if measurement is None:
            damaged += 1
        else:
            found.append(measurement)
    left_out = (record.summary or {}).get("left_out", 0)
    return Probe(file, record.run, tuple(found), record.status, left_out, damaged)


def records(runs: Path, machine: str) -> list[Path]:
    """The records of a machine's probes in the folder of all runs, oldest first."""
    found = [each / RECORD for place in (runs / FOLDER / machine).glob("*") for each in attempts(place)]
    return sorted(found, key=lambda file: (float(reader.read(file).run.get("time", 0)), str(file)))


def parse(line: dict[str, Any]) -> Measurement | None:
    """One line's measurement; None for a kind that this version does not know, or a line that lacks a key."""
    kind = KINDS.get(str(line.get("kind")))
    if kind is None:
        return None
    values = {each.name: line[each.name] for each in fields(kind) if each.name in line}
    wanted = [each for each in fields(kind) if each.name in line or each.default is MISSING]
    if not all(isinstance(values.get(each.name), _TYPES.get(str(each.type), object)) for each in wanted):
        return None
    return kind(**values) if len(values) >= len(wanted) and values["seconds"] > 0 else None


def with_rates(line: dict[str, Any]) -> dict[str, Any]:
    """The line with what follows from it, under the names of the record."""
    measurement = parse(line)
    rates = {name: getattr(measurement, name) for name in _RATES if hasattr(measurement, name)}
    return {**line, **rates}


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    with file.open("rb") as opened:
        for raw in opened:
            try:
                line = json.loads(raw)
            except (ValueError, RecursionError):
                continue  # the record's reader has counted it
            if isinstance(line, dict) and line.get("schema") == "probe":
                yield line
