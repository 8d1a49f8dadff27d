"""The limits of queues as the scheduler says them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from hpcscale.jobs.lint.values import pjm_seconds, slurm_seconds

_ACL = re.compile(r"\s*\((node|elapse)=\)\s+(\S+)\s+(\S+)\s+(\S+)\s*\Z")


@dataclass(frozen=True)
class Limits:
    """One queue. None: no limit, or none said."""

    name: str
    nodes_min: int | None = None
    nodes_max: int | None = None
    seconds_min: int | None = None
    seconds_max: int | None = None
    seconds_default: int | None = None
    up: bool = True
    accounts: tuple[str, ...] = ()  # the only ones that may use it; empty: all
    accounts_denied: tuple[str, ...] = ()


def partitions(text: str) -> dict[str, Limits]:
    """From ``scontrol --all --oneliner show partition`` (Slurm 22.05: ``Key=value`` pairs, blanks between them)."""
    found = {}
    for line in text.splitlines():
        pairs = {word.partition("=")[0]: word.partition("=")[2] for word in line.split() if "=" in word}
        name = pairs.get("PartitionName")
        if name:
            found[name] = _partition(name, pairs)
    return found


def _partition(name: str, pairs: dict[str, str]) -> Limits:
    # MinNodes=0 and 1 set no limit; where MaxNodes is no number, all nodes of the partition may be asked for
    fewest = _count(pairs.get("MinNodes", "")) or 1
    most = _count(pairs.get("MaxNodes", "")) or _count(pairs.get("TotalNodes", ""))
    allowed = pairs.get("AllowAccounts", "ALL")
    return Limits(
        name,
        nodes_min=fewest if fewest > 1 else None,
        nodes_max=most,
        seconds_max=slurm_seconds(pairs.get("MaxTime", "")),
        seconds_default=slurm_seconds(pairs.get("DefaultTime", "")),
        up=pairs.get("State", "UP") == "UP",
        accounts=() if allowed == "ALL" else tuple(allowed.split(",")),
        accounts_denied=tuple(filter(None, pairs.get("DenyAccounts", "").split(","))),
    )


def _count(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() else None


def resource_group(name: str, text: str) -> Limits | None:
    """From ``pjacl --rg NAME`` (Fugaku user guide 1.52, section 5.1.3). None where it cannot be read with certainty.

    Only the table of batch jobs counts: its head names ``-L/--rsc-list`` and the columns lower, upper, default.
    """
    rows: dict[str, tuple[str, str, str]] = {}
    inside = False
    for line in text.splitlines():
        words = line.split()
        if words[-3:] == ["lower", "upper", "default"]:
            inside = words[0] == "(-L/--rsc-list)"
        elif inside and (match := _ACL.match(line)):
            rows.setdefault(match[1], (match[2], match[3], match[4]))
    if {"node", "elapse"} - set(rows):
        return None
    (low, high, _), (shortest, longest, default) = rows["node"], rows["elapse"]
    if _count(low) is None or pjm_seconds(shortest) is None:
        return None
    return Limits(
        name,
        nodes_min=_count(low),
        nodes_max=_count(high),
        seconds_min=pjm_seconds(shortest),
        seconds_max=pjm_seconds(longest),
        seconds_default=pjm_seconds(default),
    )
