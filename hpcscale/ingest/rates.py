"""TFLOPs, MFU and HFU of a row, under one convention."""

from __future__ import annotations

from typing import Any

from hpcscale.cost.flops import Convention, ImpossibleUtilisation, hardware_factor, tflops_per_device, utilisation
from hpcscale.spec.model import Model

# What this module fills in: emptied together when a row's rates cannot be known.
COLUMNS = ("flops_convention", "flops_per_token", "tflops_per_device", "aggregate_pflops", "mfu", "hfu")


def rates(row: dict[str, Any], model: Model, convention: Convention) -> dict[str, Any]:
    """The columns of rates that follow from a row's tokens/s/device, its layout and its device's peak.

    A convention that counts hardware work gives HFU directly, and MFU from its count without recomputation; the others
    give MFU, and HFU by the share of the forward pass that is recomputed. Without a peak neither is known. A value
    above 1 is left out and the row's note says why.
    """
    sequence_length, throughput = row.get("sequence_length"), row.get("tokens_per_second_per_device")
    if sequence_length is None:
        return {}
    tp, checkpointing = row.get("tp") or 1, row.get("activation_checkpointing") or "none"
    counted = convention.flops_per_token(model, sequence_length, tp, checkpointing)
    found: dict[str, Any] = {"flops_convention": convention.name, "flops_per_token": counted}
    if throughput is None:
        return found
    tflops = tflops_per_device(counted, throughput)
    found["tflops_per_device"] = tflops
    if row.get("devices"):
        found["aggregate_pflops"] = tflops * row["devices"] / 1000
    peak = row.get("peak_tflops")
    if peak is None:
        return found
    if convention.hardware:
        plain = convention.flops_per_token(model, sequence_length, tp, "none")
        useful, done = tflops_per_device(plain, throughput), tflops
    else:
        useful, done = tflops, tflops * hardware_factor(model, sequence_length, checkpointing)
    try:
        found["mfu"] = utilisation(useful, peak, "MFU")
        # Checkpointing that a row does not state is not known to be none.
        if row.get("activation_checkpointing") is not None:
            found["hfu"] = utilisation(done, peak, "HFU")
    except ImpossibleUtilisation as error:
        found["note"] = "; ".join(filter(None, (row.get("note"), str(error))))
    return found
