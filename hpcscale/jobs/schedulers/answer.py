"""What a scheduler answered."""

from __future__ import annotations

from dataclasses import dataclass, field

from hpcscale.jobs.states import JobState


@dataclass
class Answer:
    """``complete``: what is not in ``states`` is unknown to the scheduler, and not just left out of this answer."""

    states: dict[str, JobState] = field(default_factory=dict)
    complete: bool = True
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Found:
    """A job that was found by its name."""

    id: str
    name: str
    comment: str
