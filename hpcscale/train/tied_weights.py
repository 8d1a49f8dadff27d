"""A token embedding that is also the output layer lies on the first and the last pipeline stage: two copies, one weight.

Both stages send their part of the gradient to the other, and both make the same step with the same sum.
"""

from __future__ import annotations

import torch
import torch.distributed as dist

from hpcscale.train.gradients import Gradients
from hpcscale.train.mesh import Axis
from hpcscale.train.weights import Weight

NAME = "token_embedding.weight"


@torch.no_grad()
def sum_copies(weights: list[Weight], gradients: Gradients, pp: Axis) -> None:
    """Makes the gradients of both copies their sum (embedding's part + head's part, in this order on both sides)."""
    mine = [(weight, each) for weight, each in zip(weights, gradients, strict=True) if weight.name == NAME]
    if len(mine) == 2:  # the V of zbv: the first and the last stage are on one rank
        (_, first), (_, last) = sorted(mine, key=lambda pair: pair[0].copy)
        assert first is not None and last is not None
        last.copy_(first.add_(last))
        return
    if len(mine) != 1 or pp.group is None:
        return
    ((weight, own),) = mine
    assert own is not None
    other = torch.empty_like(own)
    peer = dist.get_global_rank(pp.group, 0 if weight.copy else pp.size - 1)
    works = dist.batch_isend_irecv(
        [dist.P2POp(dist.isend, own.contiguous(), peer, pp.group), dist.P2POp(dist.irecv, other, peer, pp.group)]
    )
    for work in works:
        work.wait()
    own.copy_(other + own if weight.copy else own + other)
