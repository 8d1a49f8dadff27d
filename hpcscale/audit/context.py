"""What the headings and the text around a table say of it: model, device, sizes, definitions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from hpcscale.audit.markup import plain
from hpcscale.audit.tables import Table

# How texts spell a device; the first that matches counts, so the longer spellings stand first.
DEVICES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), name)
    for pattern, name in (
        (r"\bgb200", "gb200"),
        (r"\bb200\b", "b200"),
        (r"\bgh200\b|\bjupiter\b", "gh200-96"),
        (r"\bh200\b", "h200"),
        (r"h100[ _-]?nvl", "h100-nvl"),
        (r"h100[ _-]?(?:80gb[ _-]?)?pcie", "h100-pcie"),
        (r"h100[ _-]?96|96 ?gb?[ _-]h100", "h100-96gb"),
        (r"h100", "h100-sxm"),
        (r"\bh20\b", "h20"),
        (r"leonardo|a100[ _-]?64", "a100-64gb-leonardo"),
        (r"a100[ _\-(]*(?:sxm\d?[ _-]?)?40|40 ?gb?[ _-]?(?:nvidia )?a100|juwels", "a100-40gb"),
        (r"a100", "a100-80gb-sxm"),
        (r"mi355x?", "mi355x"),
        (r"mi300x?", "mi300x"),
        (r"mi250x?|\blumi\b|frontier", "mi250x-gcd"),
        (r"v100", "v100-sxm"),
        (r"a64fx|fugaku|富岳|wisteria|odyssey", "a64fx"),
        (r"(?:rtx[ _-]?)?\b3090\b", "rtx3090"),
        (r"\ba6000\b", "a6000"),
        (r"\bl40s\b", "l40s"),
    )
)
_PRECISION = re.compile(
    r"(?<![a-z])(?:amp_)?(fp8|bf16|fp16|tf32|fp32|bfloat16|float16|float32|float8|mxfp8)(?![a-z0-9])", re.IGNORECASE
)
_SAME = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32", "float8": "fp8", "mxfp8": "fp8"}

_IS = r"[`\"']?\s*(?:=|:|\bof\b|\bis\b|\bto\b|\bwas\b)?\s*[`\"']?\s*"
_INTEGER = r"(\d[\d,]*)(?!\d|[.,]\d)\s*(k|m)?\b"
# Constants that a text states. The number stands behind the name; _BEFORE has those where it stands in front of it.
_STATED: tuple[tuple[str, str], ...] = (
    ("global_batch_size", r"(?:global|total|train)[ _-]?batch(?:[ _-]?size)?|\bGBS\b"),
    ("micro_batch_size", r"(?:micro|local)[ _-]?batch(?:[ _-]?size)?|\bMBS\b"),
    ("accumulation", r"(?:batch|gradient|grad)[ _-]?accumulation(?:[ _-]?(?:steps|per[ _-]replica))*"),
    ("sequence_length", r"(?:sequence|context)[ _-]?length|seq[ _-]?len(?:gth)?|context (?:size|window)|block[ _-]size"),
    ("tp", r"\btp\b|tensor(?:[ _-]model)?[ _-]parallel(?:[ _-]size)?"),
    ("pp", r"\bpp\b|pipeline(?:[ _-]model)?[ _-]parallel(?:[ _-]size)?"),
    ("cp", r"\bcp\b|context[ _-]parallel(?:[ _-]size)?"),
    ("layers", r"num[ _-]layers|n_?layers?|(?:number of )?layers"),
    ("hidden", r"hidden[ _-](?:size|dim(?:ension)?)|d_model|n_embd"),
    ("heads", r"num[ _-]attention[ _-]heads|(?:attention |number of )heads|n_?heads?"),
    ("kv_heads", r"num[ _-](?:key[ _-]value[ _-]heads|query[ _-]groups)|kv[ _-]heads"),
    ("ffn", r"ffn[ _-]hidden[ _-]size|intermediate[ _-]size|ffn[ _-](?:size|dim)"),
    ("vocab", r"(?:padded )?vocab(?:ulary)?(?:[ _-]size)?"),
    ("devices_per_node", r"(?:gpus|devices|gcds|accelerators)[ _-]?per[ _-]?node"),
)  # fmt: skip
_BEFORE: tuple[tuple[str, str], ...] = (
    ("layers", r"(\d+)[ -]layers?\b"),
    ("heads", r"(\d+)(?: attention)?[ -]heads\b"),
    ("sequence_length", r"(\d+)(k?)[ -](?:token )?(?:context|sequence)\b"),
    ("devices_per_node", r"(\d+)x? (?:[\w-]+ )?(?:GPUs?|A100s?|H100s?|GCDs?|devices|accelerators)(?: GPUs?)? (?:per|/|on each|in each|a) ?node"),
    ("devices", r"(?:\bon|\busing|\bwith|\bacross)(?: up)? (\d+)x? (?:NVIDIA |AMD )?(?:A100|H100|H200|B200|V100|MI250X?|MI300X?|GPUs?|GCDs?)"),
)  # fmt: skip
SHAPE = ("layers", "hidden", "heads", "kv_heads", "ffn", "vocab")
_KILO = re.compile(r"(?:flops?|peta|pflop)[^\n]*(?:/|÷|\bdivided by\b)\s*1024\b", re.IGNORECASE)


@dataclass(frozen=True)
class Context:
    """What is stated. A constant that the table's own section gives several values for is not stated."""

    hints: tuple[str, ...]  # headings from the inside out, then the section's text: where a model is sought
    constants: Mapping[str, float] = field(default_factory=dict)
    shape: Mapping[str, int] = field(default_factory=dict)
    device: str | None = None
    precision: str | None = None
    divides_by_1024: bool = False

    @cached_property
    def sizes(self) -> tuple[tuple[str, int], ...]:
        return tuple(sorted(self.shape.items()))

    @cached_property
    def text(self) -> str:
        return "\n".join(self.hints)


def around(table: Table) -> Context:
    """Reads headings first, then the section, then (for a model's shape and definitions) all that stands above."""
    headings = [plain(each) for each in reversed(table.headings)]
    section = table.before
    constants: dict[str, float] = {}
    for text in (*headings, section):
        for name, value in stated(text).items():
            constants.setdefault(name, value)
    shape = {**stated(table.earlier), **constants}
    hints = (*headings, section)
    texts = (*headings, section, table.earlier)
    return Context(
        hints=hints,
        constants={name: value for name, value in constants.items() if name not in SHAPE},
        shape={name: int(shape[name]) for name in SHAPE if name in shape},
        device=next((found for found in map(device_in, hints) if found), None) or device_in(table.earlier),
        precision=next((found for found in map(precision_in, hints) if found), None),
        divides_by_1024=any(_KILO.search(text) for text in texts),
    )


def stated(text: str) -> dict[str, float]:
    """Constants that a text gives one value for."""
    found: dict[str, set[float]] = {}
    for name, pattern in _STATED:
        for match in re.finditer(rf"(?:{pattern}){_IS}{_INTEGER}", text, re.IGNORECASE):
            found.setdefault(name, set()).add(_number(match[1], match[2]))
    for name, pattern in _BEFORE:
        for match in re.finditer(pattern, text, re.IGNORECASE):
            if "up to" not in match[0].lower():
                factor = match[2] if (match.re.groups > 1) else None
                found.setdefault(name, set()).add(_number(match[1], factor))
    return {name: values.pop() for name, values in found.items() if len(values) == 1 and 0 not in values}


def _number(digits: str, factor: str | None) -> float:
    return float(digits.replace(",", "")[:18] or 0) * {"k": 1024, "m": 2**20}.get((factor or "").lower(), 1)


def device_in(text: str) -> str | None:
    """The device that a text names; None where it names several different ones."""
    found: list[str] = []
    rest = text
    for pattern, name in DEVICES:
        if pattern.search(rest):
            found.append(name)
            rest = pattern.sub(" ", rest)
    kinds = {name.split("-")[0] for name in found}
    return found[0] if len(kinds) == 1 else None


def precision_in(text: str) -> str | None:
    match = _PRECISION.search(text)
    return _SAME.get(match[1].lower(), match[1].lower()) if match else None
