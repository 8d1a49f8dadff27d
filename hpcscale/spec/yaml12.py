"""YAML by the core rules of YAML 1.2, with the place of every value and no duplicate keys.

PyYAML follows YAML 1.1, where ``12:00:00`` is the number 43200, ``3e-4`` a string and ``no`` a boolean. Here the
parser of PyYAML is kept and its scalar rules are replaced by the core schema (https://yaml.org/spec/1.2.2/#103-core-schema).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from hpcscale.spec.problems import InputError, Problem

Location = tuple[str | int, ...]

_INT = re.compile(r"[-+]?[0-9]+\Z")
_OCT = re.compile(r"0o[0-7]+\Z")
_HEX = re.compile(r"0x[0-9a-fA-F]+\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_INFINITY = re.compile(r"[-+]?\.(inf|Inf|INF)\Z")
_WORDS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}

_BaseLoader: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


@dataclass
class Document:
    """A parsed file: plain data and where each part of it stands (1-based line and column)."""

    data: Any
    file: str
    places: dict[Location, tuple[int, int]] = field(default_factory=dict)
    keys: dict[Location, tuple[int, int]] = field(default_factory=dict)  # where the key itself stands

    def place(self, location: Location) -> tuple[int, int]:
        """Line and column of the value at ``location``, or of the nearest part around it that has a place."""
        while location not in self.places and location:
            location = location[:-1]
        return self.places.get(location, (0, 0))

    def problem(self, location: Location, message: str, at_key: bool = False) -> Problem:
        place = self.keys[location] if at_key and location in self.keys else self.place(location)
        return Problem(self.file, *place, message)


def read_scalar(text: str) -> Any:
    """A plain scalar as YAML 1.2's core schema reads it: null, bool, int, float or the string itself."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.match(text):
        return int(text)
    if _OCT.match(text):
        return int(text[2:], 8)
    if _HEX.match(text):
        return int(text[2:], 16)
    if _FLOAT.match(text):
        return float(text)
    if _INFINITY.match(text):
        return float("-inf") if text.startswith("-") else float("inf")
    return text


def load(path: Path | str) -> Document:
    """Read one YAML file. Raises InputError with file:line:column for all that YAML forbids."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(Problem(str(path), 0, 0, f"the file is not UTF-8 text ({error.reason})")) from None
    except OSError as error:
        raise InputError(Problem(str(path), 0, 0, f"cannot read the file: {error.strerror}")) from None
    return loads(text, str(path))


def loads(text: str, file: str = "<text>") -> Document:
    """As :func:`load`, from a string."""
    try:
        node = yaml.compose(text, Loader=_BaseLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        raise InputError(Problem(file, line, column, _explain(error, text, line))) from None
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(Problem(file, 0, 0, f"not valid YAML: {error}")) from None
    document = Document(None, file)
    if node is not None:
        document.data = _Builder(document).build(node, (), ())
    return document


def _explain(error: yaml.MarkedYAMLError, text: str, line: int) -> str:
    lines = text.splitlines()
    if 0 < line <= len(lines) and "\t" in lines[line - 1]:
        return "a tab stands where YAML wants spaces; indent with spaces"
    what = error.problem or "not valid YAML"
    return f"not valid YAML: {what}" + (f" ({error.context})" if error.context else "")


class _Builder:
    def __init__(self, document: Document):
        self.document = document
        self.problems: list[Problem] = []

    def build(self, node: yaml.Node, location: Location, open_nodes: tuple[int, ...]) -> Any:
        data = self._value(node, location, open_nodes)
        if not location and self.problems:
            raise InputError(self.problems)
        return data

    def _value(self, node: yaml.Node, location: Location, open_nodes: tuple[int, ...]) -> Any:
        self.document.places.setdefault(location, _mark(node))
        if id(node) in open_nodes:
            self._complain(node, "an alias refers to a value that contains it")
            return None
        inside = (*open_nodes, id(node))
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, location, inside)
        if isinstance(node, yaml.SequenceNode):
            return [self._value(each, (*location, i), inside) for i, each in enumerate(node.value)]
        if (
            isinstance(node, yaml.ScalarNode) and not node.style and node.tag in (None, "tag:yaml.org,2002:str")
        ):  # plain: None in Python's parser, "" in C
            return read_scalar(node.value)
        return node.value

    def _mapping(self, node: yaml.MappingNode, location: Location, inside: tuple[int, ...]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._complain(key_node, "a key must be a plain word")
                continue
            key = key_node.value
            if key in result:
                first = self.document.places[(*location, key)]
                self._complain(key_node, f"the key '{key}' stands here a second time (first on line {first[0]})")
                continue
            here = (*location, key)
            self.document.places[here] = self.document.keys[here] = _mark(key_node)
            value = self._value(value_node, here, inside)
            # A scalar's own place is more useful than its key's; a block's is not.
            if isinstance(value_node, yaml.ScalarNode) and value_node.value != "":
                self.document.places[here] = _mark(value_node)
            result[key] = value
        return result

    def _complain(self, node: yaml.Node, message: str) -> None:
        self.problems.append(Problem(self.document.file, *_mark(node), message))


def _mark(node: yaml.Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1
