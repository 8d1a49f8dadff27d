"""Text files into a corpus: documents tokenized in batches and written one after another, in constant memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hpcscale.spec.problems import InputError
from hpcscale.train import indexed
from hpcscale.train.documents import Documents, Piece, pieces
from hpcscale.train.indexed import IndexedWriter
from hpcscale.train.tokenizers import Tokenizer

# Texts that are tokenized together, so that a tokenizer can use every core.
BATCH_TEXTS, BATCH_CHARACTERS = 1024, 1 << 22
MOST_CHARACTERS = 1 << 30  # of a document that must be tokenized whole


@dataclass(frozen=True)
class Built:
    """What was written. ``empty``: documents without text, which are left out."""

    bin: Path
    idx: Path
    tokens: int
    documents: int
    empty: int
    vocab: int
    token_type: str


def build(
    texts: list[Path],
    prefix: str,
    tokenizer: Tokenizer,
    kind: Documents | None = None,
    json_key: str = "text",
    end_documents: bool = True,
    force: bool = False,
) -> Built:
    """Writes PREFIX.bin and PREFIX.idx of ``texts``, in their order; both appear whole or not at all.

    Raises InputError, with nothing written, for wrong input and (without ``force``) for files that exist.
    """
    end = tokenizer.end_of_document if end_documents else None
    if end_documents and end is None:
        raise InputError(
            "the tokenizer has none of the usual tokens after a document; name one with --end-of-document, "
            "or write none with --no-eod"
        )
    _check_paths(texts, prefix, force)
    dtype = indexed.token_type(tokenizer.vocab)
    after = np.array([] if end is None else [end], dtype)
    empty = 0
    with IndexedWriter(prefix, dtype) as writer:
        for batch in _batches(_all(texts, kind, json_key, tokenizer.cuttable)):
            for piece, ids in zip(batch, tokenizer.encode([each.text for each in batch]), strict=True):
                writer.add(ids)
                if not piece.last:
                    continue
                if writer.length == 0:
                    empty += 1
                    continue
                writer.add(after)
                writer.end_sequence()
        if writer.sequences == 0:
            raise InputError(f"there is no text in {', '.join(map(str, texts[:3]))}; nothing is written")
    return Built(writer.bin, writer.idx, writer.tokens, writer.sequences, empty, tokenizer.vocab, dtype.name)


def _check_paths(texts: list[Path], prefix: str, force: bool) -> None:
    for text in texts:
        if text.is_dir():
            raise InputError(f"{text} is a folder; name the files in it, for example {text}/*.txt")
        if not text.exists():
            raise InputError(f"there is no file {text}")
    for path in indexed.files_of(prefix):
        if path.exists() and not force:
            raise InputError(f"{path} exists and is kept; --force replaces it, or choose another --output")
        if path.is_dir() or path.name in (".bin", ".idx"):
            raise InputError(
                f"'{prefix}' is no prefix of file names; --output data/corpus writes data/corpus.bin and .idx"
            )
        if any(path.exists() and text.samefile(path) for text in texts):
            raise InputError(f"{path} is both a text and the output")
        if not path.parent.is_dir():
            raise InputError(f"there is no folder {path.parent} to write into")


def _all(texts: list[Path], kind: Documents | None, key: str, cuttable: bool) -> Iterator[Piece]:
    for path in texts:
        found = pieces(path, kind, key)
        yield from found if cuttable else _joined(found, path)


def _joined(found: Iterator[Piece], path: Path) -> Iterator[Piece]:
    """The same documents, each in one piece."""
    parts: list[str] = []
    characters = 0
    for piece in found:
        parts.append(piece.text)
        characters += len(piece.text)
        if characters > MOST_CHARACTERS:
            raise InputError(
                f"{path}: a document of more than {MOST_CHARACTERS:,} characters cannot be tokenized; split it "
                "(--documents blank-lines, or one JSON object a line)"
            )
        if piece.last:
            yield Piece("".join(parts), last=True)
            parts, characters = [], 0


def _batches(found: Iterator[Piece]) -> Iterator[list[Piece]]:
    batch: list[Piece] = []
    characters = 0
    for piece in found:
        batch.append(piece)
        characters += len(piece.text)
        if len(batch) == BATCH_TEXTS or characters >= BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch
