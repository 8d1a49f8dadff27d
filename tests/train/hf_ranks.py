"""Loads a folder of Hugging Face weights as one rank of several layouts, and saves it again: ``hf_ranks.py cases.json``.

A case is a point document, the folder to read and the one to write. Each rank writes what it loaded, as
``<case>.<rank>.pt``: (name, offset, tensor) of each piece.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import torch

from hpcscale.train import communication, mesh
from hpcscale.train.huggingface import gather, read
from hpcscale.train.point_file import parse
from hpcscale.train.rendezvous import rendezvous
from hpcscale.train.trainer import Trainer


def main() -> None:
    cases = Path(sys.argv[1])
    torch.set_num_threads(1)
    place, device = rendezvous(os.environ), torch.device("cpu")
    communication.connect(place, "gloo", device, 60)
    for name, case in json.loads(cases.read_text()).items():
        work = parse(case["document"], name)
        trainer = Trainer(work, mesh.device_mesh(work.layout, device), device)
        pieces, length = trainer.pieces(), work.training.sequence_length
        read.load(pieces, work.model, length, Path(case["weights"]))
        trainer.replica.updated()
        loaded = [(piece.name, piece.offset, piece.tensor.clone()) for piece in pieces]
        torch.save(loaded, cases.with_name(f"{name}.{place.rank}.pt"))
        gather.save(pieces, work.model, length, Path(case["out"]), most_bytes=20_000)
    communication.disconnect()


if __name__ == "__main__":
    main()
