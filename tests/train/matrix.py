"""Trains many cases as one rank of a world that is started once: ``matrix.py cases.json results.json [communication]``.

A case is a point document and, maybe, a sabotage. Rank 0 writes the loss and gradient norm of every step of each case, and
how often each communication function of ours ran backward on each rank.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import torch

from hpcscale.spec.layout import Layout
from hpcscale.train import communication, mesh, ring, tensor_parallel
from hpcscale.train.data_parallel import Whole
from hpcscale.train.point_file import parse
from hpcscale.train.rendezvous import locate
from hpcscale.train.trainer import Trainer

# A mistake in what a step hands to the next one shows from the second on; HPCSCALE_PARITY_STEPS=20 for a release.
STEPS = int(os.environ.get("HPCSCALE_PARITY_STEPS", "4"))
CPU = torch.device("cpu")

Curve = list[tuple[float, float]]
COUNTED = {
    "copy": tensor_parallel._Copy,
    "reduce": tensor_parallel._Reduce,
    "gather": tensor_parallel._Gather,
    "scatter": tensor_parallel._ReduceScatter,
    "ring": ring._Ring,
}


_meshes: dict[tuple[object, ...], mesh.Mesh] = {}


def _mesh(layout: Layout) -> mesh.Mesh:
    """One for all cases that differ in nothing that makes a process group: each group has threads of its own."""
    key = (layout.dp, layout.tp, layout.pp, layout.cp, layout.dp_replicate, layout.sharding)
    if key not in _meshes:
        _meshes[key] = mesh.device_mesh(layout, CPU)
    return _meshes[key]


def curve(document: dict[str, Any], sabotage: str | None = None, steps: int = STEPS) -> Curve:
    """(loss, gradient norm) of every step."""
    work = parse(document, "the case")
    trainer = Trainer(work, _mesh(work.layout), CPU)
    if sabotage == "drop the all-reduce":
        assert isinstance(trainer.replica, Whole)
        trainer.replica.overlap = False
        trainer.replica.reduce = lambda: None  # type: ignore[method-assign]
    found = []
    for step in range(1, steps + 1):
        result = trainer.step(step)
        loss = sum(row[0] for row in communication.gather_numbers([result.loss.item()], CPU))
        found.append((loss, result.gradient_norm.item()))
    return found


def count_backward_calls() -> Counter[str]:
    """From now on: how often each of the functions above runs backward on this rank."""
    counts: Counter[str] = Counter()
    for name, function in COUNTED.items():

        def counting(*arguments: Any, real: Any = function.backward, name: str = name) -> Any:
            counts[name] += 1
            return real(*arguments)

        function.backward = staticmethod(counting)  # type: ignore[method-assign]
    return counts


def main() -> None:
    cases, results = (Path(each) for each in sys.argv[1:3])
    wanted = sys.argv[3] if len(sys.argv) > 3 else "gloo"
    torch.set_num_threads(1)
    place = locate(os.environ, wanted)
    communication.connect(place, communication.backend_for(wanted, False), CPU, 60)
    counts = count_backward_calls()
    found: dict[str, Any] = {}
    for name, case in json.loads(cases.read_text()).items():
        counts.clear()
        if place.rank == 0:
            print(name, file=sys.stderr, flush=True)  # which case hangs, if one does
        found[name] = {"curve": curve(**case), "backward": communication.gather_objects(dict(counts))}
    if place.rank == 0:
        results.write_text(json.dumps(found))
    communication.disconnect()


if __name__ == "__main__":
    main()
