"""One thing to measure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Call = Callable[[], object]


@dataclass(frozen=True)
class Case:
    """``line``: kind, dtype and shape, as the record has them. ``prepare`` makes the arrays and gives what is timed.

    ``amount`` is the work of one call (FLOPs or bytes; 0: none).
    Among cases of one ``family`` a call takes about in proportion to its amount, so a small one tells what a large one takes.
    """

    line: dict[str, Any]
    prepare: Callable[[], Call]
    amount: int = 0

    @property
    def family(self) -> tuple[Any, ...]:
        return tuple(self.line.get(key) for key in ("kind", "dtype", "operation", "ranks", "span", "head_size"))
