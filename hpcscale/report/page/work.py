"""What a row's FLOPs consist of: its convention's formula with the model's numbers put in, and the other conventions' counts."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from hpcscale.cost import flops
from hpcscale.cost.parameters import count
from hpcscale.ingest.describe import model_of
from hpcscale.spec.expressions import ExpressionError, evaluate
from hpcscale.spec.model import Model, named
from hpcscale.spec.problems import InputError

Row = Mapping[str, Any]
_PIECE = re.compile(r"N_\w+|V'|[A-Za-z]+|\d+(?:\.\d+)?|//|[-+/^()]")


class Work:
    """FLOP counts of rows; equal configurations are counted once."""

    def __init__(self, rows: Sequence[Row], specs: Sequence[dict[str, Any] | None]):
        # one object for equal models: comparing them is slow
        same: dict[Model | None, Model | None] = {}
        found = [_model(row, spec) for row, spec in zip(rows, specs, strict=True)]
        self._models = [same.setdefault(each, each) for each in found]
        self._counts: dict[tuple[Any, ...], float] = {}
        self._texts: dict[tuple[Any, ...], str | None] = {}

    def per_token(self, i: int, row: Row, convention: str) -> float | None:
        """FLOPs a token without recomputation: what MFU counts."""
        model, length = self._models[i], row["sequence_length"]
        if model is None or length is None:
            return None
        key = (convention, id(model), length, row["tp"] or 1)
        if key not in self._counts:
            self._counts[key] = flops.convention(convention).flops_per_token(model, length, row["tp"] or 1)
        return self._counts[key]

    def factor(self, i: int, row: Row) -> float | None:
        """HFU over MFU under a convention that counts model FLOPs; None under one that counts the hardware's."""
        model, length, checkpointing = self._models[i], row["sequence_length"], row["activation_checkpointing"]
        name = row["flops_convention"]
        if model is None or not length or not checkpointing or not name or flops.convention(name).hardware:
            return None
        return flops.hardware_factor(model, length, checkpointing)

    def said(self, i: int, row: Row) -> str | None:
        """The convention's formula, then the same with numbers, and what the symbols are."""
        model, length, name = self._models[i], row["sequence_length"], row["flops_convention"]
        if model is None or length is None or not name:
            return None
        key = (name, id(model), length, row["tp"] or 1, row["activation_checkpointing"], row["flops_per_token"])
        if key not in self._texts:
            self._texts[key] = _said(flops.convention(name), row, model)
        return self._texts[key]


def _model(row: Row, spec: dict[str, Any] | None) -> Model | None:
    found = model_of(spec) if spec is not None else None
    if found is not None or not row["model"]:
        return found
    try:
        return named(row["model"])
    except InputError:
        return None


def _symbols(row: Row, model: Model) -> dict[str, int]:
    """The letters of cost/flops.py."""
    length, tp = row["sequence_length"], row["tp"] or 1
    parameters = count(model, length, tp)
    lookups = parameters.position_embedding + parameters.token_type_embedding
    return {
        "N": parameters.total,
        "N_embedding": lookups + (0 if model.tied_embeddings else parameters.token_embedding),
        "N_positions": parameters.position_embedding,
        "L": model.layers, "d": model.hidden, "h": model.heads, "k": model.kv_heads, "e": model.head_size,
        "f": model.ffn, "V": model.vocab, "V'": model.padded_vocab(tp), "S": length,
        "c": 4 if row["activation_checkpointing"] == "full" else 3,
    }  # fmt: skip


def _said(convention: flops.Convention, row: Row, model: Model) -> str:
    symbols = _symbols(row, model)
    lines = [convention.formula]
    lines += [_with_numbers(convention.formula, symbols, row["flops_per_token"]) or ""]
    used = [
        name for name in symbols if re.search(rf"(?<![A-Za-z_]){re.escape(name)}(?![A-Za-z_'])", convention.formula)
    ]
    lines.append(", ".join(f"{name} = {symbols[name]:,}" for name in used))
    return "\n".join(filter(None, lines))


def _with_numbers(formula: str, symbols: Mapping[str, int], expected: float | None) -> str | None:
    """The clause of the formula that gives ``expected``, with numbers for letters; None if none is that simple."""
    for clause in re.split("[;:,]", formula):
        words = re.sub(r"^\s*(gpt|llama|bert) ", "", clause)
        pieces = _PIECE.findall(words)
        if expected is None or "".join(pieces) != re.sub(r"\s", "", words):
            continue
        if any(re.match("[A-Za-z]", piece) and piece not in symbols for piece in pieces):
            continue
        product = _multiplied([str(symbols.get(piece, piece)) for piece in pieces])
        if math.isclose(_evaluated(product), expected, rel_tol=1e-9):
            shown = (f"{int(piece):,}" if piece.isdecimal() else piece for piece in product)
            return " ".join(shown).replace("*", "×").replace("( ", "(").replace(" )", ")").replace(" ^ ", "^")
    return None


def _multiplied(pieces: list[str]) -> list[str]:
    """With a sign where the formula only puts factors side by side."""
    found: list[str] = []
    for piece in pieces:
        if found and (found[-1][0].isdigit() or found[-1] == ")") and (piece[0].isdigit() or piece == "("):
            found.append("*")
        found.append(piece)
    return found


def _evaluated(pieces: list[str]) -> float:
    """nan where the clause is no expression after all."""
    try:
        return float(evaluate("".join(pieces).replace("^", "**"), {}))
    except (ExpressionError, KeyError):
        return math.nan
