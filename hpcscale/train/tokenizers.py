"""From text to token ids: bytes as they are, or a Hugging Face ``tokenizer.json`` (extra ``hf``)."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hpcscale.spec.problems import InputError, suggestion

BYTES = "bytes"
# What model families call the token after a document; the first one that a tokenizer has is taken.
ENDS_OF_DOCUMENT = ("<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>")


class Tokenizer(Protocol):
    """``vocab``: one more than the largest id. ``cuttable``: a text may be encoded in pieces, cut anywhere."""

    @property
    def vocab(self) -> int: ...
    @property
    def end_of_document(self) -> int | None: ...
    @property
    def cuttable(self) -> bool: ...

    def encode(self, texts: list[str]) -> list[NDArray[Any]]:
        """The token ids of each text; no special token is added."""
        ...


class ByteTokenizer:
    """UTF-8 bytes are their own ids; 256 ends a document."""

    vocab = 257
    end_of_document = 256
    cuttable = True

    def encode(self, texts: list[str]) -> list[NDArray[Any]]:
        return [np.frombuffer(text.encode(), np.uint8) for text in texts]


class FileTokenizer:
    """A ``tokenizer.json``, as the ``tokenizers`` package reads it; batches are encoded on all cores."""

    cuttable = False  # a merge may span any two characters

    def __init__(self, tokenizer: Any, path: Path, end: str | None):
        self._tokenizer = tokenizer
        # Both may be set in the file, and would silently shorten documents or fill them up.
        tokenizer.no_truncation()
        tokenizer.no_padding()
        ids: dict[str, int] = tokenizer.get_vocab(with_added_tokens=True)
        if not ids:
            raise InputError(f"{path}: this tokenizer has no tokens")
        self.vocab = max(ids.values()) + 1
        self.end_of_document = ids.get(end or next((each for each in ENDS_OF_DOCUMENT if each in ids), ""))
        if end is not None and end not in ids:
            raise InputError(f"{path}: there is no token '{end}'{suggestion(end, [t for t in ids if t[:1] in '<['])}")

    def encode(self, texts: list[str]) -> list[NDArray[Any]]:
        found = self._tokenizer.encode_batch(texts, add_special_tokens=False)
        return [np.array(each.ids, dtype=np.int64) for each in found]


def load(name: str, end: str | None) -> Tokenizer:
    """``bytes``, or the tokenizer of a file. ``end``: the token that ends a document, where the usual names fail."""
    if name == BYTES:
        if end is not None:
            raise InputError(
                "--end-of-document is for a tokenizer.json; after a document, the byte tokenizer writes 256"
            )
        return ByteTokenizer()
    path = Path(name)
    if not path.is_file():
        raise InputError(f"there is no file {name}; --tokenizer is a Hugging Face tokenizer.json, or the word bytes")
    try:
        package: Any = importlib.import_module("tokenizers")  # optional: not where types are checked
    except ImportError:
        raise InputError(
            f"{name}: to read it, the package tokenizers is needed (pip install 'hpcscale[hf]'); --tokenizer bytes "
            "needs nothing"
        ) from None
    try:
        tokenizer = package.Tokenizer.from_file(str(path))
    except Exception as error:  # the package raises nothing more special
        raise InputError(f"{name}: this is no tokenizer.json ({error})") from None
    return FileTokenizer(tokenizer, path, end)
