"""Runs written by hand."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hpcscale.spec.model import named

POINT: dict[str, Any] = {
    "schema": 1, "study": "s", "point": "dp2", "hash": "00000000", "scaling": "strong", "repeat": 1, "machine": "m",
    "nodes": 1, "ranks": 2, "devices": 2, "resources": {"freq": 2000, "eco_state": 0},
    "device": {"name": "a100-40gb", "kind": "gpu", "peak_tflops": 312.0, "memory_bytes": 40000000000},
    "model": named("llama2-7b").model_dump(mode="json"),
    "layout": {"dp": 2, "tp": 1, "pp": 1, "cp": 1, "sharding": "fsdp"},
    "training": {"sequence_length": 4096, "global_batch_size": 8, "micro_batch_size": 2, "precision": "bf16",
                 "activation_checkpointing": "full"},
    "protocol": {"warmup_steps": 2, "measured_steps": 3, "repeats": 1},
}  # fmt: skip
TOKENS = 8 * 4096


def _write(
    runs: Path, seconds: list[float], end: str = "summary", name: str = "1.0", started: float = 1.0, tail: str = "",
    **changes: Any,
) -> Path:  # fmt: skip
    """One point with one attempt; ``end`` is the last line's kind or "" for none."""
    point = {**POINT, **changes}
    folder = runs / "s" / point["point"]
    attempt = folder / "attempts" / name
    attempt.mkdir(parents=True)
    (folder / "point.json").write_text(json.dumps(point))
    run = {"time": started, "point": point, "versions": {}, "hosts": ["h"], "ranks": 2, "device": "d", "backend": "b"}
    lines: list[dict[str, Any]] = [{"schema": "run", **run}]
    lines += [
        {
            "schema": "step",
            "step": i,
            "step_seconds": s,
            "loss": 5.0 - i,
            "tokens": TOKENS,
            "peak_memory_bytes": 1000 + i,
        }
        for i, s in enumerate(seconds, 1)
    ]
    if end == "summary":
        lines.append(
            {"schema": "summary", "time": 9, "steps": len(seconds), "wall_seconds": 1, "peak_memory_bytes": 2000}
        )
    elif end:
        lines.append({"schema": "failure", "time": 9, "kind": end, "evidence": "what the log says"})
    (attempt / "record.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + tail)
    return attempt


@pytest.fixture
def write_run() -> Callable[..., Path]:
    return _write


@pytest.fixture
def described_point() -> dict[str, Any]:
    """What ``write_run`` writes where nothing else is said."""
    return POINT
