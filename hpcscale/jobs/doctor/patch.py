"""Differences as a patch to the profile: only the values concerned change, comments and layout stay."""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path

from hpcscale.jobs.doctor.compare import Difference
from hpcscale.spec.yaml12 import loads

_SCALAR = re.compile(r"\"[^\"\n]*\"|'[^'\n]*'|[^\s,\]}#'\"{\[&*!|>][^\s,\]}#]*")


def patch(path: Path, differences: list[Difference]) -> tuple[str, list[str]]:
    """A unified diff that ``patch -p0`` applies, and sentences for the values whose place cannot be edited."""
    text = path.read_text(encoding="utf-8")
    document = loads(text, str(path))
    lines = text.splitlines(keepends=True)
    left = []
    # From the right: an edit moves what stands behind it on its line.
    for each in sorted(differences, key=lambda one: document.place(("queues", one.queue, *one.key)), reverse=True):
        where = ("queues", each.queue, *each.key)
        line, column = document.places.get(where, (0, 0))
        edited = _edited(lines[line - 1], column - 1, each) if line else None
        if edited is None:
            left.append(f"{path}: write {each.scheduler} as {'.'.join(map(str, each.key))} of {each.name}")
        else:
            lines[line - 1] = edited
    name = shown(path)
    diff = difflib.unified_diff(text.splitlines(keepends=True), lines, name, name)
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in diff), left


def _edited(line: str, column: int, difference: Difference) -> str | None:
    """The line with the value at ``column`` replaced; None where something else stands there."""
    match = _SCALAR.match(line, column)
    if not match:
        return None
    quote = match[0][0] if match[0][0] in "\"'" else ""
    return f"{line[:column]}{quote}{difference.scheduler}{quote}{line[match.end() :]}"


def shown(path: Path) -> str:
    """As ``patch -p0`` finds it from the working directory, where it lies below; else the bare name."""
    relative = os.path.relpath(path.resolve(), Path.cwd().resolve())
    return path.name if relative.startswith("..") else relative
