"""``python -m hpcscale.train.probe point.json``: one rank of a probe."""

from __future__ import annotations

import argparse
from pathlib import Path

from hpcscale.train.probe.run import run
from hpcscale.train.run import leave


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m hpcscale.train.probe", description="Measure as one rank of a probe."
    )
    parser.add_argument("probe", type=Path, help="the point.json that hpcscale probe wrote")
    leave(run(parser.parse_args().probe))


if __name__ == "__main__":
    main()
