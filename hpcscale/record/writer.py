"""Appending to a record, so that whatever kills the process, the lines written before stay readable."""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hpcscale.record.schema import FAILURES, REQUIRED, VERSION, Failure, Kind

_STEP_KEYS = frozenset(REQUIRED["step"])
_STEP_START = f'{{"schema": "step", "version": {VERSION}, '


class RecordWriter:
    """Writes one record. Each line is one ``write`` to a file opened for appending.

    A line that is cut off damages no other: where the disk is full its beginning is taken back, and after a kill the next
    one starts with a line break of its own if the file does not end in one.
    """

    def __init__(self, path: Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._broken = _ends_inside_a_line(path)

    def run(self, **values: Any) -> None:
        """The first line: the resolved ``point``, ``versions``, ``hosts``, ``ranks``, ``device``, ``backend``."""
        self._write("run", {"time": time.time(), **values})

    def step(self, **values: Any) -> None:
        """One step: ``step`` (from 1), ``step_seconds`` (slowest rank), ``loss``, ``tokens``, and what else was measured."""
        self._write("step", values)

    def probe(self, **values: Any) -> None:
        """One measurement of a probe: ``kind``, ``dtype``, the median ``seconds`` and its interval, ``repeats``, shape."""
        self._write("probe", values)

    def summary(self, **values: Any) -> None:
        """The last line of a completed attempt: ``steps``, ``wall_seconds``, ``peak_memory_bytes``."""
        self._write("summary", {"time": time.time(), **values})

    def failure(self, kind: Failure, evidence: str, **values: Any) -> None:
        """The last line of a failed attempt: one of the failure words, and the text that shows it."""
        if kind not in FAILURES:
            raise ValueError(f"'{kind}' is no failure; valid: {', '.join(FAILURES)}")
        self._write("failure", {"time": time.time(), "kind": kind, "evidence": evidence, **values})

    @property
    def closed(self) -> bool:
        return self._file < 0

    def close(self) -> None:
        """Flush to disk and close. Closing twice does nothing."""
        if self._file >= 0:
            file, self._file = self._file, -1
            try:
                with self._named():
                    os.fsync(file)
            finally:
                os.close(file)

    def __enter__(self) -> RecordWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def copy(self, lines: Iterable[bytes]) -> None:
        """Whole lines of a record that were made before (:func:`step_line`), in pieces of any size."""
        with self._named():
            for piece in lines:
                self._append(piece)

    def _write(self, kind: Kind, values: dict[str, Any]) -> None:
        data = (b"\n" if self._broken else b"") + _line(kind, values)
        with self._named():
            self._append(data)

    def _append(self, data: bytes) -> None:
        """All of ``data`` or nothing. Where the disk fills up, the first write stops short and the next one says why."""
        was_broken, self._broken = self._broken, True
        written = 0
        try:
            while written < len(data):
                written += os.write(self._file, data[written:])
        except OSError:
            if written:
                os.ftruncate(self._file, os.fstat(self._file).st_size - written)
            self._broken = was_broken
            raise
        self._broken = False

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        """The system's errors do not know the file's name."""
        try:
            yield
        except OSError as error:
            error.filename = error.filename or str(self.path)
            raise


def step_line(values: dict[str, Any]) -> bytes:
    """One step as a line of a record, for those who have millions of them: values are numbers or None."""
    text = repr(values)  # four times as fast as json, and the same text for such values
    if "nan" in text or "inf" in text or not values.keys() >= _STEP_KEYS:
        return _line("step", values)
    return (_STEP_START + text[1:].replace("'", '"').replace("None", "null") + "\n").encode()


def step_lines(columns: Mapping[str, Sequence[Any]]) -> bytes:
    """Many steps as lines of a record. Of a column all values are finite numbers, or all texts of such (as JSON has them; they need
    not be made into numbers and back), or all None."""
    texts = {name: _texts(values) for name, values in columns.items()}
    parts = (f'"{name}": {"null" if each is None else "%b"}'.encode() for name, each in texts.items())
    form = _STEP_START.encode() + b", ".join(parts) + b"}\n"
    return b"".join(map(form.__mod__, zip(*(each for each in texts.values() if each is not None), strict=True)))


def _texts(values: Sequence[Any]) -> Iterable[bytes] | None:
    if values[0] is None:
        return None
    if isinstance(values[0], bytes):
        return values
    if len(set(values[:64])) > 16:
        return (repr(value).encode() for value in values)
    # Many columns say few things many times, and a float's shortest text is dear.
    known = {value: repr(value).encode() for value in set(values)}
    return [known[value] for value in values]


def _line(kind: Kind, values: dict[str, Any]) -> bytes:
    missing = [key for key in REQUIRED[kind] if key not in values]
    if missing:
        raise ValueError(f"a {kind} line needs {', '.join(missing)}")
    line = json.dumps({"schema": kind, "version": VERSION, **_plain(values)}, allow_nan=False, ensure_ascii=False)
    return line.encode() + b"\n"


def _ends_inside_a_line(path: Path) -> bool:
    size = path.stat().st_size
    if size == 0:
        return False
    with path.open("rb") as file:
        file.seek(size - 1)
        return file.read(1) != b"\n"


def _plain(value: Any) -> Any:
    """JSON has no NaN or infinity: they become the strings ``"nan"``, ``"inf"`` and ``"-inf"``."""
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value
