"""``scaling: strong`` and ``weak`` in a study are claims about its batches: they are checked, not believed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from fractions import Fraction

from hpcscale.spec.point import Point
from hpcscale.spec.problems import InputError
from hpcscale.spec.study import Study

_WHAT = {"strong": "one global batch size", "weak": "one global batch size per device"}


def check(study: Study, points: Iterable[Point]) -> None:
    """Raises InputError where the points that differ in size do not keep what the study's ``scaling`` keeps constant.

    Points are compared within a machine, model and sequence length. Several lines are allowed (a batch size swept
    together with dp); a batch that stands on no line, at one number of devices only, is not.
    """
    claimed = study.file.scaling
    if claimed not in _WHAT:
        return
    groups: dict[tuple[str, str, int], list[Point]] = defaultdict(list)
    for point in points:
        groups[point.machine.name, point.model.name, point.training.sequence_length].append(point)
    for (machine, model, _), group in groups.items():
        lines: dict[Fraction, set[int]] = defaultdict(set)
        for point in group:
            share = point.devices if claimed == "weak" else 1
            lines[Fraction(point.training.global_batch_size, share)].add(point.devices)
        if len(lines) > 1 and len({point.devices for point in group}) > 1 and min(map(len, lines.values())) == 1:
            found = ", ".join(f"{_number(kept)} at {_devices(devices)}" for kept, devices in sorted(lines.items()))
            message = f"scaling: {claimed} means {_WHAT[claimed]}, but {model} on {machine} has {found} devices"
            raise InputError(study.problem(("scaling",), f"{message}; change the batches, or write scaling: none"))


def _number(value: Fraction) -> str:
    return str(value.numerator) if value.denominator == 1 else f"{float(value):g}"


def _devices(devices: set[int]) -> str:
    return "/".join(str(each) for each in sorted(devices))
