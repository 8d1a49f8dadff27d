"""Tiny point documents, and ranks as real processes."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcscale.record import reader
from hpcscale.spec.model import Model, catalogue

if TYPE_CHECKING:
    from .forks import Fork

TIMEOUT = 120.0
LAUNCHER_VARIABLES = (
    "RANK",
    "WORLD_SIZE",
    "LOCAL_RANK",
    "SLURM_",
    "PMI",
    "PJM_",
    "PLE_",
    "OMPI_",
    "MASTER_",
    "HPCSCALE_",
    "TORCHELASTIC",
)

# An odd feed-forward size: shards of different lengths.
SHAPES: dict[str, dict[str, Any]] = {
    "gpt": {"family": "gpt", "vocab": 60, "vocab_multiple": 16, "heads": 4, "kv_heads": 4, "ffn": 64},
    "mpt": {"family": "mpt", "vocab": 64, "heads": 2, "kv_heads": 2, "ffn": 64},
    "llama": {"family": "llama", "vocab": 64, "heads": 4, "kv_heads": 2, "ffn": 49},
    # more words than the synthetic stream has symbols: which ones occur is learnt in a few steps
    "bert": {"family": "bert", "vocab": 400, "heads": 4, "kv_heads": 4, "ffn": 64},
}


def toy_model(family: str, **changes: Any) -> Model:
    """Two layers of 32: enough for every kind of weight to matter, small enough for float64 in milliseconds."""
    values = {**catalogue()[0][family], "name": f"toy-{family}", "layers": 2, "hidden": 32, **SHAPES[family], **changes}
    return Model.model_validate(values)


def document(
    family: str = "gpt",
    layout: dict[str, Any] | None = None,
    training: dict[str, Any] | None = None,
    model: dict[str, Any] | None = None,
    **others: Any,
) -> dict[str, Any]:
    """The content of a point.json, as hpcscale/spec/point.py writes it."""
    layout = {"dp": 1, **(layout or {})}
    ranks = layout["dp"] * layout.get("tp", 1) * layout.get("pp", 1) * layout.get("cp", 1)
    return {
        "schema": 1, "study": "toy", "point": "toy-00000000", "hash": "00000000", "machine": "local", "nodes": 1,
        "ranks": ranks, "devices": ranks, "communication": "gloo", "threads_per_rank": 1,
        "device": {"name": "cpu-core", "kind": "cpu", "peak_tflops": None, "memory_bytes": None},
        "model": toy_model(family, **(model or {})).model_dump(mode="json"),
        "layout": layout,
        "training": {
            "sequence_length": 24, "global_batch_size": 14, "micro_batch_size": 3, "precision": "fp32", "seed": 7,
            "optimizer": {"learning_rate": 5e-3, "gradient_clip": 0.5, "weight_decay": 0.1, "warmup_steps": 2},
            **(training or {}),
        },
        "data": {"kind": "synthetic"},
        "protocol": {"warmup_steps": 2, "measured_steps": 8},
        "job": {"time_seconds": 600, "queue": None},
        **others,
    }  # fmt: skip


def clean_environment() -> dict[str, str]:
    """This process's environment without what a launcher around pytest may have set."""
    return {name: value for name, value in os.environ.items() if not name.startswith(LAUNCHER_VARIABLES)}


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


class Run:
    """A started run: its processes by rank, its point's folder, and what becomes of them."""

    def __init__(self, folder: Path, processes: list[subprocess.Popen[str] | Fork]):
        self.folder, self.processes = folder, processes

    def wait(self) -> list[int]:
        """The exit codes, by rank."""
        self.outputs = [process.communicate(timeout=TIMEOUT) for process in self.processes]
        return [process.returncode for process in self.processes]

    def wait_for_step(self, step: int) -> None:
        """Until rank 0 has recorded ``step``."""
        deadline = time.monotonic() + TIMEOUT
        while time.monotonic() < deadline:
            paths = list(self.folder.glob("attempts/*/record.jsonl"))
            if paths and any(line["step"] >= step for line in reader.read(paths[0]).steps):
                return
            time.sleep(0.02)
        raise AssertionError(f"step {step} was never recorded")

    @property
    def record(self) -> reader.Record:
        (path,) = self.folder.glob("attempts/*/record.jsonl")
        return reader.read(path)


Start = Callable[..., Run]
