"""Probes this computer, predicts the quickstart study from the probe alone, then runs it: predicted over measured seconds a step.

    python benchmarks/local.py [--repeats 3]

Everything happens in a folder that is removed. The target is 15 %; with it stands how much runs of the same thing differ here.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

STUDY = "quickstart"


def hpcscale(folder: Path, *arguments: str) -> str:
    """What a command prints."""
    environment = {**os.environ, "HPCSCALE_CONFIG_HOME": str(folder / "configuration")}
    command = [sys.executable, "-m", "hpcscale", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"hpcscale {' '.join(arguments)}\n{done.stdout}{done.stderr}")
    return done.stdout


def predicted(folder: Path) -> dict[str, tuple[float, float, float]]:
    """By point: seconds a step, and the ends of the 80 % interval."""
    hpcscale(folder, "probe", "--ranks", "1")
    hpcscale(folder, "probe", "--ranks", "2")
    hpcscale(folder, "calibrate", "local")
    rows = json.loads(hpcscale(folder, "plan", STUDY, "--json"))["points"]
    return {row["point"]: (row["step_seconds"], row["step_seconds_low"], row["step_seconds_high"]) for row in rows}


def measured(folder: Path, runs: str) -> dict[str, float]:
    hpcscale(folder, "run", STUDY, "--out", runs)
    table = hpcscale(folder, "report", STUDY, "--runs", runs, "--format", "csv")
    return {row["point"]: float(row["step_seconds"]) for row in csv.DictReader(io.StringIO(table))}


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        foreseen = predicted(folder)
        runs = [measured(folder, f"runs{number}") for number in range(arguments.repeats)]
    for point, (seconds, low, high) in foreseen.items():
        found = [run[point] for run in runs]
        middle = median(found)
        spread = (max(found) - min(found)) / middle
        print(
            f"{point:24} predicted {seconds:.3f} s ({low:.3f}-{high:.3f}), measured {middle:.3f} s: {100 * (seconds / middle - 1):+.0f} % "
            f"({arguments.repeats} runs differ by {100 * spread:.0f} %, {sum(low <= each <= high for each in found)} inside)"
        )  # fmt: skip


if __name__ == "__main__":
    main()
