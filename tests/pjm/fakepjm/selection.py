"""Job ids on a command line: ``123``, ``123[4]``, ``123_0`` and ranges ``1-100``, ``100_1-10``, ``101[1-10]`` (CmdRef p.58)."""

from __future__ import annotations

import re

from .store import Store, order

WORD = re.compile(r"(\d+)(?:-(\d+)|\[(\d+)(?:-(\d+))?\]|_(\d+)(?:-(\d+))?)?")


class Invalid(Exception):
    """The word is no job id."""


class Wanted:
    """One word: the keys it names, whether it is a range (ranges never complain) and how messages call it."""

    def __init__(self, word: str) -> None:
        found = WORD.fullmatch(word)
        if not found:
            raise Invalid(word)
        self.word = word
        numbers = [int(part) if part else None for part in found.groups()]
        first, last, bulk, bulk_last, step, step_last = numbers
        self.first = first or 0
        self.last = self.first if last is None else last
        self.mark = "[" if bulk is not None else "_" if step is not None else None
        self.sub = (bulk if bulk is not None else step) or 0
        sub_last = bulk_last if bulk is not None else step_last
        self.sub_last = self.sub if sub_last is None else sub_last
        self.is_range = any(part is not None for part in (last, bulk_last, step_last))

    def matches(self, key: str) -> bool:
        number, sub = order(key)
        if not self.first <= number <= self.last:
            return False
        if self.mark is None:
            return True
        return self.mark in key and self.sub <= sub <= self.sub_last

    def keys(self, store: Store) -> list[str]:
        """The keys of all sub jobs it names, ended or not."""
        if self.mark is None and not self.is_range:
            return store.of(self.first)
        return [key for key in store.all() if self.matches(key)]
