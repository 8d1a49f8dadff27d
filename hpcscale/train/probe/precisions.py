"""Number formats that a rank's device computes in. torch multiplies any of them on any CPU, but emulated formats tell nothing."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch

# Words of /proc/cpuinfo (x86: flags, Arm: Features) of which one means that the format has instructions of its own.
CPU_WORDS = {
    "bf16": {"avx512_bf16", "amx_bf16", "bf16", "svebf16"},
    "fp16": {"avx512_fp16", "amx_fp16", "asimdhp"},
}
CPU_ALWAYS = {"fp32", "fp64"}
AMPERE = (8, 0)  # the first NVIDIA generation with tf32


def native(wanted: Iterable[str], device: torch.device) -> list[str]:
    """Those of ``wanted`` that the device has, in their order."""
    if device.type == "cuda":
        return [each for each in wanted if _on_gpu(each, device)]
    words = cpu_words()
    return [each for each in wanted if each in CPU_ALWAYS or words & CPU_WORDS.get(each, set())]


def _on_gpu(precision: str, device: torch.device) -> bool:
    if precision == "bf16":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if precision == "tf32":
        return torch.version.hip is None and torch.cuda.get_device_capability(device) >= AMPERE
    return precision in ("fp64", "fp32", "fp16")


def cpu_words(file: Path = Path("/proc/cpuinfo")) -> set[str]:
    """What the processor says of itself; nothing where there is no such file."""
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return set()
    return {word for line in lines if line.startswith(("flags", "Features")) for word in line.partition(":")[2].split()}
