"""All layouts of a model on a number of ranks, as arrays: what spec/rules.py allows, without those that only repeat another.

Left out although legal: gpipe and zero-bubble schedules (the first never beats 1f1b, the second are not modelled well enough to
be ranked), core-attention checkpointing (fused attention keeps no scores), tensor parallelism wider than a node and ``WIDEST``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from hpcscale.cost import cases as cases_of
from hpcscale.cost.cases import Cases, Flags
from hpcscale.cost.hardware import Hardware
from hpcscale.cost.of_points import described
from hpcscale.spec.layout import Layout
from hpcscale.spec.point import Point

Ints = npt.NDArray[np.int64]

MODES = ("none", "selective-op", "selective-layer:4", "selective-layer:2", "full")
SHARDINGS = ("ddp", "zero1", "fsdp", "hsdp")
_DDP, _ZERO1, _FSDP, _HSDP = range(4)
# Tensor parallelism waits for every collective: beyond a node nobody runs it wider than this.
WIDEST = 8
_MICRO_BATCHES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
_VIRTUAL = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24)


@dataclass(frozen=True)
class Layouts:
    """Arrays of the same length [n]; ``mode`` and ``sharding`` are places in MODES and SHARDINGS."""

    dp: Ints
    tp: Ints
    pp: Ints
    cp: Ints
    virtual: Ints  # above 1: the schedule is interleaved-1f1b, else 1f1b
    micro_batch: Ints
    mode: Ints
    sharding: Ints
    replicas: Ints  # dp_replicate of hsdp; 0 elsewhere
    sequence_parallel: Flags

    def __len__(self) -> int:
        return len(self.dp)

    def __getitem__(self, chosen: npt.NDArray[Any]) -> Layouts:
        """The layouts of an index array or mask."""
        return Layouts(*(getattr(self, each.name)[chosen] for each in fields(self)))

    def keys(self, place: int) -> dict[str, Any]:
        """One layout as keys that a sweep or --set understands."""
        virtual, replicas = int(self.virtual[place]), int(self.replicas[place])
        return {
            **{name: int(getattr(self, name)[place]) for name in ("dp", "tp", "pp", "cp")},
            "mbs": int(self.micro_batch[place]), "ac": MODES[self.mode[place]], "sharding": SHARDINGS[self.sharding[place]],
            "dp_replicate": replicas or None, "sequence_parallel": bool(self.sequence_parallel[place]),
            "schedule": "interleaved-1f1b" if virtual > 1 else "1f1b", "virtual_stages": virtual,
        }  # fmt: skip


def layout_of(keys: dict[str, Any]) -> Layout:
    """The layout of :meth:`Layouts.keys`."""
    return Layout.model_validate({name: value for name, value in keys.items() if name in Layout.model_fields})


def every(work: Point, ranks: int, mesh_of: Layout | None = None) -> Layouts:
    """Every layout of exactly so many ranks that is legal, that hpcscale's trainer can run, and that no other one repeats.

    ``work`` says what is trained where; its own layout, micro batch and checkpointing do not matter. ``mesh_of``: only those
    with the axes of this layout.
    """
    mesh = _mesh(work, ranks)
    if mesh_of is not None:
        mesh = mesh[has_mesh(mesh, mesh_of)]
    timing = _crossed(mesh, {"micro_batch": _MICRO_BATCHES, "virtual": _VIRTUAL})
    timing = timing[legal(work, timing) & trainable(work, timing)]
    kinds = {"mode": range(len(MODES)), "sharding": range(len(SHARDINGS)), "sequence_parallel": (0, 1)}
    found = _with_replicas(_crossed(timing, kinds), work.ranks_per_node)
    return found[legal(work, found) & _distinct(work, found)]


def has_mesh(c: Layouts, layout: Layout) -> Flags:
    """Which have these sizes of the axes."""
    return (c.dp == layout.dp) & (c.tp == layout.tp) & (c.pp == layout.pp) & (c.cp == layout.cp)


def every_mesh(work: Point, nodes: int) -> Layouts:
    """What axes so many nodes can have, everything else at its plainest."""
    return _mesh(work, nodes * work.ranks_per_node)


def _mesh(work: Point, ranks: int) -> Layouts:
    """The sizes of the axes; everything else at its plainest."""
    sizes = np.arange(1, ranks + 1, dtype=np.int64)
    divisors = sizes[ranks % sizes == 0]
    tp, pp, cp = np.meshgrid(
        divisors[divisors <= max(work.ranks_per_node, WIDEST)], divisors[divisors <= work.model.layers],
        divisors[divisors <= work.training.sequence_length], indexing="ij",
    )  # fmt: skip
    inner = (tp * pp * cp).ravel()
    fits = ranks % inner == 0
    ones = np.ones(int(fits.sum()), dtype=np.int64)
    found = Layouts(
        dp=ranks // inner[fits], tp=tp.ravel()[fits], pp=pp.ravel()[fits], cp=cp.ravel()[fits], virtual=ones, micro_batch=ones,
        mode=0 * ones, sharding=0 * ones, replicas=0 * ones, sequence_parallel=ones == 0,
    )  # fmt: skip
    return found[legal(work, found)]


def _crossed(layouts: Layouts, choices: dict[str, Sequence[int]]) -> Layouts:
    """Each of ``layouts`` with each combination of ``choices``."""
    grid = np.meshgrid(*(np.array(values, dtype=np.int64) for values in choices.values()), indexing="ij")
    columns = {name: each.ravel() for name, each in zip(choices, grid, strict=True)}
    count, times = len(layouts), grid[0].size
    found = {
        each.name: np.tile(columns[each.name], count)
        if each.name in columns
        else np.repeat(getattr(layouts, each.name), times)
        for each in fields(Layouts)
    }
    return Layouts(**{**found, "sequence_parallel": found["sequence_parallel"].astype(bool)})


def _with_replicas(c: Layouts, node_ranks: int) -> Layouts:
    """hsdp's usual groups: weights are cut over the replicas of one node."""
    inside = np.maximum(1, node_ranks // (c.tp * c.cp))
    replicas = np.where(c.sharding == _HSDP, np.maximum(1, c.dp // inside), 0)
    return Layouts(**{**{each.name: getattr(c, each.name) for each in fields(c)}, "replicas": replicas})


def legal(work: Point, c: Layouts) -> Flags:
    """What spec/rules.py's ``layout_violations`` lets pass."""
    model, length, batch = work.model, work.training.sequence_length, work.training.global_batch_size
    step = c.dp * c.micro_batch
    count = np.maximum(batch // step, 1)
    uneven = (c.virtual > 1) & (batch % step == 0) & (count > c.pp) & (count % np.maximum(count // c.pp, 1) != 0)
    chunks = np.where(c.cp > 1, c.cp * (2 if model.causal else 1), 1)
    learned = model.positions == "learned" and model.max_positions is not None
    return (
        (model.heads % c.tp == 0) & (model.kv_heads % c.tp == 0) & (model.ffn % c.tp == 0)
        & (c.pp * c.virtual <= model.layers) & ((c.pp > 1) | (c.virtual == 1))
        & (length % chunks == 0) & (~c.sequence_parallel | (length // c.cp % c.tp == 0))
        & (batch % c.dp == 0) & ((c.pp == 1) | ((batch % step == 0) & ~uneven))
        & ((c.sharding != _HSDP) | (c.dp % np.maximum(c.replicas, 1) == 0))
        & (not (learned and length > (model.max_positions or 0)))
    )  # fmt: skip


def trainable(work: Point, c: Layouts) -> Flags:
    """What of that train/supported.py's ``not_built`` lets pass, as far as it depends on the layout."""
    flash = work.training.precision in ("bf16", "fp16") and work.model.head_size % 8 == 0
    ring = work.model.positions != "alibi" and (flash or work.machine.device_facts.kind != "gpu")
    return np.full(len(c), True) if ring else c.cp == 1


def _distinct(work: Point, c: Layouts) -> Flags:
    """Not the same as another one: nothing to shard, nothing to cut, a micro batch that no replica has, blocks that a stage
    does not have."""
    shared = c.dp * c.cp > 1
    layers = np.array([int(mode.partition(":")[2] or 0) for mode in MODES])[c.mode]
    return (
        ((c.sharding == _DDP) | shared)
        & ((c.sharding != _HSDP) | ((c.replicas > 1) & (c.replicas < c.dp)))
        & ((c.tp > 1) | ~c.sequence_parallel)
        & (c.micro_batch <= work.training.global_batch_size // c.dp)
        & (layers <= work.model.layers // (c.pp * c.virtual))
    )  # fmt: skip


def as_cases(work: Point, c: Layouts, have: Hardware) -> Cases:
    """What cost/of_points.py makes of the same configurations as points; what all share is one number behind many entries."""
    codes = np.array([cases_of.SHARDING[each] for each in SHARDINGS])[c.sharding]
    modes = [mode.partition(":") for mode in MODES]
    checkpointing = [cases_of.SELECTIVE_LAYER if k else cases_of.CHECKPOINTING[word] for word, _, k in modes]
    multiple = work.model.vocab_multiple * c.tp
    own: dict[str, Any] = {
        "dp": c.dp, "tp": c.tp, "pp": c.pp, "cp": c.cp, "virtual": c.virtual, "micro_batch": c.micro_batch,
        "vocab": -(-work.model.vocab // multiple) * multiple, "sharding": codes, "sequence_parallel": c.sequence_parallel,
        "shards": np.where(codes > 0, c.dp * c.cp // np.maximum(c.replicas, 1), 1),
        "checkpointing": np.array(checkpointing)[c.mode], "every": np.array([float(k or 1) for *_, k in modes])[c.mode],
        "zero_bubble": False, "all_in_flight": False, "v_shape": False,
    }  # fmt: skip
    values = {**described(work, have), **own}
    return Cases(
        **{
            each.name: np.broadcast_to(
                np.asarray(values[each.name], dtype=bool if each.type == "Flags" else float), (len(c),)
            )
            for each in fields(Cases)
        }
    )
