"""A c10d backend over mpi4py, for machines where MPI is the only way from node to node (facts: Fugaku's sockets end at 512 nodes).

    library    the MPI library; importing it initialises MPI
    engine     one lock for every MPI call, and progress while Python computes
    work       the handles that torch waits for
    buffers    tensors as MPI messages, and reductions of dtypes that MPI does not know
    collectives  torch's collectives as MPI calls
    group      the process group that torch knows them by
    world      all ranks: communicators, the end in order and at once
    backend    registers the group with torch
    place      this process's place among the ranks, as MPI knows it
    traffic    calls and bytes by operation, and a list of events for a trace

This module itself imports neither torch nor mpi4py, so it can be asked for its counts in any run.
"""

from __future__ import annotations

import importlib.util
import sys

from hpcscale.train.mpi.traffic import Event, events, record_events, reset_traffic, traffic, traffic_by_group

__all__ = [
    "BACKEND",
    "Event",
    "available",
    "events",
    "loaded",
    "record_events",
    "reset_traffic",
    "traffic",
    "traffic_by_group",
]

BACKEND = "mpi4py"


def available() -> bool:
    """Whether mpi4py is installed. Whether it finds an MPI library, only its import can tell."""
    return importlib.util.find_spec("mpi4py") is not None


def loaded() -> bool:
    """Whether this process is an MPI program: it has initialised MPI, and perhaps ended it again."""
    module = sys.modules.get("mpi4py.MPI")
    return module is not None and module.Is_initialized()
