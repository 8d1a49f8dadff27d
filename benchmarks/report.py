"""`hpcscale report` over thousands of points, beside a bare loop that parses the same bytes.

    python benchmarks/report.py [--points 10000] [--steps 100] [--repeats 3]

Records are as training writes them (hpcscale.record.writer): quickstart's point with other batches and seeds, a first line with
versions, hosts and environment, steps with every key, autocorrelated step times, a few outliers. Each figure is of a child process
of its own: CPU seconds, wall seconds, peak memory. Targets for 10,000 points of 100 steps: 10 s and 1 GiB with nothing
remembered, 3 s over unchanged records.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from hpcscale.record.writer import RecordWriter, step_line
from hpcscale.spec import study
from hpcscale.spec.expand import expand

ENVIRONMENT = {
    "OMP_NUM_THREADS": "12", "SLURM_JOB_ID": "123456", "SLURM_JOB_NUM_NODES": "16", "SLURM_NTASKS": "64", "NCCL_DEBUG": "WARN",
    "MASTER_ADDR": "node0001", "MASTER_PORT": "29500", "SLURM_JOB_NODELIST": "node[0001-0016]", "UCX_TLS": "rc,cuda,sm",
}  # fmt: skip
BARE = """
import json, sys
from pathlib import Path
for path in Path(sys.argv[1]).glob("*/*/attempts/*/record.jsonl"):
    with path.open("rb") as file:
        for line in file:
            json.loads(line)
"""


class Usage(NamedTuple):
    cpu: float
    wall: float
    mebibytes: float


def write_runs(runs: Path, points: int, steps: int) -> int:
    """A runs folder of ten studies; returns the bytes of its records."""
    document = expand(study.read("quickstart")).points[0].document()
    source = random.Random(1)
    size = 0
    for number in range(points):
        point = {
            **document, "study": f"study{number % 10}", "point": f"point{number:05}", "hash": f"{number:08x}",
            "layout": {**document["layout"], "dp": 2 ** (number % 8)}, "nodes": 2 ** (number % 8), "ranks": 4 * 2 ** (number % 8),
            "devices": 4 * 2 ** (number % 8),
            "training": {**document["training"], "global_batch_size": 8 * 2 ** (number % 8), "seed": number // 8},
        }  # fmt: skip
        folder = runs / point["study"] / point["point"]
        folder.mkdir(parents=True)
        (folder / "point.json").write_text(json.dumps(point))
        record = folder / "attempts" / "123456.0" / "record.jsonl"
        write_record(record, point, steps, source)
        size += record.stat().st_size
    return size


def write_record(record: Path, point: dict[str, Any], steps: int, source: random.Random) -> None:
    level, memory = source.uniform(0.2, 4.0), 0.0
    lines = []
    for step in range(1, steps + 1):
        memory = 0.5 * memory + source.gauss(0, 0.01)
        seconds = level * (1 + memory) * (2.0 if source.random() < 0.002 else 1.0)
        lines.append(step_line({
            "step": step, "step_seconds": seconds, "fastest_rank_seconds": 0.98 * seconds, "median_rank_seconds": 0.99 * seconds,
            "slowest_rank": source.randrange(point["ranks"]), "loss": 10.0 / step**0.3 + source.gauss(0, 0.01), "peak_memory_bytes": 31748374528,
            "gradient_norm": abs(source.gauss(1, 0.2)), "learning_rate": 0.0003 * step / steps, "tokens": 2097152, "warmup": step <= 2,
        }).replace(b"True", b"true").replace(b"False", b"false"))  # fmt: skip
    with RecordWriter(record) as writer:
        writer.run(
            point=point, versions={"hpcscale": "0.1.0", "python": "3.11.9", "torch": "2.6.0"},
            hosts=[f"node{i:04}" for i in range(1, 17)], ranks=point["ranks"], backend="nccl", git_commit="0" * 40,
            device={"kind": "cuda", "name": "NVIDIA A100-SXM4-40GB", "memory_bytes": 42285268992}, environment=ENVIRONMENT,
            memory_kind="allocated",
        )  # fmt: skip
        writer.copy(lines)
        writer.summary(
            steps=steps,
            wall_seconds=level * steps,
            peak_memory_bytes=31748374528,
            peak_memory_bytes_by_rank=[31748374528] * 16,
        )


def usage(command: list[str], **variables: str) -> Usage:
    """Of one child process."""
    before = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, env={**os.environ, **variables}) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)} failed with exit status {process.returncode}")
    return Usage(used.ru_utime + used.ru_stime, time.perf_counter() - before, used.ru_maxrss / 1024)


def median_of(measured: list[Usage]) -> Usage:
    return sorted(measured)[len(measured) // 2]


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--points", type=int, default=10_000)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        runs, cache = Path(folder) / "runs", Path(folder) / "cache"
        size = write_runs(runs, arguments.points, arguments.steps)
        time.sleep(4)  # younger records are not remembered
        print(f"{arguments.points} points of {arguments.steps} steps, {size / 1e6:.0f} MB of records")
        report = [sys.executable, "-m", "hpcscale", "report", str(runs)]
        known = {"HPCSCALE_CACHE": str(cache)}
        commands = {
            "bare loop that parses the records": ([sys.executable, "-c", BARE, str(runs)], {}),
            "report, nothing remembered": (report, {"HPCSCALE_CACHE": "off"}),
            "report that fills the cache": (report, known),
            "report over unchanged records": (report, known),
            "the same as JSON": ([*report, "--json"], known),
        }
        bare = 0.0
        for name, (command, variables) in commands.items():
            once = name == "report that fills the cache"
            found = median_of([usage(command, **variables) for _ in range(1 if once else arguments.repeats)])
            bare = bare or found.cpu
            print(
                f"{name:36} {found.cpu:6.2f} CPU s ({found.cpu / bare:4.2f} x the bare loop) {found.wall:6.2f} s "
                f"{found.mebibytes:5.0f} MiB", flush=True,
            )  # fmt: skip


if __name__ == "__main__":
    main()
