"""Which activations are thrown away in the forward pass and computed again in the backward pass."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only
from torch.utils.checkpoint import CheckpointPolicy, create_selective_checkpoint_contexts

if TYPE_CHECKING:
    from hpcscale.train.model import Transformer

Mode = Literal["none", "block", "op"]

aten = torch.ops.aten
# A weight's matrix product under each of its names: which one runs depends on bias and shape.
MATMULS = frozenset({aten.mm.default, aten.addmm.default, aten.linear.default})
# Kept whatever their number: as dear as a matrix product, or a message to others.
KEPT = frozenset(
    {
        aten._scaled_dot_product_flash_attention.default,
        aten._scaled_dot_product_flash_attention_for_cpu.default,
        aten._scaled_dot_product_efficient_attention.default,
        aten._scaled_dot_product_cudnn_attention.default,
        aten._scaled_dot_product_fused_attention_overrideable.default,
        aten._scaled_dot_product_attention_math.default,
        aten.bmm.default,  # attention where no kernel fits
    }
)


def apply(model: Transformer, mode: str, twice: bool = False) -> None:
    """Sets how each block of a stage recomputes.

    ``none``; ``full``: every block; ``selective-layer:k``: blocks k, 2k, ... of the whole model, counted from 1, as
    in torchtitan; ``selective-op``: in every block every second matrix product and all that is not one (torchtitan's
    per-op selection); ``core-attention``: scores and their use on values (arXiv 2205.05198, section 5). ``twice``: see ``contexts``.
    """
    for layer, block in zip(model.parts.layers, model.blocks.values(), strict=True):
        assert isinstance(block, nn.Module)
        block.recompute, block.recompute_twice = _of_block(mode, layer + 1), twice  # pyright: ignore[reportAttributeAccessIssue, reportArgumentType]
        block.attention.recompute_core = mode == "core-attention"  # pyright: ignore[reportAttributeAccessIssue, reportArgumentType]


def _of_block(mode: str, number: int) -> Mode:
    if mode in ("none", "core-attention"):
        return "none"
    if mode == "full":
        return "block"
    if mode == "selective-op":
        return "op"
    kind, _, every = mode.partition(":")
    if kind != "selective-layer":
        raise ValueError(f"activation checkpointing '{mode}' is not built")
    return "block" if number % int(every) == 0 else "none"


def contexts(mode: Mode, twice: bool) -> Callable[[], Any]:
    """What torch's checkpoint asks for: the contexts of the forward pass and of its repetition.

    ``twice``: the schedule goes back through a block in two parts (zero bubble), and so repeats it twice, which torch's
    own selective contexts refuse.
    """
    if mode != "op":
        return _no_contexts
    return _repeatable_contexts if twice else partial(create_selective_checkpoint_contexts, _SecondMatmul())


def _no_contexts() -> tuple[Any, Any]:
    return nullcontext(), nullcontext()


class _SecondMatmul:
    """Keeps the 1st, 3rd, 5th, ... matrix product of a block, counted in the forward pass and in its repetition alike."""

    def __init__(self) -> None:
        self.seen = {True: 0, False: 0}  # by whether it is the repetition

    def __call__(self, context: Any, function: Any, *_: Any, **__: Any) -> CheckpointPolicy:
        if function in MATMULS:
            self.seen[context.is_recompute] += 1
            return _policy(self.seen[context.is_recompute])
        return CheckpointPolicy.MUST_SAVE if function in KEPT else CheckpointPolicy.PREFER_RECOMPUTE


def _policy(number: int) -> CheckpointPolicy:
    return CheckpointPolicy.MUST_SAVE if number % 2 else CheckpointPolicy.PREFER_RECOMPUTE


def _repeatable_contexts() -> tuple[Any, Any]:
    kept: list[Any] = []
    return _Keep(kept), _Repeat(kept)


class _Selecting(TorchDispatchMode):
    """The results that are kept, in the order in which a block makes them."""

    def __init__(self, kept: list[Any]):
        super().__init__()
        self.kept = kept

    def __enter__(self) -> Any:
        self.matmuls = self.taken = 0
        return super().__enter__()

    def is_kept(self, function: Any) -> bool:
        if function in MATMULS:
            self.matmuls += 1
            return _policy(self.matmuls) is CheckpointPolicy.MUST_SAVE
        return function in KEPT


class _Keep(_Selecting):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if self.is_kept(func):
            # detached: a result that carried its graph would keep the block alive by itself
            self.kept.append(tree_map_only(torch.Tensor, torch.Tensor.detach, result))
        return result


class _Repeat(_Selecting):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not self.is_kept(func):
            return func(*args, **(kwargs or {}))
        self.taken += 1
        return tree_map_only(torch.Tensor, torch.Tensor.detach, self.kept[self.taken - 1])
