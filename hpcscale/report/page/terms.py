"""What a predicted step consists of, for rows that are points of a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hpcscale.cost.of_points import foresee
from hpcscale.cost.time import TERMS
from hpcscale.report.page.packed import packed, rounded
from hpcscale.report.page.specs import Points

Row = Mapping[str, Any]


def terms_of(rows: Sequence[Row], points: Points) -> list[dict[str, Any]]:
    """``[{"name", "meaning", "seconds": packed}, ...]``, terms that are zero everywhere left out."""
    places = [i for i, row in enumerate(rows) if (row["point"], row["hash"]) in points]
    foreseen = foresee([points[rows[i]["point"], rows[i]["hash"]] for i in places])
    if foreseen.predictions is None:
        return []
    found, position = foreseen.predictions, foreseen.position
    kept = []
    for name, meaning in TERMS.items():
        seconds = np.broadcast_to(found.step.terms[name] * found.correction, len(found))
        if not np.any(seconds > 0):
            continue
        values: list[float | None] = [None] * len(rows)
        for i, place in zip(places, position, strict=True):
            values[i] = rounded(float(seconds[place])) if isinstance(place, int) else None
        kept.append({"name": name, "meaning": meaning, "seconds": packed(values)})
    return kept
