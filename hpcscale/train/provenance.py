"""Where and with what a run ran: versions, host, device, commit, and the environment without its secrets."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

import hpcscale

KEPT_PREFIXES = (
    "SLURM_JOB", "SLURM_STEP", "SLURM_N", "SLURM_CPUS", "SLURM_GPUS", "SLURM_TASKS", "SLURM_RESTART", "PJM_", "PLE_", "PMIX_RANK",
    "OMP_", "KMP_", "MKL_", "GOMP_", "FLIB_", "XOS_MMM_", "NCCL_", "GLOO_", "TORCH_NCCL", "UCX_", "OMPI_MCA_", "CUDA_VISIBLE",
    "CUDA_DEVICE", "PYTORCH_", "TORCHELASTIC_RESTART", "MASTER_ADDR", "MASTER_PORT", "HPCSCALE_", "LD_PRELOAD",
)  # fmt: skip
SECRET_WORDS = ("KEY", "TOKEN", "SECRET", "PASS", "CREDENTIAL", "AUTH")


def versions() -> dict[str, str]:
    return {"hpcscale": hpcscale.__version__, "python": platform.python_version(), "torch": torch.__version__}


def device_facts(device: torch.device) -> dict[str, Any]:
    """What this rank really computes on, as it names itself."""
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        return {"kind": "cuda", "name": properties.name, "memory_bytes": properties.total_memory}
    return {
        "kind": "cpu",
        "name": _processor(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
    }


def environment(variables: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables that change how a run goes; never one whose name sounds like a secret."""
    return {
        name: value
        for name, value in sorted(variables.items())
        if name.startswith(KEPT_PREFIXES) and not any(word in name.upper() for word in SECRET_WORDS)
    }


def git_commit() -> str | None:
    """The commit of the working directory; None where there is none, or no git (compute nodes often lack it)."""
    try:
        found = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip() if found.returncode == 0 else None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() in ("model name", "cpu model"):
            return value.strip()
    return platform.processor() or platform.machine()
