"""How long a search takes: all legal layouts of a 30B model on 6144 nodes of Fugaku, one core, no torch.

    OMP_NUM_THREADS=1 python benchmarks/search.py [--repeat 3]

CPU seconds (user and system) of the process, without and with importing; target (issue 5): 100,000 layouts in 10 s.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time

COMMAND = ["search", "--model", "gpt-30b", "--gbs", "1536", "--seq", "2048", "--json", "--machine"]
QUESTIONS = {
    "6144 nodes of fugaku, fp32": [*COMMAND, "fugaku", "--nodes", "6144"],
    "64 nodes of juwels-booster, bf16": [*COMMAND, "juwels-booster", "--nodes", "64"],
    "1 to 936 nodes of juwels-booster, bf16": [*COMMAND, "juwels-booster", "--nodes", "1-936"],
}


def search_alone() -> tuple[int, float]:
    """(legal layouts, CPU seconds) of the first question in this process, imports not counted."""
    from hpcscale.cost import search
    from hpcscale.spec import locate, machine, model
    from hpcscale.spec.layout import Training

    profile = machine.read(locate.packaged("machines") / "fugaku.yaml")
    training = Training(sequence_length=2048, global_batch_size=1536, precision="fp32")
    asked = search.question(model.named("gpt-30b"), profile, training, {})
    before = time.process_time()
    legal = search.rank(asked, 6144).legal
    return legal, time.process_time() - before


def command(arguments: list[str]) -> tuple[int, float, float]:
    """(legal layouts, CPU seconds, peak MiB) of the command as a user calls it."""
    run = [sys.executable, "-m", "hpcscale", *arguments]
    with subprocess.Popen(run, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        text = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(run)} failed with exit status {process.returncode}")
    return json.loads(text)["legal"], usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--repeat", type=int, default=3)
    repeat = parser.parse_args().repeat
    legal, seconds = min((search_alone() for _ in range(repeat)), key=lambda each: each[1])
    torch = "torch" in sys.modules
    print(
        f"in one process: {legal:,} legal layouts in {seconds:.2f} CPU s (target: 100,000 in 10 s), torch loaded: {torch}"
    )
    for what, arguments in QUESTIONS.items():
        legal, seconds, memory = min((command(arguments) for _ in range(repeat)), key=lambda each: each[1])
        print(f"hpcscale search, {what}: {legal:,} legal layouts in {seconds:.2f} CPU s, {memory:.0f} MiB")


if __name__ == "__main__":
    main()
