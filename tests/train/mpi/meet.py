"""One rank of a job that finds itself and meets the others: ``python -m tests.train.mpi.meet COMMUNICATION CHANGES``.

``CHANGES`` is a JSON object of variables that the launcher would have set otherwise; null takes one away.
"""

from __future__ import annotations

import json
import os
import sys

import torch

from hpcscale.train import communication
from hpcscale.train.rendezvous import RendezvousError, locate


def main() -> None:
    wanted, changes = sys.argv[1], json.loads(sys.argv[2])
    environment = {**os.environ, **changes}
    environment = {name: value for name, value in environment.items() if value is not None}
    try:
        place = locate(environment, wanted)
    except RendezvousError as error:
        if os.environ["PMI_RANK"] == "0":
            print(json.dumps({"refused": str(error)}), flush=True)
        communication.disconnect()
        return
    communication.connect(place, communication.backend_for(wanted, False), torch.device("cpu"), 20)
    others = communication.gather_objects((place.rank, place.local_rank, place.master_port, os.getppid()))
    line = json.dumps({"launcher": place.launcher, "nodes": place.nodes, "port": place.master_port, "ranks": others})
    if place.rank == 0:
        print(line, flush=True)
    communication.disconnect()
    os._exit(0)


if __name__ == "__main__":
    main()
