"""The weights that a run starts from: where they are, and whether they are of the run's model. Needs no torch."""

from __future__ import annotations

import os
from pathlib import Path

from hpcscale.spec.layout import Training
from hpcscale.spec.model import Model
from hpcscale.spec.problems import InputError
from hpcscale.train.huggingface import config


def find(name: str, start: Path) -> Path:
    """The folder that ``training.weights`` means in a job that runs in ``start``: ``~`` and ``$VARIABLES`` are the job's;
    a relative one is looked for in the job's folder and in each folder above it."""
    wanted = Path(os.path.expandvars(name)).expanduser()
    for each in (start, *start.parents):
        if (each / wanted).is_dir():  # each / an absolute path is that path
            return each / wanted
    if wanted.is_absolute():
        raise InputError(f"there is no folder {wanted} (training.weights)")
    raise InputError(
        f"there is no folder {wanted} in {start} or in a folder above it (training.weights); an absolute path is found "
        "from everywhere"
    )


def refusals(model: Model, training: Training) -> list[str]:
    """Why a run cannot start from its weights; empty if it can, or starts from none. Reads config.json and nothing else."""
    if training.weights is None:
        return []
    try:
        folder = find(training.weights, Path.cwd())
        found = list(config.differences(model, training.sequence_length, config.read(folder)))
    except InputError as error:
        return [problem.message for problem in error.problems]
    return [f"training.weights {folder}: {each}" for each in found]
