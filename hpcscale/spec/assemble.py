"""From one assignment to its points: values put together, validated, checked against the rules, given a name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from pydantic import BaseModel, ValidationError

from hpcscale.spec import keys, rules, workload
from hpcscale.spec.assignment import Assignment, Sections, Skipped
from hpcscale.spec.derive import Resolver, resolve_model
from hpcscale.spec.job import Job
from hpcscale.spec.keys import Key
from hpcscale.spec.layout import Layout, Training
from hpcscale.spec.machine import Machine, Queue
from hpcscale.spec.model import Model
from hpcscale.spec.point import Point, hash_of
from hpcscale.spec.problems import InputError
from hpcscale.spec.study import Study
from hpcscale.spec.typed import problems_of
from hpcscale.spec.units import format_seconds
from hpcscale.spec.workload import Workload

_UNSAFE = re.compile(r"[^A-Za-z0-9._+-]+")
_LONGEST_SLUG = 120


class Assembler:
    """Makes the points of one machine of a study. What no sweep changes is validated once."""

    def __init__(self, study: Study, machine: Machine, sections: Sections, varying: list[Key]):
        self.study, self.machine, self.sections, self.varying = study, machine, sections, varying
        self._unchanged: dict[str, Any] = {}
        self._peaks: dict[tuple[Any, ...], float | None] = {}

    def points(self, assignment: Assignment) -> Iterator[Point | Skipped]:
        """The assignment's points, one a repeat; or why there is none."""
        study, machine = self.study, self.machine
        values = self._with_derived(assignment)
        model = self._model(assignment, values)
        program = self._workload(assignment, values)
        parts = self._parts(assignment, values)
        layout, training, job, protocol = parts["layout"], parts["training"], parts["job"], parts["protocol"]
        ranks_per_node = Resolver(values, self.sections, machine, {}).ranks_per_node()
        nodes = -(-layout.ranks // ranks_per_node)
        resources = self._resources(assignment, values)
        reasons = [
            *rules.layout_violations(model, layout, training),
            *rules.machine_violations(machine, training, layout.ranks, nodes, ranks_per_node, resources),
            *_shape_violations(job, nodes),
            *workload.violations(program, machine, {**parts, "model": model}, nodes),
        ]
        queue, reason = _queue(machine, nodes, job)
        if reason and nodes <= machine.nodes:
            reasons.append(reason)
        slug = self._slug(values)
        if reasons:
            place = study.problem(assignment.location, "")
            yield Skipped(f"{place.file}:{place.line}:{place.column}", machine.name, slug, "; ".join(reasons))
            return
        peak = self._peak(training.precision, resources)
        found = list(_warnings(machine, layout, training, nodes, ranks_per_node, peak, queue))
        if job.time is None and queue is not None:
            given = (
                f"{queue.name} gives {format_seconds(queue.time.default)}"
                if queue.time.default
                else "the queue decides"
            )
            found.append(f"job.time is not set: {given}")
        warnings = tuple(found)
        for repeat in range(1, protocol.repeats + 1):
            hashed = hash_of(machine, model, layout, training, parts["data"], protocol, resources, repeat, program)
            name = slug if repeat == 1 else f"{slug}-r{repeat}"
            yield Point(
                study=study.name, identity=f"{name}-{hashed}", hash=hashed, scaling=study.file.scaling,
                machine=machine, model=model, layout=layout, training=training, data=parts["data"], protocol=protocol,
                job=job, resources=resources, repeat=repeat, nodes=nodes, ranks_per_node=ranks_per_node, queue=queue,
                peak_tflops=peak, warnings=warnings, workload=program,
            )  # fmt: skip

    def _with_derived(self, assignment: Assignment) -> dict[Key, Any]:
        values = dict(assignment.values)
        if assignment.derive:
            resolver = Resolver(values, self.sections, self.machine, assignment.derive, self.study.document)
            for key, value in resolver.derived().items():
                if key in assignment.values:
                    message = f"two values for one axis: '{keys.short(key)}' is derived and also swept or set; keep one"
                    raise InputError(self.study.problem(assignment.location, message))
                values[key] = value
        return values

    def _model(self, assignment: Assignment, values: dict[Key, Any]) -> Model:
        places = [("machines", assignment.machine, "model"), ("model",)]
        known = self.study.document.places
        location = next((place for place in places if place in known), ("machines", assignment.machine))
        if ("model",) in assignment.values:
            location = assignment.location
        return resolve_model(values, self.sections, self.study.document, location)

    def _workload(self, assignment: Assignment, values: dict[Key, Any]) -> Workload:
        base = values.get(("workload",), self.sections["workload"])
        changes = {key[1:]: value for key, value in values.items() if key[0] == "workload" and len(key) > 1}
        swept = ("workload",) in values or changes
        places = [("machines", assignment.machine, "workload"), ("workload",)]
        known = self.study.document.places
        location = assignment.location if swept else next((each for each in places if each in known), ())
        try:
            return workload.resolve(base, changes)
        except ValidationError as error:
            found = problems_of(error, Workload, self.study.document)
        except InputError as error:
            found = error.problems
        raise InputError([self.study.problem(location, each.message) for each in found])

    def _parts(self, assignment: Assignment, values: dict[Key, Any]) -> dict[str, Any]:
        changed = {key[0] for key in values}
        parts = {}
        for name, kind in keys.SECTIONS.items():
            if name in changed:
                written = self.sections[name]
                for key, value in values.items():
                    if key[0] == name:
                        written = _with(written, key[1:], value)
                parts[name] = self._validated(kind, written, assignment)
            else:
                if name not in self._unchanged:
                    self._unchanged[name] = self._validated(kind, self.sections[name], assignment)
                parts[name] = self._unchanged[name]
        return parts

    def _validated(self, kind: type[BaseModel], data: dict[str, Any], assignment: Assignment) -> Any:
        try:
            return kind.model_validate(data)
        except ValidationError as error:
            found = problems_of(error, kind, self.study.document, ("machines", assignment.machine))
            name = kind.__name__.lower()
            raise InputError(
                [self.study.problem(assignment.location, f"{name}: {each.message}") for each in found]
            ) from None

    def _resources(self, assignment: Assignment, values: dict[Key, Any]) -> dict[str, int]:
        machine = self.machine
        given = dict(self.sections["resources"])
        given.update({key[1]: value for key, value in values.items() if key[0] == "resources"})
        for name, value in given.items():
            place = ("machines", assignment.machine, "resources", name)
            if name != "ranks_per_node" and name not in machine.resources:
                valid = ", ".join([*machine.resources, "ranks_per_node"])
                message = f"{machine.name} has no resource '{name}'; valid: {valid}"
                raise InputError(self.study.problem(place, message))
            if isinstance(value, bool) or not isinstance(value, int):
                raise InputError(self.study.problem(place, f"{name} is {value!r}; it must be a whole number"))
            if name == "ranks_per_node" and value < 1:
                raise InputError(self.study.problem(place, f"ranks_per_node is {value}; it must be at least 1"))
        return {**machine.default_resources(), **given}

    def _peak(self, precision: str, resources: dict[str, int]) -> float | None:
        key = (precision, *resources.items())
        if key not in self._peaks:
            self._peaks[key] = self.machine.device_facts.peak(precision, resources)
        return self._peaks[key]

    def _slug(self, values: dict[Key, Any]) -> str:
        words = [self.machine.name] if len(self.study.file.machines) > 1 else []
        for key in self.varying:
            value = values.get(key)
            if value is None:
                whole = key in (("model",), ("workload",))
                value = self.sections[key[0]] if whole else _section_value(self.sections, key)
            if value is None and key == ("workload",):
                value = workload.OWN
            if value is not None:
                words.append(_word(key, value))
        return _UNSAFE.sub("-", "-".join(words))[:_LONGEST_SLUG].strip("-.") or self.machine.name


def _with(mapping: Any, path: Key, value: Any) -> dict[str, Any]:
    result = dict(mapping) if isinstance(mapping, dict) else mapping.model_dump(exclude_unset=True) if mapping else {}
    result[path[0]] = value if len(path) == 1 else _with(result.get(path[0]), path[1:], value)
    return result


def _queue(machine: Machine, nodes: int, job: Job) -> tuple[Queue | None, str | None]:
    """The queue for such a job, or why no queue takes it."""
    if not machine.queues:
        return None, None
    named = [queue for queue in machine.queues if queue.name == job.queue]
    if job.queue is not None and not named:
        valid = ", ".join(dict.fromkeys(queue.name for queue in machine.queues))
        return None, f"{machine.name} has no queue '{job.queue}'; valid: {valid}"
    refusals = []
    for queue in named or machine.queues:
        asked_for = bool(named) or not queue.on_request
        refusal = queue.admits(nodes, job.seconds)
        if refusal is None and asked_for:
            return queue, None
        if refusal is None:
            refusals.append(f"{queue.name} would, if job.queue names it")
        elif asked_for:
            refusals.append(refusal)
    return None, _refused(nodes, job, refusals)


def _refused(nodes: int, job: Job, refusals: list[str]) -> str:
    time = f" for {format_seconds(job.seconds)}" if job.seconds is not None else ""
    return f"no queue takes {nodes} nodes{time}: " + ", ".join(refusals)


def _shape_violations(job: Job, nodes: int) -> Iterator[str]:
    if job.node_shape is None:
        return
    shape = rules.parse_node_shape(job.node_shape)
    if shape is None:
        yield f"node_shape '{job.node_shape}' is no shape such as 8x24x32:torus"
        return
    product = 1
    for axis in shape:
        product *= axis
    if product != nodes:
        yield f"node_shape {job.node_shape} has {product} nodes, but the layout needs {nodes}"


def _warnings(
    machine: Machine,
    layout: Layout,
    training: Training,
    nodes: int,
    ranks_per_node: int,
    peak: float | None,
    queue: Queue | None,
) -> Iterator[str]:
    idle = nodes * ranks_per_node - layout.ranks
    if idle and machine.scheduler != "local":
        yield f"{layout.ranks} ranks leave {idle} of {ranks_per_node} ranks of the last node idle, which is paid for"
    if queue is not None and nodes % queue.allocation_unit:
        unit = queue.allocation_unit
        yield f"{queue.name} hands out nodes in units of {unit}: {nodes} nodes occupy {-(-nodes // unit) * unit}"
    device = machine.device_facts
    if peak is None and (device.peak_tflops or device.modes):
        yield f"{device.name} has no {training.precision} peak in its profile: no MFU for these points"
    yield from rules.batch_warnings(layout, training)


def _section_value(sections: Sections, key: Key) -> Any:
    value: Any = sections.get(key[0])
    for step in key[1:]:
        value = value.get(step) if isinstance(value, dict) else getattr(value, step, None)
    if value is None and key[0] == "layout":
        return Layout.model_fields[key[1]].default
    return value


@lru_cache(maxsize=65536)
def _word_of(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return name if value else f"no-{name}"
    if name in ("sharding", "precision"):
        return value
    separator = "-" if isinstance(value, str) or name[-1].isdigit() else ""
    return f"{name}{separator}{value}"


def _word(key: Key, value: Any) -> str:
    if key == ("model",):
        return value if isinstance(value, str) else str(value.get("name") or value.get("base") or "model")
    if key == ("workload",):
        return str(workload.as_mapping(value).get("name", "workload"))
    try:
        return _word_of(keys.short(key), value)
    except TypeError:
        return keys.short(key)
