"""Which models a label may mean: the catalogue's, other published shapes, or the shape that a table states."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

from hpcscale.spec.model import Model, build, named, names
from hpcscale.spec.problems import InputError
from hpcscale.spec.yaml12 import Document

# Published shapes that people's tables are about and that nobody trains here.
OTHERS: Mapping[str, Mapping[str, object]] = {
    # arXiv 2302.13971, table 2; LLaMA's 7B and 13B have the shapes of Llama 2
    "llama-7b": {"family": "llama", "layers": 32, "hidden": 4096, "heads": 32, "ffn": 11008, "vocab": 32000},
    "llama-13b": {"family": "llama", "layers": 40, "hidden": 5120, "heads": 40, "ffn": 13824, "vocab": 32000},
    "llama-33b": {"family": "llama", "layers": 60, "hidden": 6656, "heads": 52, "ffn": 17920, "vocab": 32000},
    "llama-65b": {"family": "llama", "layers": 80, "hidden": 8192, "heads": 64, "ffn": 22016, "vocab": 32000},
    # arXiv 2407.21783, table 3; Llama 3.2's model card
    "llama3-405b": {"family": "llama", "layers": 126, "hidden": 16384, "heads": 128, "kv_heads": 8, "ffn": 53248, "vocab": 128256},
    "llama3-1b": {"family": "llama", "layers": 16, "hidden": 2048, "heads": 32, "kv_heads": 8, "ffn": 8192, "vocab": 128256, "tied_embeddings": True},
    "llama3-3b": {"family": "llama", "layers": 28, "hidden": 3072, "heads": 24, "kv_heads": 8, "ffn": 8192, "vocab": 128256, "tied_embeddings": True},
    # arXiv 2310.06825, table 1
    "mistral-7b": {"family": "llama", "layers": 32, "hidden": 4096, "heads": 32, "kv_heads": 8, "ffn": 14336, "vocab": 32000},
    # arXiv 2005.14165, table 2.1
    "gpt-760m": {"family": "gpt", "layers": 24, "hidden": 1536, "heads": 16},
    "gpt-2.7b": {"family": "gpt", "layers": 32, "hidden": 2560, "heads": 32},
    "gpt-6.7b": {"family": "gpt", "layers": 32, "hidden": 4096, "heads": 32},
    "gpt-175b": {"family": "gpt", "layers": 96, "hidden": 12288, "heads": 96},
    # GPT-2 of OpenAI (model cards of gpt2-large and gpt2-xl)
    "gpt-774m": {"family": "gpt", "layers": 36, "hidden": 1280, "heads": 20},
    "gpt-1.5b": {"family": "gpt", "layers": 48, "hidden": 1600, "heads": 25},
    # arXiv 2211.05100, table 3
    "bloom-176b": {"family": "gpt", "layers": 70, "hidden": 14336, "heads": 112, "vocab": 250880, "positions": "alibi"},
}  # fmt: skip
_SIZE = re.compile(r"(?<![\d.])(\d+(?:\.\d+)?)\s?-?(b|m|t)(?:illion)?(?:il)?\b(?!i?b)", re.IGNORECASE)
_FAMILIES: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("llama3", re.compile(r"llama[ \-_]?v?3(?:\.\d)?(?!\d*\s?b)", re.IGNORECASE)),
    ("llama2", re.compile(r"llama[ \-_]?v?2(?!\d*\s?b)", re.IGNORECASE)),
    ("openllama", re.compile(r"open[ \-_]?llama", re.IGNORECASE)),
    ("llama", re.compile(r"llama", re.IGNORECASE)),
    ("mistral", re.compile(r"mistral", re.IGNORECASE)),
    ("bloom", re.compile(r"bloom", re.IGNORECASE)),
    ("mpt", re.compile(r"\bmpt\b", re.IGNORECASE)),
    ("bert", re.compile(r"\bbert\b|\bbert[-_]", re.IGNORECASE)),
    ("gpt", re.compile(r"gpt|megatron", re.IGNORECASE)),
)
# What a size is sought among, where a family has no such size of its own (Llama 1 and 2 share shapes).
_ALSO = {"llama": ("llama2", "llama3", "openllama"), "llama2": ("llama",)}


_TABLE = Document({}, "a table")


@lru_cache(maxsize=1)
def models() -> dict[str, Model]:
    """Every model with a published shape, by name."""
    found = {name: named(name) for name in names() if not name.startswith("tiny")}
    for name, keys in OTHERS.items():
        found[name] = build({"name": name, **keys}, _TABLE, ())
    return found


def family_of(name: str) -> str:
    return name.partition("-")[0]


def families_in(text: str) -> list[str]:
    """The families that a text names, in the order in which it does: the most precise name at each place."""
    found: dict[int, str] = {}
    for family, pattern in _FAMILIES:
        for match in pattern.finditer(text):
            if not any(abs(match.start() - at) < 6 for at in found):
                found[match.start()] = family
    return [found[at] for at in sorted(found)]


def _sized(name: str) -> float | None:
    match = _SIZE.search(name)
    return float(match[1]) * {"m": 1e6, "b": 1e9, "t": 1e12}[match[2].lower()] if match else None


def size_in(text: str) -> float | None:
    """The size that a label names, in parameters."""
    return _sized(text)


def candidates(label: str, hints: tuple[str, ...] = ()) -> dict[str, Model]:
    """The models that ``label`` may mean, by family; ``hints`` (headings, text) tell the family or size that it lacks."""
    return dict(_candidates(" ".join(label.split()), hints))


@lru_cache(maxsize=512)
def _candidates(label: str, hints: tuple[str, ...]) -> tuple[tuple[str, Model], ...]:
    every = models()
    exact = label.strip().lower()
    if exact in every:
        return ((family_of(exact), every[exact]),)
    size, families = _sized(label), families_in(label)
    role = re.search(r"\b(base|large)\b", label, re.IGNORECASE)
    for hint in hints:
        families = families or families_in(hint)
        if size is None and not role and families:
            size = _sized(hint)
            role = re.search(r"bert[ -_]?(base|large)\b", hint, re.IGNORECASE)
    if role and (not families or "bert" in families):
        return (("bert", every[f"bert-{role[1].lower()}"]),)
    if size is None:
        return ()
    found = {}
    for name, model in every.items():
        nominal = _sized(name)
        if nominal and abs(nominal / size - 1) < 0.06:
            found.setdefault(family_of(name), model)
    wanted = [each for family in families for each in (family, *_ALSO.get(family, ()))]
    kept = {family: found[family] for family in wanted if family in found}
    return tuple((kept if families else found).items())


def shaped(shape: Mapping[str, int], hints: str = "") -> dict[str, Model]:
    """The models of a stated shape (layers and hidden at least), by family."""
    if not {"layers", "hidden"} <= set(shape):
        return {}
    asked = families_in(hints)
    found = {}
    for name, model in models().items():
        if all(getattr(model, key) == value for key, value in shape.items() if key != "vocab"):
            found.setdefault(family_of(name), model)
    kept = {family: model for family, model in found.items() if family in asked} or found
    llama = any("llama" in each or each == "mistral" for each in asked) or bool(
        re.search(r"swiglu|rmsnorm", hints, re.IGNORECASE)
    )
    for family in ("llama", "gpt") if llama else ("gpt",):
        own = _built(family, tuple(sorted(shape.items())))
        if own is not None:
            kept.setdefault(f"{family}-shape", own)
    return kept


@lru_cache(maxsize=2048)
def _built(family: str, shape: tuple[tuple[str, int], ...]) -> Model | None:
    keys: dict[str, object] = dict(shape)
    hidden = int(str(keys["hidden"]))
    if "heads" not in keys:
        keys["heads"] = next((hidden // size for size in (128, 64, 80, 96) if hidden % size == 0), 1)
    if family == "llama":
        keys.setdefault("vocab", 32000)
        keys.setdefault("ffn", -(-8 * hidden // 3 // 256) * 256)
    name = f"{family} of {keys['layers']} layers, hidden {hidden}"
    try:
        return build({"name": name, "family": family, **keys}, _TABLE, ())
    except InputError:
        return None
