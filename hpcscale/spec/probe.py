"""What a probe measures, as its point.json has it: sizes as data, so that a shorter probe is shorter lists."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from hpcscale.spec.device import Device, Precision
from hpcscale.spec.machine import Communication, PlainName
from hpcscale.spec.model import Positive
from hpcscale.spec.problems import InputError
from hpcscale.spec.typed import Strict

_KIB = 1024


class Sizes(Strict):
    """Sizes to measure; those of which a call takes more than half of ``seconds`` are left out."""

    seconds: float = Field(default=0.2, gt=0)  # of one measurement
    hidden: tuple[Positive, ...] = (256, 512, 1024, 2048, 4096, 8192)
    tokens: tuple[Positive, ...] = (512, 2048, 8192)
    sequences: tuple[Positive, ...] = (128, 256, 512, 1024, 2048, 4096, 8192)
    array_bytes: Positive | None = None  # of one array in memory; None: beyond the caches
    message_bytes: tuple[Positive, ...] = tuple(4 * _KIB * 4**power for power in range(9))  # 4 KiB to 256 MiB


FULL = Sizes()
QUICK = Sizes(
    seconds=0.05,
    hidden=(256, 1024, 4096),
    tokens=(512, 2048),
    sequences=(128, 512),
    message_bytes=tuple(4 * _KIB * 16**power for power in range(5)),
)


class Chip(Strict):
    """The device that the probe is for."""

    name: str
    kind: Literal["gpu", "cpu"]


class Probe(Strict):
    """One probe, resolved: what each rank of it reads."""

    schema_: Literal["probe"] = Field(default="probe", alias="schema")
    machine: PlainName
    nodes: Positive
    ranks: Positive
    ranks_per_node: Positive
    threads_per_rank: Positive
    communication: Communication
    device: Chip
    precisions: tuple[Precision, ...] = Field(min_length=1)
    sizes: Sizes = FULL

    def text(self) -> str:
        return json.dumps(self.document(), indent=2) + "\n"

    def document(self) -> dict[str, Any]:
        return self.model_dump(mode="json", by_alias=True)


def precisions(device: Device) -> tuple[Precision, ...]:
    """What training on a device would use: bf16 and fp32 as far as its catalogue entry has them, fp16 where it has no bf16.

    Nothing is known of a device without peaks: both are asked for, and a rank leaves out what its processor lacks.
    """
    known = set(device.peak_tflops).union(*(mode.peak_tflops for mode in device.modes))
    if not known:
        return ("bf16", "fp32")
    half = "bf16" if "bf16" in known else "fp16"
    wanted: tuple[Precision, ...] = (half, "fp32") if device.kind == "gpu" else ("bf16", "fp32")
    return tuple(each for each in wanted if each in known) or tuple(sorted(known))


def read(path: Path) -> Probe:
    """The probe that a file describes. Raises InputError with the file's name and what is wrong."""
    try:
        return Probe.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(step) for step in first["loc"]) or "the probe"
        raise InputError(f"{path}: {where}: {first['msg']}; hpcscale probe writes such a file") from None
    except ValueError as error:
        raise InputError(f"{path}: this is no JSON ({error})") from None
