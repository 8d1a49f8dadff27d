"""Energy of whole jobs as schedulers account for it: Slurm's ``sacct``, Fujitsu PJM's job statistics file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from hpcscale.jobs.schedulers.command import ask
from hpcscale.record.energy import JobEnergy
from hpcscale.spec.problems import InputError, Problem

# What a person may call; hpcscale calls the same. Duplicates: a requeued job has an entry for each start.
SACCT = ("sacct", "--parsable2", "--duplicates", "--format=JobIDRaw,ConsumedEnergyRaw,ElapsedRaw,NNodes")
_MOST_IDS = 2000  # of one call: command lines end somewhere
_IDS, _JOULES, _SECONDS = ("JobIDRaw", "JobID"), ("ConsumedEnergyRaw", "ConsumedEnergy"), ("ElapsedRaw", "Elapsed")
_NODES = ("NNodes", "AllocNodes")
_LETTERS = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
_NO_VALUE = 2.0**63  # Slurm's "not set" is just below 2^64
# Of a node of any machine here, in watts: what is outside was counted otherwise than its name says.
PLAUSIBLE_WATTS = (20.0, 15000.0)
_FUGAKU_WATTS = 300.0  # more than one A64FX node takes

Starts = list[JobEnergy | None]  # of a job, in order; None: accounting has no energy of it


def ask_sacct(ids: Sequence[str]) -> dict[str, Starts]:
    """Raises Unreachable."""
    found: dict[str, Starts] = {}
    for start in range(0, len(ids), _MOST_IDS):
        found |= read_sacct(ask([*SACCT, f"--jobs={','.join(ids[start : start + _MOST_IDS])}"]), "sacct")
    return found


def read_sacct(text: str, place: str) -> dict[str, Starts]:
    """Jobs of ``sacct --parsable2`` (or --parsable) with its header. Raises InputError for other text."""
    lines = [line.rstrip("\r") for line in text.splitlines() if line.strip()]
    header = lines[0].split("|") if lines else []
    try:
        job, joules, seconds = (_column(header, names) for names in (_IDS, _JOULES, _SECONDS))
    except ValueError as missing:
        way = " ".join(SACCT) + " --jobs=<ids>"
        raise InputError(
            Problem(place, 1, 1, f"the first line names no column {missing}; make the file with: {way}")
        ) from None
    nodes = next((header.index(name) for name in _NODES if name in header), None)
    starts: dict[str, list[dict[str, tuple[float, float, int | None]]]] = {}
    for line in lines[1:]:
        cells = line.split("|")
        if len(cells) < len(header):
            continue
        id_, _, step = cells[job].partition(".")
        entry = (_energy(cells[joules]), _elapsed(cells[seconds]), _whole(cells[nodes]) if nodes is not None else None)
        if not step or id_ not in starts:
            starts.setdefault(id_, []).append({})
        starts[id_][-1][step] = entry
    return {id_: [_of_start(parts) for parts in each] for id_, each in starts.items()}


def _column(header: Sequence[str], names: Sequence[str]) -> int:
    for name in names:
        if name in header:
            return header.index(name)
    raise ValueError(names[0])


def _of_start(parts: Mapping[str, tuple[float, float, int | None]]) -> JobEnergy | None:
    """The allocation's own figure; where it is zero the extern step's, which lasts as long on all nodes; else that of its
    numbered steps one after another. The batch step is on one node only, and within the others."""
    nodes = parts.get("", (0.0, 0.0, None))[2]
    for name in ("", "extern"):
        joules, seconds, own = parts.get(name, (0.0, 0.0, None))
        if joules > 0 and seconds > 0:
            return _judged(joules, seconds, nodes or own, "")
    steps = [part for name, part in parts.items() if name.isdigit() and part[0] > 0 and part[1] > 0]
    if not steps:
        return None
    note = "" if len(steps) == 1 else f"sum of {len(steps)} job steps"
    return _judged(sum(step[0] for step in steps), sum(step[1] for step in steps), nodes or steps[0][2], note)


def _judged(joules: float, seconds: float, nodes: int | None, note: str, source: str = "sacct") -> JobEnergy:
    watts = joules / seconds / (nodes or 1)
    low, high = PLAUSIBLE_WATTS
    if nodes and not low <= watts <= high:
        note = "; ".join(
            filter(None, (note, f"{watts:,.3g} W a node is not plausible: ask the site what its figure covers"))
        )
    return JobEnergy(joules, seconds, source, nodes, note)


def _energy(cell: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGT]?)", cell.strip())
    value = float(found[1]) * _LETTERS[found[2]] if found else 0.0
    return value if value < _NO_VALUE else 0.0


def _elapsed(cell: str) -> float:
    """Seconds, or ``1-02:03:04``."""
    if cell.strip().isdigit():
        return float(cell)
    found = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)(?:\.\d+)?", cell.strip())
    days, hours, minutes, seconds = (float(each or 0) for each in found.groups()) if found else (0.0,) * 4
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def _whole(cell: str) -> int | None:
    return int(cell) if cell.strip().isdigit() else None


def of_attempt(starts: Starts, restart: int, last: int) -> JobEnergy | None:
    """Of an attempt that is the job's start number ``restart`` (from 0). ``last``: its newest start, which an accounting that
    keeps one entry a job means."""
    if len(starts) == 1:
        return starts[0] if restart == last else None
    return starts[restart] if restart < len(starts) else None


def read_statistics(text: str, place: str) -> tuple[str, JobEnergy | None]:
    """(job id, energy) of PJM's job statistics file; None where it has no energy. Read by key: sites change items and their order.

    Watts and watt-hours; whether of one node or of all is seen by comparing them with the elapsed time.
    """
    items: dict[str, str] = {}
    for line in _first_block(text.splitlines()):
        key, colon, value = line.partition(" : ")
        if colon:
            items.setdefault(key.strip(), value.strip())
    if "JOB ID" not in items:
        raise InputError(
            Problem(place, 0, 0, "this is no job statistics file of PJM: it has no JOB ID; pjsub -s writes one")
        )
    energies = {key: _number(value) for key, value in items.items() if key.startswith("ENERGY CONSUMPTION OF NODE")}
    # Measured is better than what the model of an ideal node says.
    chosen = next((key for key in sorted(energies, key=lambda key: "MEASURED" not in key) if energies[key] > 0), None)
    seconds = _used(items.get("ELAPSE TIME (USE)", ""))
    if chosen is None or seconds <= 0:
        return items["JOB ID"], None
    kind = chosen.partition("(")[2].rstrip(")") or "-"
    nodes = next(
        (int(_number(value)) for key, value in items.items() if key.startswith("NODE NUM") and _number(value) >= 1),
        None,
    )
    watts = _number(items.get(chosen.replace("ENERGY", "AVG POWER", 1), ""))
    wh, note = _of_all_nodes(energies[chosen], watts, seconds, nodes)
    return items["JOB ID"], _judged(wh * 3600, seconds, nodes, note, f"pjm: {kind}")


def _first_block(lines: Iterable[str]) -> Iterable[str]:
    """The job's own; a line of dashes parts it from those of its nodes."""
    for line in lines:
        if re.fullmatch(r"-{20,}", line.strip()):
            return
        yield line


def _of_all_nodes(wh: float, watts: float, seconds: float, nodes: int | None) -> tuple[float, str]:
    """The file names both "of node". Energy over power x time is the number of nodes where the energy is all nodes' and the power
    one's; where it is one, both are the same, and more watts than a node can take are all nodes'."""
    if not nodes or nodes == 1 or watts <= 0:
        return wh, ""
    ratio = wh / (watts * seconds / 3600)
    if abs(ratio - 1) > 0.2 or watts > _FUGAKU_WATTS:
        return wh, ""
    return wh * nodes, f"the file's figures are one node's; times {nodes} nodes"


def _number(text: str) -> float:
    found = re.match(r"\s*(\d+(?:\.\d+)?)", text.replace(",", ""))
    return float(found[1]) if found else 0.0


def _used(text: str) -> float:
    """``00:01:48 (108)``"""
    found = re.search(r"\((\d+(?:\.\d+)?)\)", text)
    return float(found[1]) if found else _elapsed(text)
