"""Matrix products in the shapes of a transformer, and its attention."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
import torch.nn.functional as F

from hpcscale.record.probe import attention_flops
from hpcscale.spec.probe import Sizes
from hpcscale.train.precision import PRECISIONS, use_matmul_precision
from hpcscale.train.probe.cases import Call, Case

HEADS = 4  # few, so that a laptop measures long sequences too
HEAD_SIZES = (64, 128)
# Sequences side by side, so that a batch has as many tokens: few (one micro batch) and enough to fill a GPU.
ATTENTION_TOKENS = (1024, 8192)
FFN_MULTIPLE = 64  # SwiGLU's 8/3 of the hidden size is rounded up to it


def matmuls(sizes: Sizes, precision: str, device: torch.device) -> Iterator[Case]:
    """Every shape once, the least work first."""
    shapes = {shape for hidden in sizes.hidden for shape in _shapes(hidden, sizes.tokens)}
    for m, n, k in sorted(shapes, key=lambda shape: (shape[0] * shape[1] * shape[2], shape)):
        flops = 2 * m * n * k
        line = {"kind": "matmul", "dtype": precision, "m": m, "n": n, "k": k, "flops": flops}
        yield Case(line, partial(linear, m, n, k, precision, device), flops)


def _shapes(hidden: int, tokens: tuple[int, ...]) -> Iterator[tuple[int, int, int]]:
    """(tokens, out, in): attention's output, Q K V together, the MLP there and back, SwiGLU's width, and the square."""
    ffn = -(-8 * hidden // 3 // FFN_MULTIPLE) * FFN_MULTIPLE
    for m in tokens:
        for n in (hidden, 3 * hidden, 4 * hidden, ffn):
            yield m, n, hidden
        yield m, hidden, 4 * hidden
    yield hidden, hidden, hidden


def linear(m: int, n: int, k: int, precision: str, device: torch.device) -> Call:
    """[m, k] times the transpose of [n, k]."""
    use_matmul_precision(PRECISIONS[precision])
    dtype = PRECISIONS[precision].compute
    given, weight = (torch.randn(rows, k, device=device).to(dtype) for rows in (m, n))
    return partial(F.linear, given, weight)


def attentions(sizes: Sizes, precision: str, device: torch.device) -> Iterator[Case]:
    found = []
    for head_size in HEAD_SIZES:
        for sequence in sizes.sequences:
            for batch in sorted({max(1, tokens // sequence) for tokens in ATTENTION_TOKENS}):
                flops = attention_flops(batch, HEADS, sequence, head_size)
                line = {
                    "kind": "attention", "dtype": precision, "batch": batch, "heads": HEADS, "sequence": sequence,
                    "head_size": head_size, "causal": True, "flops": flops,
                }  # fmt: skip
                prepare = partial(_attention, batch, sequence, head_size, precision, device)
                found.append(Case(line, prepare, flops))
    yield from sorted(found, key=lambda case: case.amount)


def _attention(batch: int, sequence: int, head_size: int, precision: str, device: torch.device) -> Call:
    dtype = PRECISIONS[precision].compute
    shape = (batch, HEADS, sequence, head_size)
    query, key, value, gradient = (torch.randn(shape, device=device).to(dtype) for _ in range(4))
    inputs = [each.requires_grad_() for each in (query, key, value)]

    def both_ways() -> object:
        with torch.enable_grad():
            result = F.scaled_dot_product_attention(query, key, value, is_causal=True)
            return torch.autograd.grad(result, inputs, gradient)

    return both_ways
