"""One rank's trainer: the model, its optimizer and its data put together, and one optimization step."""

from __future__ import annotations

import torch
from torch.distributed.device_mesh import DeviceMesh

from hpcscale.train import activation_checkpointing, data_parallel, gradients, mesh, optimizer
from hpcscale.train.batches import micro_batches
from hpcscale.train.data import SyntheticStream, share
from hpcscale.train.initialise import initialise
from hpcscale.train.model import Transformer, next_token_loss
from hpcscale.train.point_file import Work
from hpcscale.train.precision import PRECISIONS, use_matmul_precision


class Trainer:
    """Everything that a step needs. Making one allocates the weights."""

    def __init__(self, work: Work, device_mesh: DeviceMesh | None, device: torch.device):
        training = work.training
        assert isinstance(training.micro_batch_size, int), "supported.py refuses auto"
        self.device = device
        self.settings = training.optimizer
        precision = PRECISIONS[training.precision]
        use_matmul_precision(precision)

        # Shape first, shards second, memory last: no rank ever holds what it does not keep.
        with torch.device("meta"):
            model = Transformer(work.model, training.sequence_length, work.layout.tp)
        model.to(precision.master)
        activation_checkpointing.apply(model, training.activation_checkpointing)
        self.replica = data_parallel.replica(work.layout.sharding, model, device_mesh, precision)
        model.to_empty(device=device)
        initialise(model, training.seed)
        self.replica.allocate()
        self.model = model
        self.optimizer = optimizer.adamw(model, self.settings)

        self.stream = SyntheticStream(training.seed, work.model.vocab, training.sequence_length)
        self.first, self.count = share(training.global_batch_size, work.layout.dp, mesh.replica(device_mesh))
        self.batches = micro_batches(work.replica_batch, training.micro_batch_size)

    def step(self, step: int) -> tuple[torch.Tensor, torch.Tensor, float]:
        """Step ``step`` (from 1): (mean loss of this replica's batch, global gradient norm, learning rate)."""
        loss = self.backward(step)
        self.replica.reduce()
        parameters = list(self.model.parameters())
        norm = gradients.global_norm(parameters)
        if self.settings.gradient_clip is not None:
            gradients.clip(parameters, norm, self.settings.gradient_clip)
        rate = optimizer.learning_rate(self.settings, step)
        optimizer.set_learning_rate(self.optimizer, rate)
        self.optimizer.step()
        self.replica.clear()
        return loss, norm, rate

    def backward(self, step: int) -> torch.Tensor:
        """The gradients of this replica's batch, micro batch by micro batch; returns the batch's mean loss."""
        samples = self.stream.samples(step, self.first, self.count).to(self.device)
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        for batch in self.batches:
            self.replica.before_micro_batch(batch.last)
            tokens = samples[batch.start : batch.stop]
            with self.replica.precision.autocast(self.device):
                logits = self.model(tokens[:, :-1])
                loss = next_token_loss(logits, tokens[:, 1:], self.model.spec.vocab) * batch.weight
            loss.backward()
            total += loss.detach()
        return total
