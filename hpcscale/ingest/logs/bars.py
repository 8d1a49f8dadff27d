"""Lines of ``name: value | name: value |``: their numbers by name, fast while one line is built as the one before."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from hpcscale.ingest.logs.bulk import Texts, each_once, finite

Numbers = dict[str, float]


class Bars:
    """Reads such lines. ``wanted``: what a field is called in the result, by its name in the line; others are left out, as is
    what is no number.

    A line's fields and their order hardly ever change within a log: they become one expression, which reads the next line in
    a third of the time.
    """

    def __init__(self, wanted: Mapping[bytes, str], convert: Callable[[bytes], float] = float):
        self._wanted, self.convert = wanted, convert
        self._shape: re.Pattern[bytes] | None = None
        self.keys: tuple[str, ...] = ()
        self.shape = b""  # of the line at hand: the fields' texts are its groups, in the order of ``keys``; else empty

    def __call__(self, line: bytes) -> Numbers:
        found = self._shape.match(line) if self._shape is not None else None
        if found is not None:
            try:
                return dict(zip(self.keys, map(self.convert, found.groups()), strict=True))
            except ValueError:
                pass
        return self._slowly(line)

    def columns(self, texts: Sequence[Texts]) -> dict[str, Sequence[bytes]] | None:
        """The texts of many lines' numbers, from those of the shape's groups; None where one is none."""
        if self.convert is not float:
            try:
                texts = [tuple(each_once(self._as_printed, each)) for each in texts]
            except ValueError:
                return None
        if any(finite(each) is None for each in texts):
            return None
        return dict(zip(self.keys, texts, strict=True))

    def _as_printed(self, text: bytes) -> bytes:
        return repr(self.convert(text)).encode()

    def _slowly(self, line: bytes) -> Numbers:
        numbers: Numbers = {}
        shape, keys, lasting = [], [], True
        for part in line.split(b"|"):
            name, colon, value = part.partition(b":")
            key = self._wanted.get(name.strip()) if colon else None
            text = value.partition(b"/")[0].strip()  # some print a mean of all lines behind a slash
            try:
                number = self.convert(text) if key else None
            except ValueError:
                number, lasting = None, False  # another line may have one there
            if key is None or number is None or key in numbers:
                shape.append(re.escape(name) + rb":[^|\r\n]*" if colon else rb"[^|:\r\n]*")
            else:
                numbers[key] = number
                keys.append(key)
                shape.append(re.escape(name) + rb": *([^ /|\r\n]+)[^|\r\n]*")
        self.shape, self.keys = rb"\|".join(shape) if lasting else b"", tuple(keys)
        self._shape = re.compile(self.shape + rb"\Z") if lasting else None
        return numbers
