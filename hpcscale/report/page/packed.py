"""Columns of values in as few bytes as they need: thousands of rows share most of what they say."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

ABSENT = object()  # no value at all, where None is one


def packed(values: Sequence[Any]) -> dict[str, Any]:
    """``{"all": value}`` where all are equal, ``{"words": [...], "codes": [...]}`` where many are, else ``{"values": [...]}``.

    A code of -1 is ABSENT. Numbers that are not finite become None: JSON has none.
    """
    words: dict[tuple[type, Any], int] = {}
    kept: list[Any] = []
    codes = []
    for each in values:
        if each is ABSENT:
            codes.append(-1)
            continue
        value = None if isinstance(each, float) and not math.isfinite(each) else each
        # 1, 1.0 and True are equal, and not the same; lists and mappings have no hash
        key = (type(value), json.dumps(value, sort_keys=True) if isinstance(value, list | dict) else value)
        if key not in words:
            words[key] = len(words)
            kept.append(value)
        codes.append(words[key])
    if len(kept) == 1 and -1 not in codes:
        return {"all": kept[0]}
    if -1 not in codes and 2 * len(kept) > len(codes):
        return {"values": [kept[code] for code in codes]}
    return {"words": kept, "codes": codes}


def rounded(value: float, digits: int = 6) -> float:
    """For what is only drawn."""
    return float(f"{value:.{digits}g}")
