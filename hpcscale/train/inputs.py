"""From samples to what a model is fed: inputs, targets, token types; whole sequences, or this rank's part of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from hpcscale.spec.model import Model
from hpcscale.train import ring
from hpcscale.train.data import scrambled
from hpcscale.train.loss import IGNORED
from hpcscale.train.mesh import Axis

MASKED_SHARE = 0.15  # of a sequence's tokens (Devlin et al., BERT, arXiv 1810.04805, section 3.1)
MASK_TOKEN = 103  # [MASK] of BERT's vocabularies; the last token of a smaller one


@dataclass(frozen=True)
class Inputs:
    """``tokens`` and ``targets`` [sequences, part], int64; ``token_types`` the same where the model has them."""

    tokens: torch.Tensor
    targets: torch.Tensor
    token_types: torch.Tensor | None = None

    def to(self, device: torch.device) -> Inputs:
        types = None if self.token_types is None else self.token_types.to(device)
        return Inputs(self.tokens.to(device), self.targets.to(device), types)

    def rows(self, start: int, stop: int) -> Inputs:
        types = None if self.token_types is None else self.token_types[start:stop]
        return Inputs(self.tokens[start:stop], self.targets[start:stop], types)


def targets_per_sequence(model: Model, length: int) -> int:
    """How many tokens of a sequence count in the loss: the same in every sequence, so that the mean over any part of a
    batch is known beforehand."""
    return masked_tokens(length) if model.head == "mlm" else length


def masked_tokens(length: int) -> int:
    return max(1, round(MASKED_SHARE * length))


def inputs(samples: torch.Tensor, model: Model, seed: int, step: int, first: int, cp: Axis) -> Inputs:
    """``samples`` [sequences, length + 1] of ``step``, from the batch's sample ``first``; a pure function of all of them."""
    if model.head == "mlm":
        made = _masked(samples[:, :-1], model, seed, step, first)
    else:
        made = Inputs(samples[:, :-1], samples[:, 1:])
    length = made.tokens.shape[1]
    types = None
    if model.token_types:  # a first and a second sentence, of half the tokens each
        types = (torch.arange(length) >= length // 2).long().clamp(max=model.token_types - 1).expand_as(made.tokens)
    if cp.size == 1:
        return Inputs(made.tokens, made.targets, types)
    own = ring.places(length, cp, model.causal)
    return Inputs(made.tokens[:, own], made.targets[:, own], None if types is None else types[:, own])


def _masked(tokens: torch.Tensor, model: Model, seed: int, step: int, first: int) -> Inputs:
    """Of each sequence the same number of tokens is to be guessed: 80 % of them masked, 10 % replaced, 10 % as they are."""
    count, length = tokens.shape
    noise = scrambled(seed ^ 0x6D61736B, step, first, count, length)
    order = np.argsort(noise, axis=1, kind="stable")
    chosen = torch.from_numpy(order[:, : masked_tokens(length)].astype(np.int64))
    originals = tokens.gather(1, chosen)
    dice = torch.from_numpy(
        (np.take_along_axis(noise, order, 1)[:, : chosen.shape[1]] & np.uint64(0xFFFF)).astype(np.int64)
    )
    others = torch.from_numpy(
        ((np.take_along_axis(noise, order, 1)[:, : chosen.shape[1]] >> np.uint64(16)) % np.uint64(model.vocab)).astype(
            np.int64
        )
    )
    shown = torch.where(dice < 0.8 * 65536, min(MASK_TOKEN, model.vocab - 1), originals)
    shown = torch.where(dice >= 0.9 * 65536, others, shown)
    targets = torch.full_like(tokens, IGNORED).scatter_(1, chosen, originals)
    return Inputs(tokens.clone().scatter_(1, chosen, shown), targets)
