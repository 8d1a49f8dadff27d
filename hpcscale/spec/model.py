"""A transformer's shape, as data. The catalogue is models.yaml beside this module."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from hpcscale.spec.problems import InputError, suggestion
from hpcscale.spec.typed import Strict, problems_of
from hpcscale.spec.yaml12 import Document, Location, load

Positive = Annotated[int, Field(strict=True, gt=0)]
Count = Annotated[int, Field(strict=True, ge=0)]

CATALOGUE = Path(__file__).with_name("models.yaml")


class RopeScaling(Strict):
    """Llama 3.1's frequency scaling of rotary positions (Llama 3 Herd of Models, section 3.4.2)."""

    factor: float = Field(gt=0)
    low_frequency_factor: float = Field(gt=0)
    high_frequency_factor: float = Field(gt=0)
    original_max_positions: Positive


class Model(Strict):
    """One transformer: its shape and its variations. Sizes in elements; ``vocab`` in tokens."""

    name: str
    family: Literal["gpt", "mpt", "llama", "bert"]
    layers: Positive
    hidden: Positive
    heads: Positive
    kv_heads: Positive
    ffn: Positive
    vocab: Positive
    vocab_multiple: Positive = 1  # the embedding's rows are padded to a multiple of this times tp (Megatron)
    positions: Literal["learned", "rope", "alibi"]
    max_positions: Positive | None = None  # rows of a learned position table; empty: the sequence length
    rope_theta: float = Field(default=10000.0, gt=0)
    rope_scaling: RopeScaling | None = None
    norm: Literal["layernorm", "rmsnorm"]
    norm_placement: Literal["pre", "post"] = "pre"
    norm_eps: float = Field(default=1e-5, gt=0)
    mlp: Literal["gelu", "gelu-tanh", "swiglu"]  # gelu-tanh: GPT-2's approximation of it
    biases: bool
    tied_embeddings: bool
    causal: bool = True
    token_types: Count = 0
    head: Literal["lm", "mlm"] = "lm"
    pooler: bool = False
    init_std: float = Field(default=0.02, gt=0)
    source: str = ""

    @property
    def head_size(self) -> int:
        return self.hidden // self.heads

    @property
    def mlp_matrices(self) -> int:
        """Weight matrices of one MLP: 3 with a gate (SwiGLU), else 2."""
        return 3 if self.mlp == "swiglu" else 2

    def padded_vocab(self, tp: int = 1) -> int:
        """Rows of the embedding table: ``vocab`` rounded up to a multiple of ``vocab_multiple * tp``."""
        multiple = self.vocab_multiple * tp
        return -(-self.vocab // multiple) * multiple

    @model_validator(mode="after")
    def _shape_fits(self) -> Model:
        if self.hidden % self.heads:
            raise ValueError(f"hidden {self.hidden} is not divisible by heads {self.heads}")
        if self.heads % self.kv_heads:
            raise ValueError(f"heads {self.heads} is not divisible by kv_heads {self.kv_heads}")
        return self


@lru_cache(maxsize=1)
def catalogue() -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]], Document]:
    """(families, models, document) as the catalogue file has them."""
    document = load(CATALOGUE)
    return document.data["families"], document.data["models"], document


def names() -> list[str]:
    return list(catalogue()[1])


@lru_cache(maxsize=256)
def named(name: str) -> Model:
    """A model of the catalogue. Raises InputError with the nearest name for an unknown one."""
    if name not in catalogue()[1]:
        raise InputError(f"there is no model '{name}'{suggestion(name, names())}")
    return build({"base": name}, catalogue()[2], ("models", name))


def build(keys: dict[str, Any], document: Document, location: Location) -> Model:
    """A model from a mapping: ``base`` names one of the catalogue, the other keys replace its values.

    Without ``base``, ``family`` gives the defaults. ``kv_heads`` defaults to heads, ``ffn`` to 4 times hidden.
    """
    families, models, _ = catalogue()
    given = dict(keys)
    base = given.pop("base", None)
    if base is not None and base not in models:
        raise InputError(document.problem((*location, "base"), f"there is no model '{base}'{suggestion(base, models)}"))
    start: dict[str, Any] = {"name": base, **models[base]} if base is not None else {}
    if base is not None and "hidden" in given:
        start.pop("ffn", None)
    if base is not None and ("heads" in given) and "kv_heads" not in given:
        start.pop("kv_heads", None)
    merged = {**start, **given}
    family = merged.get("family")
    if family not in families:
        raise InputError(
            document.problem((*location, "family"), f"a model needs a family{suggestion(family, families)}")
            if family is not None
            else document.problem(location, f"a model needs 'base' or 'family'{suggestion('', families)}")
        )
    merged = {**families[family], **merged}
    if isinstance(merged.get("hidden"), int):
        merged.setdefault("ffn", 4 * merged["hidden"])
    merged.setdefault("kv_heads", merged.get("heads"))
    merged.setdefault("name", f"{family}-custom")
    if base is not None and given and "name" not in given:
        merged["name"] = base + "".join(f"-{key}{value}" for key, value in sorted(given.items()))
    try:
        return Model.model_validate(merged)
    except ValidationError as error:
        raise InputError(problems_of(error, Model, document, location)) from None
