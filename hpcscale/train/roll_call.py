"""Which ranks are gone: after a lost connection those that are left say so in the process group's store.

The store lives in rank 0's process (under torchrun in the agent's), so it works where collectives no longer do. A rank that
hangs, or still computes and has noticed nothing, is silent too: silence is evidence, no proof.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any

import torch.distributed as dist

ANSWER_SECONDS = 1.0
_LONGEST_LIST = 8


def answer(rank: int) -> None:
    """Says that this rank is here."""
    _within(ANSWER_SECONDS, lambda store: store.set(_key(rank), "here"))


def silent(ranks: int) -> list[int] | None:
    """The ranks that have not answered so far; None if the store does not answer itself."""
    return _within(ANSWER_SECONDS, lambda store: [rank for rank in range(ranks) if not store.check([_key(rank)])])


def sentence(missing: list[int]) -> str:
    """``no word from ranks 3, 4``."""
    shown = ", ".join(str(rank) for rank in missing[:_LONGEST_LIST])
    more = f" and {len(missing) - _LONGEST_LIST} more" if len(missing) > _LONGEST_LIST else ""
    return f"no word from rank{'s' * (len(missing) > 1)} {shown}{more}"


def _key(rank: int) -> str:
    return f"hpcscale/here/{rank}"


def _within(seconds: float, ask: Callable[[Any], Any]) -> Any:
    """The store's answer; None if there is no store, or its process is dead or stopped: then asking may block for long."""
    answers: list[Any] = []

    def run() -> None:
        with contextlib.suppress(Exception):  # no process group, or a dead store: its errors are of many classes
            answers.append(ask(dist.distributed_c10d._get_default_store()))

    thread = threading.Thread(target=run, name="roll-call", daemon=True)
    thread.start()
    thread.join(seconds)
    return answers[0] if answers else None
