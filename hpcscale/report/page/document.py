"""The page's file: markup, style, scripts and data in one, and a policy that lets nothing else in."""

from __future__ import annotations

import base64
import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from hpcscale.report.build import Report

FOLDER = Path(__file__).parent
# Joined in this order inside one function: a script may use what those before it define.
SCRIPTS = ("data", "text", "elements", "table", "filter", "detail", "plot", "scaling_charts", "row_charts", "walk", "charts", "theme",
           "page")  # fmt: skip
# Nothing may be loaded or sent. Scripts are those whose hashes stand here; plotly.js writes style attributes; images are
# what it saves on request.
_POLICY = (
    "default-src 'none'; script-src {scripts}; style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; "
    "form-action 'none'"
)
# In JSON these are the same characters, and in HTML they end no script and begin no comment.
_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def document(report: Report, title: str, data: dict[str, Any]) -> str:
    """The whole file. The same report gives the same text."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    # Without anything to draw the five megabytes of plotly.js stay out.
    scripts = [_script(_plotly())] if drawable(data) else []
    scripts.append(_script(_joined()))
    environment = Environment(loader=FileSystemLoader(FOLDER), autoescape=True, undefined=StrictUndefined)
    return environment.get_template("page.html.j2").render(
        title=title,
        policy=_POLICY.format(scripts=" ".join(hashed(each) for each in scripts)),
        style=Markup((FOLDER / "page.css").read_text(encoding="utf-8")),
        data=Markup(as_json(data)),
        scripts=[Markup(each) for each in scripts],
        common=data["common"],
        sections=[
            ("Printed figures against what follows from their rows", _nested(report.reproduction)),
            ("Notes", _nested(report.about_rows)),
            ("Definitions", _nested(report.definitions)),
        ],
    )


def _nested(lines: list[str]) -> list[tuple[str, list[str]]]:
    """Lines with those that are indented below them."""
    found: list[tuple[str, list[str]]] = []
    for line in lines:
        if line.startswith("  ") and found:
            found[-1][1].append(line.strip())
        else:
            found.append((line, []))
    return found


def drawable(data: dict[str, Any]) -> bool:
    """Whether a row has a figure that a chart shows."""
    facts = data["facts"]
    return any(name in facts for name in ("tokens_per_second", "tokens_per_second_per_device", "peak_memory_bytes")) or bool(
        data["losses"]["curves"] or data["terms"]
    )  # fmt: skip


def as_json(data: Any) -> str:
    """For a script element of type application/json."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character, escaped in _ESCAPES.items():
        text = text.replace(character, escaped)
    return text


def hashed(script: str) -> str:
    """A script's entry in the policy."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


@lru_cache(maxsize=1)
def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    return get_plotlyjs()


@lru_cache(maxsize=1)
def _joined() -> str:
    parts = [(FOLDER / "js" / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS]
    return '(function () {\n"use strict";\n' + "\n".join(parts) + "})();\n"


def _script(text: str) -> str:
    """The text as a browser hashes it. It must end nowhere but at its end."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    lowered = text.lower()
    if "</script" in lowered or ("<!--" in lowered and "<script" in lowered):
        raise ValueError("a script that holds a script element cannot stand inside a page")
    return text
