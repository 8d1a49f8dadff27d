"""HTML tables, also inside Markdown, and what is left of a cell when its markup is taken away."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Sequence
from html.parser import HTMLParser

from hpcscale.audit.grids import Block


class _Tables(HTMLParser):
    """Rows of each table with the line that each starts on; spans fill the places that they cover."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.blocks: list[Block] = []
        self.block: Block | None = None
        self.row: list[str] | None = None
        self.row_line, self.row_head = 0, True
        self.cell: list[str] | None = None
        self.columns = 1
        self.down: dict[int, tuple[int, str]] = {}
        self.rows_spanned = 1
        self.heads: list[list[str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self._close_table()
            self.block = Block(self.getpos()[0], self.getpos()[0])
            self.down, self.heads = {}, []
        elif self.block is None:
            return
        elif tag == "tr":
            self._close_row()
            self.row, self.row_line, self.row_head = [], self.getpos()[0], True
        elif tag in ("td", "th"):
            if self.row is None:
                self.row, self.row_line, self.row_head = [], self.getpos()[0], True
            self._close_cell()
            self._spanned()
            given = dict(attrs)
            self.cell, self.columns = [], _span(given.get("colspan"))
            self.rows_spanned = _span(given.get("rowspan"))
            self.row_head = self.row_head and tag == "th"
        elif tag == "br" and self.cell is not None:
            self.cell.append(" ")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._close_cell()
        elif tag == "tr":
            self._close_row()
        elif tag == "table":
            self._close_table()

    def handle_data(self, data: str) -> None:
        if self.cell is not None:
            self.cell.append(data)

    def _spanned(self) -> None:
        """Cells that an earlier row's rowspan puts here."""
        while self.row is not None and len(self.row) in self.down:
            left, text = self.down.pop(len(self.row))
            if left > 1:
                self.down[len(self.row)] = (left - 1, text)
            self.row.append(text)

    def _close_cell(self) -> None:
        if self.cell is None or self.row is None:
            return
        text = " ".join("".join(self.cell).split())
        for _ in range(self.columns):
            if self.rows_spanned > 1:
                self.down[len(self.row)] = (self.rows_spanned, text)
                left, _text = self.down[len(self.row)]
                self.down[len(self.row)] = (left - 1, text)
            self.row.append(text)
        self.cell = None

    def _close_row(self) -> None:
        self._close_cell()
        if self.row is None or self.block is None:
            return
        self._spanned()
        if self.row_head and not self.block.rows and self.row:
            self.heads.append(self.row)
        elif self.row:
            self.block.rows.append((self.row_line, self.row))
        self.row = None

    def _close_table(self) -> None:
        self._close_row()
        if self.block is None:
            return
        if not self.heads and self.block.rows:
            self.heads = [self.block.rows.pop(0)[1]]
        width = max((len(row) for row in self.heads), default=0)
        names = [list(dict.fromkeys(row[i] for row in self.heads if i < len(row) and row[i])) for i in range(width)]
        self.block.header = [" ".join(each) for each in names]
        self.block.last = max(self.getpos()[0], self.block.first)
        self.blocks.append(self.block)
        self.block = None


def _span(value: str | None) -> int:
    return min(int(value), 50) if value and value.isdecimal() and int(value) > 0 else 1


def html_tables(lines: Sequence[str]) -> list[Block]:
    """Every ``<table>``; a fault in the markup ends the search, it never ends the reading."""
    text = "\n".join(lines)
    if "<table" not in text.lower():
        return []
    parser = _Tables()
    try:
        parser.feed(text)
        parser._close_table()
    except (AssertionError, ValueError):
        return parser.blocks
    return parser.blocks


_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_FOOTNOTE = re.compile(
    r"\[\^[^\]]*\]|<sup>.*?</sup>|\\(?:footnotemark|footnote|cite|textsuperscript)\{[^}]*\}|[†‡§¶]|\^\{?[a-z*]\}?$",
    re.IGNORECASE,
)
_TAG = re.compile(r"<[^<>]*>")
_LATEX = re.compile(
    r"\\(?:textbf|textit|emph|mathbf|text|underline|textsc|mathrm|multicolumn\{\d+\}\{[^}]*\})\{([^{}]*)\}"
)
_EMPHASIS = re.compile(r"\*\*|__|`|(?<![\w*])\*(?=\S)|(?<=\S)\*(?![\w*])|~~|\$")


def plain(text: str) -> str:
    """A cell without bold, links, footnotes, tags and LaTeX; full-width characters as usual ones."""
    text = unicodedata.normalize("NFKC", html.unescape(text))
    text = _LINK.sub(r"\1", _FOOTNOTE.sub("", text))
    text = _LATEX.sub(r"\1", _LATEX.sub(r"\1", text))
    text = re.sub(r"\\([%#_&$])", r"\1", text).replace("\\,", "").replace("\\times", "x")
    text = _EMPHASIS.sub("", _TAG.sub(" ", text))
    return " ".join(text.replace("\u2212", "-").split())
