"""Which attempt of a study's folder which job's energy belongs to, and noting it there."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hpcscale.jobs import energy as accounts
from hpcscale.jobs import ledger
from hpcscale.jobs.energy import Starts
from hpcscale.jobs.schedulers.command import Unreachable
from hpcscale.record import energy as noted
from hpcscale.record.attempt import attempts
from hpcscale.record.energy import JobEnergy
from hpcscale.spec.problems import InputError


@dataclass(frozen=True)
class Accounted:
    """One attempt; ``energy`` None with the ``reason``."""

    point: str
    attempt: Path
    energy: JobEnergy | None
    reason: str = ""


def collect(folder: Path, sacct: Path | None, statistics: Sequence[Path]) -> list[Accounted]:
    """Every attempt below a study's folder. Files that are named are read; else Slurm is asked about the ledger's jobs, and the
    statistics files that PJM wrote beside the points are read. Raises InputError."""
    points = sorted(path.parent for path in folder.glob("*/attempts"))
    if not points:
        raise InputError(f"{folder} holds no attempt; run or submit the study first")
    found = _named(sacct, statistics)
    unknown = "it is in none of the files"
    if sacct is None:
        found |= _statistics([path for point in points for path in sorted(point.glob("*.stats"))])
        asked, problem = _asked(folder, found)
        found |= asked
        unknown = problem or (unknown if statistics else "no accounting knows it")
    return [each for point in points for each in _of_point(point, found, unknown)]


def note(found: Sequence[Accounted]) -> None:
    """Write it beside the records. Raises OSError."""
    for each in found:
        if each.energy is not None:
            noted.write(each.attempt, each.energy)


def _named(sacct: Path | None, statistics: Sequence[Path]) -> dict[str, Starts]:
    found = accounts.read_sacct(_text(sacct), str(sacct)) if sacct else {}
    return found | _statistics(statistics)


def _statistics(paths: Sequence[Path]) -> dict[str, Starts]:
    found: dict[str, Starts] = {}
    for path in paths:
        job, energy = accounts.read_statistics(_text(path), str(path))
        found[_plain(job)] = [energy]
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise InputError(f"{path}: the file cannot be read: {error.strerror}") from None


def _plain(job: str) -> str:
    """As attempt folders are named."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", job)


def _asked(folder: Path, known: Mapping[str, Starts]) -> tuple[dict[str, Starts], str]:
    """(What Slurm says of the ledger's jobs, why it says nothing)."""
    jobs = [job.id for job in ledger.read(folder).jobs.values() if job.scheduler == "slurm" and job.id not in known]
    if not jobs:
        return {}, ""
    try:
        return accounts.ask_sacct(jobs), ""
    except Unreachable as error:
        return {}, f"Slurm's accounting cannot be asked ({error})"


def _of_point(point: Path, found: Mapping[str, Starts], unknown: str) -> list[Accounted]:
    tries = [(attempt, *_job(attempt.name)) for attempt in attempts(point)]
    last = {job: max(restart for _, other, restart in tries if other == job) for _, job, _ in tries}
    result = []
    for attempt, job, restart in tries:
        if job not in found:
            result.append(Accounted(point.name, attempt, None, f"job {job}: {unknown}"))
            continue
        energy = accounts.of_attempt(found[job], restart, last[job])
        none = f"accounting has no energy of job {job}: it is 0 or empty where the site does not collect it"
        result.append(Accounted(point.name, attempt, energy, "" if energy else none))
    return result


def _job(attempt: str) -> tuple[str, int]:
    """``1234.0`` is job 1234's first start."""
    job, _, restart = attempt.rpartition(".")
    return (job, int(restart)) if job and restart.isdigit() else (attempt, 0)
