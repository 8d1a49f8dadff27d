"""File names with PJM's metacharacters: %j %J %b %s %n, and for ranks %m %r %R %S %o %e with %0Nr and %/Nr (MPIUG)."""

from __future__ import annotations

import os
import re

RANK_NUMBER = re.compile(r"%(?:0(\d+))?(?:/(\d+))?([rR])")
PLAIN = re.compile(r"%([jJbsnmSoe%])")


def expand(pattern: str, words: dict[str, object], rank: int | None = None) -> str:
    """``%/1000r`` is the rank floored to a multiple of 1000, ``%05r`` the rank with five digits."""

    def numbered(found: re.Match) -> str:
        value = rank or 0
        if found[2] and int(found[2]):
            value -= value % int(found[2])
        return str(value).zfill(int(found[1] or 0))

    if rank is not None:
        pattern = RANK_NUMBER.sub(numbered, pattern)
    return PLAIN.sub(lambda found: "%" if found[1] == "%" else str(words.get(found[1], found[0])), pattern)


def words(job: dict) -> dict[str, object]:
    number = job["number"]
    return {
        "j": job["id"],
        "J": job["key"],
        "b": number if job["model"] == "BU" else "",
        "s": number if job["model"] == "ST" else "",
        "n": job["name"],
    }


def output(job: dict, given: str | None, suffix: str) -> str:
    """The absolute path of the job's .out, .err or .stats."""
    name = expand(given, words(job)) if given else f"{job['name']}.{job['key']}.{suffix}"
    path = os.path.join(job["workdir"], name)
    return os.path.join(path, f"{job['name']}.{job['key']}.{suffix}") if os.path.isdir(path) else path
