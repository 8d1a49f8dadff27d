"""How often the statistics of steps raise a false alarm, find an injected change, and cover the true median.

    python benchmarks/step_statistics.py [--series 2000]

Synthetic runs, seeded. Step times are 1 s with 2 % noise: independent (normal, long-tailed), or each remembering the one before
(AR(1) with 0.3, 0.6, 0.8). Targets: false alarms of changes and of outliers in at most 1 % of clean runs.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np

from hpcscale.ingest.statistics.changes import stretches
from hpcscale.ingest.statistics.interval import median_interval
from hpcscale.ingest.statistics.outliers import outliers
from hpcscale.record.median import median_with_interval

NOISE = 0.02
SIZES = (10, 20, 50, 100, 300)
Make = Callable[[np.random.Generator, int], np.ndarray]


def normal(random: np.random.Generator, n: int) -> np.ndarray:
    return 1 + NOISE * random.normal(size=n)


def long_tailed(random: np.random.Generator, n: int) -> np.ndarray:
    """Log-normal, 20 % wide: a busy network."""
    return np.exp(0.2 * random.normal(size=n))


def remembering(correlation: float) -> Make:
    def make(random: np.random.Generator, n: int) -> np.ndarray:
        noise = random.normal(size=n + 100) * NOISE * (1 - correlation**2) ** 0.5
        for step in range(1, n + 100):
            noise[step] += correlation * noise[step - 1]
        return 1 + noise[100:]

    return make


CLEAN: dict[str, Make] = {
    "normal": normal, "long-tailed": long_tailed, "AR 0.3": remembering(0.3), "AR 0.6": remembering(0.6), "AR 0.8": remembering(0.8),
}  # fmt: skip


def false_alarms(series: int) -> None:
    print("false alarms, % of clean runs (changes / outliers)")
    for name, make in CLEAN.items():
        random, cells = np.random.default_rng(1), []
        for n in SIZES:
            changes = odd = 0
            for _ in range(series):
                seconds = make(random, n)
                parts = stretches(seconds)
                changes += len(parts) > 1
                odd += len(outliers(seconds, parts)) > 0
            cells.append(f"{n}: {100 * changes / series:.1f} / {100 * odd / series:.1f}")
        print(f"  {name:12} {'   '.join(cells)}", flush=True)


def power(series: int) -> None:
    print("found, % of runs of 100 steps (first step within 5 of the true one)")
    for name, first, end in (("from step 57 on", 56, 100), ("steps 41 to 60", 40, 60), ("from step 91 on", 90, 100)):
        for make_name in ("normal", "AR 0.6"):
            cells = []
            for share in (0.02, 0.03, 0.05, 0.12):
                random, found, near = np.random.default_rng(2), 0, 0
                for _ in range(series):
                    seconds = CLEAN[make_name](random, 100)
                    seconds[first:end] *= 1 + share
                    parts = stretches(seconds)
                    found += len(parts) > 1
                    near += len(parts) > 1 and abs(parts[1].first - first) <= 5
                cells.append(f"{100 * share:.0f} %: {100 * found / series:.0f} ({100 * near / series:.0f})")
            print(f"  {name:16} {make_name:8} {'   '.join(cells)}", flush=True)


def coverage(series: int) -> None:
    print("95 % intervals that hold the true median, % (ours / order statistics), and how many times wider ours is")
    for name, make in CLEAN.items():
        cells = []
        for n in SIZES:
            random, ours, plain = np.random.default_rng(3), 0, 0
            wide = narrow = 0.0
            for _ in range(series):
                seconds = make(random, n).tolist()
                ours += (found := median_interval(seconds)).low <= 1 <= found.high
                wide += found.high - found.low
                plain += (found := median_with_interval(seconds)).low <= 1 <= found.high
                narrow += found.high - found.low
            cells.append(f"{n}: {100 * ours / series:.1f} / {100 * plain / series:.1f} x{wide / narrow:.2f}")
        print(f"  {name:12} {'   '.join(cells)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--series", type=int, default=2000)
    arguments = parser.parse_args()
    for part in (false_alarms, power, coverage):
        part(arguments.series)


if __name__ == "__main__":
    main()
