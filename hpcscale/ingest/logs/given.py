"""What a person says that a log does not: ``--set layout.tp=4``, with the keys that studies have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from hpcscale.spec import device as devices
from hpcscale.spec import keys
from hpcscale.spec.problems import InputError, suggestion

_COUNTS = ("nodes", "devices")
_NAMES = ("machine", "device")


def facts(sets: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """The pairs of --set as facts. Raises InputError for keys and values that mean nothing here."""
    found: dict[str, Any] = {}
    for name, value in sets:
        found.update(_fact(name, value))
    return found


def contradictions(log: str, told: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    """Sentences on what the log says otherwise than the person."""
    return [
        f"{log} says {name} {told[name]}, --set says {value}; --set only fills in what a log does not say, leave it out"
        for name, value in given.items()
        if name in told and told[name] != value and name != "device"
    ]


def _fact(name: str, value: Any) -> dict[str, Any]:
    if name in _COUNTS:
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise InputError(f"--set {name}={value}: it must be a whole number above 0")
        return {name: value}
    if name in _NAMES:
        if name == "device" and devices.find(str(value)) is None:
            raise InputError(f"--set {name}={value}: {devices.unknown(str(value))}")
        return {name: str(value)}
    try:
        key = keys.resolve(name)
    except ValueError as error:
        hint = suggestion(name, [*_COUNTS, *_NAMES, *keys.valid_names(())])
        raise InputError(f"--set {name}: {error if '.' in name else f'there is no such key{hint}'}") from None
    reason = keys.check(key, value)
    if reason is not None:
        raise InputError(f"--set {name}={value}: {reason}")
    return {".".join(key): value}
