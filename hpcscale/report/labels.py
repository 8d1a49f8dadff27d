"""Names written beside curves instead of in a legend."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZE = 8.0  # points
_NARROW = 5.0  # inches of paper


class Label(NamedTuple):
    """A name for the point at (x, y) of the data. ``curve``: it names a curve that ends there, not a lone point."""

    text: str
    x: float
    y: float
    colour: str
    curve: bool


@lru_cache(maxsize=4096)
def inches(text: str, size: float, bold: bool = False) -> float:
    """How wide a line of text is in the charts' font."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    if not text.strip():
        return 0.3 * size / 72 * len(text)
    font = FontProperties(family="DejaVu Sans", weight="bold" if bold else "normal")
    # Letters that are fitted to a screen's pixels are a little wider.
    return 1.04 * float(TextPath((0, 0), text.replace("$", "s"), size=size, prop=font).get_extents().width) / 72


def margin_inches(labels: list[Label], size: float = SIZE) -> float:
    """Room that the names of curves need at the right of the axes."""
    return 0.32 + max(
        (inches(line, size, True) for label in labels if label.curve for line in label.text.split("\n")), default=-0.07
    )


def fitted(text: str, room: float, size: float, bold: bool = False) -> str:
    """On one line, and shortened in its middle where it is wider than ``room`` inches: names differ at their ends."""
    line = " ".join(text.split())
    kept = len(line)
    while kept > 8 and inches(_shortened(line, kept), size, bold) > room:
        kept = min(kept - 1, int(kept * 0.95))
    return _shortened(line, kept)


def _shortened(line: str, kept: int) -> str:
    return line if kept >= len(line) else f"{line[: (kept + 1) // 2]}…{line[len(line) - kept // 2 :]}"


def beside_curve(name: str, width: float, size: float) -> str:
    """A curve's name as the margin of paper of that width holds it: in two lines on a narrow one, as even as its words
    allow."""
    words, room = name.split(), 0.4 * width
    if width >= _NARROW or len(name) < 14 or len(words) < 2:
        return fitted(name, room, size, True)
    cut = min(range(1, len(words)), key=lambda i: max(len(" ".join(words[:i])), len(" ".join(words[i:]))))
    return "\n".join(fitted(" ".join(part), room, size, True) for part in (words[:cut], words[cut:]))


def place(axes: Axes, labels: list[Label], size: float = SIZE) -> None:
    """Write the names: a curve's in the right margin at the height of its end, moved apart where names would touch; a
    lone point's beside the point, where no curve runs. The axes must have their final size and limits."""
    ends = [label for label in labels if label.curve]
    to_axes = axes.transData + axes.transAxes.inverted()
    wanted = [float(to_axes.transform((label.x, label.y))[1]) for label in ends]
    at = 1 + 0.2 * axes.figure.dpi / axes.get_window_extent().width
    lines = max((label.text.count("\n") + 1 for label in ends), default=1)
    gap = (1.3 if lines == 1 else 1.25 * lines + 0.3) * size * axes.figure.dpi / 72 / axes.get_window_extent().height
    for label, height in zip(ends, spread(wanted, gap), strict=True):
        written = axes.annotate(
            label.text, xy=(label.x, label.y), xytext=(at, height), textcoords="axes fraction", va="center",
            color=ink(label.colour), fontsize=size, fontweight="bold", annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": label.colour, "linewidth": 0.6, "alpha": 0.6, "shrinkA": 1, "shrinkB": 4,
                        "relpos": (0, 0.5)},  # from the name's start: no line runs through the name above
        )  # fmt: skip
        written.set_parse_math(False)  # a dollar in a name starts no formula
    for label in labels:
        if not label.curve:
            offset, side = _beside(axes, label, size)
            written = axes.annotate(
                label.text, xy=(label.x, label.y), xytext=offset, textcoords="offset points", va="center", ha=side,
                color=ink(label.colour), fontsize=size, fontweight="bold",
            )  # fmt: skip
            written.set_parse_math(False)


def ink(colour: str) -> str:
    """The colour, dark enough for letters."""
    parts = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{round(0.78 * part):02x}" for part in parts)


def _beside(axes: Axes, label: Label, size: float) -> tuple[tuple[float, float], str]:
    """(offset in points, alignment) of the place around a point through which the fewest curves run."""
    import numpy as np

    scale = axes.figure.dpi / 72
    lines = label.text.split("\n")
    width, height = 72 * max(inches(line, size, True) for line in lines), 1.2 * size * len(lines)
    x, y = axes.transData.transform((label.x, label.y)) / scale
    drawn = [
        _dense(axes.transData.transform(np.asarray(line.get_xydata(), dtype=float)) / scale) for line in axes.lines
    ]
    first, last = axes.get_window_extent().x0 / scale, axes.get_window_extent().x1 / scale + 0.3 * width

    def crossed(offset: tuple[float, float], side: str) -> int:
        left = x + offset[0] - (width if side == "right" else width / 2 if side == "center" else 0)
        inside = sum(
            int(
                np.sum(
                    (points[:, 0] > left - 2)
                    & (points[:, 0] < left + width + 2)
                    & (abs(points[:, 1] - y - offset[1]) < height / 2 + 1)
                )
            )
            for points in drawn
        )
        return inside + 1000 * (left < first or left + width > last)

    places = (
        ((6, -1), "left"),
        ((0, 9), "center"),
        ((0, -10), "center"),
        ((-6, -1), "right"),
        ((4, -16), "left"),
        ((4, 16), "left"),
    )
    return min(places, key=lambda place: crossed(*place))


def _dense(points: Any) -> Any:
    """A line as points at most a few points of type apart."""
    import numpy as np

    if len(points) < 2:
        return points
    steps = np.linspace(0, 1, 80)[:, None]
    return np.concatenate([start + (end - start) * steps for start, end in pairwise(points)])


def spread(heights: list[float], gap: float) -> list[float]:
    """The heights moved apart to at least ``gap``, each as little as its neighbours allow; their order is kept.

    Heights that would touch form a block, which sits where its members' mean wants it.
    """
    blocks: list[list[int]] = []
    for i in sorted(range(len(heights)), key=lambda i: heights[i]):
        blocks.append([i])
        while len(blocks) > 1 and _end(blocks[-2], heights, gap, 1) + gap > _end(blocks[-1], heights, gap, -1):
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    placed = [0.0] * len(heights)
    for block in blocks:
        for position, i in enumerate(block):
            placed[i] = _end(block, heights, gap, -1) + position * gap
    return placed


def _end(block: list[int], heights: list[float], gap: float, side: int) -> float:
    """The height of a block's last (side 1) or first (side -1) member."""
    centre = sum(heights[i] for i in block) / len(block)
    return centre + side * (len(block) - 1) / 2 * gap
