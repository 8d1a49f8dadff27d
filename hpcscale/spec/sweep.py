"""A machine's sweeps in a study, as assignments: combinations, rows, explicit points, exclusions."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from hpcscale.spec import expressions, keys
from hpcscale.spec.assignment import Assignment, Sections
from hpcscale.spec.derive import Resolver
from hpcscale.spec.keys import Key
from hpcscale.spec.machine import Machine
from hpcscale.spec.problems import InputError, Problem
from hpcscale.spec.study import MachineEntry, Study, Sweep
from hpcscale.spec.yaml12 import Location


class Sweeps:
    """One machine's sweeps as assignments; what is wrong with them goes to ``problems``."""

    def __init__(self, study: Study, name: str, profile: Machine, sections: Sections, problems: list[Problem]):
        self.study, self.name, self.profile, self.sections, self.problems = study, name, profile, sections, problems

    def assignments(self, entry: MachineEntry) -> list[Assignment]:
        file = self.study.file
        outer: dict[str, tuple[Any, Location]] = {}
        for mapping, base in ((file.derive, ("derive",)), (entry.derive, ("machines", self.name, "derive"))):
            outer.update({key: (value, (*base, key)) for key, value in mapping.items()})
        blocks: list[tuple[Sweep, Location]] = []
        for sweeps, base in ((file.sweep, ("sweep",)), (entry.sweep, ("machines", self.name, "sweep"))):
            raw: Any = self.study.document.data
            for step in base:
                raw = raw.get(step) if isinstance(raw, dict) else None
            as_list = isinstance(raw, list)
            blocks += [(sweep, (*base, i) if as_list else base) for i, sweep in enumerate(sweeps)]
        if not blocks:
            blocks = [(Sweep(), ("machines", self.name))]
        if any(sweep.model_fields_set for sweep in file.sweep) and entry.sweep:
            return self._crossed(file.sweep, entry.sweep, blocks, outer)
        return [each for sweep, location in blocks for each in self._block(sweep, location, outer)]

    def _crossed(
        self, common: list[Sweep], own: list[Sweep], blocks: list[tuple[Sweep, Location]], outer: dict[str, Any]
    ) -> list[Assignment]:
        """The study's sweep times the machine's: each of one with each of the other."""
        split = len(common)
        first = [each for sweep, location in blocks[:split] for each in self._block(sweep, location, outer)]
        second = [each for sweep, location in blocks[split:] for each in self._block(sweep, location, outer)]
        crossed = []
        for a, b in itertools.product(first, second):
            both = a.values.keys() & b.values.keys()
            if both:
                key = keys.short(sorted(both)[0])
                message = f"two values for one axis: '{key}' is swept by the study and again by this machine; keep one"
                self.problems.append(self.study.problem(b.location, message))
                return []
            crossed.append(Assignment(self.name, {**a.values, **b.values}, b.location, {**a.derive, **b.derive}))
        return crossed

    def _block(self, sweep: Sweep, location: Location, outer: dict[str, tuple[Any, Location]]) -> list[Assignment]:
        fixed = dict(self._pairs(sweep.set, (*location, "set")))
        product = self._lists(sweep.product, (*location, "product"))
        rows = self._lists(sweep.zip, (*location, "zip"))
        lengths = {len(values) for values in rows.values()}
        if len(lengths) > 1:
            counted = ", ".join(f"{keys.short(key)} {len(values)}" for key, values in rows.items())
            self._complain((*location, "zip"), f"the lists of a zip must be of one length, but they have: {counted}")
            return []
        self._no_key_twice(location, fixed, product, rows)
        derive = {**outer, **{key: (value, (*location, "derive", key)) for key, value in sweep.derive.items()}}
        zipped = [dict(zip(rows, row, strict=True)) for row in zip(*rows.values(), strict=True)] if rows else [{}]
        result = []
        if product or rows or not sweep.points:
            for combination in itertools.product(*product.values()):
                swept = dict(zip(product, combination, strict=True))
                result += [Assignment(self.name, {**fixed, **swept, **row}, location, derive) for row in zipped]
        for i, point in enumerate(sweep.points):
            here = (*location, "points", i)
            values = {**fixed, **dict(self._pairs(point, here))}
            result.append(Assignment(self.name, values, here, derive))
        return [each for each in result if not self._excluded(each, sweep.exclude, location)]

    def _key(self, name: str, location: Location) -> Key | None:
        try:
            return keys.resolve(name, self.profile.resources)
        except ValueError as error:
            self._complain(location, str(error))
            return None

    def _pairs(self, mapping: dict[str, Any], location: Location) -> Iterator[tuple[Key, Any]]:
        seen: dict[Key, str] = {}
        for name, value in mapping.items():
            key = self._key(name, (*location, name))
            if key is None:
                continue
            if key in seen:
                self._complain(
                    (*location, name), f"two values for one axis: '{seen[key]}' and '{name}' are the same key; keep one"
                )
            seen[key] = name
            if self._fits(key, value, (*location, name)):
                yield key, value

    def _lists(self, mapping: dict[str, list[Any]], location: Location) -> dict[Key, list[Any]]:
        result: dict[Key, list[Any]] = {}
        for name, values in mapping.items():
            key = self._key(name, (*location, name))
            if key is None:
                continue
            if key in result:
                self._complain((*location, name), f"two values for one axis: '{name}' is swept twice; keep one list")
            if not values:
                self._complain((*location, name), f"the list of '{name}' is empty, which leaves no point")
            result[key] = [v for i, v in enumerate(values) if self._fits(key, v, (*location, name, i))]
        return result

    def _fits(self, key: Key, value: Any, location: Location) -> bool:
        reason = keys.check(key, value)
        if reason:
            self._complain(location, reason)
        return reason is None

    def _no_key_twice(self, location: Location, *parts: dict[Key, Any]) -> None:
        seen: set[Key] = set()
        for part in parts:
            for key in part:
                if key in seen:
                    message = (
                        f"two values for one axis: '{keys.short(key)}' stands in more than one of set, product and zip"
                    )
                    self._complain(location, message + "; keep one")
                seen.add(key)

    def _excluded(self, assignment: Assignment, exclude: list[dict[str, Any] | str], location: Location) -> bool:
        for i, rule in enumerate(exclude):
            here = (*location, "exclude", i)
            if isinstance(rule, str):
                resolver = Resolver(assignment.values, self.sections, self.profile, assignment.derive)
                try:
                    if resolver.truth(rule):
                        return True
                except (expressions.ExpressionError, InputError) as error:
                    self._complain(here, str(error))
                continue
            resolver = Resolver(assignment.values, self.sections, self.profile, assignment.derive, self.study.document)
            if rule and all(self._matches(resolver, name, value, (*here, name)) for name, value in rule.items()):
                return True
        return False

    def _matches(self, resolver: Resolver, name: str, wanted: Any, location: Location) -> bool:
        """Whether the point's value of ``name``, swept, derived or written in the study, is ``wanted`` or one of it."""
        key = self._key(name, location)
        choices = wanted if isinstance(wanted, list) else [wanted]
        if key is None or not all(self._fits(key, choice, location) for choice in choices):
            return False
        try:
            return resolver.name(name) in choices
        except expressions.ExpressionError:
            return False

    def _complain(self, location: Location, message: str) -> None:
        problem = self.study.problem(location, message)
        if problem not in self.problems:
            self.problems.append(problem)
