"""Runs written by hand, as hpcscale's trainer leaves them: point.json and a record for each point."""

import json
from pathlib import Path
from typing import Any

from hpcscale.spec.model import named

MODEL = named("llama2-7b").model_dump(mode="json")


def described(devices: int, tp: int = 1, pp: int = 1, **changes: Any) -> dict[str, Any]:
    """The content of a point.json."""
    dp = devices // (tp * pp)
    return {
        "schema": 1, "study": "s", "point": f"dp{dp}-tp{tp}-pp{pp}-0000000{dp % 10}", "hash": f"0000000{dp % 10}",
        "scaling": "strong", "repeat": 1, "machine": "juwels-booster", "nodes": max(1, devices // 4), "ranks": devices,
        "devices": devices, "resources": {},
        "device": {"name": "a100-40gb", "kind": "gpu", "peak_tflops": 312.0, "memory_bytes": 40 * 2**30}, "model": MODEL,
        "layout": {"dp": dp, "tp": tp, "pp": pp, "cp": 1, "sharding": "fsdp"},
        "training": {"sequence_length": 4096, "global_batch_size": 256, "micro_batch_size": 2, "precision": "bf16",
                     "activation_checkpointing": "full"},
        "protocol": {"warmup_steps": 2, "measured_steps": 3, "repeats": 1}, **changes,
    }  # fmt: skip


def write(runs: Path, point: dict[str, Any], seconds: list[float], end: str = "summary") -> Path:
    """One point with one attempt, whose steps take ``seconds``. Returns its record."""
    folder = runs / str(point["study"]) / str(point["point"])
    record = folder / "attempts" / "1.0" / "record.jsonl"
    record.parent.mkdir(parents=True)
    (folder / "point.json").write_text(json.dumps(point))
    lines: list[dict[str, Any]] = [
        {"schema": "run", "time": 1.0, "point": point, "versions": {}, "hosts": ["h"], "ranks": 2, "device": "d", "backend": "b"}
    ]  # fmt: skip
    lines += [
        {"schema": "step", "step": i, "step_seconds": each, "loss": 10.0 - i / 10, "tokens": 1, "peak_memory_bytes": 30 * 2**30}
        for i, each in enumerate(seconds, 1)
    ]  # fmt: skip
    if end == "summary":
        lines.append({"schema": "summary", "time": 9, "steps": len(seconds), "wall_seconds": 1, "peak_memory_bytes": 30 * 2**30})  # fmt: skip
    else:
        lines.append({"schema": "failure", "time": 9, "kind": end, "evidence": "what the log says"})
    record.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return record


def write_scaling(runs: Path) -> Path:
    """A study of three sizes, two layouts and an OOM. Returns the study's folder."""
    for devices, seconds in ((8, 40.0), (16, 21.0), (32, 12.0)):
        write(runs, described(devices), [9 * seconds, 2 * seconds, seconds, 1.01 * seconds, 0.99 * seconds])
    write(runs, described(32, tp=4, point="dp8-tp4-00000011", hash="00000011"), [60.0, 20.0, 14.0, 14.2, 14.1])
    write(runs, described(32, pp=4, point="dp8-pp4-00000012", hash="00000012"), [60.0, 20.0, 15.0, 15.2, 15.1])
    write(runs, described(4, point="dp4-00000013", hash="00000013"), [], end="oom")
    return runs / "s"
