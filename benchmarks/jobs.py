"""Submitting and asking, measured on a real Slurm (tests/slurm) against bare commands in the same run.

1,000 points through ``hpcscale submit`` against 1,000 sequential ``sbatch`` of the same scripts, and ``hpcscale status`` of the
1,000 jobs against one bare ``squeue`` of them. The partition is down meanwhile, so nothing runs and both do the same work.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.slurm.cluster import Cluster, missing
from tests.slurm.conftest import Site

STUDY = """\
name: thousand
model: tiny-gpt
training: {sequence_length: 32, global_batch_size: 64, precision: fp32}
job: {time: 00:10:00}
machines:
  juwels-booster:
    layout: {dp: 1}
    sweep: {product: {mbs: [1, 2, 4, 8], seq: [32, 64, 96, 128, 160], seed: [%s]}}
protocol: {warmup_steps: 1, measured_steps: 2}
"""


def seconds(call: Callable[[], object]) -> float:
    start = time.monotonic()
    call()
    return time.monotonic() - start


def main() -> None:
    if missing():
        sys.exit(f"Slurm is not installed ({', '.join(missing())}); make slurm installs it")
    with tempfile.TemporaryDirectory() as folder:
        cluster = Cluster(Path(folder) / "slurm")
        cluster.start()
        try:
            measure(Site(Path(folder) / "site", cluster))
        finally:
            cluster.stop()


def measure(site: Site) -> None:
    site.put("studies/thousand.yaml", STUDY % ", ".join(map(str, range(1, 51))))
    site.cluster.run("scontrol", "update", "partitionname=booster", "state=down")
    site.call("render", "thousand", "--out", "bare")
    scripts = sorted((site.folder / "bare/thousand").glob("*/job.sh"))

    def bare() -> None:
        for script in scripts:
            subprocess.run(["sbatch", str(script)], env=site.environment, stdout=subprocess.DEVNULL, check=True)

    for repeat in (1, 2):
        before = seconds(bare)
        site.cluster.run("scancel", "-u", "root")
        own = seconds(lambda number=repeat: site.call("submit", "thousand", "--yes", "--out", f"runs{number}"))
        queued = site.cluster.run("squeue", "-h", "-t", "PD").count("\n")
        asked = [
            seconds(lambda number=repeat: site.call("status", "thousand", "--out", f"runs{number}")) for _ in range(5)
        ]
        squeue = [seconds(lambda: site.cluster.run("squeue", "-h", "--states=all", "-u", "root")) for _ in range(5)]
        python = [seconds(lambda: subprocess.run([sys.executable, "-c", ""], check=True)) for _ in range(5)]
        print(
            f"{len(scripts)} points: {queued} queued; submit {own:.1f} s, bare sbatch {before:.1f} s, ratio {own / before:.2f} "
            f"(<= 1.00); status {sorted(asked)[2]:.2f} s (< 1), squeue alone {sorted(squeue)[2]:.2f} s, "
            f"a bare Python {sorted(python)[2]:.2f} s"
        )
        site.call("cancel", "thousand", "--yes", "--out", f"runs{repeat}")


if __name__ == "__main__":
    main()
