"""What all charts share: a paper's sizes and fonts, colours, the heading, and how a figure becomes a file."""

from __future__ import annotations

import io
import re
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hpcscale.report.axes import GREY
from hpcscale.report.columns import Row, lay_out
from hpcscale.report.labels import fitted, inches
from hpcscale.spec.problems import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg", ".pdf")
# Okabe and Ito's colours without yellow, which paper swallows, and two dark ones
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#7F7F7F", "#882255", "#44580B")
MARKERS = ("o", "s", "^", "D", "v", "p", "<", ">", "h", "8", "d")
PALE = "#A9C4D9"  # beside the first colour: what is there to compare with


class NothingToDraw(InputError):
    """No row has what this kind of chart shows. One of several kinds may be left out for it."""


@dataclass(frozen=True)
class Paper:
    """Inches from edge to edge, and the size of the text in points."""

    width: float
    size: float

    @property
    def small(self) -> float:
        return self.size - 1


# A page's text, and one of two columns: of most conferences' and journals' templates
PAPERS = {"page": Paper(7.2, 9.0), "column": Paper(3.5, 7.5)}
PAGE = PAPERS["page"]


def style(paper: Paper) -> dict[Any, Any]:
    """matplotlib's settings while a chart is drawn and written."""
    return {
        "svg.hashsalt": "hpcscale",  # the same chart is the same file
        "svg.fonttype": "none",
        "pdf.fonttype": 42,  # TrueType, embedded: publishers refuse Type 3
        "font.family": "DejaVu Sans",  # comes with matplotlib: the same chart on every machine
        "font.size": paper.size,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.linewidth": 0.8,
        "lines.linewidth": 1.6 if paper.width > 5 else 1.2,
        "lines.markersize": 5.5 if paper.width > 5 else 4,
        "hatch.linewidth": 0.6,
    }


# Neither a date nor a version: the same table gives the same bytes.
_METADATA: dict[str, dict[str, Any]] = {
    ".png": {"Software": None},
    ".svg": {"Date": None, "Creator": None},
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


def encoded(figure: Figure, suffix: str) -> bytes:
    """The file's content. Call it under the same style as the drawing."""
    file = io.BytesIO()
    figure.savefig(file, format=suffix.lstrip("."), dpi=160, metadata=_METADATA[suffix])
    return file.getvalue()


_COMMON = ("Source", "Machine", "Model", "Nodes", "Devices", "Seq. length", "Precision", "GBS", "MBS", "AC")
_SELF_EVIDENT = ("Source", "Machine", "Model", "Precision")


def heading(figure: Figure, rows: list[Row], said: str, paper: Paper = PAGE) -> float:
    """What all rows share, and how to read the chart. Returns its height in inches."""
    common = dict(lay_out(rows).common)
    words = [
        common[title] if title in _SELF_EVIDENT else f"{title} {common[title]}"
        for title in _COMMON
        if common.get(title)
    ]
    if all(row["origin"] == "predicted" for row in rows):
        words.append("predicted")  # nobody may take it for a measurement
    at = _write(figure, _wrapped(" · ".join(word.replace(" ", "\N{NO-BREAK SPACE}") for word in words), paper, paper.size, True), 0.12, paper.size, "bold", "black")  # fmt: skip
    return _write(figure, _wrapped(said, paper, paper.small, False), at, paper.small, "normal", GREY)


def _wrapped(text: str, paper: Paper, size: float, bold: bool) -> list[str]:
    text = re.sub(r"[\n\r\t\f\v]+", " ", text)
    whole = inches(text, size, bold)
    room = paper.width - 0.24
    if whole <= room:
        return [text] if text else []
    # By characters, as wide on average as this text's, with a margin for those that are wider
    lines = textwrap.wrap(text, max(20, int(0.93 * len(text) * room / whole)), break_long_words=False)
    # What parts the words of a heading stands between them, not where a line begins or ends.
    return [fitted(line.removeprefix("· ").removesuffix(" ·"), room, size, bold) for line in lines]


def _write(figure: Figure, lines: list[str], at: float, size: float, weight: str, colour: str) -> float:
    width, height = figure.get_size_inches()
    for line in lines:
        plain(
            figure.text(0.12 / width, 1 - at / height, line, va="top", fontsize=size, fontweight=weight, color=colour)
        )
        at += 1.5 * size / 72
    return at


def plain(text: Any) -> Any:
    """Text as it stands: a dollar in a run's name starts no formula."""
    text.set_parse_math(False)
    return text
