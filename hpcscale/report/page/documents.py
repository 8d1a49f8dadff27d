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
    given = {Path(argument).stem: Path(argument) for argument in arguments if Path(argument).suffix == ".csv"}
    packaged = locate.available(FOLDER, ".csv")
    files: dict[str, dict[str, Any]] = {}
    texts: dict[str, list[str]] = {}
    lines: list[str | None] = []
    for row in rows:
        source, line = row["source"], row.get("line")
        path = given.get(source) or packaged.get(source)
        if line is None or path is None:
            lines.append(None)
            continue
        if source not in texts:
            texts[source] = path.read_text(encoding="utf-8-sig").splitlines()
            # a packaged table's place on this machine is nobody's business
            shown = str(given[source]) if source in given else f"{FOLDER}/{path.name}"
            files[source] = {"file": shown, "about": _about(texts[source])}
        lines.append(texts[source][line - 1] if line <= len(texts[source]) else None)
    return {"files": files, "lines": packed(lines)}


def _about(lines: Sequence[str]) -> str:
    """The comment before the header."""
    said = []
    for line in lines:
        if not line.startswith("#"):
            break
        said.append(line.lstrip("# ").strip())
    return "\n".join(said)
