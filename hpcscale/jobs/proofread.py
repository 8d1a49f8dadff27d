"""Scripts on their way to the scheduler, read by lint: what sbatch or pjsub would refuse, or take in another sense."""

from __future__ import annotations

from collections.abc import Iterable

from hpcscale.jobs.lint import Finding, lint
from hpcscale.jobs.render import SCRIPT, Rendered
from hpcscale.spec.problems import InputError, Problem

_MOST_SHOWN = 10


def check(points: Iterable[Rendered], study: str) -> None:
    """Raises InputError with lint's errors, if any script has one. Scripts that differ in their point's name only are read once."""
    wrong: dict[str, Finding] = {}  # the first of each sentence
    read: set[tuple[str, str]] = set()
    for each in points:
        alike = (each.point.machine.name, _nameless(each))
        if alike in read:
            continue
        read.add(alike)
        for finding in lint(each.script, str(each.folder / SCRIPT), each.point.machine):
            if finding.severity == "error":
                wrong.setdefault(finding.message, finding)
    if not wrong:
        return
    findings = sorted(wrong.values())
    more = f", the first {_MOST_SHOWN} of {len(findings)}" if len(findings) > _MOST_SHOWN else ""
    way = "correct the study, the settings or the machine's profile, or give --no-lint if lint is mistaken"
    first = Problem("", 0, 0, f"{study}: nothing was submitted, since lint finds errors in its scripts{more}; {way}")
    raise InputError(
        [first, *(Problem(f"{each.file}:{each.line}", 0, 0, each.message) for each in findings[:_MOST_SHOWN])]
    )


def _nameless(rendered: Rendered) -> str:
    """The script without its remarks, which hold the point's layout and sizes, and without the point's name."""
    lines = (line for line in rendered.script.split("\n") if not line.startswith("# "))
    point = rendered.point
    return "\n".join(lines).replace(point.identity, "<point>").replace(point.hash, "<hash>")
