"""Collectives beside products: how much of a message is hidden while a rank computes, or how much they disturb each other.

As FSDP does with the layers of a transformer: its 12 hidden^2 weights travel while a product of the same weights is made, which
is the forward pass of one layer but for its attention.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch

from hpcscale.spec.probe import Sizes
from hpcscale.train.probe import products
from hpcscale.train.probe.cases import Call, Case
from hpcscale.train.probe.messages import COLLECTIVES, ELEMENT_BYTES, Group, elements_of

WEIGHTS = 12  # of a layer, in hidden^2
FEWEST_TOKENS = 2  # sizes of micro batches


def cases(group: Group, sizes: Sizes, precision: str, device: torch.device) -> Iterator[Case]:
    """Every collective beside every hidden size's layer, the least work first."""
    shapes = {(tokens, hidden) for hidden in sizes.hidden for tokens in sorted(sizes.tokens)[:FEWEST_TOKENS]}
    for m, k in sorted(shapes, key=lambda shape: (shape[0] * shape[1] ** 2, shape)):
        n = WEIGHTS * k
        elements = elements_of(n * k * ELEMENT_BYTES, group)
        for collective in COLLECTIVES:
            line: dict[str, Any] = {
                "kind": "beside", "dtype": precision, "collective": collective, "bytes": elements * ELEMENT_BYTES,
                "ranks": group.ranks, "span": group.span, "m": m, "n": n, "k": k,
            }  # fmt: skip
            product = partial(products.linear, m, n, k, precision, device)
            parts = {
                "product_seconds": product,
                "collective_seconds": partial(COLLECTIVES[collective], group, elements, device),
            }
            prepare = partial(_both, collective, group, elements, product, device)
            yield Case(line, prepare, 2 * m * n * k + elements, parts)


def _both(collective: str, group: Group, elements: int, product: partial[Call], device: torch.device) -> Call:
    start, multiply = COLLECTIVES[collective](group, elements, device), product()

    def both() -> None:
        work = start(async_op=True)
        multiply()
        work.wait()

    return both
