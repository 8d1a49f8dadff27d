"""Loss curves from records, thinned so that many of them still fit a page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hpcscale.record.reader import read
from hpcscale.report.page.packed import rounded

Row = Mapping[str, Any]
Steps = list[tuple[int, float]]
MOST_CURVES = 400
MOST_DRAWN = 40  # at once
_ALL_POINTS, _ALL_DRAWN_POINTS = 60_000, 12_000
_MOST_POINTS, _FEWEST_POINTS = 600, 40  # of one curve


def losses_of(rows: Sequence[Row]) -> dict[str, Any]:
    """``{"of": rows with a record, "drawn": at most, "curves": [{"row", "steps", "losses"}, ...]}``: every one, or as many spread
    evenly."""
    recorded = [i for i, row in enumerate(rows) if row["record"] and row["loss_first"] is not None]
    shown = recorded[:: max(1, math.ceil(len(recorded) / MOST_CURVES))]
    points = min(
        _MOST_POINTS, _ALL_DRAWN_POINTS // max(1, min(len(shown), MOST_DRAWN)), _ALL_POINTS // max(1, len(shown))
    )
    curves = []
    for i in shown:
        steps = thinned(_steps(Path(rows[i]["record"])), max(_FEWEST_POINTS, points))
        if len(steps) > 1:
            curves.append(
                {"row": i, "steps": [step for step, _ in steps], "losses": [rounded(loss) for _, loss in steps]}
            )
    return {"of": len(recorded), "drawn": MOST_DRAWN, "curves": curves}


def _steps(record: Path) -> Steps:
    """(step, loss) by step; one that stands twice counts as it was run last."""
    try:
        lines = read(record).steps
    except OSError:
        return []
    found = {line["step"]: line["loss"] for line in lines if isinstance(line.get("loss"), int | float)}
    return sorted((step, loss) for step, loss in found.items() if math.isfinite(loss))


def thinned(steps: Steps, most: int) -> Steps:
    """At most ``most`` of the steps: the first, the last, and of each stretch between the lowest and the highest, so that
    a spike stays."""
    if len(steps) <= most:
        return steps
    stretches = max(1, (most - 2) // 2)
    size = math.ceil((len(steps) - 2) / stretches)
    kept = {0, len(steps) - 1}
    for start in range(1, len(steps) - 1, size):
        places = range(start, min(start + size, len(steps) - 1))
        kept |= {min(places, key=lambda i: steps[i][1]), max(places, key=lambda i: steps[i][1])}
    return [steps[i] for i in sorted(kept)]
