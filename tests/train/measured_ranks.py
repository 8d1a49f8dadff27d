"""Measures cases as one rank of a real world that is started once: ``measured_ranks.py cases.json results.json``.

Rank 0 writes, for each case, what every rank held by ``fake_rank.measured``, on real tensors.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from hpcscale.train import communication
from hpcscale.train.fake_rank import CPU, measured
from hpcscale.train.mesh import device_mesh
from hpcscale.train.point_file import parse
from hpcscale.train.rendezvous import rendezvous


def measure(document: dict[str, Any]) -> dict[str, Any]:
    work = parse(document, "the case")
    return asdict(measured(work, device_mesh(work.layout, CPU)))


def main() -> None:
    cases, results = (Path(each) for each in sys.argv[1:3])
    torch.set_num_threads(1)
    place = rendezvous(os.environ)
    communication.connect(place, "gloo", CPU, 60)
    found = {name: communication.gather_objects(measure(each)) for name, each in json.loads(cases.read_text()).items()}
    if place.rank == 0:
        results.write_text(json.dumps(found))
    communication.disconnect()


if __name__ == "__main__":
    main()
