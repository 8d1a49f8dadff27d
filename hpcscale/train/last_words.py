"""How a run that fails ends up with one failure line in its record, whichever rank failed and whichever noticed."""

from __future__ import annotations

from dataclasses import dataclass

from hpcscale.record.schema import Failure
from hpcscale.train import roll_call
from hpcscale.train.failures import Ended, classify, evidence
from hpcscale.train.journal import Journal


@dataclass(frozen=True)
class Reason:
    """Why the run ended, and whose failure it is. ``own``: this rank's, not one that all ranks notice."""

    kind: Failure
    evidence: str
    rank: int
    host: str
    own: bool

    def __str__(self) -> str:
        return f"rank {self.rank} ({self.host}) ended with {self.kind}: {self.evidence}"


def say(error: BaseException, journal: Journal, patience_seconds: float) -> Reason:
    """Tells why this rank ends. Rank 0 writes the record's last line, after waiting ``patience_seconds`` for the word of a
    rank that it lost; another rank leaves a note if it failed by itself, and stands in for a rank 0 that is gone."""
    kind = classify(error)
    reason = Reason(kind, evidence(error), journal.rank, journal.host, kind != "node" and not isinstance(error, Ended))
    if kind == "node":
        roll_call.answer(journal.rank)
    if journal.rank == 0:
        if kind == "node":
            reason = _of_another(journal, reason, patience_seconds)
        journal.fail(reason.kind, reason.evidence, reason.rank, reason.host)
    elif reason.own:
        journal.leave_note(kind, reason.evidence)
    return reason


def stand_in(reason: Reason, journal: Journal, patience_seconds: float) -> None:
    """The last act of a rank that lost a peer, after it has said so elsewhere: if rank 0 ends without a word, that is the
    failure. Rank 0 may wait as long as ``patience_seconds`` itself, hence twice that and a little."""
    if journal.rank == 0 or reason.own:
        return
    if journal.wait_for_last_line(2 * patience_seconds + 1):
        return
    lost = journal.peers_note(0.0)
    if lost is not None:
        journal.stand_in(lost["kind"], lost["evidence"], lost["rank"], lost.get("host", ""))
    elif reason.kind == "node":
        journal.stand_in("node", f"{reason.evidence}; {roll_call.sentence([0])}", 0, journal.host_of(0))
    else:
        journal.stand_in(reason.kind, f"{reason.evidence}; {roll_call.sentence([0])}", reason.rank, reason.host)


def speak_for_rank_0(reason: Reason, journal: Journal, patience_seconds: float) -> None:
    """Before this rank ends the whole program by its own failure: the record's last line, unless rank 0 writes one in time."""
    if journal.rank != 0 and not journal.wait_for_last_line(patience_seconds):
        journal.stand_in(reason.kind, reason.evidence, reason.rank, reason.host)


def _of_another(journal: Journal, noticed: Reason, patience_seconds: float) -> Reason:
    """What rank 0 can find out about the peer that it lost: the peer's own note, else who is silent."""
    note = journal.peers_note(patience_seconds)
    if note is not None:
        return Reason(note["kind"], note["evidence"], note["rank"], note.get("host", ""), own=False)
    missing = roll_call.silent(journal.ranks) or []
    if not missing:
        return noticed
    rank = missing[0] if len(missing) == 1 else noticed.rank
    return Reason("node", f"{noticed.evidence}; {roll_call.sentence(missing)}", rank, journal.host_of(rank), own=False)
