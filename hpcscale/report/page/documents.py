"""Where published rows stand: the file, what it says of itself, and the very line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hpcscale.ingest.published import FOLDER
from hpcscale.report.page.packed import packed
from hpcscale.spec import locate

Row = Mapping[str, Any]


def documents_of(rows: Sequence[Row], arguments: Sequence[str]) -> dict[str, Any]:
    """``{"files": {source: {"file", "about"}}, "lines": packed text}`` for rows that have a line of a file."""
    given = _given(arguments)
    packaged = locate.available(FOLDER, ".csv")
    files: dict[str, dict[str, Any]] = {}
    texts: dict[str, list[str]] = {}
    lines: list[str | None] = []
    for row in rows:
        source, line = row["source"], row.get("line")
        paths = given.get(source) or ([packaged[source]] if source in packaged else [])
        if line is None or not paths:
            lines.append(None)
            continue
        if source not in texts:
            # rows do not say which of two files of one name they are from
            texts[source] = _lines(paths[0]) if len(paths) == 1 else []
            files[source] = {"file": " or ".join(map(_shown, paths)), "about": _about(texts[source])}
        lines.append(texts[source][line - 1] if line <= len(texts[source]) else None)
    return {"files": files, "lines": packed(lines)}


def _given(arguments: Sequence[str]) -> dict[str, list[Path]]:
    """The files that were named, by what their rows call their source."""
    found: dict[str, list[Path]] = {}
    for argument in dict.fromkeys(arguments):
        if Path(argument).suffix == ".csv":
            found.setdefault(Path(argument).stem, []).append(locate.find(argument, FOLDER, "published table", ".csv"))
    return found


def _shown(path: Path) -> str:
    """A packaged table's place on this machine is nobody's business."""
    inside = path.is_relative_to(locate.packaged(FOLDER)) and path.is_absolute()
    return f"{FOLDER}/{path.name}" if inside else str(path)


def _lines(path: Path) -> list[str]:
    """As published.py counts them: a form feed or a line separator in a cell ends none."""
    return path.read_text(encoding="utf-8-sig").removesuffix("\n").split("\n")


def _about(lines: Sequence[str]) -> str:
    """The comment before the header."""
    said = []
    for line in lines:
        if not line.startswith("#"):
            break
        said.append(line.lstrip("# ").strip())
    return "\n".join(said)
