"""Axes of scaling charts: doublings on both, so that perfect scaling is a straight line of slope one."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GREY = "#666666"
IDEAL = (0, (4, 3))  # dashes
_GRID = "#DDDDDD"
# Doublings with round numbers, and steps of a quarter for charts that span hardly one
_DOUBLINGS = (1, 2, 4, 8, 16, 32, 64, 125, 250, 500)
_QUARTERS = (1, 1.25, 1.6, 2, 2.5, 3.2, 4, 5, 6.4, 8)


def devices(axes: Axes, sizes: list[int]) -> None:
    """The number of devices: ticks at powers of two, or at the sizes themselves where no power lies among them."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    low, high = min(sizes) / 1.15, max(sizes) * 1.15
    axes.set_xscale("log", base=2)
    axes.set_xlim(low, high)
    powers = [2**k for k in range(31) if low <= 2**k <= high]
    axes.xaxis.set_major_locator(FixedLocator(powers if len(powers) > 1 else sorted(set(sizes))))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def thin(axes: Axes, size: float) -> None:
    """Leave out ticks whose numbers would touch their neighbours'. The axes must have their final size."""
    from matplotlib.ticker import FixedLocator

    low, high = axes.get_xlim()
    ticks = [float(tick) for tick in axes.get_xticks() if low <= tick <= high]
    places = [float(axes.transData.transform((tick, 1))[0]) / axes.figure.dpi for tick in ticks]
    longest = max((len(f"{tick:,.0f}") for tick in ticks), default=0) * 0.62 * size / 72 + 0.08
    kept: list[int] = []
    for i in reversed(range(len(ticks))):
        if not kept or places[kept[-1]] - places[i] >= longest:
            kept.append(i)
    # as regular as powers of two are
    even = kept if len(kept) < 2 else list(range(kept[0], -1, -max(a - b for a, b in pairwise(kept))))
    axes.xaxis.set_major_locator(FixedLocator([ticks[i] for i in reversed(even)]))


def doublings(axes: Axes) -> None:
    """Tokens/s or seconds, with round ticks."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    axes.set_yscale("log", base=2)
    low, high = axes.get_ylim()
    ticks = [m * 1000.0**k for k in range(-1, 5) for m in _DOUBLINGS if low <= m * 1000.0**k <= high]
    if len(ticks) < 3:
        ticks = [m * 10.0**k for k in range(-3, 13) for m in _QUARTERS if low <= m * 10.0**k <= high]
    axes.yaxis.set_major_locator(FixedLocator(ticks[:: 1 + len(ticks) // 13]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    axes.set_ylim(low, high)


def efficiency(axes: Axes, highest: float) -> None:
    """Percent of the ideal, from zero: an axis that starts higher makes every loss look large."""
    ideal_efficiency(axes)
    axes.set_ylim(0, max(110, 1.05 * highest))
    axes.set_yticks(range(0, int(max(110, 1.05 * highest)) + 1, 20))


def ideal_efficiency(axes: Axes) -> None:
    axes.axhline(100, color=GREY, linewidth=0.9, linestyle=IDEAL, zorder=1)


def short(value: float) -> str:
    """12500 as 12.5k."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def grid(axes: Axes) -> None:
    axes.grid(True, color=_GRID, linewidth=0.6)
    axes.set_axisbelow(True)
