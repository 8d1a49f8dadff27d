"""``python -m hpcscale.train.dryrun point.json [--rank R]``: what single ranks of a job would be and hold, without the job.

One JSON object a rank is printed (fake_rank.py), or one a point that is refused or fails, with the reason. Exit codes: 0 all
ranks ran, 1 one failed as the job would, 2 a point was refused as the job would refuse it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import traceback
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hpcscale.spec.layout import Data, Layout
from hpcscale.spec.problems import InputError
from hpcscale.train.batches import micro_batches
from hpcscale.train.point_file import Work, read
from hpcscale.train.supported import refusals

RAN, FAILED, REFUSED = 0, 1, 2


def first_ranks(layout: Layout, every_stage: bool = False) -> list[int]:
    """The first rank of the first, a middle and the last pipeline stage, or of each."""
    stages = range(layout.pp) if every_stage else sorted({0, layout.pp // 2, layout.pp - 1})
    return [stage * (layout.ranks // layout.pp) for stage in stages]


def without_files(work: Work) -> Work:
    """The work with a synthetic stream and drawn weights: which they are changes no shape, and a dry run may be elsewhere."""
    return replace(work, data=Data(), training=work.training.model_copy(update={"weights": None}))


def shortened(work: Work) -> Work:
    """The work with as few micro batches as reach the peak of the job, and without compilation.

    1F1B has at most one micro batch in flight for each stage: twice as many show it coming and going. Without a pipeline
    the second one meets the gradients of the first. The other schedules hold more with every micro batch (gpipe its
    activations, the interleaved ones what they have sent), so all are run.
    """
    training, layout = work.training, work.layout
    micro = training.micro_batch_size
    assert isinstance(micro, int), "refused"
    enough = 2 * layout.pp
    update: dict[str, Any] = {"compile": False}
    if (layout.pp == 1 or layout.schedule == "1f1b") and len(micro_batches(work.replica_batch, micro)) > enough:
        update["global_batch_size"] = layout.dp * micro * enough
    return replace(work, training=training.model_copy(update=update))


def reasons(work: Work, ranks: Sequence[int]) -> list[str]:
    """Why there is nothing to dry-run; the sentences that the job itself would end with, and some of our own."""
    found = refusals(work, cuda=work.device_kind == "gpu")
    if work.training.micro_batch_size == "auto":
        found.append("micro_batch_size auto is found by running out of memory; give the one to try: --set mbs=1")
    last = work.layout.ranks - 1
    found += [f"there is no rank {rank}: the layout has ranks 0 to {last}" for rank in ranks if not 0 <= rank <= last]
    return found


def run(point: Path, ranks: Sequence[int], every_stage: bool) -> int:
    """Dry-runs ``ranks`` of a point, or the first of its stages, and returns the exit code."""
    try:
        work = without_files(read(point))
    except InputError as error:
        return _refuse(point, [str(error)])
    sentences = reasons(work, ranks)
    if sentences:
        return _refuse(point, sentences)
    from hpcscale.train.fake_rank import dry_run  # torch takes seconds to import

    short = shortened(work)
    counts = {
        "micro_batches": _micro_batches(short),
        "micro_batches_of_the_job": _micro_batches(work),
    }
    for rank in ranks or first_ranks(work.layout, every_stage):
        try:
            found = dry_run(short, rank)
        except Exception as error:
            return _fail(point, rank, error)
        _print({"file": str(point), "point": work.document.get("point"), "ranks": work.layout.ranks, **counts, **found})
    return RAN


def _micro_batches(work: Work) -> int:
    assert isinstance(work.training.micro_batch_size, int)
    return len(micro_batches(work.replica_batch, work.training.micro_batch_size))


def _refuse(point: Path, sentences: list[str]) -> int:
    _print({"file": str(point), "refused": sentences})
    for sentence in sentences:
        print(f"hpcscale.train.dryrun: {sentence}", file=sys.stderr, flush=True)
    return REFUSED


def _fail(point: Path, rank: int, error: Exception) -> int:
    evidence = f"{type(error).__name__}: {' '.join(str(error).split())}"
    _print({"file": str(point), "rank": rank, "failed": evidence})
    if os.environ.get("HPCSCALE_TRACEBACK") == "1":
        traceback.print_exception(error)
    else:
        print(f"hpcscale.train.dryrun: rank {rank} ended with {evidence}", file=sys.stderr, flush=True)
    return FAILED


def _print(found: dict[str, Any]) -> None:
    print(json.dumps(found), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m hpcscale.train.dryrun", description="Run single ranks of points on fake tensors."
    )
    parser.add_argument("points", type=Path, nargs="+", help="point.json files that hpcscale wrote")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--rank", type=int, action="append", default=[], dest="ranks", help="this rank; repeatable")
    which.add_argument("--all-stages", action="store_true", help="the first rank of every pipeline stage")
    arguments = parser.parse_args()
    codes = [run(point, arguments.ranks, arguments.all_stages) for point in arguments.points]
    sys.exit(FAILED if FAILED in codes else max(codes))


if __name__ == "__main__":
    main()
