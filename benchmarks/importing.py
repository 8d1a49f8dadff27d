"""How fast logs are imported, in MB/s of one core beside `grep -c` over the same file, and how much memory that takes.

    python benchmarks/importing.py [--megabytes 1000] [--formats torchtitan ...] [--density 0.05] [--small 100]

Each log repeats the steps of a test sample, numbered on, between lines of other output (NCCL, warnings, timers) until it has
its size; ``--density`` is the share of bytes that are lines of steps. Speeds are CPU time of a child process. Targets:
50 MB/s for each format, and as much memory for 1 GB as for 100 MB.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path

SAMPLES = Path(__file__).parent.parent / "tests" / "ingest" / "logs" / "samples"
# sample, what marks a line of a step, what its number looks like
FORMATS: dict[str, tuple[str, bytes, re.Pattern[bytes]]] = {
    "megatron-lm": ("megatron-lm.txt", b" iteration ", re.compile(rb"(iteration +)(\d+)(/ *)(\d+)")),
    "megatron-deepspeed": ("megatron-deepspeed.txt", b" iteration ", re.compile(rb"(iteration +)(\d+)(/ *)(\d+)")),
    "deepspeed-fugaku": ("deepspeed-fugaku.txt", b" iteration ", re.compile(rb"(iteration +)(\d+)(/ *)(\d+)")),
    "nanotron": ("nanotron.txt", b"iteration: ", re.compile(rb"(iteration: )(\d+)( / )(\d+)")),
    "torchtitan": ("torchtitan.txt", b"step: ", re.compile(rb"(step: +)(\d+)()()")),
    "composer": ("composer.txt", b"batch=", re.compile(rb"(\[batch=)(\d+)(/)(\d+)")),
    "nemo": ("nemo.txt", b"Training epoch", re.compile(rb"(global_step: )(\d+)()()")),
    "fmengine": ("fmengine.txt", b"Step=", re.compile(rb"(Step= *)(\d+)()()")),
}
OTHER = (
    b"jwb0001:12345:12399 [0] NCCL INFO Channel 02/0 : 3[3] -> 7[3] [send] via NET/IB/1/GDRDMA\n",
    b"time (ms) | forward-compute: 193.77 | backward-compute: 73.02 | optimizer: 63.01 | batch-generator: 25.27\n",
    b"/p/software/lib/python3.11/site-packages/torch/autograd/graph.py:825: UserWarning: c10d::allreduce_: no kernel\n",
    b"  warnings.warn(\n",
    b"[rank3]:W0304 17:01:26.766000 140549371597824 torch/distributed/run.py:717] Setting OMP_NUM_THREADS to 1\n",
)


def lines_of_steps(sample: Path, mark: bytes) -> tuple[bytes, bytes]:
    """What the sample says before its first step, and the last of its steps with what belongs to it."""
    lines = sample.read_bytes().splitlines(keepends=True)
    places = [i for i, line in enumerate(lines) if mark in line]
    last = places[-1]
    size = places[-1] - places[-2] if len(places) > 1 else 1
    return b"".join(lines[: places[0]]), b"".join(lines[last : last + max(1, size)])


def pieces(name: str, density: float) -> Iterator[bytes]:
    """The log's text, without end."""
    sample, mark, number = FORMATS[name]
    header, step = lines_of_steps(SAMPLES / sample, mark)
    yield header
    other = b"".join(OTHER)
    between = round(len(step) * (1 / density - 1) / len(other))
    rest = other * between
    for first in count(1, 100):
        yield b"".join(numbered(step, number, at) + rest for at in range(first, first + 100))


def numbered(step: bytes, number: re.Pattern[bytes], at: int) -> bytes:
    """The step's lines with this number, on the way to a last one that is far away."""

    def renamed(match: re.Match[bytes]) -> bytes:
        return match[1] + b"%d" % at + match[3] + (b"999999999" if match[4] else b"")

    return number.sub(renamed, step)


def write(path: Path, name: str, size: int, density: float) -> None:
    with path.open("wb") as file:
        for piece in pieces(name, density):
            file.write(piece)
            if file.tell() >= size:
                return


def cpu_and_memory(command: list[str], folder: Path) -> tuple[float, float]:
    """CPU seconds and peak MiB of one child process."""
    # A pipe: grep stops at its first line where the output goes to /dev/null.
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1):
        sys.exit(f"{' '.join(command)} failed with exit status {process.returncode}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--small", type=int, default=100)
    parser.add_argument("--density", type=float, default=0.05)
    parser.add_argument("--formats", nargs="+", default=list(FORMATS), choices=FORMATS)
    arguments = parser.parse_args()
    print(f"{'format':20} {'MB/s':>7} {'grep -c':>8} {'MiB at':>7} {arguments.small} MB {arguments.megabytes:>5} MB")
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.formats:
            measure(Path(folder), name, arguments)


def measure(folder: Path, name: str, arguments: argparse.Namespace) -> None:
    log, memory, rate = folder / "log.txt", [], 0.0
    command = [sys.executable, "-m", "hpcscale", "import", str(log)]
    for size in (arguments.small, arguments.megabytes):
        write(log, name, size * 10**6, arguments.density)
        seconds, peak = cpu_and_memory(command, folder)
        rate = log.stat().st_size / 1e6 / seconds
        memory.append(peak)
    grep, _ = cpu_and_memory(["grep", "-c", FORMATS[name][1].decode(), str(log)], folder)
    print(
        f"{name:20} {rate:7.0f} {log.stat().st_size / 1e6 / grep:8.0f} {memory[0]:16.0f} {memory[1]:8.0f}", flush=True
    )


if __name__ == "__main__":
    main()
