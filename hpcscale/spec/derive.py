"""Values that follow from others: derived keys, and the names that expressions may read."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from hpcscale.spec import expressions, keys, model
from hpcscale.spec.assignment import Sections
from hpcscale.spec.keys import Key
from hpcscale.spec.machine import Machine
from hpcscale.spec.model import Model
from hpcscale.spec.problems import InputError, Problem
from hpcscale.spec.workload import OWN, as_mapping
from hpcscale.spec.yaml12 import Document, Location

Derive = Mapping[str, tuple[Any, Location]]


class Resolver:
    """Looks names up for the expressions of one point: its values, its derived values, ranks, devices and nodes."""

    def __init__(
        self,
        values: Mapping[Key, Any],
        sections: Sections,
        machine: Machine,
        derive: Derive,
        document: Document | None = None,
    ):
        self.values, self.sections, self.machine, self.derive = values, sections, machine, derive
        self.document = document or Document(None, "")
        self._open: list[str] = []
        self._done: dict[str, Any] = {}

    def derived(self) -> dict[Key, Any]:
        """The derived keys with their values. Raises InputError for a cycle, an unknown name or a bad value."""
        read = {name for value, _ in self.derive.values() if isinstance(value, str) for name in self._names(value)}
        result = {}
        for name, (_, location) in self.derive.items():
            value = self.name(name)
            try:
                key = keys.resolve(name, self.machine.resources)
            except ValueError as error:
                if name in read and "." not in name and name not in keys.COMPUTED:
                    continue  # a helper that other expressions use
                raise InputError(self.document.problem(location, str(error))) from None
            reason = keys.check(key, value)
            if reason:
                raise InputError(self.document.problem(location, f"the derived value does not fit: {reason}"))
            result[key] = value
        return result

    def truth(self, text: str) -> bool:
        return bool(expressions.evaluate(text, self.name))

    def name(self, name: str) -> Any:
        """The value of a name in an expression."""
        if name in self._done:
            return self._done[name]
        entry = self._derived_entry(name)
        if entry is None:
            return self._plain(name)
        spelled, (text, location) = entry
        if spelled in self._open:
            circle = " -> ".join([*self._open[self._open.index(spelled) :], spelled])
            raise InputError(self.document.problem(location, f"derived values go round in a circle: {circle}"))
        if not isinstance(text, str):
            return text
        self._open.append(spelled)
        try:
            value = expressions.evaluate(text, self.name)
        except _UnknownName as error:
            raise InputError(self.document.problem(location, f"'{text}' reads {error}")) from None
        except expressions.ExpressionError as error:
            raise InputError(self.document.problem(location, str(error))) from None
        finally:
            self._open.pop()
        self._done[name] = value
        return value

    def _names(self, text: str) -> frozenset[str]:
        try:
            return expressions.names(text)
        except expressions.ExpressionError:
            return frozenset()  # reported, with its place, when the value is computed

    def _derived_entry(self, name: str) -> tuple[str, tuple[Any, Location]] | None:
        if name in self.derive:
            return name, self.derive[name]
        wanted = _key_or_none(name, self.machine)
        if wanted is not None:
            for spelled, entry in self.derive.items():
                if _key_or_none(spelled, self.machine) == wanted:
                    return spelled, entry
        return None

    def _plain(self, name: str) -> Any:
        if name == "ranks":
            return self.name("dp") * self.name("tp") * self.name("pp") * self.name("cp")
        if name == "nodes":
            return -(-self.name("ranks") // self.ranks_per_node())
        if name == "devices":
            share = max(1, self.ranks_per_node() // int(self.machine.node.devices))
            return -(-self.name("ranks") // share)
        if name == "ranks_per_node":
            return self.ranks_per_node()
        if name in keys.MODEL_KEYS or name == "head_size":
            return getattr(self._model(), name)
        key = _key_or_none(name, self.machine)
        if key is None:
            valid = [*keys.valid_names(self.machine.resources), *keys.COMPUTED, *self.derive]
            near = difflib.get_close_matches(name, valid, n=1)
            raise _UnknownName(
                f"'{name}', which is neither a key nor derived" + (f"; did you mean '{near[0]}'?" if near else "")
            )
        if key in self.values:
            return self.values[key]
        return self._from_sections(key, name)

    def _from_sections(self, key: Key, name: str) -> Any:
        if key == ("model",):
            return self._model().name
        if key[0] == "workload":
            said = as_mapping(self.values.get(("workload",), self.sections["workload"]) or OWN)
            return said["name"] if key == ("workload",) else said.get(key[1])
        if key[0] == "resources":
            default = self.machine.resources[key[1]].default
            return self.sections["resources"].get(key[1], default)
        value = self.sections[key[0]].get(key[1])
        if value is None:
            value = keys.SECTIONS[key[0]].model_fields[key[1]].get_default()
        for part in key[2:]:
            value = getattr(value, part, None) if not isinstance(value, dict) else value.get(part)
        if value is None or repr(value) == "PydanticUndefined":
            raise _UnknownName(f"'{name}', which has no value here")
        return value

    def ranks_per_node(self) -> int:
        given = self.values.get(("resources", "ranks_per_node"), self.sections["resources"].get("ranks_per_node"))
        return int(given or self.machine.launch.ranks_per_node or self.machine.node.devices)

    def _model(self) -> Model:
        return resolve_model(self.values, self.sections, Document(None, ""), ())


class _UnknownName(expressions.ExpressionError):
    """An expression reads a name that is nowhere defined."""


def _key_or_none(name: str, machine: Machine) -> Key | None:
    try:
        return keys.resolve(name, machine.resources)
    except ValueError:
        return None


def resolve_model(values: Mapping[Key, Any], sections: Sections, document: Document, location: Location) -> Model:
    """The model of a point: its name or mapping, with the ``model.*`` values on top."""
    base = values.get(("model",), sections["model"])
    if base is None:
        message = "no model is named; write, for example, model: gpt-124m (hpcscale models lists them)"
        raise InputError(document.problem(location, message))
    changes = {key[1]: value for key, value in values.items() if key[0] == "model" and len(key) == 2}
    try:
        if isinstance(base, str) and not changes:
            return model.named(base)
        given = {"base": base} if isinstance(base, str) else dict(base)
        return model.build({**given, **changes}, document, location)
    except InputError as error:
        here = document.place(location)
        raise InputError(
            [each if each.line else Problem(document.file, *here, each.message) for each in error.problems]
        ) from None
