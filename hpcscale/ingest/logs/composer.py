"""llm-foundry and composer: a block of ``name: value`` lines a batch; before it, llm-foundry prints its YAML.

Rates are means over a moving window of batches (composer/callbacks/speed_monitor.py), absent until it is full. A step's time
is the batch's samples over samples/s. Memory is in GB of 10^9 bytes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from operator import add
from typing import Any

from hpcscale.ingest.logs.attempt import Values
from hpcscale.ingest.logs.bulk import PREFIX, Bulk, Columns, Shape, Texts, all_positive, each_once, finite, one
from hpcscale.ingest.logs.collect import Collector, Match
from hpcscale.ingest.logs.format import Evidence, Format, Pattern
from hpcscale.ingest.logs.numbers import GB, count, number, positive, size, whole

_HEAD, _LINE = b"[batch=", b"Train "
_BATCH = re.compile(rb"\[batch=(\d{1,12})/(\d{1,12})\]:")
_FIELD = re.compile(rb"[ \t]Train ([\w/.-]+): ([^\r\n]+)")
# YAML at the start:   d_model: 4096
_SETTING = re.compile(rb"(?:^|[\r\n])(?:\d+:)?[ \t-]*([a-z_]+): ([^\r\n]+)")
_PRECISION = re.compile(rb"Using precision Precision\.(\w+)")

_NUMBERS = {
    "max_seq_len": "training.sequence_length",
    "global_train_batch_size": "training.global_batch_size",
    "n_gpus": "devices",
    "num_nodes": "nodes",
    "n_params": "parameters",
    "d_model": "model.hidden",
    "n_heads": "model.heads",
    "n_layers": "model.layers",
    "vocab_size": "model.vocab",
    "expansion_ratio": "expansion_ratio",
    "num_gpus_per_node": "devices_per_node",
}
_WORDS: dict[str, tuple[str, dict[str, object]]] = {
    "activation_checkpointing": ("training.activation_checkpointing", {"true": "full", "false": "none"}),
    "sharding_strategy": ("layout.sharding", {"FULL_SHARD": "fsdp", "HYBRID_SHARD": "hsdp", "NO_SHARD": "ddp"}),
    "precision": ("training.precision", {"amp_bf16": "bf16", "amp_fp16": "fp16", "amp_fp8": "fp8", "fp32": "fp32"}),
    "name": ("model.family", {"mpt_causal_lm": "mpt"}),
    "alibi": ("model.positions", {"true": "alibi"}),
    "rope": ("model.positions", {"true": "rope"}),
    "no_bias": ("model.biases", {"true": False}),
}
# What an MPT is where its YAML says nothing else (llmfoundry/models/mpt/configuration_mpt.py).
_MPT = {
    "model.positions": "learned", "model.norm": "layernorm", "model.mlp": "gelu", "model.biases": True,
    "model.tied_embeddings": True,
}  # fmt: skip
_PRINTED = {
    b"throughput/tokens_per_sec": "tokens_per_second_published",
    b"throughput/device/tokens_per_sec": "tokens_per_second_per_device_published",
    b"throughput/samples_per_sec": "samples_per_second_published",
    b"throughput/device/mfu": "mfu_published",
}
_SAMPLES, _LOSS = b"throughput/samples_per_sec", b"loss/train/total"
_NORM, _MEMORY = b"l2_norm/grad/global", b"memory/peak_allocated_mem"
_POSITIVE = (*_PRINTED, _MEMORY)
_USED = frozenset((*_POSITIVE, _LOSS, _NORM))


class Blocks:
    """Puts a batch's lines together. A block is whole when the line has come that ended the one before it."""

    def __init__(self, collector: Collector):
        self._collector = collector
        self._head: Match | None = None
        self._fields: dict[bytes, bytes] = {}
        self._last_name = b""
        self._before: tuple[int, int] | None = None  # batch and samples of the block before
        self._names: tuple[bytes, ...] = ()  # of the last block's fields
        self._shape: Shape | None = None

    def begin(self, match: Match) -> None:
        self.end()
        self._head = match

    def field(self, match: Match) -> None:
        if self._head is None:
            return
        self._fields[match[1]] = match[2]
        if match[1] == self._last_name:
            self._emit()

    def end(self) -> None:
        """The block at hand is whole: another begins."""
        if self._fields:
            self._last_name = next(reversed(self._fields))
        self._emit()

    def shape(self) -> Shape | None:
        """Of the last block that became a step."""
        if self._names and self._shape is None:
            values = (rb"([^\r\n]+)" if name in _USED else rb"[^\r\n]+" for name in self._names)
            fields = (rb"[^\r\n]*?[ \t]Train " + re.escape(name) + rb": " for name in self._names)
            lines = [PREFIX + _BATCH.pattern + rb"[^\r\n]*", *map(add, fields, values)]
            self._shape = Shape(rb"\n".join(lines), ((_HEAD, 1), (_LINE, len(self._names))))
        return self._shape

    def columns(self, steps: list[int], texts: Sequence[Texts]) -> tuple[Columns, int | None] | None:
        """What :func:`_values` makes of a block, of many."""
        planned = one(texts[0])
        found = dict(zip(filter(_USED.__contains__, self._names), texts[1:], strict=True))
        batch, length = map(self._collector.known, ("training.global_batch_size", "training.sequence_length"))
        if planned is None or batch is None or not all(map(finite, found.values())):
            return None
        if not all(all_positive(found[name]) for name in _POSITIVE if name in found):
            return None
        nothing: list[Any] = [None] * len(steps)
        samples = found.get(_SAMPLES)
        columns: Columns = {
            "step_seconds": [batch / float(each) for each in samples] if samples else nothing,
            "loss": found.get(_LOSS, nothing),
            "tokens": [batch * length if length else None] * len(steps),
        }
        columns |= {key: found[name] for name, key in (*_PRINTED.items(), (_NORM, "gradient_norm")) if name in found}
        if _MEMORY in found:
            columns["peak_memory_bytes"] = each_once(lambda text: round(float(text) * GB), found[_MEMORY])
        return columns, int(planned)

    def _emit(self) -> None:
        head, found = self._head, self._fields
        self._head, self._fields = None, {}
        if head is None or not found:
            return
        collector, batch = self._collector, int(head[1])
        if self._names != (names := tuple(found)):
            self._names, self._shape = names, None
        _facts(collector, found)
        self._samples(batch, whole(found.get(b"time/sample")))
        collector.step(head, batch, _values(collector, found), int(head[2]))

    def _samples(self, batch: int, samples: int | None) -> None:
        """The global batch, from the samples counted between two blocks."""
        if samples is None:
            return
        if self._before is not None and batch > self._before[0]:
            size, rest = divmod(samples - self._before[1], batch - self._before[0])
            if size > 0 and not rest:
                self._collector.fact("training.global_batch_size", size)
        self._before = (batch, samples)


def reader(collector: Collector) -> Sequence[Pattern]:
    blocks = Blocks(collector)
    bulk = Bulk(blocks.shape, blocks.columns, head=_HEAD, before=blocks.end)
    return (
        Pattern(_HEAD, _BATCH, blocks.begin, bulk=bulk),
        Pattern(_LINE, _FIELD, blocks.field, bulk=bulk),
        Pattern(b"Starting training...", re.compile(rb"Starting training\.\.\."), collector.start, start=True),
        Pattern(b": ", _SETTING, _setting(collector), header=True),
        Pattern(
            b"Precision.",
            _PRECISION,
            lambda match: _word(collector, "precision", match[1].decode().lower()),
            header=True,
        ),
    )


def _setting(collector: Collector) -> Callable[[Match], None]:
    def read(match: Match) -> None:
        key, value = match[1].decode(), match[2].decode("utf-8", "replace").strip()
        if key in _NUMBERS:
            collector.fact(_NUMBERS[key], whole(value))
        elif key in _WORDS:
            _word(collector, key, value)

    return read


def _word(collector: Collector, key: str, value: str) -> None:
    fact, words = _WORDS[key]
    collector.fact(fact, words.get(value))


def _facts(collector: Collector, found: dict[bytes, bytes]) -> None:
    """What follows from a block and the YAML together."""
    collector.fact("training.micro_batch_size", whole(found.get(b"trainer/device_train_microbatch_size")))
    rate, of_device = (positive(found.get(b"throughput" + part + b"/tokens_per_sec")) for part in (b"", b"/device"))
    if rate and of_device:
        collector.fact("devices", count(round(rate / of_device)))
    nodes, per_node = collector.known("nodes"), collector.known("devices_per_node")
    if nodes and per_node:
        collector.fact("devices", nodes * per_node)
    if collector.known("model.family") == "mpt":
        for name, value in _MPT.items():
            collector.fact(name, value)
        collector.fact("model.kv_heads", collector.known("model.heads"))
        if collector.known("model.hidden"):
            collector.fact("model.ffn", (collector.known("expansion_ratio") or 4) * collector.known("model.hidden"))
    # Only FSDP or DDP: whatever is not tensor-parallel (experimental, and then in the YAML) is data-parallel.
    for axis in ("tp", "pp", "cp"):
        collector.fact(f"layout.{axis}", 1)


def _values(collector: Collector, found: dict[bytes, bytes]) -> Values:
    batch, length = collector.known("training.global_batch_size"), collector.known("training.sequence_length")
    samples = positive(found.get(_SAMPLES))
    values: Values = {
        "step_seconds": batch / samples if batch and samples else None,
        "loss": number(found.get(_LOSS)),
        "tokens": batch * length if batch and length else None,
    }
    for name, key in _PRINTED.items():
        if (value := positive(found.get(name))) is not None:
            values[key] = value
    if (norm := number(found.get(_NORM))) is not None:
        values["gradient_norm"] = norm
    if (memory := size(found.get(_MEMORY), GB)) is not None:
        values["peak_memory_bytes"] = memory
    return values


COMPOSER = Format(
    "composer",
    "llm-foundry/composer",
    "6N",
    "mosaicml/composer composer/loggers/console_logger.py (640518880); mosaicml/llm-foundry scripts/train/train.py (8c8dd48f7)",
    (
        Evidence(_HEAD, _BATCH),
        Evidence(b"composer_version: ", re.compile(rb"composer_version: "), step=False),
    ),
    reader,
    averages="window",
    memory_kind="allocated",
)
