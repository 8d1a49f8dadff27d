"""The report as LaTeX: booktabs tables that a paper can \\input, without packages for numbers.

Escaped text compiles with pdflatex as far as its fonts have the letters; names in other scripts need lualatex.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from hpcscale.report.build import Report
from hpcscale.report.columns import Column, Layout
from hpcscale.report.sheet import Part, sheet
from hpcscale.report.styles import Style
from hpcscale.report.table import fitting, widths_of

# What TeX reads as commands, and what its older font encoding or its ligatures would print as something else.
# Brackets and stars stand in braces: after the \\ of the line before they would be its options.
ESCAPES = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "%": r"\%", "#": r"\#", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': "''", "`": r"\textasciigrave{}", "[": "{[}", "]": "{]}", "*": "{*}",
    "\N{EN DASH}": r"\textendash{}", "\N{EM DASH}": r"\textemdash{}", "\N{HORIZONTAL ELLIPSIS}": r"\dots{}",
    "\N{MULTIPLICATION SIGN}": r"\texttimes{}", "\N{MIDDLE DOT}": r"\textperiodcentered{}",
    "\N{NO-BREAK SPACE}": "~",
}  # fmt: skip


def escaped(text: str) -> str:
    """Text that TeX prints as it stands, on one line; characters that nothing can show are left out."""
    shown = "".join(" " if each in "\n\r\t\f\v" else each for each in text)
    kept = "".join(each for each in shown if unicodedata.category(each)[0] != "C")
    # Two hyphens would join to a dash.
    return re.sub("-(?=-)", "-{}", "".join(ESCAPES.get(each, each) for each in kept))


@dataclass(frozen=True)
class _Size:
    """A type size and the points that a character of Computer Modern takes in it on average."""

    command: str
    width: float


_SIZES = (_Size(r"\small", 4.6), _Size(r"\footnotesize", 4.25), _Size(r"\scriptsize", 3.7), _Size(r"\tiny", 2.9))
_READABLE = _SIZES[1]  # smaller only where no column may be left out
_PAGE, _LANDSCAPE = 500.0, 680.0  # points: both columns of a page, and its height
_GAP, _NARROW_GAP = 6.0, 4.0  # points between two columns (twice \tabcolsep): usually, and where a page must be turned
_MOST_ROWS = 45  # of a page; a longer table breaks


def latex(report: Report, style: Style | None = None) -> str:
    """A table for each part of the report, what its rows share as caption, and the notes below the last one."""
    content = sheet(report, style)
    tables = [_Table(part, _caption(report, part), style is None) for part in content.parts]
    packages = ["booktabs"]
    packages += ["longtable"] if any(table.is_long for table in tables) else []
    packages += ["pdflscape"] if any(table.is_wide for table in tables) else []
    notes = [line.strip() for title, lines in content.remarks for line in ([title, *lines] if title else lines)]
    written = [table.text(notes if table is tables[-1] else []) for table in tables]
    return "\n\n".join([f"% needs \\usepackage{{{','.join(packages)}}}", *written]) + "\n"


def _caption(report: Report, part: Part) -> str:
    facts = ", ".join(f"{title} {value}" for title, value in part.layout.common)
    sources = ", ".join(dict.fromkeys(row["source"] for row in report.rows if row["source"]))
    return part.heading or facts or sources


class _Table:
    """One table, and how it gets onto a page: type size, columns, breaking, turning."""

    def __init__(self, part: Part, caption: str, may_lack_columns: bool):
        self.caption = caption
        self.left_out: list[str] = []
        self.layout = part.layout
        if may_lack_columns:
            shown, left_out = fitting(part.layout, int(_PAGE / _READABLE.width), widths_of(part.layout))
            self.left_out = [part.layout.columns[i].name for i in left_out]
            self.layout = _with(part.layout, shown)
        self.titles = [_title_lines(column, _widest(self.layout, i)) for i, column in enumerate(self.layout.columns)]
        self.gap = _GAP
        self.is_wide = not any(self._width(size) <= _PAGE for size in _SIZES)
        self.gap = _NARROW_GAP if self.is_wide else _GAP
        room = _LANDSCAPE if self.is_wide else _PAGE
        self.size = next((size for size in _SIZES if self._width(size) <= room), _SIZES[-1])
        self.is_long = len(self.layout.cells) > _MOST_ROWS

    def _width(self, size: _Size) -> float:
        widest = [max(_widest(self.layout, i), *map(len, lines)) for i, lines in enumerate(self.titles)]
        return sum(widest) * size.width + self.gap * (len(widest) - 1)

    def text(self, notes: list[str]) -> str:
        lines = [f"% left out, as the page is not wide enough: {escaped(', '.join(self.left_out))}"] * bool(
            self.left_out
        )
        lines += [r"\begin{landscape}"] * self.is_wide
        lines += self._breaking(notes) if self.is_long else self._floating(notes)
        lines += [r"\end{landscape}"] * self.is_wide
        return "\n".join(lines)

    def _floating(self, notes: list[str]) -> list[str]:
        return [
            r"\begin{table*}[tbp]",
            rf"\centering{self.size.command}\setlength{{\tabcolsep}}{{{self.gap / 2:g}pt}}",
            rf"\caption{{{escaped(self.caption)}}}\smallskip",
            rf"\begin{{tabular}}{{{self._columns()}}}",
            r"\toprule",
            *self._header(),
            r"\midrule",
            *self._rows(),
            r"\bottomrule",
            r"\end{tabular}",
            *([r"\par\smallskip", r"\begin{minipage}{\linewidth}\raggedright\scriptsize", *_paragraphs(notes), r"\end{minipage}"] if notes else []),
            r"\end{table*}",
        ]  # fmt: skip

    def _breaking(self, notes: list[str]) -> list[str]:
        header = [r"\toprule", *self._header(), r"\midrule"]
        return [
            rf"\begingroup{self.size.command}\setlength{{\tabcolsep}}{{{self.gap / 2:g}pt}}",
            rf"\begin{{longtable}}{{{self._columns()}}}",
            rf"\caption{{{escaped(self.caption)}}}\\",
            *header,
            r"\endfirsthead",
            *header,
            r"\endhead",
            r"\bottomrule",
            r"\endfoot",
            *self._rows(),
            r"\end{longtable}",
            *([r"\noindent\begin{minipage}{\linewidth}\raggedright\scriptsize", *_paragraphs(notes), r"\end{minipage}"] if notes else []),
            r"\endgroup",
        ]  # fmt: skip

    def _columns(self) -> str:
        return "@{}" + "".join("l" if column.left else "r" for column in self.layout.columns) + "@{}"

    def _header(self) -> list[str]:
        height = max(len(lines) for lines in self.titles)
        padded = [[""] * (height - len(lines)) + lines for lines in self.titles]
        return [_row(tuple(lines[i] for lines in padded)) for i in range(height)]

    def _rows(self) -> list[str]:
        return [_row(cells) for cells in self.layout.cells]


def _with(layout: Layout, shown: list[int]) -> Layout:
    cells = tuple(tuple(row[i] for i in shown) for row in layout.cells)
    return Layout(tuple(layout.columns[i] for i in shown), cells, layout.common)


def _widest(layout: Layout, column: int) -> int:
    return max(len(row[column]) for row in layout.cells)


def _title_lines(column: Column, width: int) -> list[str]:
    """A title in lines as wide as the column's cells or its longest word."""
    lines: list[str] = []
    for line in column.title.split("\n"):
        words = line.split(" ")
        room = max(width, *(len(word) for word in words))
        for word in words:
            if lines and word is not words[0] and len(lines[-1]) + 1 + len(word) <= room:
                lines[-1] += f" {word}"
            else:
                lines.append(word)
    return lines


def _row(cells: tuple[str, ...]) -> str:
    return " & ".join(escaped(cell) for cell in cells) + r" \\"


def _paragraphs(lines: list[str]) -> list[str]:
    return [escaped(line) + r"\par" for line in lines]
