"""torchtitan: one line every log interval, on every rank that is not filtered out; tokens/s of a device, no time.

The time of a step follows: global batch x sequence length / (tokens/s/device x devices), the inverse of the tool's own
definition (components/metrics.py). Memory is the reserved one, in GiB. ``wps`` became ``tps`` in February 2025.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from hpcscale.ingest.logs.attempt import Values
from hpcscale.ingest.logs.bulk import PREFIX, Bulk, Columns, Shape, Texts, all_positive, each_once, finite
from hpcscale.ingest.logs.collect import Collector, Match
from hpcscale.ingest.logs.format import Evidence, Format, Pattern
from hpcscale.ingest.logs.numbers import GIB, number, positive, size, whole

_LITERAL = b"ps: "
_FIELDS = (
    rb"step: *(\d{1,12}) +loss: *(\S+)(?: +grad_norm: *(\S+))? +memory: *([0-9.]+)GiB\S* +[wt]ps: *([0-9,.]+)"
    rb"(?: +tflops: *([0-9,.]+))?(?: +mfu: *([0-9.]+)%)?"
)
_STEP = re.compile(_FIELDS)

_START = re.compile(rb"Starting job: ")
_MESH_BUILT = re.compile(rb"Building (?:\d-D )?device mesh with [^\r\n]*")
# Building device mesh with parallelism: pp=1, dp_replicate=1, dp_shard=8, cp=1, tp=1, ep=1
_DEGREES = re.compile(rb"device mesh with parallelism: ([^\r\n]*)")
_DEGREE = re.compile(rb"\b(pp|dp_replicate|dp_shard|cp|tp)=(\d+)")
# Building 2-D device mesh with ['dp_shard', 'tp'], [4, 2]
_MESH = re.compile(rb"device mesh with [\[(]([^\])]*)[\])], \[([0-9, ]+)\]")
_AXIS = re.compile(rb"\w+")
_DEVICE = re.compile(rb"(?:CUDA|GPU) capacity: ([^\r\n]+?)(?: \(\d+\))? with [0-9.]+GiB")
_SIZE = re.compile(rb"Model (\S+ \S+) +(?:\[\d+m)?size: ([0-9,]+) total parameters")
# Building llama3 8B with ModelArgs(dim=4096, n_layers=32, ...)
_MODEL = re.compile(rb"Building (llama\S* \S+) with \w*ModelArgs\(([^\r\n]*)\)")
_ARGUMENT = re.compile(rb"\b(\w+)=([^,()\s]+)")
_TRAINER = re.compile(
    rb"with local batch size (\d+), global batch size (\d+)[^\r\n]*?sequence length (\d+)(?:, total steps (\d+))?"
)
# Trainer is initialized with 4096 tokens per DP rank, 262144 tokens per train step (2026)
_TOKENS = re.compile(rb"tokens per DP rank, (\d+) tokens per train step")
_CHECKPOINTING = re.compile(rb"Applied (full activation checkpointing|FullAC)")

_LLAMA = {
    "model.family": "llama", "model.positions": "rope", "model.norm": "rmsnorm", "model.mlp": "swiglu",
    "model.biases": False, "model.tied_embeddings": False,
}  # fmt: skip


def reader(collector: Collector) -> Sequence[Pattern]:
    def fact(name: str) -> Callable[[Match], None]:
        return lambda match: collector.fact(name, match[1].decode("utf-8", "replace"))

    return (
        Pattern(_LITERAL, _STEP, _step(collector), bulk=_bulk(collector)),
        Pattern(b"Starting job: ", _START, collector.start, start=True),
        Pattern(b"device mesh with ", _MESH_BUILT, lambda match: _mesh(collector, match), start=True),
        Pattern(b" capacity: ", _DEVICE, fact("device"), header=True),
        Pattern(b" total parameters", _SIZE, lambda match: _size(collector, match), header=True),
        Pattern(b"ModelArgs(", _MODEL, lambda match: _model(collector, match), header=True),
        Pattern(b"with local batch size ", _TRAINER, lambda match: _trainer(collector, match), header=True),
        Pattern(
            b" tokens per train step",
            _TOKENS,
            lambda match: collector.fact("tokens_per_step", whole(match[1])),
            header=True,
        ),
        Pattern(
            b"Applied ",
            _CHECKPOINTING,
            lambda _: collector.fact("training.activation_checkpointing", "full"),
            header=True,
        ),
    )


def _step(collector: Collector) -> Callable[[Match], None]:
    def read(match: Match) -> None:
        step, loss, norm, memory, tps, tflops, mfu = match.groups()
        rate = positive(tps.replace(b",", b""))
        if rate is None:
            return
        tokens, devices = _tokens(collector), collector.known("devices")
        values: Values = {
            "step_seconds": tokens / (rate * devices) if tokens and devices else None,
            "loss": number(loss),
            "tokens": tokens,
            "peak_memory_bytes": size(memory, GIB),
            "tokens_per_second_per_device_published": rate,
        }
        if norm is not None:
            values["gradient_norm"] = number(norm)
        if tflops is not None:
            values["tflops_per_device_published"] = number(tflops.replace(b",", b""))
        if (percent := number(mfu)) is not None:
            values["mfu_published"] = percent / 100
        collector.step(match, int(step), values, collector.known("planned_steps"))

    return read


def _bulk(collector: Collector) -> Bulk:
    """What :func:`_step` makes of a line, of many."""
    shape = Shape(PREFIX + _FIELDS + rb"[^\r\n]*", ((b"memory:", 1),))  # `tflops: ` ends like `tps: `

    def columns(steps: list[int], texts: Sequence[Texts]) -> tuple[Columns, int | None] | None:
        without = {place: each_once(lambda text: text.replace(b",", b""), texts[place]) for place in (3, 4)}
        loss, norm, memory, tps, tflops, mfu = (without.get(place, each) for place, each in enumerate(texts))
        if not all(map(finite, (loss, memory, tps))) or not all(map(all_positive, (memory, tps))):
            return None
        tokens, devices = _tokens(collector), collector.known("devices")
        known = tokens and devices
        values: Columns = {
            "step_seconds": each_once(lambda rate: tokens / (float(rate) * devices) if known else None, tps),
            "loss": loss,
            "tokens": [tokens] * len(steps),
            "peak_memory_bytes": each_once(lambda text: round(float(text) * GIB), memory),
            "tokens_per_second_per_device_published": tps,
        }
        for name, found in (("gradient_norm", norm), ("tflops_per_device_published", tflops), ("mfu_published", mfu)):
            if any(found):
                if not finite(found):
                    return None
                values[name] = found
        if "mfu_published" in values:
            values["mfu_published"] = each_once(lambda text: float(text) / 100, mfu)
        return values, collector.known("planned_steps")

    return Bulk(lambda: shape, columns)


def _tokens(collector: Collector) -> int | None:
    batch, length = collector.known("training.global_batch_size"), collector.known("training.sequence_length")
    return batch * length if batch and length else collector.known("tokens_per_step")


def _mesh(collector: Collector, match: Match) -> None:
    if collector.attempt.facts.get("mesh") is None or not collector.in_header:
        collector.start(match)
    sizes = _degrees(match[0])
    if not sizes:
        return
    collector.fact("mesh", True)
    for axis in ("tp", "pp", "cp"):
        collector.fact(f"layout.{axis}", sizes.get(axis))
    replicate, shard = sizes.get("dp_replicate", 1), sizes.get("dp_shard", sizes.get("dp", 1))
    collector.fact("layout.dp", replicate * shard)
    if all(axis in sizes for axis in ("tp", "pp", "cp")):
        collector.fact("devices", replicate * shard * sizes["tp"] * sizes["pp"] * sizes["cp"])
    if "dp" not in sizes and replicate * shard > 1:
        collector.fact("layout.sharding", "ddp" if shard == 1 else "fsdp" if replicate == 1 else "hsdp")


def _degrees(line: bytes) -> dict[str, int]:
    """The size of each axis of the mesh."""
    if found := _DEGREES.search(line):
        return {name.decode(): int(size) for name, size in _DEGREE.findall(found[1])}
    found = _MESH.search(line)
    names = _AXIS.findall(found[1]) if found else []
    degrees = re.findall(rb"\d+", found[2]) if found else []
    if not names or len(names) != len(degrees):
        return {}
    # An axis of one is not built, in those versions: what is missing is 1.
    ones = {"pp": 1, "cp": 1, "tp": 1}
    return ones | {name.decode(): int(size) for name, size in zip(names, degrees, strict=True)}


def _size(collector: Collector, match: Match) -> None:
    collector.fact("model.text", match[1].decode("utf-8", "replace"))
    collector.fact("parameters", whole(match[2]))


def _model(collector: Collector, match: Match) -> None:
    """The Llama of this tool; its feed-forward size is computed as models/llama3/model.py does."""
    given = {name.decode(): value.decode("utf-8", "replace") for name, value in _ARGUMENT.findall(match[2])}
    hidden, heads, multiple = whole(given.get("dim")), whole(given.get("n_heads")), whole(given.get("multiple_of"))
    collector.fact("model.text", match[1].decode("utf-8", "replace"))
    if not hidden or not heads or not multiple:
        return
    factor = number(given.get("ffn_dim_multiplier", "").encode())
    width = int(2 * 4 * hidden / 3)
    width = int(factor * width) if factor else width
    shape = {
        "model.layers": whole(given.get("n_layers")),
        "model.hidden": hidden,
        "model.heads": heads,
        "model.kv_heads": whole(given.get("n_kv_heads")) or heads,
        "model.ffn": -(-width // multiple) * multiple,
        "model.vocab": whole(given.get("vocab_size")),
    }
    for name, value in {**shape, **_LLAMA}.items():
        collector.fact(name, value)


def _trainer(collector: Collector, match: Match) -> None:
    collector.fact("training.global_batch_size", whole(match[2]))
    collector.fact("training.sequence_length", whole(match[3]))
    collector.fact("planned_steps", whole(match[4]))
    if collector.known("layout.pp") == 1:  # a pipeline cuts the local batch once more
        collector.fact("training.micro_batch_size", whole(match[1]))


TORCHTITAN = Format(
    "torchtitan",
    "torchtitan",
    "palm-full",
    "pytorch/torchtitan torchtitan/components/metrics.py (b5bcd76c6; wps: before PR 831)",
    (Evidence(_LITERAL, _STEP), Evidence(b"device mesh with ", _MESH_BUILT, step=False)),
    reader,
    averages="interval",
    memory_kind="reserved",
)
