"""Names written beside curves instead of in a legend."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZE = 8.0  # points
CHARACTER_INCHES = 0.068  # of bold text of that size, about


class Label(NamedTuple):
    """A name for the point at (x, y) of the data. ``curve``: it names a curve that ends there, not a lone point."""

    text: str
    x: float
    y: float
    colour: str
    curve: bool


def margin_inches(labels: list[Label], size: float = SIZE) -> float:
    """Room that the names of curves need at the right of the axes."""
    longest = max((len(label.text) for label in labels if label.curve), default=0)
    return 0.25 + CHARACTER_INCHES * size / SIZE * longest


def place(axes: Axes, labels: list[Label], size: float = SIZE) -> None:
    """Write the names: a curve's in the right margin at the height of its end, moved apart where names would touch; a
    lone point's beside the point. The axes must have their final size and limits."""
    ends = [label for label in labels if label.curve]
    to_axes = axes.transData + axes.transAxes.inverted()
    wanted = [float(to_axes.transform((label.x, label.y))[1]) for label in ends]
    gap = 1.3 * size * axes.figure.dpi / 72 / axes.get_window_extent().height
    for label, height in zip(ends, spread(wanted, gap), strict=True):
        written = axes.annotate(
            label.text, xy=(label.x, label.y), xytext=(1.03, height), textcoords="axes fraction", va="center",
            color=label.colour, fontsize=size, fontweight="bold", annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": label.colour, "linewidth": 0.6, "alpha": 0.6, "shrinkA": 1, "shrinkB": 4},
        )  # fmt: skip
        written.set_parse_math(False)  # a dollar in a name starts no formula
    for label in labels:
        if not label.curve:
            written = axes.annotate(
                label.text, xy=(label.x, label.y), xytext=(6, -1), textcoords="offset points", va="center",
                color=label.colour, fontsize=size, fontweight="bold",
            )  # fmt: skip
            written.set_parse_math(False)


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
