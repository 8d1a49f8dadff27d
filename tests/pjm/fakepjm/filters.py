"""pjstat's --filter, --sort and --summary (CmdRef p.62-68)."""

from __future__ import annotations

import re

from . import columns
from .messages import refused

# --summary: heading, states
SUMMARY = (
    ("ACCEPT", ("ACC",)),
    ("QUEUED", ("QUE",)),
    ("RUNING", ("RNA", "RNP", "RUN")),
    ("RUNOUT", ("RNE", "RNO")),
    ("HOLD", ("HLD",)),
    ("ERROR", ("ERR",)),
    ("SUSPND", ("SPP", "SPD")),
    ("REJECT", ("RJT",)),
    ("EXIT", ("EXT",)),
    ("CANCEL", ("CCL",)),
)


def matches(job: dict, text: str | None) -> bool:
    """``jid=1+10,st=RUN``: every item must match one of its values; an unknown item matches nothing."""
    if not text:
        return True
    for part in text.split(","):
        item, equals, values = part.partition("=")
        if not equals:
            raise refused("pjstat", 204, option="--filter", argument=text)
        if item not in columns.ITEMS.keys() - columns.NOT_CHOSEN:
            return False
        value = columns.value(item, job)
        if not any(one(value, wanted) for wanted in values.split("+")):
            return False
    return True


def one(value: str, wanted: str) -> bool:
    found = re.fullmatch(r"(\d*)-(\d*)", wanted)
    if found and (found[1] or found[2]):
        number = re.match(r"\d+", value)
        if not number:
            return False
        low, high = int(found[1] or 0), int(found[2]) if found[2] else None
        return low <= int(number[0]) and (high is None or int(number[0]) <= high)
    return re.fullmatch(pattern(wanted), value) is not None


def pattern(wanted: str) -> str:
    """``.`` is one character and ``*`` any number; a backslash takes the next character as it is."""
    parts = []
    letters = iter(wanted)
    for letter in letters:
        if letter == "\\":
            parts.append(re.escape(next(letters, "")))
        else:
            parts.append({".": ".", "*": ".*"}.get(letter, re.escape(letter)))
    return "".join(parts)


def in_order(jobs: list[dict], text: str) -> list[dict]:
    for part in reversed(text.split(",")):
        item, _, direction = part.partition(":")
        if item in columns.ITEMS:
            jobs = sorted(jobs, key=lambda job: natural(columns.value(item, job)), reverse=direction == "D")
    return jobs


def natural(text: str) -> tuple[int, int, str]:
    number = re.match(r"\d+", text)
    return (0, int(number[0]), text) if number else (1, 0, text)


def summary(jobs: list[dict]) -> list[str]:
    """Two lines of counts: jobs, then sub jobs (marked s; those of a job count as they are)."""
    heading = "  " + " ".join(f"{title:<6}" for title, _ in SUMMARY) + " TOTAL"
    counts = [sum(job["state"] in states for job in jobs) for _, states in SUMMARY]
    below = [sum(job["state"] in states for job in jobs if not job.get("is_summary")) for _, states in SUMMARY]
    return [heading] + [
        mark + " " + " ".join(f"{count:>6}" for count in numbers) + f" {sum(numbers):>5}"
        for mark, numbers in ((" ", counts), ("s", below))
    ]
