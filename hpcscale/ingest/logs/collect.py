"""What a reader tells of a log, sorted into attempts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hpcscale.ingest.logs.attempt import Attempt, Steps, Values
from hpcscale.ingest.logs.blocks import Log
from hpcscale.record.schema import Failure

Match = re.Match[bytes]

# Who printed a line: srun --label, torchrun (--tee), mpirun --tag-output.
RANK = rb"[ \t]*(?:\d{1,6}:(?=[ \t\[]))?[ \t]?(?:\[(?:rank|default)\d{1,6}\]:?|\[\d+,\d+\]<std(?:out|err)>:?)?"
_RANK = re.compile(RANK)

_REST_OF_LINE = re.compile(rb"[^\r\n]*")
_LOOK_BACK = 2048


class Collector:
    """Readers call :meth:`start`, :meth:`fact`, :meth:`step` and the like, in the order of the log's lines.

    ``given``: facts that a person gave. The match that goes with a call says where in the log it stands.
    """

    def __init__(self, log: Log, folder: Path, means_of_intervals: bool, given: Mapping[str, Any]):
        self._log, self._folder, self._means = log, folder, means_of_intervals
        self.given = given
        self.attempts: list[Attempt] = []
        self._starter: bytes | None = None  # the rank whose start counts
        self._before: dict[str, Any] = {}  # facts of the attempt before: what a new one does not say again still holds
        self._begin()

    @property
    def in_header(self) -> bool:
        """Whether the attempt at hand has printed no step yet."""
        return not self._steps.any

    def start(self, match: Match) -> None:
        """The program says what it says when it starts."""
        rank = _rank(match)
        # Without a step, other ranks may still be starting; after a failure it is another try.
        if self._starter in (None, rank) and (self._steps.any or self.attempt.failure):
            self._next()
        if self._starter is None:
            self._starter = rank
            self._stands_at(match)

    def fact(self, name: str, value: Any) -> None:
        """Something that holds for the whole attempt; the first to say it is right. None says nothing, nor does a 0."""
        if value is not None and (value or isinstance(value, bool)):
            self.attempt.facts.setdefault(name, value)

    def known(self, name: str) -> Any:
        for facts in (self.attempt.facts, self._before, self.given):
            if name in facts:
                return facts[name]
        return None

    def remark(self, text: str) -> None:
        """A sentence that the row should say."""
        if text not in self.attempt.remarks:
            self.attempt.remarks.append(text)

    def memory(self, size: int | None) -> None:
        self.attempt.remember(size)

    def step(self, match: Match, step: int, values: Values, planned: int | None = None) -> None:
        rank = _rank(match)
        if self._steps.began_anew(rank, step):
            self._next()
        if not self._steps.any:
            self._stands_at(match)
        attempt = self.attempt
        attempt.failure = None  # whatever went wrong, training went on
        if planned is not None:
            attempt.planned_steps = planned
        self._steps.add(rank, step, values)

    def many(
        self, ranks: Sequence[bytes], steps: list[int], columns: Mapping[str, Sequence[Any]], planned: int | None
    ) -> bool:
        """As :meth:`step` for each, where none goes back. Whether that is so: else nothing was told."""
        if not self._steps.follows(steps[0]):
            return False
        attempt = self.attempt
        attempt.failure = None
        if planned is not None:
            attempt.planned_steps = planned
        self._steps.add_many([rank.strip() for rank in ranks], steps, columns)
        return True

    def failure(self, kind: Failure, evidence: str) -> None:
        """A sign of failure: the first since the last step counts, but a plain error gives way to one that says why."""
        known = self.attempt.failure
        if known is None or (known[0] == "error" and kind != "error"):
            self.attempt.failure = (kind, evidence)

    def close(self) -> list[Attempt]:
        """The attempts with steps; a single one that has none, where the log shows at least a start."""
        self._end()
        with_steps = [each for each in self.attempts if each.count]
        return with_steps or [each for each in self.attempts[-1:] if each.facts or each.first_line]

    def _begin(self) -> None:
        self.attempt = Attempt(self._folder / f"{len(self.attempts)}.steps")
        self.attempts.append(self.attempt)
        self._steps = Steps(self.attempt, self._means)

    def _next(self) -> None:
        self._end()
        self._starter = None
        self._begin()

    def _end(self) -> None:
        self._steps.close()
        self._before = self.attempt.facts = {**self._before, **self.attempt.facts}

    def _stands_at(self, match: Match) -> None:
        self.attempt.first_line = self._log.line_number(match.string, match.start())


def _line_start(match: Match) -> int:
    """Where the line of a match starts, as far as the names of ranks and of files matter."""
    block, position = match.string, match.start()
    furthest = max(0, position - _LOOK_BACK)  # a bar of a million updates is one line to some
    start = block.rfind(b"\n", furthest, position) + 1 or furthest
    return block.rfind(b"\r", start, position) + 1 or start


def _rank(match: Match) -> bytes:
    found = _RANK.match(match.string, _line_start(match))
    return found[0].strip() if found else b""


def line_of(match: Match, longest: int = 300, around: bool = False) -> str:
    """The text of the line that a match stands in; of a long one its beginning, or the part around the match."""
    start = _line_start(match)
    if around:
        start = max(start, match.start() - longest // 2)
    text = _REST_OF_LINE.match(match.string, start, match.end() + longest)
    return " ".join(text[0].decode("utf-8", "replace").split())[:longest] if text else ""
