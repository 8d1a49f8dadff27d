"""One rank's trainer: its part of the model, its optimizer and its data put together, and one optimization step."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from hpcscale.spec.stages import SPLIT_BACKWARD
from hpcscale.train import activation_checkpointing, data_parallel, gradients, optimizer, tied_weights
from hpcscale.train.batches import micro_batches
from hpcscale.train.data import make_stream, share
from hpcscale.train.huggingface import read
from hpcscale.train.initialise import initialise
from hpcscale.train.inputs import inputs, targets_per_sequence
from hpcscale.train.loss_scale import LossScale
from hpcscale.train.mesh import Mesh
from hpcscale.train.model import Transformer, parts_of_rank
from hpcscale.train.pieces import Piece
from hpcscale.train.point_file import Work
from hpcscale.train.precision import PRECISIONS, use_matmul_precision
from hpcscale.train.weights import weights_of

if TYPE_CHECKING:
    from hpcscale.train.pipeline import Pipeline


@dataclass(frozen=True)
class StepResult:
    """What one step gave on this rank. ``loss`` (fp64 scalar) is its share of the global mean: the sum over all ranks is
    the mean over all tokens. ``skipped``: fp16 gradients overflowed, the weights are as before."""

    loss: torch.Tensor
    gradient_norm: torch.Tensor
    learning_rate: float
    skipped: bool = False
    loss_scale: float | None = None


class Trainer:
    """Everything that a step needs. Making one allocates the weights, within ``memory`` (dry runs: on fake tensors)."""

    def __init__(
        self,
        work: Work,
        mesh: Mesh,
        device: torch.device,
        memory: AbstractContextManager[object] = nullcontext(),  # noqa: B008 it has no state
    ):
        training, layout = work.training, work.layout
        assert isinstance(training.micro_batch_size, int), "micro_batch.py has chosen one by now"
        self.work, self.mesh, self.device = work, mesh, device
        self.settings = training.optimizer
        self.precision = PRECISIONS[training.precision]
        self.loss_scale = LossScale() if self.precision.scaled else None
        use_matmul_precision(self.precision)

        # Shape first, shards second, memory last: no rank ever holds what it does not keep.
        with torch.device("meta"):
            self.stages = [
                Transformer(
                    work.model, training.sequence_length, mesh, layout.sequence_parallel and layout.tp > 1, parts
                )
                for parts in parts_of_rank(work.model.layers, layout, mesh.pp.rank)
            ]
        for stage in self.stages:
            stage.backward_twice = layout.pp > 1 and layout.schedule in SPLIT_BACKWARD
            activation_checkpointing.apply(stage, training.activation_checkpointing, stage.backward_twice)
        self.weights = weights_of(self.stages)
        self.replica = data_parallel.replica(layout.sharding, self.stages, mesh, self.precision)
        with memory:
            self.replica.allocate(device)
            for stage in self.stages:
                if _compiles(training.compile, device, stage):
                    for block in stage.blocks.values():
                        block.compile()
            self.fill()
            self.optimizer = optimizer.AdamW(self.settings, self.weights, self.replica.masters())

        self.stream = make_stream(work.data, training, work.model.vocab, work.protocol.steps)
        self.first, self.count = share(training.global_batch_size, layout.dp, mesh.dp.rank)
        self.batches = micro_batches(work.replica_batch, training.micro_batch_size)
        counted = targets_per_sequence(work.model, training.sequence_length) * work.replica_batch
        self.per_target = mesh.cp.size / counted  # a replica's mean loss: the mean over cp of (sum of losses x this)
        self.pipeline = self._pipeline() if mesh.pp.size > 1 else None

    def fill(self) -> None:
        """Initial weights, drawn or read, the same whatever the layout."""
        for master in self.replica.masters():
            master.zero_()
        if self.work.training.weights is None:
            initialise(self.pieces(), self.work.model, self.work.training.seed)
        else:
            read.begin(self.pieces(), self.work.model, self.work.training)
        self.replica.updated()

    def pieces(self) -> list[Piece]:
        """This rank's master weights as pieces of the model; after writing to them call ``replica.updated``."""
        return self._pieces(self.replica.masters(), "")

    def optimizer_pieces(self) -> list[Piece]:
        """AdamW's averages, named after their weights: ``exp_avg.<weight>`` and ``exp_avg_sq.<weight>``."""
        averages, squares = self.optimizer.averages, self.optimizer.squares
        return self._pieces(averages, "exp_avg.") + self._pieces(squares, "exp_avg_sq.")

    def _pieces(self, tensors: list[torch.Tensor], prefix: str) -> list[Piece]:
        parts = zip(self.weights, tensors, self.replica.first_rows(), strict=True)
        return [weight.piece(tensor, first_row, prefix) for weight, tensor, first_row in parts]

    def step(self, step: int) -> StepResult:
        """Step ``step`` (from 1)."""
        loss = self.backward(step)
        self.replica.reduce()
        own = self.replica.gradients()
        if self.work.layout.sequence_parallel and self.mesh.tp.size > 1:
            gradients.sum_over_sequence(self.weights, own, self.mesh.tp)
        if self.mesh.pp.size > 1 and self.work.model.tied_embeddings:
            tied_weights.sum_copies(self.weights, own, self.mesh.pp)
        norm = gradients.global_norm(self.weights, own, self.mesh)
        rate = optimizer.learning_rate(self.settings, step)
        scale, skipped = None, False
        if self.loss_scale is not None:
            scale = torch.full_like(norm, self.loss_scale.value)
            norm = norm / scale
            skipped = not _is_finite(norm)
        result = StepResult(loss, norm, rate, skipped, None if self.loss_scale is None else self.loss_scale.value)
        if not skipped:
            gradients.scale(own, norm, self.settings.gradient_clip, scale)
            self.optimizer.step(self.replica.masters(), own, rate)
            self.replica.updated()
        if self.loss_scale is not None:
            self.loss_scale.update(overflowed=skipped)
        self.replica.clear()
        return result

    def backward(self, step: int) -> torch.Tensor:
        """The gradients of this replica's batch, micro batch by micro batch; this rank's share of the global mean loss."""
        samples = self.stream.samples(step, self.first, self.count)
        fed = inputs(samples, self.work.model, self.work.training.seed, step, self.first, self.mesh.cp).to(self.device)
        scale = 1.0 if self.loss_scale is None else self.loss_scale.value
        if self.pipeline is not None:
            total = self.pipeline.step(fed.tokens, fed.token_types, fed.targets, self.per_target * scale).double()
        else:
            total = torch.zeros((), dtype=torch.float64, device=self.device)
            for batch in self.batches:
                self.replica.before_micro_batch(batch.last)
                rows = fed.rows(batch.start, batch.stop)
                loss = self.stages[0](rows.tokens, rows.token_types, rows.targets, self.per_target * scale)
                loss.backward()
                self.replica.collect()
                total += loss.detach()
        share_of_mean = 1.0 / (self.mesh.data.size * scale) if self.mesh.tp.rank == 0 else 0.0
        return total.to(self.device) * share_of_mean

    def _pipeline(self) -> Pipeline:
        from hpcscale.train.pipeline import Pipeline  # the schedules take long to load, and only stages need them

        training, model = self.work.training, self.work.model
        assert isinstance(training.micro_batch_size, int)
        part = training.sequence_length // self.mesh.cp.size
        shown = part // self.mesh.tp.size if self.stages[0].region.sequence else part
        meta = torch.device("meta")
        tokens = torch.empty(training.micro_batch_size, part, dtype=torch.int64, device=meta)
        compute = self.precision.compute
        exact = torch.float64 if compute == torch.float64 else torch.float32
        return Pipeline(
            self.stages,
            self.work.layout,
            self.mesh.pp,
            self.device,
            len(self.batches),
            (tokens, tokens) if model.token_types else (tokens,),
            torch.empty(training.micro_batch_size, shown, model.hidden, dtype=compute, device=meta, requires_grad=True),
            torch.empty((), dtype=exact, device=meta, requires_grad=True),
            self.replica.collect,
        )


def _compiles(wanted: bool | str, device: torch.device, stage: Transformer) -> bool:
    """``auto``: on GPUs, except where a schedule goes back in two parts, which compiled blocks cannot."""
    return wanted is True or (wanted == "auto" and device.type == "cuda" and not stage.backward_twice)


def _is_finite(norm: torch.Tensor) -> bool:
    """A fake tensor has no value; with it every step goes well."""
    return type(norm) is not torch.Tensor or bool(norm.isfinite())
