"""How long `hpcscale plan` takes for 1,000 points, in seconds and against a bare interpreter of the same run.

    python benchmarks/plan.py [--repeat 5] [--points 1000]

Figures are CPU time (user + system) of child processes, medians over the repeats; the wall time is that of the same
processes and means something on an idle machine only. Target: 1,000 points under 1 s.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

STUDY = """\
name: big
model: gpt-30b
training: {{sequence_length: 2048, micro_batch_size: 1, activation_checkpointing: full, precision: fp32}}
layout: {{tp: 4, pp: 48}}
job: {{time: 24:00:00}}
machines: {{fugaku: {{}}}}
sweep: {{product: {{dp: [1, 2, 4, 8, 16], gbs: [{batches}], freq: [2000, 2200], ac: [full, none]}}}}
compare: megatron_30b_fugaku
"""


def measure(command: list[str], folder: Path) -> tuple[float, float]:
    """(CPU seconds, seconds on the clock) of one child process."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    environment["HPCSCALE_CONFIG_HOME"] = str(folder / "none")
    start = time.perf_counter()
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)} failed with exit status {process.returncode}")
    return usage.ru_utime + usage.ru_stime, time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--points", type=int, default=1000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        batches = ", ".join(str(16 * (i + 1)) for i in range(max(1, arguments.points // 20)))
        (folder / "big.yaml").write_text(STUDY.format(batches=batches))
        plan = [sys.executable, "-m", "hpcscale", "plan", str(folder / "big.yaml")]
        commands = {"bare interpreter": [sys.executable, "-c", "pass"], "plan": plan, "plan --json": [*plan, "--json"]}
        found: dict[str, list[tuple[float, float]]] = {label: [] for label in commands}
        for round_ in range(arguments.repeat + 1):
            for label, command in commands.items():
                figures = measure(command, folder)
                if round_:  # the first round fills caches
                    found[label].append(figures)
    medians = {
        label: [statistics.median(column) for column in zip(*each, strict=True)] for label, each in found.items()
    }
    bare = medians["bare interpreter"][0]
    for label, (cpu, wall) in medians.items():
        print(f"{label:18} {cpu:6.2f} CPU s  {wall:6.2f} s on the clock  {cpu / bare:6.1f} x a bare interpreter")
    print(f"{arguments.points} points: {medians['plan'][0]:.2f} CPU s (target 1 s)")


if __name__ == "__main__":
    main()
