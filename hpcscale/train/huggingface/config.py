"""config.json: what model it describes, whether that is ours, and the one that describes ours. Needs no torch."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hpcscale.spec.model import Model, RopeScaling
from hpcscale.spec.problems import InputError, Problem
from hpcscale.train.huggingface.families import DEFAULT_ROPE_THETA, FAMILIES, NO_TOKENS, Family, Key

Config = dict[str, Any]
NAME = "config.json"
# RopeScaling's fields as config.json calls them
SCALING = {
    "factor": "factor",
    "low_frequency_factor": "low_freq_factor",
    "high_frequency_factor": "high_freq_factor",
    "original_max_positions": "original_max_position_embeddings",
}


def positions_of(model: Model, sequence_length: int) -> int:
    """Rows of the position table; where there is none, the positions that the model is trained with."""
    return model.max_positions or sequence_length


def read(folder: Path) -> Config:
    """The content of ``folder/config.json``."""
    path = folder / NAME
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"there is no {path}; a folder of Hugging Face weights has one") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None
    except ValueError as error:
        raise InputError(f"{path}: this is no JSON ({error})") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: this is no JSON object")
    return content


def describe(config: Config, place: str) -> dict[str, Any]:
    """The fields of Model, and ``positions_rows``, that a config.json means; ``place`` names it in errors.

    Raises InputError for what our transformer does not compute.
    """
    kind = config.get("model_type")
    found = next((name for name, each in FAMILIES.items() if each.model_type == kind), None)
    if found is None:
        valid = ", ".join(each.model_type for each in FAMILIES.values())
        raise InputError(f"{place}: model_type is {kind}; valid: {valid}")
    family = FAMILIES[found]
    problems = list(_unlike_ours(family, config))
    fields: dict[str, Any] = {"family": found, **family.shape}
    for key in family.keys:
        value = _value(key, config)
        if key.words is not None and value not in key.words:
            problems.append(f"{key.name} is {value}; valid: {', '.join(key.words)}")
        elif key.field in fields and fields[key.field] != _ours(key, value):
            problems.append(f"{key.name} is {value}, unlike the other {key.field}: ours are all or none")
        fields[key.field] = _ours(key, value) if key.words is None or value in key.words else None
    hidden, heads = fields["hidden"], fields["heads"]
    if not all(isinstance(each, int) and each > 0 for each in (hidden, heads)):
        raise InputError(Problem(place, 0, 0, f"hidden {hidden} and heads {heads} are not both whole numbers above 0"))
    if config.get("head_dim") not in (None, hidden // heads):
        problems.append(f"head_dim is {config['head_dim']}; ours is hidden / heads = {hidden // heads}")
    fields["ffn"] = fields.get("ffn") or 4 * hidden
    fields["kv_heads"] = fields.get("kv_heads") or heads
    if fields["positions"] == "rope":
        fields["rope_theta"], fields["rope_scaling"] = _rope(config, problems)
    if problems:
        raise InputError(Problem(place, 0, 0, each) for each in problems)
    return fields


def model_of(config: Config, name: str, place: str) -> Model:
    """The model that a config.json describes, under ``name``. Its table of learned positions has as many rows as theirs."""
    fields = describe(config, place)
    rows = fields.pop("positions_rows", None)
    try:
        return Model.model_validate({**fields, "name": name, "max_positions": rows})
    except ValidationError as error:
        found = error.errors(include_url=False)
        raise InputError(
            Problem(place, 0, 0, f"{_where(each)} is {each['input']!r}: {each['msg']}") for each in found
        ) from None


def differences(model: Model, sequence_length: int, config: Config) -> Iterator[str]:
    """Where the model of a config.json is not ``model``: the key, its value, ours, and what would match.

    Raises what ``describe`` raises.
    """
    fields = describe(config, NAME)
    names = {key.field: key.name for key in FAMILIES[fields["family"]].keys}
    if fields["family"] != model.family:
        yield f"model_type is {config['model_type']}, but {model.name} is of the family {model.family}"
        return
    for field, theirs in fields.items():
        rows = field == "positions_rows"
        ours = positions_of(model, sequence_length) if rows else getattr(model, field)
        if ours != theirs:
            name = names.get(field, field)
            yield (
                f"{name} is {_shown(config.get(name, theirs))}, but {model.name} has {_shown(ours)}; "
                f"model.{'max_positions' if rows else field}: {_shown(theirs)} matches"
            )


def unsavable(model: Model) -> list[str]:
    """Why Hugging Face's class of the family cannot compute what ``model`` computes; empty if it can."""
    family = FAMILIES[model.family]
    sentences = [
        f"{field} {_shown(getattr(model, field))} of {model.name} has no place in {family.architecture}, "
        f"whose models have {_shown(value)}"
        for field, value in family.shape.items()
        if getattr(model, field) != value
    ]
    for key in family.keys:
        if key.words is not None and getattr(model, key.field) not in key.words.values():
            valid = ", ".join(dict.fromkeys(key.words.values()))
            sentences.append(
                f"{key.field} {getattr(model, key.field)} of {model.name} has no place in {family.architecture}; valid: {valid}"
            )
    named = {key.field for key in family.keys}
    if "kv_heads" not in named and model.kv_heads != model.heads:
        sentences.append(
            f"{model.name} has {model.kv_heads} key/value heads for {model.heads} heads, but {family.architecture} has as "
            "many of both"
        )
    if "ffn" not in named and model.ffn != 4 * model.hidden:
        sentences.append(
            f"ffn {model.ffn} of {model.name} has no place in {family.architecture}, whose models have 4 x hidden = {4 * model.hidden}"
        )
    if model.family == "bert" and not model.token_types:
        sentences.append(f"token_types 0 of {model.name} has no place in {family.architecture}, whose models have some")
    return sentences


def config_of(model: Model, sequence_length: int, dtype: str) -> Config:
    """The config.json of a model that is not unsavable; its weights are written as ``dtype`` (``float32``)."""
    family = FAMILIES[model.family]
    positions = positions_of(model, sequence_length)
    flat: Config = {"architectures": [family.architecture], "model_type": family.model_type}
    for key in family.keys:
        flat[key.name] = positions if key.field == "positions_rows" else _theirs(key, getattr(model, key.field))
    flat |= {**family.fixed, **family.written, **NO_TOKENS, "initializer_range": model.init_std, "torch_dtype": dtype}
    if model.positions == "alibi":
        flat["max_seq_len"] = positions
    if model.positions == "rope":
        flat |= _rope_keys(model, positions)
    return _nested(flat)


def _unlike_ours(family: Family, config: Config) -> Iterator[str]:
    for name, only in family.fixed.items():
        value = _at(config, name, only)
        if value != only:
            yield f"{name} is {json.dumps(value)}, which is not built; only {json.dumps(only)} is"


def _value(key: Key, config: Config) -> Any:
    value = config.get(key.name)
    return key.default if value is None else value


def _ours(key: Key, value: Any) -> Any:
    return value if key.words is None else key.words[value]


def _theirs(key: Key, value: Any) -> Any:
    return value if key.words is None else next(theirs for theirs, ours in key.words.items() if ours == value)


def _rope(config: Config, problems: list[str]) -> tuple[float, RopeScaling | None]:
    """(theta, scaling), from ``rope_parameters`` (transformers 5) or ``rope_theta`` and ``rope_scaling`` (before)."""
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    theta = float(rope.get("rope_theta") or config.get("rope_theta") or DEFAULT_ROPE_THETA)
    kind = rope.get("rope_type") or rope.get("type") or "default"
    if kind == "default":
        return theta, None
    if kind != "llama3":
        problems.append(f"rope_type is {kind}; valid: default, llama3")
        return theta, None
    if missing := [name for name in SCALING.values() if name not in rope]:
        problems.append(f"the rotary scaling llama3 lacks {', '.join(missing)}")
        return theta, None
    return theta, RopeScaling(**{ours: rope[theirs] for ours, theirs in SCALING.items()})


def _rope_keys(model: Model, positions: int) -> Config:
    """As transformers wrote them before version 5, which reads them too."""
    scaling = model.rope_scaling
    if scaling is None:
        return {"max_position_embeddings": positions, "rope_theta": model.rope_theta, "rope_scaling": None}
    stretched = round(scaling.factor * scaling.original_max_positions)
    return {
        "max_position_embeddings": max(positions, stretched),
        "rope_theta": model.rope_theta,
        "rope_scaling": {
            "rope_type": "llama3",
            **{theirs: getattr(scaling, ours) for ours, theirs in SCALING.items()},
        },
    }


def _at(config: Config, path: str, default: Any) -> Any:
    """The value at a dotted path."""
    value: Any = config
    for step in path.split("."):
        if not isinstance(value, dict) or step not in value:
            return default
        value = value[step]
    return value


def _nested(flat: Config) -> Config:
    """Dotted keys as mappings."""
    nested: Config = {}
    for path, value in flat.items():
        *above, last = path.split(".")
        place = nested
        for step in above:
            place = place.setdefault(step, {})
        place[last] = value
    return nested


def _where(error: Any) -> str:
    return ".".join(map(str, error["loc"])) or "the model"


def _shown(value: Any) -> str:
    if isinstance(value, RopeScaling):
        return "{" + ", ".join(f"{field}: {each:g}" for field, each in value.model_dump().items()) + "}"
    if isinstance(value, bool):
        return str(value).lower()
    return "null" if value is None else str(value)
