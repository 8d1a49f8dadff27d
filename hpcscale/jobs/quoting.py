"""Text in scripts: what a shell, a Slurm directive and a PJM directive can hold, quoted so that it stays text.

Neither scheduler expands variables in directives, so ``$`` is harmless there; what a directive cannot hold is refused.
"""

from __future__ import annotations

import re
import shlex
from functools import lru_cache
from typing import Any

from hpcscale.spec.problems import InputError

_PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./^~{}\[\]-]+\Z")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\u0085\u2028\u2029]")


@lru_cache(maxsize=65536)
def shell(value: Any) -> str:
    """One word of a POSIX shell. Raises InputError for a NUL character, which no shell can hold."""
    text = str(value)
    if "\0" in text:
        raise InputError(f"{text!r} holds a NUL character, which cannot stand in a script")
    return shlex.quote(text)


@lru_cache(maxsize=65536)
def directive(value: Any) -> str:
    """One value of an ``#SBATCH`` or ``#PJM`` line, in double quotes where it needs them.

    Both readers take a backslash before a quote or a backslash, and end the line at a line break: a value with one is
    refused. Seen with sbatch 22.05; PJM by its Command Reference (shell quoting).
    """
    text = str(value)
    if _CONTROL.search(text):
        raise InputError(
            f"{text!r} holds a control character or a line break and cannot stand in a directive; rename it"
        )
    if _PLAIN.match(text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def comment(value: Any) -> str:
    """Text behind a ``#``: one line, whatever it holds."""
    return " ".join(_CONTROL.sub(" ", str(value)).split())


def job_name(study: str, hash_: str) -> str:
    """``<study>-<hash>``, such that every scheduler takes it: starts with a letter, at most 63 bytes, no '/'."""
    room = 63 - len(hash_) - 1
    text = study if study[:1].isalpha() and study[:1].isascii() else "J" + study
    text = text.encode()[:room].decode(errors="ignore").rstrip()
    return f"{text}-{hash_}"
