"""The first host of a Slurm host list: ``jwb[0097-0099,0123],login1`` -> ``jwb0097``."""

from __future__ import annotations

import re

_FIRST = re.compile(r"(?P<prefix>[^\[,]*)(?:\[(?P<first>[^\],-]+)[^\]]*\])?(?P<suffix>[^\[,]*)")


def first_host(hosts: str) -> str:
    """The host that holds rank 0. Several brackets in one name (``a[1-2]b[3-4]``) take the first of each."""
    name = ""
    rest = hosts.strip()
    while rest:
        match = _FIRST.match(rest)
        assert match is not None, "every part of the pattern may be empty"
        name += match["prefix"] + (match["first"] or "") + match["suffix"]
        rest = rest[match.end() :]
        if not rest.startswith("["):
            break
    return name
