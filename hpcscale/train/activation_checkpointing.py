"""Which blocks throw their activations away in the forward pass and compute them again in the backward pass."""

from __future__ import annotations

from hpcscale.train.model import Block, Transformer


def apply(model: Transformer, mode: str) -> None:
    """``none``, ``full`` (every block) or ``selective-layer:k`` (blocks k, 2k, ..., counted from 1, as in torchtitan)."""
    for number, block in enumerate(model.blocks.values(), start=1):
        assert isinstance(block, Block)
        block.recompute = _recomputes(mode, number)


def _recomputes(mode: str, number: int) -> bool:
    if mode == "none":
        return False
    if mode == "full":
        return True
    kind, _, every = mode.partition(":")
    if kind != "selective-layer":
        raise ValueError(f"activation checkpointing '{mode}' is not built")
    return number % int(every) == 0
