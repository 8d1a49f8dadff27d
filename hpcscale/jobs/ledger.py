"""What was submitted: ``runs/<study>/ledger.jsonl``, only ever appended to, by several people and jobs at once.

Who may submit a point is decided by the order of lines in this file: a person's process appends a claim, reads the file
back, and may submit what it claimed first. So nothing is locked, and a process that is killed leaves a claim that the
next one finds, looks after (has it submitted?) and, if not, releases. This holds on file systems where an append is one
piece for all readers (local ones, GPFS, Lustre and so FEFS; not NFS with writers on several hosts).

claim      point, hash, token, host, pid, started, user, time   before anything is handed to the scheduler
submitted  point, hash, job, time; token, user, scheduler, nodes, seconds, behind (by hpcscale submit) or after (a job's own successor)
refused    point, hash, token, reason                           the scheduler did not take it
released   point, hash, token                                   the claiming process is gone and nothing was submitted
ended      point, hash, job, state, status, evidence, time      as the scheduler told it; asked once
cancelled  point, hash, job, user, time                         hpcscale cancel was called
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LEDGER = "ledger.jsonl"


@dataclass
class Job:
    """One job of a point: what was submitted, and how it ended if that is known."""

    id: str
    point: str
    hash: str
    time: float = 0.0
    user: str = ""
    token: str = ""
    after: str = ""  # the job that this one goes on from
    behind: str = ""  # the job whose end this one waits for (--max-jobs)
    scheduler: str = ""
    nodes: int = 0
    seconds: int | None = None  # its time limit
    ended: dict[str, Any] | None = None
    cancelled: bool = False

    @property
    def node_hours(self) -> float:
        """The most that it can cost."""
        return self.nodes * (self.seconds or 0) / 3600

    def goes_on_from(self, other: Job) -> None:
        """What a successor's own line, written by a shell, does not say."""
        self.user, self.scheduler = self.user or other.user, self.scheduler or other.scheduler
        self.nodes, self.seconds = self.nodes or other.nodes, self.seconds or other.seconds


@dataclass
class Claim:
    point: str
    hash: str
    token: str
    host: str
    pid: int
    started: str
    user: str
    time: float


@dataclass
class Ledger:
    """The file's content, in its order. ``claims`` are those that are open, the first one of a point being its owner's."""

    jobs: dict[str, Job] = field(default_factory=dict)
    claims: list[Claim] = field(default_factory=list)
    damaged_lines: int = 0

    def of(self, point: str, hash_: str) -> list[Job]:
        """The point's jobs under this hash, oldest first."""
        return self._by_point().get((point, hash_), [])

    def owner(self, point: str) -> Claim | None:
        """Who may submit the point now."""
        return next((claim for claim in self.claims if claim.point == point), None)

    def users(self) -> list[str]:
        return sorted({job.user for job in self.jobs.values() if job.user})

    def _by_point(self) -> dict[tuple[str, str], list[Job]]:
        if self._index is None or self._indexed != len(self.jobs):
            index: dict[tuple[str, str], list[Job]] = {}
            for job in self.jobs.values():
                index.setdefault((job.point, job.hash), []).append(job)
            self._index, self._indexed = index, len(self.jobs)
        return self._index

    _index: dict[tuple[str, str], list[Job]] | None = None
    _indexed: int = -1


def read(folder: Path) -> Ledger:
    """The ledger in a study's folder; an empty one if there is none. Lines that cannot be read are counted, not guessed at."""
    ledger = Ledger()
    try:
        content = (folder / LEDGER).read_bytes()
    except FileNotFoundError:
        return ledger
    open_claims: dict[tuple[str, str], Claim] = {}
    for raw in content.splitlines():
        if not raw.strip():
            continue
        try:
            _take(ledger, open_claims, json.loads(raw))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            ledger.damaged_lines += 1
    ledger.claims = list(open_claims.values())
    return ledger


def _take(ledger: Ledger, claims: dict[tuple[str, str], Claim], line: dict[str, Any]) -> None:
    match line["kind"]:
        case "claim":
            claim = Claim(**{key: value for key, value in line.items() if key != "kind"})
            known = claims.setdefault((claim.point, claim.token), claim)
            known.time = max(known.time, claim.time)  # renewed: it keeps its place
        case "submitted":
            job = Job(**{("id" if key == "job" else key): value for key, value in line.items() if key != "kind"})
            if job.id and "%" not in job.id:
                known = ledger.jobs.get(job.id)
                if known is None or (known.point, known.hash) != (job.point, job.hash):
                    ledger.jobs.pop(job.id, None)  # a scheduler whose ids began anew: the later job is meant
                    ledger.jobs[job.id] = job
                if job.after in ledger.jobs:
                    job.goes_on_from(ledger.jobs[job.after])
            claims.pop((job.point, job.token), None)
        case "refused" | "released":
            claims.pop((line["point"], line["token"]), None)
        case "ended":
            if line["job"] in ledger.jobs:
                ledger.jobs[line["job"]].ended = line
        case "cancelled":
            if line["job"] in ledger.jobs:
                ledger.jobs[line["job"]].cancelled = True


def append(folder: Path, lines: list[dict[str, Any]]) -> None:
    """Add lines in one piece. Raises OSError; a line that a full disk cut short is one that no reader can read."""
    if not lines:
        return
    path = folder / LEDGER
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o664)
    try:
        if _ends_in_the_middle(handle):
            text = "\n" + text
        data = text.encode()
        written = os.write(handle, data)
        if written < len(data):
            os.write(handle, b"\n")
            raise OSError(28, "no space left for the ledger's line", str(path))
    finally:
        os.close(handle)


def _ends_in_the_middle(handle: int) -> bool:
    """Whether the last line was cut off: a new one would become part of it."""
    size = os.fstat(handle).st_size
    return size > 0 and os.pread(handle, 1, size - 1) != b"\n"
