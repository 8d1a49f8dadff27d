"""Trains many cases as one rank of a world that is started once: ``matrix.py cases.json results.json``.

A case is a point document and, maybe, a sabotage. Rank 0 writes the loss and gradient norm of every step of each case.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch

from hpcscale.train import communication, data_parallel, mesh
from hpcscale.train.point_file import parse
from hpcscale.train.rendezvous import rendezvous
from hpcscale.train.trainer import Trainer

Curve = list[tuple[float, float]]
STEPS = 10


def curve(document: dict[str, Any], sabotage: str | None = None) -> Curve:
    """(loss, gradient norm) of every step, the loss as the mean over the replicas."""
    work, device = parse(document, "the case"), torch.device("cpu")
    trainer = Trainer(work, mesh.device_mesh(work.layout, device), device)
    if sabotage == "drop the all-reduce":
        assert isinstance(trainer.replica, data_parallel.Replicated)
        trainer.replica.reduce = lambda: None  # type: ignore[method-assign]
    steps = []
    for step in range(1, STEPS + 1):
        loss, norm, _ = trainer.step(step)
        losses = [row[0] for row in communication.gather_numbers([loss.item()], device)]
        steps.append((sum(losses) / len(losses), norm.item()))
    return steps


def main() -> None:
    cases, results = (Path(each) for each in sys.argv[1:])
    torch.set_num_threads(1)
    place = rendezvous(os.environ)
    communication.connect(place, "gloo", torch.device("cpu"), 60)
    curves = {name: curve(**case) for name, case in json.loads(cases.read_text()).items()}
    if place.rank == 0:
        results.write_text(json.dumps(curves))
    communication.disconnect()


if __name__ == "__main__":
    main()
