"""``python -m hpcscale.train point.json``: trains one point as one rank of it."""

from __future__ import annotations

import argparse
from pathlib import Path

from hpcscale.train.run import Options, leave, run


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
    parser.add_argument(
        "--trace",
        type=_steps,
        metavar="STEP",
        help="write a Chrome trace of this step, one file a rank, to the attempt's folder",
    )
    parser.add_argument(
        "--resume",
        type=Path,
        metavar="PATH",
        help="begin at a checkpoint, or the newest of an attempt or point (any layout)",
    )
    parser.add_argument("--fresh", action="store_true", help="leave the point's own checkpoints alone")
    arguments = parser.parse_args()
    options = Options(arguments.steps, arguments.attempt, arguments.trace, arguments.resume, arguments.fresh)
    leave(run(arguments.point, options))


if __name__ == "__main__":
    main()
