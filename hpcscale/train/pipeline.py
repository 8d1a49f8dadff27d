"""Pipeline stages and their schedules, torch's own (torch.distributed.pipelining).

Two things are ours. Shapes are known beforehand, so no stage asks another one for them. And a stage holds a buffer only
for what is on its way: torch's own gives every micro batch of a step buffers of its own and keeps them, which at 1,536
micro batches of gpt-30b is 180 GB a rank.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.distributed.pipelining import (
    PipelineStage,
    Schedule1F1B,
    ScheduleGPipe,
    ScheduleInterleaved1F1B,
    ScheduleInterleavedZeroBubble,
    ScheduleZBVZeroBubble,
)

from hpcscale.spec.layout import Layout
from hpcscale.spec.stages import stages_of_rank
from hpcscale.train.mesh import Axis
from hpcscale.train.model import Transformer

SINGLE = {"1f1b": Schedule1F1B, "gpipe": ScheduleGPipe}
SEVERAL = {
    "interleaved-1f1b": ScheduleInterleaved1F1B,
    "interleaved-zero-bubble": ScheduleInterleavedZeroBubble,
    "zbv": ScheduleZBVZeroBubble,
}


class Pipeline:
    """One rank's stages under a schedule. ``tokens`` and ``hidden`` are examples (on the meta device) of what a first and
    any other stage receives for one micro batch; ``collect`` is called after each backward pass of a stage."""

    def __init__(
        self,
        stages: list[Transformer],
        layout: Layout,
        axis: Axis,
        device: torch.device,
        micro_batches: int,
        tokens: tuple[torch.Tensor, ...],
        hidden: torch.Tensor,
        loss: torch.Tensor,
        collect: Callable[[], None],
    ):
        count = layout.pp * layout.virtual_stages
        staged = [
            _Stage(
                stage,
                number,
                count,
                device,
                input_args=tokens if stage.parts.embedding else (hidden,),
                output_args=(loss,) if stage.parts.head else (hidden,),
                group=axis.group,
            )
            for number, stage in zip(stages_of_rank(layout, axis.rank), stages, strict=True)
        ]
        for stage in staged:
            stage.collect = collect
        self.first = any(stage.parts.embedding for stage in stages)
        self.last = any(stage.parts.head for stage in stages)
        # With fewer micro batches than stages 1F1B never reaches its steady state, and torch refuses it: all forward, all back.
        kind = "gpipe" if layout.schedule == "1f1b" and micro_batches < layout.pp else layout.schedule
        if kind in SINGLE:
            self.schedule = SINGLE[kind](staged[0], micro_batches, loss_fn=_loss, scale_grads=False)
        else:
            self.schedule = SEVERAL[kind](list(staged), micro_batches, loss_fn=_loss, scale_grads=False)

    def step(
        self, tokens: torch.Tensor, token_types: torch.Tensor | None, targets: torch.Tensor, scale: float
    ) -> torch.Tensor:
        """All micro batches forward and backward; the sum of their losses times ``scale`` (0 where the head is not).

        ``tokens``, ``token_types`` and ``targets`` [sequences, part]; every rank has them and uses what it needs.
        """
        given: tuple[torch.Tensor, ...] = (tokens,) if token_types is None else (tokens, token_types)
        losses: list[torch.Tensor] = []
        arguments = given if self.first else ()
        if self.last:
            self.schedule.step(
                *arguments, target=targets, targets=targets, scale=scale, losses=losses, return_outputs=False
            )
        else:
            self.schedule.step(*arguments, return_outputs=False)
        return torch.stack([each.detach() for each in losses]).double().sum() if losses else torch.zeros(())


def _loss(made: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    """The last stage has made it already."""
    return made


class _Stage(PipelineStage):
    """A stage that allocates what it receives when it asks for it, and lets go of it when it has been used."""

    collect: Callable[[], None]

    def _setup_forward_recv_info(self, num_microbatches: int, has_backward: bool) -> None:
        with _Elsewhere(self):
            super()._setup_forward_recv_info(num_microbatches, has_backward)

    def _setup_backward_recv_info(self, num_microbatches: int) -> None:
        with _Elsewhere(self):
            super()._setup_backward_recv_info(num_microbatches)

    def get_fwd_recv_ops(self, fwd_chunk_id: int) -> list[Any]:
        self._give_memory(self.args_recv_info[fwd_chunk_id])
        return super().get_fwd_recv_ops(fwd_chunk_id)

    def get_bwd_recv_ops(self, bwd_chunk_id: int) -> list[Any]:
        if self.has_backward and not self.is_last:
            self._give_memory(self.grad_recv_info[bwd_chunk_id])
        return super().get_bwd_recv_ops(bwd_chunk_id)

    def _retrieve_recv_activations(self, fwd_chunk_id: int) -> tuple[Any, ...]:
        received = super()._retrieve_recv_activations(fwd_chunk_id)
        self._take_memory(self.args_recv_info[fwd_chunk_id])
        return received

    def _retrieve_recv_grads(self, bwd_chunk_id: int) -> tuple[Any, ...]:
        received = super()._retrieve_recv_grads(bwd_chunk_id)
        self._take_memory(self.grad_recv_info[bwd_chunk_id])
        return received

    def backward_one_chunk(self, *arguments: Any, **others: Any) -> None:
        super().backward_one_chunk(*arguments, **others)
        self.collect()

    def backward_weight_one_chunk(self, *arguments: Any, **others: Any) -> None:
        super().backward_weight_one_chunk(*arguments, **others)
        self.collect()

    def _give_memory(self, infos: tuple[Any, ...]) -> None:
        for info in infos:
            if info.buffer is not None and info.buffer.is_meta:
                info.buffer = torch.empty_like(info.buffer, device=self.device)

    def _take_memory(self, infos: tuple[Any, ...]) -> None:
        for info in infos:
            if info.buffer is not None:
                info.buffer = torch.empty_like(info.buffer, device="meta")


class _Elsewhere:
    """Within it a stage believes to be on the meta device, whose tensors take no memory."""

    def __init__(self, stage: _Stage):
        self.stage = stage

    def __enter__(self) -> None:
        self.device, self.stage.device = self.stage.device, torch.device("meta")

    def __exit__(self, *_: object) -> None:
        self.stage.device = self.device
