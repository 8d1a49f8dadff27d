"""What options say together: those that exclude each other, and those that contradict themselves."""

from __future__ import annotations

from hpcscale.jobs.lint.finding import Remark, error, warning
from hpcscale.jobs.lint.grammar import Grammar
from hpcscale.jobs.lint.options import Given, Reading


def contradictions(reading: Reading, grammar: Grammar) -> list[Remark]:
    """Mutually exclusive options, and options given again with another value."""
    remarks = []
    for component in sorted({each.component for each in reading.given}):
        given = [each for each in reading.given if each.component == component]
        remarks += _exclusive(given, grammar) + _repeated(given)
    return remarks


def _exclusive(given: list[Given], grammar: Grammar) -> list[Remark]:
    remarks = []
    for rule in grammar.base.exclusive:
        found = {each.name: each for each in reversed(given) if each.name in rule.options}
        if len(found) > 1:
            last = max(found.values(), key=lambda each: each.line)
            names = " and ".join(name for name in rule.options if name in found)
            remarks.append(error(last.line, f"{names} exclude each other ({rule.why}); keep one of them"))
    return remarks


def _repeated(given: list[Given]) -> list[Remark]:
    first: dict[str, Given] = {}
    remarks = []
    for each in given:
        before = first.setdefault(each.name, each)
        if each.value is not None and before.value is not None and each.value != before.value:
            message = f"{each.name} is given twice, '{before.value}' on line {before.line} and '{each.value}' here"
            remarks.append(warning(each.line, f"{message}; the last one counts, remove the other"))
            first[each.name] = each
    return remarks
