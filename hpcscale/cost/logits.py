"""What the loss holds: logits, their softmax and gradients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hpcscale.cost import programs
from hpcscale.cost.cases import Cases, Floats

# Logits that hpcscale's loss makes at once (hpcscale/train/loss.py, CHUNK_LOGITS)
CHUNK, CHUNK_CPU = 2.0**28, 2.0**22


@dataclass(frozen=True)
class Loss:
    """Bytes [n]. ``peak``: while a micro batch's loss is made; ``kept``: what it leaves for that micro batch's backward pass."""

    peak: Floats
    kept: Floats


def of_loss(c: Cases) -> Loss:
    chunked = programs.of(c.program, "chunks_logits") > 0
    whole = c.tokens * c.vocab / c.tp
    # in mixed precision: the logits, a copy in fp32 and their softmax; Megatron's and torch's losses alike (arXiv 1909.08053)
    usual = whole * np.where(c.element >= 4, 2 * c.element, 8.0 + c.element)
    own = _chunked(c, whole)
    return Loss(np.where(chunked, own.peak, usual), np.where(chunked, own.kept, 0.0))


def _chunked(c: Cases, whole: Floats) -> Loss:
    """hpcscale's own: each chunk's gradients are made in the forward pass, those of the output layer in fp32.

    A chunk is at its largest at its softmax (logits, log-softmax in fp32, without tensor parallelism a copy in fp32 before it, and
    the last chunk's gradient), when its gradient is rounded, or when that is multiplied (the product, and its sum in fp32).
    """
    e = c.element
    exact = np.maximum(e, 4.0)
    chunk = np.minimum(whole, np.where(c.cpu, CHUNK_CPU, CHUNK))
    several = whole > chunk
    mixed = e < 4
    copies = np.where(c.tp > 1, np.where(mixed, exact, 0.0), exact + np.where(mixed, exact, 0.0))
    softmax = chunk * np.maximum(
        e + copies + np.where(several, e, 0.0), np.where(mixed, 2 * e + exact, 0.0)
    ) + np.where(several, exact * c.embedding, 0.0)
    gradient = np.where(mixed | (c.tp == 1), 2 * e, e)
    products = chunk * gradient + c.embedding * (exact + np.where(mixed, e, 0.0))
    # When its backward pass hands it over, rounded, and in zbv's two parts at once for a second time.
    converted = c.embedding * (exact + np.where(mixed, e, 0.0) * np.where(c.v_shape, 2.0, 1.0))
    # the last norm's input, what an encoder's head computes of its output, and that output's gradient
    norm = np.where(c.rms, programs.of(c.program, "rms_bytes"), e)
    part = np.where(c.sequence_parallel, 1 / c.tp, 1.0)
    hidden = c.tokens * c.hidden * (e + (norm + np.where(c.mlm, 4 * e, 0.0)) * part)
    return Loss(np.maximum(np.maximum(softmax, products), converted) + hidden, exact * c.embedding + hidden)
