"""From a parsed document to typed values: pydantic's findings as problems with places and suggestions."""

from __future__ import annotations

import types
import typing
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from hpcscale.spec.problems import InputError, Problem, suggestion
from hpcscale.spec.yaml12 import Document, Location


class Strict(BaseModel):
    """Base of everything a person writes: unknown keys are errors, values never change after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False)


M = TypeVar("M", bound=BaseModel)


def validate(kind: type[M], document: Document, location: Location = ()) -> M:
    """The part of ``document`` at ``location`` as ``kind``. Raises InputError with every problem and its place."""
    data = document.data
    for step in location:
        data = data[step]
    if not isinstance(data, dict):
        what = "is empty" if data is None else f"is {_type_name(data)}"
        raise InputError(
            document.problem(location, f"a {_title(kind)} is a mapping of keys to values, but this {what}")
        )
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        raise InputError(problems_of(error, kind, document, location)) from None


def problems_of(
    error: ValidationError, kind: type[BaseModel], document: Document, location: Location = ()
) -> list[Problem]:
    """Each of pydantic's errors as a sentence at its place in the document."""
    problems = []
    branches: set[Location] = set()
    for each in error.errors(include_url=False):
        raw = (*location, *each["loc"])
        where = _real_location(document, location, each["loc"])
        if len(raw) > len(where) and each["type"] not in ("missing", "extra_forbidden"):
            # The rest of pydantic's location names a branch of a union: the first branch's sentence is enough.
            if where in branches:
                continue
            branches.add(where)
        sentence = _sentence(each, kind, where[len(location) :])
        problems.append(document.problem(where, sentence, at_key=each["type"] == "extra_forbidden"))
    return problems


def _real_location(document: Document, base: Location, loc: tuple[Any, ...]) -> Location:
    """The part of pydantic's location that exists in the file: union branches and missing keys do not."""
    here, data = base, document.data
    for step in base:
        data = _inside(data, step)
    for step in loc:
        if _inside(data, step) is not _NOTHING:
            here, data = (*here, step), _inside(data, step)
    return here


_NOTHING = object()


def _inside(data: Any, step: Any) -> Any:
    if isinstance(data, dict):
        return data.get(step, _NOTHING)
    if isinstance(data, list | tuple) and isinstance(step, int):
        return data[step] if step < len(data) else _NOTHING
    return _NOTHING


def _sentence(error: Any, kind: type[BaseModel], where: Location) -> str:
    loc, value, context = error["loc"], error.get("input"), error.get("ctx", {})
    name = ".".join(str(step) for step in where) or ".".join(str(step) for step in loc) or _title(kind)
    match error["type"]:
        case "extra_forbidden":
            fields = fields_at(kind, loc[:-1])
            return f"'{loc[-1]}' is no key of {_owner(kind, loc[:-1])}{suggestion(loc[-1], fields)}"
        case "missing":
            return f"the key '{loc[-1]}' is missing"
        case "greater_than":
            return f"{name} is {value!r}; it must be greater than {context['gt']:g}"
        case "greater_than_equal":
            return f"{name} is {value!r}; it must be at least {context['ge']:g}"
        case "literal_error" | "enum":
            valid = [each.strip(" '") for each in context["expected"].replace(" or ", ", ").split(",")]
            return f"{name} is {value!r}{suggestion(value, valid)}"
        case "int_type" | "int_parsing" | "int_from_float":
            return f"{name} is {value!r}; it must be a whole number"
        case "string_type":
            return f"{name} is {value!r}; it must be text (quote it)"
        case "float_type" | "float_parsing":
            return f"{name} is {value!r}; it must be a number"
        case "bool_type" | "bool_parsing":
            return f"{name} is {value!r}; it must be true or false"
        case "value_error":
            return f"{name}: {context['error']}"
        case "model_type" | "dict_type":
            return f"{name} is {_type_name(value)}; it must be a mapping of keys to values"
        case "list_type" | "tuple_type":
            return f"{name} is {_type_name(value)}; it must be a list"
    return f"{name}: {error['msg'][0].lower()}{error['msg'][1:]}"


def _type_name(value: Any) -> str:
    if isinstance(value, list):
        return "a list"
    return f"{value!r}"


def _title(kind: type[BaseModel]) -> str:
    name = (kind.__name__).removesuffix("File").removesuffix("Settings")
    return "".join(" " + c.lower() if c.isupper() else c for c in name).strip()


def _owner(kind: type[BaseModel], loc: tuple[Any, ...]) -> str:
    names = [str(step) for step in loc if isinstance(step, str)]
    return f"'{'.'.join(names)}'" if names else f"a {_title(kind)}"


def fields_at(kind: type[BaseModel], loc: tuple[Any, ...]) -> list[str]:
    """The keys that the mapping at ``loc`` of a ``kind`` may have."""
    kinds: list[type[BaseModel]] = [kind]
    for step in loc:
        found: list[type[BaseModel]] = []
        for each in kinds:
            if isinstance(step, str) and step in each.model_fields:
                found += _models_in(each.model_fields[step].annotation)
        # A step that is no field is a list index, a mapping's key or pydantic's name for a union's branch.
        kinds = found or [each for each in kinds if each.__name__ == step] or kinds
    return sorted({name for each in kinds for name in each.model_fields})


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is not None:
        return [model for each in typing.get_args(annotation) for model in _models_in(each)]
    return []


def partial(kind: type[BaseModel], name: str) -> type[Strict]:
    """``kind`` with every key optional: a part of the whole that says only what differs."""
    fields: dict[str, Any] = {}
    for key, info in kind.model_fields.items():
        annotation: Any = info.annotation
        for item in info.metadata:
            annotation = typing.Annotated[annotation, item]
        fields[key] = (annotation | None, None)
    return create_model(name, __base__=Strict, __doc__=f"Any of the keys of {kind.__name__}.", **fields)
