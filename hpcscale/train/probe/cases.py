"""One thing to measure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Call = Callable[[], object]


@dataclass(frozen=True)
class Case:
    """``line``: kind, dtype and shape, as the record has them. ``prepare`` makes the arrays and gives what is timed.

    ``amount`` is the work of one call (FLOPs or bytes; 0: none). ``parts``: what is timed on its own just before, by the name of
    its median in the line.
    Among cases of one ``family`` a call takes about in proportion to its amount, so a small one tells what a large one takes.
    """

    line: dict[str, Any]
    prepare: Callable[[], Call]
    amount: int = 0
    parts: Mapping[str, Callable[[], Call]] = field(default_factory=dict)

    @property
    def family(self) -> tuple[Any, ...]:
        return tuple(self.line.get(key) for key in ("kind", "dtype", "operation", "ranks", "span", "head_size"))
