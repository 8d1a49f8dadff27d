"""``python -m hpcscale.train.huggingface SOURCE OUT``: what `hpcscale weights export` runs (the command line has no torch)."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from hpcscale.spec.problems import InputError


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m hpcscale.train.huggingface", description="Export a checkpoint.")
    parser.add_argument("source", type=Path, help="a point's folder, an attempt's or a checkpoint's")
    parser.add_argument("out", type=Path, help="the folder to make")
    parser.add_argument("--dtype", default="fp32", help="fp32, bf16, fp16 or fp64")
    parser.add_argument("--most-bytes", type=int, default=5_000_000_000, help="of one file")
    arguments = parser.parse_args()
    try:
        from hpcscale.train.huggingface.export import export

        stored, skipped = export(arguments.source, arguments.out, arguments.dtype, arguments.most_bytes)
    except InputError as error:
        for problem in error.problems:
            print(f"hpcscale: {problem}", file=sys.stderr)
        return 2
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        print(f"hpcscale: {place}{error.strerror or error}", file=sys.stderr)
        return 1
    for each in skipped:
        print(f"passed over: {each}", file=sys.stderr)
    print(f"wrote {arguments.out} from {stored.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
