"""The MPI library. Importing this module initialises MPI, so only what is sure to run under an MPI launcher imports it.

MPI_THREAD_SERIALIZED is asked for and no more: Fujitsu's MPI does not give THREAD_MULTIPLE. MPI is never finalised behind our
back when Python ends: a rank that leaves after an exception would wait there for ranks that wait for it.
"""

from __future__ import annotations

import mpi4py

mpi4py.rc.thread_level = "serialized"
mpi4py.rc.finalize = False

from mpi4py import MPI  # noqa: E402

__all__ = ["MPI"]
