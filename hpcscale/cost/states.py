"""Weights, gradients and optimizer states of a rank, by sharding and program."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hpcscale.cost import programs
from hpcscale.cost.cases import DDP, ZERO1, Cases, Flags, Floats


@dataclass(frozen=True)
class States:
    """Bytes [n]. ``gradients``: once there are some, ``gradients_first`` before; ``..._end``: when the layers' last backward pass
    is over; ``..._update``: when the optimizer steps. ``layers`` is the part of ``weights`` and ``gradients`` that is gathered
    for layers at work only."""

    weights: Floats
    layers_at_work: Floats  # FSDP's gathered layers beside them
    gradients: Floats
    gradients_first: Floats
    gradients_end: Floats
    gradients_update: Floats
    first_stage: Floats  # the share of a rank's parameters that lies in its first virtual stage, and
    last_stage: Floats  # in its last
    states: Floats
    matrix_work: Floats  # the gradient of a layer's largest matrix
    layer_work: Floats  # FSDP: all of a layer's new gradients, and the message that scatters them,
    message: Floats  # which stays while the next layer computes
    embedding_work: Floats  # the same of the embedding
    tied_gradient: Floats  # of a tied output layer, which waits for the embedding's
    update_work: Floats


def states(c: Cases, layers: Floats, is_first: Flags, is_last: Flags) -> States:
    """Of a pipeline rank with so many layers, and the embedding or the output layer."""
    # A tied matrix lies on the first and on the last stage, and in the V of zbv twice on one rank.
    matrices = np.where(is_first & is_last & (c.pp == 1), 1.0 + c.untied, 1.0 * is_first + is_last)
    layer = c.layer_weights + c.hidden * np.where(c.rms, 2, 6)
    ends = c.embedding * matrices + c.positions * c.hidden * is_first  # beside the layers
    ends = ends + np.where(c.mlm, c.hidden**2, 0.0) * is_last
    everything = layer * layers + ends
    # beside the first virtual stage's layers
    start = np.where(c.pp > 1, (c.embedding + c.positions * c.hidden) * is_first, ends)
    full = c.element >= 4
    wide = np.maximum(c.element, 4.0)  # bytes of a master
    own = np.where(full, 2 * wide, programs.of(c.program, "states"))
    gradient = np.where(full, wide, programs.of(c.program, "gradients"))
    cut = (c.sharding != DDP) & (c.replicas > 1)
    fsdp2 = cut & ((c.sharding != ZERO1) | (c.program == programs.OWN))
    shards = np.where(cut, c.shards, 1.0)
    # Full precision on one replica: gradients have no buffer and come with the backward pass.
    unbuffered = full & (c.replicas == 1)
    plain = gradient * everything
    # FSDP: gathered weights of a layer or two and of what is in none, or of all (zero1, and under a pipeline)
    keeps = (c.sharding == ZERO1) | (c.pp > 1)
    gathered = c.element * np.where(keeps, everything, ends + layer)
    released = np.where(keeps, 0.0, gathered)  # before the last gradients are scattered
    masters = np.where(full, wide / shards * everything, 0.0)
    accumulates = (c.micro_batches > 1) & (programs.of(c.program, "accumulates_whole") > 0)
    sharded = wide * everything / shards
    fsdp_gradients = np.where(accumulates, wide * everything, np.where(c.micro_batches > 1, sharded, 0.0))
    new = np.where(accumulates, wide, c.element + wide)  # a group's gradients while they are scattered
    largest = c.element * c.hidden * c.ffn / c.tp
    embedding = c.embedding * c.element
    swaps = programs.of(c.program, "swaps_tied") > 0
    return States(
        weights=np.where(fsdp2, gathered + masters, c.element * everything),
        layers_at_work=np.where(fsdp2 & ~keeps, c.element * layer, 0.0),
        gradients=np.where(fsdp2, fsdp_gradients, plain),
        gradients_first=np.where(fsdp2 | unbuffered, 0.0, plain),
        gradients_end=np.where(fsdp2 & (c.pp == 1), sharded + np.where(accumulates, wide * ends, 0.0), plain),
        first_stage=(start + layer * layers / c.virtual) / everything,
        last_stage=(c.embedding * is_last + layer * layers / c.virtual) / everything,
        gradients_update=np.where(fsdp2, sharded, plain),
        states=own / shards * everything,
        matrix_work=largest,
        layer_work=np.where(fsdp2, new * layer, 0.0),
        message=np.where(fsdp2 & (c.pp == 1), wide * layer, 0.0),
        embedding_work=np.where(fsdp2 & (c.pp == 1), np.maximum(new * ends - released, c.element * ends), embedding),
        tied_gradient=np.where((c.pp == 1) & ~c.untied, embedding, 0.0),
        update_work=np.where(swaps & (c.pp > 1) & ~c.untied & (is_first | is_last), 2 * wide * c.embedding, 0.0),
    )
