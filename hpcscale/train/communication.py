"""The process group: which backend, which device, joining and leaving, and the few collectives of the step loop.

A run of one process joins nothing: every helper here then answers for itself.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from hpcscale.train.rendezvous import Rendezvous, RendezvousError

TIMEOUT_VARIABLE = "HPCSCALE_COLLECTIVE_TIMEOUT_SECONDS"
TIMEOUT_SECONDS = 1800.0


def backend_for(wanted: str, cuda: bool) -> str:
    """``auto`` is NCCL on NVIDIA GPUs, else Gloo."""
    if wanted == "auto":
        return "nccl" if cuda else "gloo"
    return wanted


def device_for(place: Rendezvous, cuda: bool) -> torch.device:
    """The device of this rank. Sites differ in whether a task sees one GPU or all of its node's, hence the modulo."""
    if not cuda:
        return torch.device("cpu")
    return torch.device("cuda", place.local_rank % torch.cuda.device_count())


def timeout_seconds(environment: Mapping[str, str] = os.environ) -> float:
    """How long a collective waits for the slowest rank before the run is given up."""
    text = environment.get(TIMEOUT_VARIABLE)
    try:
        seconds = float(text) if text else TIMEOUT_SECONDS
    except ValueError:
        seconds = 0.0
    if not seconds > 0:
        raise RendezvousError(f"{TIMEOUT_VARIABLE} is '{text}'; it must be a number of seconds greater than 0")
    return seconds


def connect(place: Rendezvous, backend: str, device: torch.device, timeout: float) -> None:
    """Joins the process group; does nothing for a single process."""
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if place.world_size == 1:
        return
    # torchrun's agent keeps the store; its variables lead there.
    method = "env://" if place.launcher == "torchrun" else f"tcp://{place.master_address}:{place.master_port}"
    dist.init_process_group(
        backend,
        init_method=method,
        rank=place.rank,
        world_size=place.world_size,
        timeout=timedelta(seconds=timeout),
        device_id=device if device.type == "cuda" else None,
    )


def disconnect() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


def gather_numbers(values: list[float], device: torch.device) -> list[list[float]]:
    """Each rank's ``values``, by rank, on every rank; one collective of 8 bytes a value and rank."""
    if not dist.is_initialized():
        return [values]
    own = torch.tensor(values, dtype=torch.float64, device=device)
    rows = own.new_empty((dist.get_world_size(), len(values)))
    dist.all_gather(list(rows.unbind()), own)
    return rows.tolist()


def gather_objects(value: Any) -> list[Any]:
    """Each rank's ``value`` (anything that pickles), by rank, on every rank."""
    if not dist.is_initialized():
        return [value]
    gathered: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(gathered, value)
    return gathered
