"""Whose program runs: what each keeps in memory, as data. A case names its program by a code, an index of PROGRAMS.

All of them keep weights for the forward pass, gradients, and what the optimizer needs; they differ in the number formats of
these, in what is whole on every rank and what is cut, and in what the loss and the norms leave behind.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hpcscale.cost.cases import Floats


@dataclass(frozen=True)
class Program:
    """Bytes are in mixed precision; in full precision gradients are 4 bytes a parameter and states 8, in all programs.

    ``chunks_logits``: the loss makes logits in chunks, and their gradients at once (logits.py).
    ``rms_bytes``: what an RMS norm leaves for the backward pass, bytes a value (0: its input, as others do).
    """

    name: str
    gradients: float = 4.0  # bytes a parameter
    states: float = 12.0  # bytes a parameter: master weight and AdamW's averages in fp32
    accumulates_whole: bool = True  # fsdp: gradients of several micro batches gather whole, not in shards
    keeps_gathered: bool = (
        True  # sequence parallelism: what was gathered is kept for the backward pass, not gathered anew
    )
    chunks_logits: bool = False
    rms_bytes: float = 0.0
    keeps_outputs: bool = False  # a stage's output stays until its backward pass
    keeps_sent: bool = False  # interleaved schedules: messages stay until the step's end
    swaps_tied: bool = False  # both stages of a tied matrix receive the other's gradient, and sum into a third
    fuses_bias: bool = True  # attention with ALiBi's biases in one kernel; else scores are made


OWN, MEGATRON, DEEPSPEED_FP16, DEEPSPEED_BF16, FSDP_STYLE, TITAN = range(6)

PROGRAMS = (
    # hpcscale/train: data_parallel.py (masters and gradients in fp32 beside the weights), loss.py (chunks of logits; the output
    # layer's gradient in fp32 and in the compute type), torch's RMS norm (two copies in fp32), torch's schedules
    Program(
        "hpcscale",
        chunks_logits=True,
        rms_bytes=8.0,
        keeps_outputs=True,
        keeps_sent=True,
        swaps_tied=True,
        fuses_bias=False,
    ),
    # Megatron-LM: fp32 gradients, 12 bytes of states that the distributed optimizer cuts (arXiv 2205.05198; its documentation of
    # dist_optimizer: 18 bytes a parameter, or 6 + 12/d)
    Program("Megatron-LM", keeps_gathered=False),
    # DeepSpeed's ZeRO (arXiv 1910.02054, section 3.1): fp16 gradients; states with an fp32 copy of the gradients at the step
    Program("DeepSpeed fp16", gradients=2.0, states=16.0),
    # DeepSpeed's BF16_Optimizer: bf16 gradients and an fp32 copy that accumulates them, both whole
    Program("DeepSpeed bf16", gradients=6.0),
    # FSDP1 as llm-foundry uses it: every micro batch's gradients are reduced to shards
    Program("FSDP", accumulates_whole=False),
    # torchtitan: FSDP2, under a pipeline whole; logits in 16 bits, the loss in fp32
    Program("torchtitan", keeps_gathered=False, keeps_outputs=True, keeps_sent=True),
)


def of(codes: Floats, fact: str) -> Floats:
    """A fact of each case's program [n]."""
    return np.array([float(getattr(each, fact)) for each in PROGRAMS])[codes.astype(int)]


# Systems of spec/workloads.yaml -> (16-bit, other) programs.
_OF_WORKLOAD = {
    "hpcscale": OWN, "megatron-lm": MEGATRON, "nanotron": MEGATRON, "torchtitan": TITAN, "llm-foundry": FSDP_STYLE,
    "fmengine": DEEPSPEED_FP16, "megatron-deepspeed": DEEPSPEED_FP16, "megatron-deepspeed-fugaku": DEEPSPEED_FP16,
}  # fmt: skip
# Words of tables: ZeRO's stages are DeepSpeed's, the distributed optimizer is Megatron's.
_OF_SHARDING = {
    "zero0": DEEPSPEED_FP16, "zero1": DEEPSPEED_FP16, "zero2": DEEPSPEED_FP16, "zero3": DEEPSPEED_FP16, "fsdp2": TITAN, "hsdp": TITAN,
    "fsdp": FSDP_STYLE, "fsdp1": FSDP_STYLE, "fullshard": FSDP_STYLE, "hybridshard": FSDP_STYLE, "shardgradop": FSDP_STYLE,
}  # fmt: skip
_OF_NOTES = {"deepspeed": DEEPSPEED_FP16, "torchtitan": TITAN, "llm-foundry": FSDP_STYLE, "megatron-lm": MEGATRON}


def of_workload(name: str, precision: str) -> int:
    """The program of a study's workload; one that nobody knows is taken for Megatron's."""
    return _with(_OF_WORKLOAD.get(name, MEGATRON), precision)


def of_table(sharding: str, precision: str, notes: str) -> int:
    """The program that a table's word for sharding tells of, in small letters without separators; its notes may name it."""
    named = next((program for word, program in _OF_NOTES.items() if word in notes), None)
    return _with(named if named is not None else _OF_SHARDING.get(sharding, MEGATRON), precision)


def _with(program: int, precision: str) -> int:
    return DEEPSPEED_BF16 if program == DEEPSPEED_FP16 and precision == "bf16" else program
