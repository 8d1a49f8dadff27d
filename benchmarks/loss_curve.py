"""The loss curve of records as a picture.

python benchmarks/loss_curve.py runs/STUDY/*/attempts/*/record.jsonl --output loss.png [--title TEXT]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from hpcscale.record.reader import read


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("records", type=Path, nargs="+")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--title", default="Training loss")
    arguments = parser.parse_args()
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for path in arguments.records:
        record = read(path)
        steps = [line["step"] for line in record.steps]
        axes.plot(steps, [line["loss"] for line in record.steps], label=record.point.get("point", path.parent.name))
    axes.set(xlabel="step", ylabel="cross-entropy a token (nats)", title=arguments.title)
    axes.grid(alpha=0.3)
    if len(arguments.records) > 1:
        axes.legend()
    figure.savefig(arguments.output, dpi=150)


if __name__ == "__main__":
    main()
