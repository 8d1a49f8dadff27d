"""FMEngine: three lines a step, of rank 0: ``Step=    10, Loss=1.2345``, ``3.45 s/step``, ``303935.12 tokens/s``."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from hpcscale.ingest.logs.attempt import Values
from hpcscale.ingest.logs.bulk import Bulk, Columns, Shape, Texts, all_positive, finite
from hpcscale.ingest.logs.collect import Collector, Match
from hpcscale.ingest.logs.format import Evidence, Format, Pattern
from hpcscale.ingest.logs.numbers import number, positive, whole

_STEP = re.compile(rb"Step= *(\d{1,12}), Loss=([-\w.]+)")
_SECONDS = re.compile(rb"[ \t]([0-9.]+) s/step[ \t]*(?=[\r\n])")
_RATE = re.compile(rb"[ \t]([0-9.]+) tokens/s[ \t]*(?=[\r\n])")
# DeepSpeed's configuration: "  train_batch_size ............. 512"
_SETTING = re.compile(rb"[ \t]([a-z_]+) \.{2,} (\w+)")

_NUMBERS = {
    "train_batch_size": "training.global_batch_size",
    "train_micro_batch_size_per_gpu": "training.micro_batch_size",
}


class Triples:
    """The three lines of a step; other lines may stand between them."""

    def __init__(self, collector: Collector):
        self._collector = collector
        self._head: Match | None = None
        self._seconds: float | None = None

    def step(self, match: Match) -> None:
        self._head, self._seconds = match, None

    def seconds(self, match: Match) -> None:
        self._seconds = positive(match[1])

    def drop(self) -> None:
        """Other steps follow: what is not whole will not become so."""
        self._head = None

    def rate(self, match: Match) -> None:
        head, seconds, rate = self._head, self._seconds, positive(match[1])
        self._head = None
        if head is None or seconds is None or rate is None:
            return
        known = self._collector.known
        batch, length = known("training.global_batch_size"), known("training.sequence_length")
        values: Values = {
            "step_seconds": seconds,
            "loss": number(head[2]),
            "tokens": batch * length if batch and length else None,
            "tokens_per_second_published": rate,
        }
        self._collector.step(head, int(head[1]), values)


_LINES = (
    rb"[^\r\n]*Step= *(\d{1,12}), Loss=([-\w.]+)[^\r\n]*\n"
    rb"[^\r\n]*[ \t]([0-9.]+) s/step[ \t]*\n[^\r\n]*[ \t]([0-9.]+) tokens/s[ \t]*"
)
_LITERALS = (b"Step=", b" s/step", b" tokens/s")


def _bulk(collector: Collector, before: Callable[[], None]) -> Bulk:
    """What :class:`Triples` makes of three lines, of many."""
    shape = Shape(_LINES, tuple((literal, 1) for literal in _LITERALS))

    def columns(steps: list[int], texts: Sequence[Texts]) -> tuple[Columns, int | None] | None:
        if not all(map(finite, texts)) or not all(map(all_positive, texts[1:])):
            return None
        batch, length = collector.known("training.global_batch_size"), collector.known("training.sequence_length")
        values: Columns = {
            "step_seconds": list(map(float, texts[1])),
            "loss": texts[0],
            "tokens": [batch * length if batch and length else None] * len(steps),
            "tokens_per_second_published": texts[2],
        }
        return values, None

    return Bulk(lambda: shape, columns, head=b"Step=", before=before)


def reader(collector: Collector) -> Sequence[Pattern]:
    triples = Triples(collector)
    bulk = _bulk(collector, triples.drop)

    def setting(match: Match) -> None:
        name = match[1].decode()
        if name in _NUMBERS:
            collector.fact(_NUMBERS[name], whole(match[2]))
        elif name == "bfloat16_enabled" and match[2] == b"True":
            collector.fact("training.precision", "bf16")

    return (
        Pattern(b"Step=", _STEP, triples.step, bulk=bulk),
        Pattern(b" s/step", _SECONDS, triples.seconds, bulk=bulk),
        Pattern(b" tokens/s", _RATE, triples.rate, bulk=bulk),
        Pattern(b" ...", _SETTING, setting, header=True),
    )


FMENGINE = Format(
    "fmengine",
    "FMEngine",
    "",
    "eth-easl/fmengine fmengine/callbacks/monitor.py (ec00888)",
    (Evidence(b"Step=", _STEP),),
    reader,
)
