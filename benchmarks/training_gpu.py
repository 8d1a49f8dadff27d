"""How fast our trainer is on one GPU: tokens/s, MFU, HFU, memory; against bare products, plain torch and Hugging Face.

    python benchmarks/training_gpu.py [--steps 8] [--only mpt-1b] [--json FILE]

Needs one NVIDIA GPU with room for the model (an H200 for mpt-7b and llama3-8b) and says so without. Each case is a process of
its own; peaks are the dense bf16 ones of hpcscale's device catalogue, and an unknown device gets no MFU.
Targets on one H200: mpt-1b 48 % MFU, mpt-7b 50 % MFU, llama3-8b 55 % HFU (by the share of the forward pass that a mode
recomputes); published on H100: 41.8 % and 46.4 % (llm-foundry, mpt-1b and mpt-7b).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

CASES: dict[str, dict[str, Any]] = {
    "mpt-1b": {"model": "mpt-1b", "sequence_length": 2048, "micro_batch_size": 8, "ac": "none"},
    "mpt-7b": {"model": "mpt-7b", "sequence_length": 2048, "micro_batch_size": 2, "ac": "none"},
    "llama3-8b full": {"model": "llama3-8b", "sequence_length": 8192, "micro_batch_size": 1, "ac": "full"},
    "llama3-8b selective": {"model": "llama3-8b", "sequence_length": 8192, "micro_batch_size": 1, "ac": "selective-op"},
}
SYSTEMS = ("ours", "plain torch", "hugging face")


def timed(step: Callable[[], Any], steps: int) -> dict[str, Any]:
    """Seconds of each of ``steps`` steps after four that warm up and compile, and the peak of allocated memory."""
    import torch

    found = []
    for number in range(steps + 4):
        torch.cuda.synchronize()
        before = time.perf_counter()
        step()
        torch.cuda.synchronize()
        if number >= 4:
            found.append(time.perf_counter() - before)
    return {"seconds": statistics.median(found), "peak_memory_bytes": torch.cuda.max_memory_allocated()}


def ours(case: dict[str, Any], steps: int) -> dict[str, Any]:
    import torch

    from hpcscale.spec.model import named
    from hpcscale.train.mesh import Mesh
    from hpcscale.train.point_file import parse
    from hpcscale.train.trainer import Trainer

    document = {
        "model": named(case["model"]).model_dump(mode="json"),
        "layout": {},
        "training": {
            "sequence_length": case["sequence_length"],
            "global_batch_size": case["micro_batch_size"],
            "micro_batch_size": case["micro_batch_size"],
            "activation_checkpointing": case["ac"],
            "precision": "bf16",
        },
        "data": {},
        "protocol": {},
    }
    trainer = Trainer(parse(document, "benchmark"), Mesh(), torch.device("cuda"))
    counter = iter(range(1, steps + 5))
    return timed(lambda: trainer.step(next(counter)), steps)


def plain_torch(case: dict[str, Any], steps: int) -> dict[str, Any]:
    """The same architecture from torch's own modules, compiled whole, bf16 weights of fp32 masters through autocast."""
    import torch
    import torch.nn.functional as F
    from torch import nn
    from torch.utils.checkpoint import checkpoint

    from hpcscale.spec.model import named

    spec, length = named(case["model"]), case["sequence_length"]
    llama = spec.family == "llama"

    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            kv = spec.kv_heads * spec.head_size
            norm: type[nn.Module] = nn.RMSNorm if llama else nn.LayerNorm
            self.one, self.two = norm(spec.hidden), norm(spec.hidden)
            self.q = nn.Linear(spec.hidden, spec.hidden, bias=spec.biases)
            self.kv = nn.Linear(spec.hidden, 2 * kv, bias=spec.biases)
            self.out = nn.Linear(spec.hidden, spec.hidden, bias=spec.biases)
            self.up = nn.Linear(spec.hidden, spec.ffn * (2 if llama else 1), bias=spec.biases)
            self.down = nn.Linear(spec.ffn, spec.hidden, bias=spec.biases)

        def forward(self, x: torch.Tensor, turn: torch.Tensor | None) -> torch.Tensor:
            batch = x.shape[0]
            y = self.one(x)
            q = self.q(y).view(batch, length, spec.heads, spec.head_size)
            k, v = self.kv(y).view(batch, length, 2, spec.kv_heads, spec.head_size).unbind(2)
            if turn is not None:
                q, k = rotated(q, turn), rotated(k, turn)
            mixed = F.scaled_dot_product_attention(
                q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), is_causal=True, enable_gqa=llama
            )
            x = x + self.out(mixed.transpose(1, 2).reshape(batch, length, spec.hidden))
            y = self.up(self.two(x))
            if llama:
                gate, y = y.chunk(2, -1)
                return x + self.down(F.silu(gate) * y)
            return x + self.down(F.gelu(y))

    def rotated(x: torch.Tensor, turn: torch.Tensor) -> torch.Tensor:
        first, second = x.chunk(2, -1)
        cos, sin = turn[0][:, None], turn[1][:, None]
        return torch.cat((first * cos - second * sin, second * cos + first * sin), -1).to(x.dtype)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words = nn.Embedding(spec.vocab, spec.hidden)
            self.places = None if llama else nn.Embedding(length, spec.hidden)
            self.layers = nn.ModuleList(Layer() for _ in range(spec.layers))
            self.norm = nn.RMSNorm(spec.hidden) if llama else nn.LayerNorm(spec.hidden)
            self.head = nn.Linear(spec.hidden, spec.vocab, bias=False)
            if not llama:
                self.head.weight = self.words.weight
            powers = torch.arange(0, spec.head_size, 2) / spec.head_size
            angles = torch.outer(torch.arange(length), spec.rope_theta**-powers)
            self.register_buffer("turn", torch.stack((angles.cos(), angles.sin())), persistent=False)

        def forward(self, tokens: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
            x = self.words(tokens)
            if self.places is not None:
                x = x + self.places.weight
            for layer in self.layers:
                turn = self.turn if llama else None
                x = layer(x, turn) if case["ac"] == "none" else checkpoint(layer, x, turn, use_reentrant=False)
            return F.cross_entropy(self.head(self.norm(x)).flatten(0, 1), targets.flatten())

    with torch.device("cuda"):
        net = Net()
    model = torch.compile(net)
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-4, fused=True)
    tokens = torch.randint(spec.vocab, (case["micro_batch_size"], length + 1), device="cuda")

    def step() -> None:
        with torch.autocast("cuda", torch.bfloat16):
            loss = model(tokens[:, :-1], tokens[:, 1:])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return timed(step, steps)


def hugging_face(case: dict[str, Any], steps: int) -> dict[str, Any]:
    """transformers' Llama, or its GPT-2 in the shape of an MPT (its MPT has ALiBi only), with compile and autocast."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

    from hpcscale.spec.model import named

    spec, length = named(case["model"]), case["sequence_length"]
    torch.set_default_device("cuda")
    if spec.family == "llama":
        config: Any = LlamaConfig
        model: Any = LlamaForCausalLM(
            config(
                vocab_size=spec.vocab, hidden_size=spec.hidden, intermediate_size=spec.ffn, num_hidden_layers=spec.layers,
                num_attention_heads=spec.heads, num_key_value_heads=spec.kv_heads, max_position_embeddings=length,
                use_cache=False, attn_implementation="sdpa",
            )
        )  # fmt: skip
    else:
        config = GPT2Config
        model = GPT2LMHeadModel(
            config(
                vocab_size=spec.vocab, n_positions=length, n_embd=spec.hidden, n_layer=spec.layers, n_head=spec.heads,
                n_inner=spec.ffn, activation_function="gelu", resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, use_cache=False,
                attn_implementation="sdpa",
            )
        )  # fmt: skip
    if case["ac"] != "none":
        model.gradient_checkpointing_enable({"use_reentrant": False})
    model.train()
    compiled = torch.compile(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, fused=True)
    tokens = torch.randint(spec.vocab, (case["micro_batch_size"], length))

    def step() -> None:
        with torch.autocast("cuda", torch.bfloat16):
            loss = compiled(input_ids=tokens, labels=tokens).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return timed(step, steps)


def matmul_rate() -> float:
    """TFLOP/s of a large square bf16 product on this GPU."""
    import torch

    size = 8192
    a, b = (torch.randn(size, size, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    for _ in range(10):
        torch.mm(a, b)
    torch.cuda.synchronize()
    before = time.perf_counter()
    for _ in range(50):
        torch.mm(a, b)
    torch.cuda.synchronize()
    return 50 * 2 * size**3 / (time.perf_counter() - before) / 1e12


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--only", choices=CASES)
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--case", help=argparse.SUPPRESS)
    parser.add_argument("--result", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    import torch

    if not torch.cuda.is_available():
        sys.exit("this benchmark needs an NVIDIA GPU, and torch sees none here")
    if arguments.worker:
        systems = {"ours": ours, "plain torch": plain_torch, "hugging face": hugging_face}
        found = systems[arguments.worker](CASES[arguments.case], arguments.steps)
        arguments.result.write_text(json.dumps(found))
        os._exit(0)
    rows = [each for name in CASES if arguments.only in (None, name) for each in measured(name, arguments.steps)]
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))


def measured(name: str, steps: int) -> list[dict[str, Any]]:
    import torch

    from hpcscale.cost import flops
    from hpcscale.spec.device import find
    from hpcscale.spec.model import named

    case = CASES[name]
    spec, length = named(case["model"]), case["sequence_length"]
    device = torch.cuda.get_device_name()
    known = find(device)
    peak = known.peak("bf16") if known is not None else None
    rate = matmul_rate()
    torch.cuda.empty_cache()
    print(f"\n{name}: {device}, sequence length {length}, micro batch {case['micro_batch_size']}, ac {case['ac']}")
    print(f"  bf16 matmul rate {rate:.0f} TFLOP/s")
    rows = []
    per_token = flops.convention(flops.OWN).flops_per_token(spec, length)
    for system in SYSTEMS:
        with tempfile.TemporaryDirectory() as folder:
            result = Path(folder) / "result.json"
            command = [sys.executable, __file__, "--worker", system, "--case", name, "--result", str(result)]
            done = subprocess.run([*command, "--steps", str(steps)], capture_output=True, text=True, check=False)
            if not result.exists():
                print(f"  {system:14} failed: {done.stderr.strip().splitlines()[-1:]}")
                continue
            found = json.loads(result.read_text())
        tokens = case["micro_batch_size"] * length / found["seconds"]
        achieved = per_token * tokens / 1e12
        # Others checkpoint whole blocks whatever the case says.
        mode = case["ac"] if system == "ours" or case["ac"] == "none" else "full"
        hardware = achieved * flops.hardware_factor(spec, length, mode)
        row = {
            "case": name,
            "system": system,
            **found,
            "tokens_per_second": tokens,
            "tflops": achieved,
            "matmul_tflops": rate,
        }
        share = ""
        if peak is not None:
            row |= {"mfu": achieved / peak, "hfu": hardware / peak}
            share = f"MFU {100 * achieved / peak:5.1f} %  HFU {100 * hardware / peak:5.1f} %  "
        print(
            f"  {system:14} {found['seconds']:7.3f} s  {tokens:9,.0f} tokens/s  {share}{100 * hardware / rate:5.1f} % of matmul  "
            f"{found['peak_memory_bytes'] / 2**30:6.1f} GiB"
        )
        rows.append(row)
    return rows


if __name__ == "__main__":
    main()
