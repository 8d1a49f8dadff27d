"""A log as blocks of whole lines, in memory that does not grow with the file: plain, gzip or zstd, cut off anywhere."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from hpcscale.spec.problems import InputError

BLOCK = 1 << 20
# A line that is longer holds nothing that a reader looks for; its rest is left out.
LONGEST_LINE = 4 * BLOCK

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
# Colours, cursor movements and window titles (ECMA-48).
_ANSI = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_])")
_FEW_CODES = 12
_BETWEEN = 80  # bytes from code to code, from which it no longer pays


@dataclass
class Log:
    """One file. ``lines_before``: whole lines before the block at hand; ``damage``: why reading ended early."""

    path: Path
    lines_before: int = 0
    damage: str = ""
    cut_off: bool = field(default=False)  # the last line has no end and was not read

    def blocks(self) -> Iterator[bytes]:
        """Blocks of whole lines without terminal codes. A last line without an end may be half of one: it is left out."""
        self.lines_before, self.damage, self.cut_off = 0, "", False
        for block in self._whole_lines():
            yield _without_codes(block) if b"\x1b" in block else block
            self.lines_before += block.count(b"\n")

    def line_number(self, block: bytes, position: int) -> int:
        """The number, from 1, of the line at ``position`` of the block at hand."""
        return self.lines_before + block.count(b"\n", 0, position) + 1

    def _whole_lines(self) -> Iterator[bytes]:
        rest: list[bytes] = []
        held = 0
        for data in self._bytes():
            end = _end_of_lines(data)
            if end:
                yield b"".join((*rest, data[:end]))
                rest, held = [data[end:]], len(data) - end
            elif held < LONGEST_LINE:
                rest.append(data)
                held += len(data)
        last = b"".join(rest)
        if end := last.rfind(b"\r") + 1:
            yield last[:end]
        self.cut_off = len(last) > end

    def _bytes(self) -> Iterator[bytes]:
        with self.path.open("rb") as file:
            start = file.read(4)
            file.seek(0)
            if start.startswith(_GZIP):
                yield from self._gzip(file)
            elif start.startswith(_ZSTD):
                yield from self._zstd()
            else:
                while data := file.read(BLOCK):
                    yield data

    def _gzip(self, file: IO[bytes]) -> Iterator[bytes]:
        """Member after member; what lies before a damaged or missing end is read."""
        unpack, started = zlib.decompressobj(wbits=31), False
        data = b""
        while data := data or file.read(BLOCK // 4):
            try:
                if text := unpack.decompress(data, BLOCK):
                    yield text
            except zlib.error:
                self.damage = f"the gzip data are damaged before byte {file.tell()}"
                return
            started = True
            data = unpack.unconsumed_tail
            if unpack.eof:
                data = unpack.unused_data.lstrip(b"\0")
                unpack, started = zlib.decompressobj(wbits=31), False
        if not unpack.eof and started:
            self.damage = "the gzip data have no end: the file is cut off, or still being written"
        # What was kept back for lack of room.
        with contextlib.suppress(zlib.error):
            if text := unpack.flush():
                yield text

    def _zstd(self) -> Iterator[bytes]:
        if shutil.which("zstd") is None:
            raise InputError(
                f"{self.path} is packed with zstd, which is not installed here; unpack it, or pack it with gzip"
            )
        command = ["zstd", "-dcq", "--", str(self.path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            assert process.stdout is not None
            while data := process.stdout.read(BLOCK):
                yield data
        if process.returncode:
            self.damage = "the zstd data are damaged or cut off"


def _without_codes(block: bytes) -> bytes:
    """Where every line has some, a tool prints the same few codes: taken out one by one, all of each at once, in half the time."""
    for _ in range(_FEW_CODES if block.count(b"\x1b") * _BETWEEN > len(block) else 0):
        code = _ANSI.match(block, max(0, block.find(b"\x1b")))
        if code is None:
            break
        block = block.replace(code[0], b"")
    return _ANSI.sub(b"", block)


def _end_of_lines(data: bytes) -> int:
    """Where the last whole line of ``data`` ends; progress bars end theirs with a carriage return."""
    return max(data.rfind(b"\n"), data.rfind(b"\r") if data.find(b"\n") < 0 else -1) + 1
