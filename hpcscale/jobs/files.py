"""Files that are whole or not there: written beside their place and moved into it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

Change = Literal["new", "changed", "same"]


def compare(path: Path, text: str) -> Change:
    """What writing ``text`` to ``path`` would do."""
    try:
        old = path.read_bytes()
    except FileNotFoundError:
        return "new"
    return "same" if old == text.encode() else "changed"


def replace(path: str, content: str | bytes, mode: int) -> None:
    """Write ``content`` to ``path`` such that a reader sees the old file or the new one, never a part."""
    temporary = f"{path}.{os.getpid()}.tmp"
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        data = content.encode() if isinstance(content, str) else content
        while data:
            data = data[os.write(handle, data) :]
    except BaseException as error:
        os.close(handle)
        os.unlink(temporary)
        if isinstance(error, OSError):
            error.filename = path  # a full disk names no file of itself
        raise
    os.close(handle)
    os.replace(temporary, path)
