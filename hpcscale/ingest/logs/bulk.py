"""Steps by the thousand: text in which every step is built as the one before is read by one expression, and becomes columns.

Whatever is not so (other lines of steps between them, a step that goes back, a value that is no number) is left to the readers of
single lines, which find the same, line after line, in five times the time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import le
from typing import Any

from hpcscale.ingest.logs.collect import RANK, Collector

Texts = tuple[bytes, ...]
Columns = dict[str, Sequence[Any]]

# Up to so many bytes stand between the name of a rank and a step.
PREFIX = rb"[^\r\n]{0,300}?"
_FEWEST = 16
_LOOK = 1 << 16  # bytes in which it is seen how many steps there are
_LONGEST = 4096
_SPARSE = 2  # where a step's text is not even this part of all text, looking for it by its literal is faster


@dataclass(frozen=True)
class Shape:
    """How a step's text is built. ``body``: from behind the rank's name to the text's end, with the step as its first group.
    ``literals``: what stands in it, how often."""

    body: bytes
    literals: tuple[tuple[bytes, int], ...]


@dataclass(frozen=True)
class Bulk:
    """``shape``: as of the last step that was read; None while none is known. ``columns``: the values of a record's lines in their
    order, as :func:`hpcscale.record.writer.step_lines` takes them (``step`` only where it is not the number printed), and the
    number of planned steps, from the steps and the texts of the groups behind them; None where it has to be seen line by line.
    ``head``: with what a step's text starts, where it has several lines. ``before``: called before its steps are told."""

    shape: Callable[[], Shape | None]
    columns: Callable[[list[int], Sequence[Texts]], tuple[Columns, int | None] | None]
    head: bytes = b""
    before: Callable[[], None] = lambda: None


class Reader:
    """Reads stretches of a log as ``bulk`` says."""

    def __init__(self, collector: Collector, bulk: Bulk):
        self.bulk = bulk
        self._collector = collector
        self._shape: Shape | None = None
        self._regex = re.compile(b"")
        self._length = _LONGEST  # of a step's text

    def whole(self, block: bytes, start: int, end: int) -> tuple[int, int]:
        """Where in this stretch of whole lines the texts of steps start and end that are whole."""
        head = self.bulk.head
        if not head:
            return start, end
        first, last = block.find(head, start, end), block.rfind(head, start, end)
        if first < 0:
            return start, start
        return block.rfind(b"\n", start, first) + 1 or start, block.rfind(b"\n", start, last) + 1 or start

    def read(self, block: bytes, start: int, end: int) -> bool:
        """Whether all steps of these whole lines were told; else none was."""
        shape = self.bulk.shape()
        if shape is None or self._collector.in_header:
            return False
        literal, times = shape.literals[0]
        looked_at = min(end, start + _LOOK)
        if block.count(literal, start, looked_at) * self._length * _SPARSE < looked_at - start:
            return False
        text = block[start:end]
        if b"\r" in text:
            text = text.replace(b"\r\n", b"\n")
        expected, rest = divmod(text.count(literal), times)
        if expected < _FEWEST or rest or b"\r" in text:
            return False
        if shape is not self._shape:
            # A line's start as a character of its own: looking for one character is what the engine does fastest.
            self._shape, self._regex = shape, re.compile(rb"\n(" + RANK + rb")" + shape.body + rb"(?=\n)")
        return self._told(shape, b"\n" + text, expected)

    def _told(self, shape: Shape, text: bytes, expected: int) -> bool:
        first = self._regex.search(text)
        if first is None:
            return False
        self._length = len(first[0])
        if expected * self._length * _SPARSE < len(text):
            return False
        rows = self._regex.findall(text, first.start())
        # A step's text holds each literal so many times: then nothing but such texts holds one.
        if len(rows) != expected or any(text.count(each) != times * expected for each, times in shape.literals[1:]):
            return False
        ranks, steps, *texts = zip(*rows, strict=True)
        printed = list(map(int, steps))
        found = self.bulk.columns(printed, texts)
        if found is None:
            return False
        columns, planned = found
        numbers = list(columns.pop("step", printed))
        if not all(map(le, numbers, numbers[1:])):
            return False
        self.bulk.before()
        return self._collector.many(ranks, numbers, columns, planned)


# A number as JSON has them, and too small to be infinite.
_NUMBERS = re.compile(rb"(?:-?+(?:0|[1-9][0-9]{0,17}+)(?:\.[0-9]{1,30}+)?+(?:[eE][-+]?+[0-9]{1,2}+)?+ )++")


def finite(texts: Sequence[bytes]) -> Sequence[bytes] | None:
    """The texts themselves where all are finite numbers."""
    return texts if _NUMBERS.fullmatch(b" ".join(texts) + b" ") else None


def all_positive(texts: Sequence[bytes] | None) -> bool:
    """Whether these texts of finite numbers are all above zero."""
    return texts is not None and min(map(float, texts)) > 0


def each_once(convert: Callable[[bytes], Any], texts: Sequence[bytes]) -> list[Any]:
    """``convert`` of each, called once for those that are alike. For texts of few digits."""
    known = {text: convert(text) for text in set(texts)}
    return [known[text] for text in texts]


def product(
    batches: Sequence[bytes] | int | None, length: Sequence[bytes] | int | None, count: int
) -> list[int] | list[None] | None:
    """Tokens of each step; nothing in the list where a factor is not known, None where one can be none."""
    if batches is None or length is None:
        return [None] * count
    factors = [[each] * count if isinstance(each, int) else each_once(float, each) for each in (batches, length)]
    if any(min(each) <= 0 or max(each) >= 1e15 for each in factors):
        return None
    return [int(batch) * int(each) for batch, each in zip(*factors, strict=True)]


def one(texts: Texts) -> bytes | None:
    """What all of them are; None where they differ."""
    return texts[0] if texts.count(texts[0]) == len(texts) else None
