"""point.json, read back into the typed specs that made it: everything that training knows."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from hpcscale.spec.layout import Data, Layout, Protocol, Training
from hpcscale.spec.model import Model
from hpcscale.spec.problems import InputError

Part = TypeVar("Part", bound=BaseModel)


@dataclass(frozen=True)
class Work:
    """What one run trains. ``document`` is the whole point.json; the rest are its typed parts."""

    document: dict[str, Any]
    model: Model
    layout: Layout
    training: Training
    data: Data
    protocol: Protocol

    @property
    def threads(self) -> int | None:
        """Threads of a rank; None leaves torch's own choice."""
        return self.document.get("threads_per_rank")

    @property
    def device_kind(self) -> str:
        """``gpu`` or ``cpu``: what the point is to be measured on."""
        return (self.document.get("device") or {}).get("kind", "cpu")

    @property
    def communication(self) -> str:
        return self.document.get("communication") or self.training.communication

    @property
    def time_limit_seconds(self) -> float | None:
        return (self.document.get("job") or {}).get("time_seconds")

    @property
    def halves_on_oom(self) -> bool:
        """Whether the study wants out of memory to be retried with half the micro batch."""
        return (self.document.get("job") or {}).get("on_oom") == "halve_mbs"

    @property
    def replica_batch(self) -> int:
        """Sequences of one data-parallel replica in one step."""
        return self.training.global_batch_size // self.layout.dp


def read(path: Path) -> Work:
    """The work that ``path`` describes. Raises InputError with the file's name and what is wrong."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None
    except ValueError as error:
        raise InputError(f"{path}: this is no JSON ({error})") from None
    return parse(document, str(path))


def parse(document: Any, source: str) -> Work:
    """The work of a document; ``source`` names it in errors."""
    if not isinstance(document, dict):
        raise InputError(f"{source}: a point is a JSON object, as hpcscale writes it")
    if "workload" in document:
        name = document["workload"].get("name") if isinstance(document["workload"], dict) else document["workload"]
        raise InputError(f"{source}: this point is run by {name}, not by hpcscale's own trainer; run its job.sh")
    return Work(
        document,
        _part(source, document, "model", Model),
        _part(source, document, "layout", Layout),
        _part(source, document, "training", Training),
        _part(source, document, "data", Data),
        _part(source, document, "protocol", Protocol),
    )


def _part(source: str, document: dict[str, Any], key: str, kind: type[Part]) -> Part:
    if key not in document:
        raise InputError(f"{source}: the key '{key}' is missing; a point.json that hpcscale wrote has it")
    try:
        return kind.model_validate(document[key])
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(step) for step in (key, *first["loc"]))
        raise InputError(f"{source}: {where} is {first['input']!r}: {first['msg']}") from None
