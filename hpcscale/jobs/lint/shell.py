"""What a shell script uses and defines, as far as that can be said without running it.

A tokenizer, not a parser: it knows quotes, comments, here-documents, ``${...}``, ``$(...)`` and arithmetic, and takes
every assignment for one that is reached. So what it calls undefined is defined nowhere.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field

_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_PARAMETER = re.compile(r"\$\{[#!]?([A-Za-z_]\w*)(?:\[[^\]\n]*\])?(:?[-=+?])?", re.ASCII)
_HERE = re.compile(r"<<(-?)[ \t]*(?:'([^'\n]*)'|\"([^\"\n]*)\"|\\?([^\s'\"|&;<>()`]+))")
_NUMBER = re.compile(r"\d\w*(#\w+)?", re.ASCII)
_ARITHMETIC = re.compile(r"\s*(?:[-+*/%&|^]|<<|>>)?=(?!=)|\s*(?:\+\+|--)")

_ASSIGNED = re.compile(r"(?:^|[\s;&|(){}`\"'!])([A-Za-z_]\w*)(?:\[[^\]\n]*\])?\+?=", re.MULTILINE | re.ASCII)
_DECLARED = re.compile(
    r"\b(?:declare|local|typeset|readonly|read|mapfile|readarray|getopts|let)\b([^\n;|&<>]*)", re.ASCII
)
_NAMED = re.compile(
    r"\b(?:for|select|coproc|printf\s+-v|wait\s+(?:-\w+\s+)*-p)\s+[\"']?([A-Za-z_]\w*)|\{([A-Za-z_]\w*)\}[<>]", re.ASCII
)
_TESTED = re.compile(r"(?:\[|\btest|&&|\|\||!)\s+(?:!\s+)?-[znv]\s+\"?\$?\{?([A-Za-z_]\w*)", re.ASCII)
# [ "$x" ], [ "$x" = "" ], [ x$x != x ]
_COMPARED = re.compile(
    r"(?:\[|\btest)\s+(?:!\s+)?\"?(x?)\$\{?([A-Za-z_]\w*)\}?\"?\s+(?:\]|(?:!=|==?)\s+\"?\1\"?\s)", re.ASCII
)
_COMMAND = re.compile(
    r"(?:^|[;&|({!]|\b(?:then|do|else|if|while|until|time|command|builtin)\s)\s*"
    r"([\w.]+)(?:[ \t]+([^\n;&|)]*))?",
    re.MULTILINE | re.ASCII,
)


@dataclass(frozen=True)
class Use:
    """A variable whose value is read. ``guarded``: the script says what happens where it is not set."""

    name: str
    line: int
    guarded: bool


@dataclass
class Shell:
    uses: list[Use] = field(default_factory=list)
    defined: set[str] = field(default_factory=set)
    tested: set[str] = field(default_factory=set)  # asked whether they are set, so they may be unset on purpose
    commands: list[tuple[int, str, str]] = field(default_factory=list)  # (line, word, its arguments)
    here_documents: set[int] = field(default_factory=set)  # the numbers of their lines


def read(text: str) -> Shell:
    """Never raises: what is no shell script gives a result of no worth."""
    scanner = _Scanner(text)
    scanner.run()
    found, code = scanner.found, "".join(scanner.code)
    found.defined |= set(_ASSIGNED.findall(code)) | {name for names in _NAMED.findall(code) for name in names}
    found.defined |= {name for arguments in _DECLARED.findall(code) for name in _NAME.findall(arguments)}
    found.tested |= set(_TESTED.findall(code)) | {name for _, name in _COMPARED.findall(code)}
    found.commands = [(scanner.line(m.start(1)), m[1], (m[2] or "").strip()) for m in _COMMAND.finditer(code)]
    return found


@dataclass
class _Open:
    """A construct that is not closed yet. ``kind``: code, quote, parameter, arithmetic or here."""

    kind: str
    end: str
    depth: int = 0


class _Scanner:
    def __init__(self, text: str):
        self.text, self.at = text, 0
        self.code = list(text)  # what is no code becomes blanks
        self.stack = [_Open("code", "")]
        self.waiting: list[tuple[str, bool, bool]] = []  # here-documents that start on the next line
        self.found = Shell()
        self.starts = [0, *(m.end() for m in re.finditer("\n", text))]

    def line(self, at: int) -> int:
        return bisect_right(self.starts, at)

    def run(self) -> None:
        while self.at < len(self.text):
            before = self.at
            self._step(self.text[self.at], self.stack[-1])
            assert self.at > before, "every step goes on"

    def _step(self, c: str, inside: _Open) -> None:
        if c == "\\":
            self.at += 2
        elif c == "$":
            self._dollar(inside)
        elif c == "`":
            self._open_or_close(inside, "code", "`")
        elif c == '"' and inside.kind != "here":
            self._open_or_close(inside, "quote", '"')
        elif inside.kind == "parameter" and c == "}":
            self._close()
        elif inside.kind == "arithmetic":
            self._arithmetic(c, inside)
        elif inside.kind == "code":
            self._code(c, inside)
        else:
            self.at += 1

    def _code(self, c: str, inside: _Open) -> None:
        text, at = self.text, self.at
        if c == "\n" and self.waiting:
            self.at += 1
            self._here_documents()
        elif c == "'":
            self._skip(self._find("'", at + 1))
        elif c == "#" and (at == 0 or text[at - 1] in " \t\n;&|()`"):
            self._skip(self._find("\n", at) - 1)
        elif text.startswith("<<<", at):
            self.at += 3
        elif c == "<" and (match := _HERE.match(text, at)):
            dash, single, double, bare = match.groups()
            quoted = bare is None or "\\" in match[0]
            self.waiting.append((next(x for x in (single, double, bare) if x is not None), quoted, bool(dash)))
            self.at = match.end()
        elif text.startswith("((", at) and text.find("))", at) > 0:
            self._push("arithmetic", "))", 2)
        elif c == "(":
            self._push("code", ")", 1)
        elif c == ")" and inside.end == ")":
            self._close()
        else:
            self.at += 1

    def _dollar(self, inside: _Open) -> None:
        text, at = self.text, self.at
        if text.startswith("$((", at) and text.find("))", at) > 0:
            self._push("arithmetic", "))", 3)
        elif text.startswith("$(", at):
            self._push("code", ")", 2)
        elif match := _PARAMETER.match(text, at):
            name, operator = match.groups()
            self._use(name, at, guarded=operator is not None)
            if operator in ("=", ":="):
                self.found.defined.add(name)
            elif operator and (
                operator[-1] in "+?" or text[match.end() : match.end() + 1] == "}"
            ):  # ${x:-} takes it for empty
                self.found.tested.add(name)
            self._push("parameter", "}", match.end() - at)
        elif text.startswith("${", at):
            self._push("parameter", "}", 2)
        elif match := _NAME.match(text, at + 1):
            self._use(match[0], at)
            self.at = match.end()
        elif text.startswith("$'", at) and inside.kind in ("code", "parameter"):
            match = re.compile(r"(?:[^'\\]|\\.)*'", re.DOTALL).match(text, at + 2)
            self._skip(match.end() if match else len(text))
        else:
            self.at += 2 if text[at + 1 : at + 2] in ("$", "#", "?", "!", "@", "*", "-") else 1

    def _arithmetic(self, c: str, inside: _Open) -> None:
        text, at = self.text, self.at
        if c == "(":
            inside.depth += 1
            self.at += 1
        elif c == ")" and inside.depth == 0:
            self.at += 1 if text.startswith("))", at) else 0
            self._close()
        elif c == ")":
            inside.depth -= 1
            self.at += 1
        elif match := _NUMBER.match(text, at):
            self.at = match.end()
        elif match := _NAME.match(text, at):
            assigned = _ARITHMETIC.match(text, match.end()) or text[max(at - 2, 0) : at] in ("++", "--")
            if assigned:
                self.found.defined.add(match[0])
            else:
                self._use(match[0], at)
            self.at = match.end()
        else:
            self.at += 1

    def _here_documents(self) -> None:
        waiting, self.waiting = self.waiting, []
        for end, quoted, dash in waiting:
            start = self.at
            while self.at < len(self.text):
                stop = self._find("\n", self.at)
                line = self.text[self.at : stop].rstrip("\n")
                self.found.here_documents.add(self.line(self.at))
                self.at = stop
                if (line.lstrip("\t") if dash else line) == end:
                    break
            body = self.text[start : self.at]
            self.code[start : self.at] = ["\n" if each == "\n" else " " for each in body]
            if not quoted:
                self._expansions_in(body, start)

    def _expansions_in(self, body: str, start: int) -> None:
        """Uses in a here-document whose end is not quoted."""
        inner = _Scanner(body)
        inner.stack = [_Open("here", "")]
        inner.run()
        first = self.line(start) - 1
        self.found.uses += [Use(use.name, use.line + first, use.guarded) for use in inner.found.uses]
        self.found.defined |= inner.found.defined
        self.found.tested |= inner.found.tested

    def _use(self, name: str, at: int, guarded: bool = False) -> None:
        self.found.uses.append(Use(name, self.line(at), guarded))

    def _push(self, kind: str, end: str, width: int) -> None:
        self.stack.append(_Open(kind, end))
        self.at += width

    def _close(self) -> None:
        self.stack.pop()
        self.at += 1

    def _open_or_close(self, inside: _Open, kind: str, end: str) -> None:
        if inside.kind == kind and inside.end == end:
            self._close()
        else:
            self._push(kind, end, 1)

    def _find(self, what: str, start: int) -> int:
        """The place behind the next ``what``, or the end."""
        found = self.text.find(what, start)
        return len(self.text) if found < 0 else found + len(what)

    def _skip(self, to: int) -> None:
        """Go to ``to``, at least one character on; what is skipped is no code."""
        to = max(to, self.at + 1)
        self.code[self.at : to] = ["\n" if each == "\n" else " " for each in self.text[self.at : to]]
        self.at = to
