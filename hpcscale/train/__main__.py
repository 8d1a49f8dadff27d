"""``python -m hpcscale.train point.json``: trains one point as one rank of it."""

from __future__ import annotations

import argparse
from pathlib import Path

from hpcscale.train.run import leave, run


def _steps(text: str) -> int:
    steps = int(text)
    if steps < 1:
        raise argparse.ArgumentTypeError(f"{steps} steps are none; give at least 1")
    return steps


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m hpcscale.train", description="Train one point of a study.")
    parser.add_argument("point", type=Path, help="the point.json that hpcscale wrote")
    parser.add_argument("--steps", type=_steps, help="train this many steps instead of the protocol's")
    parser.add_argument(
        "--attempt", type=Path, help="the folder to write to (default: attempts/<job id> beside the point)"
    )
    arguments = parser.parse_args()
    leave(run(arguments.point, arguments.steps, arguments.attempt))


if __name__ == "__main__":
    main()
