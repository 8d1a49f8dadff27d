"""All checks in one world: ``mpiexec -n N python -m tests.train.mpi.checks FOLDER``. Each rank writes {check: problem}."""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
import warnings
from pathlib import Path

import torch

from hpcscale.train import communication
from hpcscale.train.rendezvous import locate

from . import collectives, groups, layouts, messages

TIMEOUT_SECONDS = 20.0
CHECKS = (*collectives.CHECKS, *messages.CHECKS, *groups.CHECKS, *layouts.CHECKS)


def main() -> None:
    results = Path(sys.argv[1])
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    place = locate(os.environ, "mpi")
    communication.connect(place, "mpi4py", torch.device("cpu"), TIMEOUT_SECONDS)
    problems = {}
    for check in CHECKS:
        try:
            check()
        except Exception:
            # The ranks are out of step from here on: what would follow says nothing.
            problems[check.__name__] = traceback.format_exc()
            break
        problems[check.__name__] = ""
    unfinished = results / f"{place.rank}.unfinished"
    unfinished.write_text(json.dumps(problems))
    unfinished.rename(results / f"{place.rank}.json")  # another rank may end this one at any time
    if any(problems.values()):
        communication.abort(1)
    communication.disconnect()
    if place.rank > 0:
        time.sleep(1)  # had rank 0 left without a word, mpiexec would end the others now
    (results / f"{place.rank}.left").touch()
    os._exit(0)


if __name__ == "__main__":
    main()
