"""How fast the command line is, as ratios against a bare interpreter and a bare Jinja loop of the same run.

    python benchmarks/cli.py [--repeat 7] [--points 1000 10000]

Every figure is CPU time (user + system) of a child process, the median over the repeats; the rounds go through all
commands in turn, so that a busy machine slows all of them. Targets (design): `--help` at most 6 times a bare
interpreter; 1,000 points at most 0.5 s over the start-up, 10,000 at most 5 s and 200 MiB.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

STUDY = """\
name: big{count}
model: gpt-30b
training: {{sequence_length: 2048, micro_batch_size: 1, activation_checkpointing: full, precision: fp32}}
layout: {{tp: 4, pp: 48}}
derive: {{global_batch_size: dp * 48}}
job: {{time: 02:00:00}}
machines: {{fugaku: {{}}}}
sweep: {{product: {{dp: [1, 2, 4, 6, 8, 10, 12, 16, 20, 32], lr: [{rates}], freq: [2000, 2200]}}}}
"""

OUT = "OUT"  # stands for a new folder in the commands

# What rendering cannot do without: the scripts' text through Jinja, and the files.
BARE_LOOP = """\
import os, sys, jinja2
text = open(sys.argv[1]).read()
template = jinja2.Environment().from_string(text.replace("3072", "{{ nodes }}"))
for number in range(int(sys.argv[3])):
    folder = f"{sys.argv[2]}/point-{number:06d}"
    os.makedirs(folder)
    with open(folder + "/job.sh", "w") as file:
        file.write(template.render(nodes=number))
"""


def cpu_and_memory(command: list[str], folder: Path) -> tuple[float, float]:
    """CPU seconds and peak MiB of one child process."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    environment["HPCSCALE_CONFIG_HOME"] = str(folder / "none")
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)} failed with exit status {process.returncode}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--points", type=int, nargs="+", default=[1000, 10000])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        measure(Path(name), arguments.repeat, arguments.points)


def measure(folder: Path, repeat: int, counts: list[int]) -> None:
    hpcscale = [sys.executable, "-m", "hpcscale"]
    golden = Path(__file__).parent.parent / "tests" / "golden" / "scripts" / "fugaku_3072_nodes.sh"
    loop = folder / "loop.py"
    loop.write_text(BARE_LOOP)
    commands: dict[str, list[str]] = {
        "bare interpreter": [sys.executable, "-c", "pass"],
        "hpcscale --help": [*hpcscale, "--help"],
        "render 1 point": [
            *hpcscale,
            "render",
            study(folder, 1),
            "--set",
            "group=hp000000",
            "--out",
            OUT,
        ],
    }
    for count in counts:
        path = study(folder, count)
        commands[f"render {count} points"] = [
            *hpcscale,
            "render",
            path,
            "--set",
            "group=hp000000",
            "--out",
            OUT,
        ]
        commands[f"bare loop, {count} scripts"] = [
            sys.executable,
            str(loop),
            str(golden),
            OUT,
            str(count),
        ]
    times: dict[str, list[float]] = {label: [] for label in commands}
    memory: dict[str, float] = {}
    for round_ in range(repeat + 1):
        for label, command in commands.items():
            # A folder of its own each time, deleted at the very end: deleting costs the file system long afterwards.
            out = str(folder / f"out-{round_}-{label.replace(' ', '-')}")
            seconds, memory[label] = cpu_and_memory([out if word == OUT else word for word in command], folder)
            if round_:  # the first round fills caches: bytecode, disk
                times[label].append(seconds)
    show({label: statistics.median(values) for label, values in times.items()}, memory, counts, repeat)


def study(folder: Path, count: int) -> str:
    path = folder / f"big{count}.yaml"
    rates = ", ".join(f"{i + 1}e-7" for i in range(max(1, count // 20)))
    text = STUDY.format(count=count, rates=rates)
    if count == 1:
        text = text.replace("dp: [1, 2, 4, 6, 8, 10, 12, 16, 20, 32]", "dp: [1]").replace("[2000, 2200]", "[2000]")
    path.write_text(text)
    return str(path)


def show(median: dict[str, float], memory: dict[str, float], counts: list[int], repeat: int) -> None:
    print(f"CPU seconds, median of {repeat}; MiB at peak")
    for label, seconds in median.items():
        print(f"  {label:<28} {seconds:8.3f} s {memory[label]:8.0f} MiB")
    print("ratios")
    print(
        f"  --help / bare interpreter    {median['hpcscale --help'] / median['bare interpreter']:8.2f}    (target: at most 6)"
    )
    for count in counts:
        over = median[f"render {count} points"] - median["render 1 point"]
        bare = median[f"bare loop, {count} scripts"] - median["bare interpreter"]
        print(f"  {count} points over start-up {over:10.3f} s  = {over / bare:.2f} x the bare loop's {bare:.3f} s")
    if len(counts) > 1:
        low, high = min(counts), max(counts)
        start = median["render 1 point"]
        per = [(median[f"render {count} points"] - start) / count * 1e3 for count in (low, high)]
        print(f"  ms a point: {per[0]:.3f} at {low}, {per[1]:.3f} at {high}: ratio {per[1] / per[0]:.2f} (linear: 1)")


if __name__ == "__main__":
    main()
