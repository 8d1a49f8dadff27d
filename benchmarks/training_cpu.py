"""What training costs on a CPU: against Hugging Face's Llama, against bare matrix products, and what two ranks add.

    make benchmark-training        (or: python benchmarks/training_cpu.py [--sequences 16] [--steps 5] [--repeats 3])

All figures are CPU seconds of a process (user and system), one thread a rank, medians over steps; ratios are of the same
run. The model: Llama, 4 layers, hidden size 512, 8 heads, feed-forward 1376, vocabulary 32000, sequence length 256.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

SHAPE = {"layers": 4, "hidden": 512, "heads": 8, "kv_heads": 8, "ffn": 1376, "vocab": 32000}
SEQUENCE = 256
WORLDS: dict[str, dict[str, Any]] = {
    "tp2": {"tp": 2},
    "dp2": {"dp": 2},
    "pp2": {"pp": 2},
}
BESIDE = "one rank beside another"  # two that know nothing of each other: what two busy cores cost without any layout
TARGETS = {"hugging face": 1.00, "matmul": 0.85, "tp2": 1.20, "dp2": 1.12, "pp2": 1.25}


def cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def timed(step: Callable[[], Any], steps: int) -> list[float]:
    """CPU seconds of each of ``steps`` steps, after two that warm up."""
    found = []
    for number in range(steps + 2):
        before = cpu_seconds()
        step()
        if number >= 2:
            found.append(cpu_seconds() - before)
    return found


def document(layout: dict[str, Any], precision: str, sequences: int) -> dict[str, Any]:
    """A point as hpcscale writes it."""
    from hpcscale.spec.model import build
    from hpcscale.spec.yaml12 import Document

    shape = {"family": "llama", "name": "benchmark", **SHAPE}
    pipeline = layout.get("pp", 1) > 1
    return {
        "model": build(shape, Document(shape, "benchmark"), ()).model_dump(mode="json"),
        "layout": layout,
        "training": {
            "sequence_length": SEQUENCE,
            "global_batch_size": sequences,
            # a pipeline needs micro batches to be busy; otherwise a replica's batch is one
            "micro_batch_size": max(1, sequences // 8) if pipeline else sequences // layout.get("dp", 1),
            "precision": precision,
        },
        "data": {},
        "protocol": {},
        "communication": "gloo",
    }


def ours(layout: dict[str, Any], precision: str, sequences: int, steps: int) -> list[float]:
    """Our trainer, as one rank of the layout."""
    import torch

    from hpcscale.train import communication, mesh
    from hpcscale.train.point_file import parse
    from hpcscale.train.rendezvous import rendezvous
    from hpcscale.train.trainer import Trainer

    place, device = rendezvous(os.environ), torch.device("cpu")
    communication.connect(place, "gloo", device, 600)
    work = parse(document(layout, precision, sequences), "benchmark")
    trainer = Trainer(work, mesh.device_mesh(work.layout, device), device)
    counter = iter(range(1, steps + 3))
    return timed(lambda: trainer.step(next(counter)), steps)


def hugging_face(precision: str, sequences: int, steps: int) -> list[float]:
    """transformers' Llama under the same regime: weights and AdamW in fp32, bf16 by autocast, the norm clipped at 1."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config_of: Any = LlamaConfig
    config = config_of(
        vocab_size=SHAPE["vocab"], hidden_size=SHAPE["hidden"], intermediate_size=SHAPE["ffn"],
        num_hidden_layers=SHAPE["layers"], num_attention_heads=SHAPE["heads"], num_key_value_heads=SHAPE["kv_heads"],
        max_position_embeddings=SEQUENCE, tie_word_embeddings=False, use_cache=False, attn_implementation="sdpa",
    )  # fmt: skip
    model: Any = LlamaForCausalLM(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, weight_decay=0.1, fused=True)
    tokens = torch.randint(SHAPE["vocab"], (sequences, SEQUENCE))

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            loss = model(input_ids=tokens, labels=tokens).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return timed(step, steps)


def products(precision: str, sequences: int, steps: int) -> list[float]:
    """The matrix products of a step and nothing else: each weight's forward product and its two backward ones."""
    import torch

    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    tokens, hidden, ffn = sequences * SEQUENCE, SHAPE["hidden"], SHAPE["ffn"]
    shapes = [(hidden, 3 * hidden), (hidden, hidden), (hidden, ffn), (hidden, ffn), (ffn, hidden)] * SHAPE["layers"]
    shapes.append((hidden, SHAPE["vocab"]))
    inputs = {
        size: torch.randn(tokens, size, dtype=dtype) for pair in shapes for size in pair if size != SHAPE["vocab"]
    }
    weights = [torch.randn(out, into, dtype=dtype) for into, out in shapes]
    chunk = 2048

    def step() -> None:
        for weight in weights:
            into = weight.shape[1]
            x = inputs[into]
            for start in range(0, tokens, chunk):  # the whole logits at once would measure memory, not products
                part = x[start : start + chunk]
                gradient = torch.mm(part, weight.t())
                torch.mm(gradient, weight)
                torch.mm(gradient.t(), part)

    return timed(step, steps)


def flops(sequences: int) -> tuple[float, float]:
    """(of the products, of the whole step) in one step: 6 a weight and token, and 12 L d S a token for attention."""
    hidden, ffn, layers = SHAPE["hidden"], SHAPE["ffn"], SHAPE["layers"]
    weights = layers * (4 * hidden**2 + 3 * hidden * ffn) + hidden * SHAPE["vocab"]
    tokens = sequences * SEQUENCE
    return 6.0 * weights * tokens, (6.0 * weights + 12.0 * layers * hidden * SEQUENCE) * tokens


def worker(arguments: argparse.Namespace) -> None:
    import torch

    torch.set_num_threads(1)
    kind, precision, sequences, steps = arguments.worker, arguments.precision, arguments.sequences, arguments.steps
    if kind == "hugging face":
        found = hugging_face(precision, sequences, steps)
    elif kind == "products":
        found = products(precision, sequences, steps)
    else:
        found = ours(WORLDS.get(kind, {}), precision, sequences, steps)
    arguments.result.write_text(json.dumps(found))
    sys.stdout.flush()
    os._exit(0)


def started(kind: str, precision: str, arguments: argparse.Namespace, folder: Path) -> float:
    """Median CPU seconds of a step, summed over the ranks of a layout."""
    ranks = 2 if kind in WORLDS or kind == BESIDE else 1
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
    processes, results = [], []
    for rank in range(ranks):
        result = folder / f"{kind}-{precision}-{rank}.json"
        results.append(result)
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        if kind in WORLDS:
            environment |= {
                "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(ranks), "RANK": str(rank),
            }  # fmt: skip
        command = [sys.executable, __file__, "--worker", kind, "--precision", precision, "--result", str(result)]
        command += ["--sequences", str(arguments.sequences), "--steps", str(arguments.steps)]
        processes.append(subprocess.Popen(command, env=environment))
    if any(process.wait() for process in processes):
        raise SystemExit(f"{kind} in {precision} failed")
    steps = [json.loads(result.read_text()) for result in results]
    total = statistics.median(sum(each) for each in zip(*steps, strict=True))
    return total / 2 if kind == BESIDE else total


def main() -> None:
    parser = argparse.ArgumentParser(description="CPU seconds of a training step, as ratios")
    parser.add_argument("--sequences", type=int, default=16, help="of a step, of 256 tokens each")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=3, help="of the whole; the median ratio is printed")
    parser.add_argument("--only", choices=("fp32", "bf16"), help="one precision instead of both")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--precision", default="fp32", help=argparse.SUPPRESS)
    parser.add_argument("--result", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        worker(arguments)
    kinds = ["one rank", "hugging face", "products", BESIDE, *WORLDS]
    with tempfile.TemporaryDirectory() as folder:
        for precision in (arguments.only,) if arguments.only else ("fp32", "bf16"):
            rounds = [
                {kind: started(kind, precision, arguments, Path(folder)) for kind in kinds}
                for _ in range(arguments.repeats)
            ]
            show(precision, rounds, arguments.sequences)


def show(precision: str, rounds: list[dict[str, float]], sequences: int) -> None:
    def ratio(of: Callable[[dict[str, float]], float]) -> float:
        return statistics.median(of(each) for each in rounds)

    for_products, whole = flops(sequences)
    seconds = {kind: statistics.median(each[kind] for each in rounds) for kind in rounds[0]}
    rows = [
        (
            "one rank / Hugging Face's Llama",
            ratio(lambda r: r["one rank"] / r["hugging face"]),
            "at most",
            "hugging face",
        ),
        (
            "one rank's FLOP/s / bare products' FLOP/s",
            ratio(lambda r: (whole / r["one rank"]) / (for_products / r["products"])),
            "at least",
            "matmul",
        ),
        *[
            (f"{name}, both ranks / one rank", ratio(lambda r, name=name: r[name] / r["one rank"]), "at most", name)
            for name in WORLDS
        ],
        *[
            (
                f"{name}, both ranks / one beside another",
                ratio(lambda r, name=name: r[name] / r[BESIDE]),
                "at most",
                name,
            )
            for name in WORLDS
        ],
    ]
    print(f"\n{precision}: CPU seconds a step: " + ", ".join(f"{kind} {value:.3f}" for kind, value in seconds.items()))
    for label, value, bound, key in rows:
        met = value <= TARGETS[key] if bound == "at most" else value >= TARGETS[key]
        print(f"  {label:46} {value:5.2f}   target {bound} {TARGETS[key]:.2f}   {'met' if met else 'missed'}")


if __name__ == "__main__":
    main()
