"""Text files as documents: a whole file, each paragraph between blank lines, or each line of a JSON Lines file."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from hpcscale.spec.problems import InputError

Documents = Literal["file", "blank-lines", "jsonl"]
KINDS: tuple[Documents, ...] = get_args(Documents)
CHUNK_BYTES = 1 << 20
BYTE_ORDER_MARK = "\ufeff"  # what some editors begin a file with is no text


@dataclass(frozen=True, slots=True)
class Piece:
    """Some text of a document, and whether the document ends with it."""

    text: str
    last: bool


def pieces(path: Path, kind: Documents | None, key: str) -> Iterator[Piece]:
    """The documents of a UTF-8 file, in memory one piece at a time.

    ``kind``: None means jsonl for a file of that name, else file. ``key``: where a line of JSON has its text. Raises
    InputError with the place of what is no UTF-8, no JSON or has no text.
    """
    match kind or ("jsonl" if path.suffix == ".jsonl" else "file"):
        case "file":
            return _whole(path)
        case "blank-lines":
            return _paragraphs(path)
        case "jsonl":
            return _json_lines(path, key)


def _whole(path: Path) -> Iterator[Piece]:
    decoder = codecs.getincrementaldecoder("utf-8")()
    consumed, begun = 0, False  # bytes given to the decoder, and whether any text came of them
    with path.open("rb") as file:
        while True:
            chunk = file.read(CHUNK_BYTES)
            pending = len(decoder.getstate()[0])
            try:
                text = decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                raise InputError(f"{path}: byte {consumed - pending + error.start} is no UTF-8 text") from None
            yield Piece(text if begun else text.removeprefix(BYTE_ORDER_MARK), last=not chunk)
            if not chunk:
                return
            begun = begun or bool(text)
            consumed += len(chunk)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """(number from 1, text with its line end) of each line."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                text = line.decode("utf-8")
            except UnicodeDecodeError as error:
                raise InputError(f"{path}:{number}:{error.start + 1}: this is no UTF-8 text") from None
            yield number, text.removeprefix(BYTE_ORDER_MARK) if number == 1 else text


def _paragraphs(path: Path) -> Iterator[Piece]:
    paragraph: list[str] = []
    for _, line in _lines(path):
        if line.strip():
            paragraph.append(line)
        elif paragraph:
            yield Piece("".join(paragraph).rstrip("\r\n"), last=True)
            paragraph = []
    if paragraph:
        yield Piece("".join(paragraph).rstrip("\r\n"), last=True)


def _json_lines(path: Path, key: str) -> Iterator[Piece]:
    for number, line in _lines(path):
        if not line.strip():
            continue
        try:
            found = json.loads(line)
        except ValueError as error:
            raise InputError(f"{path}:{number}: this is no JSON ({error})") from None
        text = found.get(key) if isinstance(found, dict) else None
        if not isinstance(text, str):
            keys = f"; its keys: {', '.join(found)}" if isinstance(found, dict) else ""
            raise InputError(f"{path}:{number}: there is no text under '{key}'{keys} (--json-key says where it is)")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InputError(f"{path}:{number}: half of a surrogate pair, {text[error.start]!r}, is no text") from None
        yield Piece(text, last=True)
