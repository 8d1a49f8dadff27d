"""Which layers a pipeline stage holds, as arithmetic."""

from __future__ import annotations

from hpcscale.spec.layout import Layout

SPLIT_BACKWARD = ("interleaved-zero-bubble", "zbv")  # schedules: gradients of inputs first, those of weights later


def stage_layers(layers: int, stages: int, embedding_weight: int = 0, head_weight: int = 0) -> list[range]:
    """The layers of each stage, in order.

    The embedding counts as ``embedding_weight`` layers of the first stage and the head as ``head_weight`` of the last.
    Stages get equal shares; what does not divide goes to the earliest stages, one layer each (picotron's rule), and a
    stage that the weights leave without a layer of its own takes one from the fullest (the last of them). With both weights 0 and a number
    of layers that divides, this is Megatron's split.
    """
    if stages > layers:
        raise ValueError(f"{stages} stages need at least as many layers, not {layers}")
    share, rest = divmod(layers + embedding_weight + head_weight, stages)
    counts = [share + (stage < rest) for stage in range(stages)]
    counts[0] -= embedding_weight
    counts[-1] -= head_weight
    for stage, count in enumerate(counts):
        for _ in range(1 - count):
            fullest = max(range(stages), key=lambda each: (counts[each], each))
            counts[fullest] -= 1
            counts[stage] += 1
    firsts = [sum(counts[:stage]) for stage in range(stages)]
    return [range(first, first + count) for first, count in zip(firsts, counts, strict=True)]


def stages_of_rank(layout: Layout, pp_rank: int) -> list[int]:
    """The (virtual) stages that a pipeline rank holds: r, r + P, ...; in the V of zbv r and 2 P - 1 - r."""
    if layout.pp == 1:
        return [0]
    if layout.schedule == "zbv":
        return [pp_rank, 2 * layout.pp - 1 - pp_rank]
    return [pp_rank + layout.pp * chunk for chunk in range(layout.virtual_stages)]


def layers_of_rank(layers: int, layout: Layout, pp_rank: int) -> list[range]:
    """The layers of each of a pipeline rank's stages."""
    split = stage_layers(layers, layout.pp * layout.virtual_stages, layout.embedding_weight, layout.head_weight)
    return [split[stage] for stage in stages_of_rank(layout, pp_rank)]
