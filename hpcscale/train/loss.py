"""Cross-entropy straight from hidden states, in chunks of tokens: the whole logits never exist, let alone in fp32.

The output layer's products and the softmax of a chunk are done together, and so are their gradients, in the forward pass
(the loss is where the backward pass begins, so nothing else is known later). With tensor parallelism every rank has some
rows of the vocabulary; two numbers a token cross the network (arXiv 1909.08053, section 3).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from hpcscale.train.mesh import ALONE, Axis
from hpcscale.train.tensor_parallel import all_gather

IGNORED = -100  # a target that does not count, as in torch
# Logits of a chunk: few enough to be small beside the model, enough for the products to run at full speed. On a CPU they
# stay below the 32 MiB from which malloc takes new pages from the system every time (7 % of a step at 2**24).
CHUNK_LOGITS = {"cpu": 2**22, "cuda": 2**28}


@dataclass(frozen=True)
class Vocabulary:
    """Which words this rank's rows of the output layer are: those from ``first``, ``words`` of them real, the rest padding."""

    first: int
    words: int
    axis: Axis = ALONE


def vocabulary(vocab: int, rows: int, axis: Axis) -> Vocabulary:
    """Of a table cut into equal parts of ``rows``, the part of this rank."""
    first = axis.rank * rows
    return Vocabulary(first, min(max(vocab - first, 0), rows), axis)


def summed_cross_entropy(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    targets: torch.Tensor,
    vocabulary: Vocabulary,
    scale: float = 1.0,
    twice: bool = False,
) -> torch.Tensor:
    """The cross-entropies of all tokens, summed in at least single precision, times ``scale``.

    The backward pass must begin here (with a gradient of 1): scaling afterwards would be a pass over everything.
    ``twice``: the schedule goes back in two parts, so the gradients are kept for a second time.

    ``hidden`` [batch, sequence, hidden], ``weight`` [rows, hidden], ``bias`` [rows], ``targets`` [batch, sequence].
    Padding rows are multiplied (that is what padding is for) but take no part in the softmax: their number depends on
    tp, and the loss must not.
    """
    result = _LinearCrossEntropy.apply(hidden.flatten(0, 1), weight, bias, targets.flatten(), vocabulary, scale, twice)
    assert isinstance(result, torch.Tensor)
    return result


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        targets: torch.Tensor,
        vocabulary: Vocabulary,
        scale: float,
        twice: bool,
    ) -> torch.Tensor:
        exact = torch.float64 if weight.dtype == torch.float64 else torch.float32
        wanted = any(ctx.needs_input_grad)
        total = torch.zeros((), dtype=exact, device=hidden.device)
        for_hidden = torch.empty_like(hidden) if wanted else None
        for_weight: torch.Tensor | None = None
        for_bias = torch.zeros_like(bias, dtype=exact) if wanted and bias is not None else None
        size = max(1, CHUNK_LOGITS.get(hidden.device.type, 2**22) // weight.shape[0])
        for start in range(0, hidden.shape[0], size):
            rows = slice(start, start + size)
            part, target = hidden[rows], targets[rows]
            logits = torch.addmm(bias, part, weight.t()) if bias is not None else part @ weight.t()
            losses, gradient = _losses(logits, target, vocabulary, exact, wanted)
            total += losses.sum()
            if gradient is None or for_hidden is None:
                continue
            if weight.dtype == torch.float16:  # unscaled, most of it would be below fp16's smallest number
                gradient, later = gradient.mul_(scale), 1.0
            else:  # its factors are smaller than the logits
                part, later = part * scale, scale
            gradient = gradient.to(weight.dtype)
            for_hidden[rows] = (gradient @ weight).mul_(later)
            if for_weight is None:
                for_weight = (gradient.t() @ part).to(exact)
            elif exact == weight.dtype:
                for_weight.addmm_(gradient.t(), part)
            else:
                for_weight += gradient.t() @ part
            if for_bias is not None:
                for_bias += gradient.sum(0) * later
        # Not saved as autograd saves: it would keep them, and the weight's gradient would be copied instead of handed over.
        ctx.made = for_hidden, for_weight, for_bias
        ctx.kept, ctx.twice = weight.dtype, twice
        return total * scale

    @staticmethod
    def backward(ctx: Any, *_: torch.Tensor) -> Any:
        for_hidden, for_weight, for_bias = ctx.made
        if not ctx.twice:
            ctx.made = None
        return (
            for_hidden,
            for_weight.to(ctx.kept),
            None if for_bias is None else for_bias.to(ctx.kept),
            None,
            None,
            None,
            None,
        )


def _losses(
    logits: torch.Tensor, targets: torch.Tensor, vocabulary: Vocabulary, exact: torch.dtype, wanted: bool
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """(loss of each token, gradient of their sum by the logits); [tokens, rows] in, and the same out."""
    counts = targets != IGNORED
    own = targets - vocabulary.first
    here = counts & (own >= 0) & (own < vocabulary.words)
    column = own.masked_fill(~here, 0)[:, None]
    if vocabulary.words < logits.shape[1]:
        logits[:, vocabulary.words :] = -torch.inf
    if vocabulary.axis.group is None:
        logarithms = torch.log_softmax(logits, -1, dtype=exact)
        losses = -logarithms.gather(1, column)[:, 0]
    else:
        scores = logits.to(exact)
        sums = torch.logsumexp(scores, -1)
        chosen = scores.gather(1, column)[:, 0].masked_fill(~here, 0.0)
        sums, chosen = _over_ranks(sums, chosen, vocabulary.axis)
        losses = sums - chosen
        logarithms = scores.sub_(sums[:, None])
    losses = losses.masked_fill(~counts, 0.0)
    if not wanted:
        return losses, None
    gradient = logarithms.exp_()
    gradient.scatter_add_(1, column, -here[:, None].to(exact))
    if targets.numel() and not _all_count(counts):
        gradient *= counts[:, None]
    return losses, gradient


def _all_count(counts: torch.Tensor) -> bool:
    """On a CPU it is cheap to ask, and a pass over the logits is not; a GPU is not made to wait for the host."""
    return counts.device.type == "cpu" and not counts.is_meta and type(counts) is torch.Tensor and bool(counts.all())


def _over_ranks(sums: torch.Tensor, chosen: torch.Tensor, axis: Axis) -> tuple[torch.Tensor, torch.Tensor]:
    """Logarithms of the softmax sums, and the targets' logits, over the whole vocabulary."""
    own = torch.stack((sums, chosen))
    parts = own.new_empty(axis.size, *own.shape)
    all_gather(parts.flatten(0, 1), own, group=axis.group)
    return torch.logsumexp(parts[:, 0], 0), parts[:, 1].sum(0)
