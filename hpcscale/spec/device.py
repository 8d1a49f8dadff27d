"""Devices: dense peak rates, memory and bandwidth. The catalogue is devices.yaml beside this module."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, PositiveFloat

from hpcscale.spec.problems import suggestion
from hpcscale.spec.typed import Strict, validate
from hpcscale.spec.units import Bytes
from hpcscale.spec.yaml12 import load

CATALOGUE = Path(__file__).with_name("devices.yaml")

Precision = Literal["fp64", "fp32", "tf32", "fp16", "bf16", "fp8"]


class Mode(Strict):
    """Peaks that hold only at these resource values (A64FX: clock and power mode)."""

    when: dict[str, int]
    peak_tflops: dict[Precision, PositiveFloat]


class Device(Strict):
    """One accelerator, or one node of a machine without accelerators. Peaks are dense, TFLOP/s; bandwidth bytes/s."""

    name: str
    title: str = ""
    kind: Literal["gpu", "cpu"]
    vendor: Literal["nvidia", "amd"] | None = None  # says how a container gets at it
    generation: str = ""  # devices of a generation reach similar shares of their peaks
    link: Bytes | None = None  # bytes/s and direction to the other devices of its node
    node_devices: int | None = Field(default=None, gt=0)  # of a usual node
    network: Bytes | None = None  # bytes/s and direction that a usual node's network has for each device
    memory: Bytes | None = None
    memory_bandwidth: Bytes | None = None
    peak_tflops: dict[Precision, PositiveFloat] = Field(default_factory=dict)
    modes: tuple[Mode, ...] = ()
    aliases: tuple[str, ...] = ()
    verified: bool = True
    source: str = ""

    def peak(self, precision: str, resources: Mapping[str, Any] | None = None) -> float | None:
        """Dense peak in TFLOP/s at this precision and these resource values; None where it is not known."""
        for mode in self.modes:
            if all((resources or {}).get(key) == value for key, value in mode.when.items()):
                return mode.peak_tflops.get(precision)  # type: ignore[call-overload]
        return None if self.modes else self.peak_tflops.get(precision)  # type: ignore[call-overload]


class _Catalogue(Strict):
    devices: dict[str, dict[str, Any]]


@lru_cache(maxsize=1)
def catalogue() -> dict[str, Device]:
    """Every device by name."""
    document = load(CATALOGUE)
    found = {}
    for name, keys in document.data["devices"].items():
        keys["name"] = name
        found[name] = validate(Device, document, ("devices", name))
    return found


def find(name: str) -> Device | None:
    """The device of this name or alias (as published tables spell it), or None: never a guess."""
    devices = catalogue()
    if name in devices:
        return devices[name]
    return next((each for each in devices.values() if name in each.aliases), None)


def unknown(name: str) -> str:
    return f"there is no device '{name}'{suggestion(name, catalogue())}"
