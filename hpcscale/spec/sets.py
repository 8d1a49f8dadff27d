"""What ``--set`` pairs are: keys of the study, or settings of a person."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hpcscale.spec.job import is_setting
from hpcscale.spec.study import Study


def split_sets(study: Study, sets: Iterable[tuple[str, Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """``--set`` pairs as (keys of the study, personal settings). Raises InputError for a key that is neither."""
    overrides: dict[str, Any] = {}
    personal: dict[str, Any] = {}
    for key, value in sets:
        first, _, rest = key.partition(".")
        if is_setting(key) or (first in study.file.machines and is_setting(rest)):
            personal[key] = value
            continue
        overrides[key] = value
    return overrides, personal
