"""A strict reader of job scripts: directives against a grammar that is data, variables, and a machine's limits."""

from __future__ import annotations

from collections.abc import Iterable

from hpcscale.jobs.lint import combine, limits, options, request, script, shell, variables
from hpcscale.jobs.lint.finding import Finding, Remark
from hpcscale.jobs.lint.finding import error as _error
from hpcscale.jobs.lint.grammar import Grammar, grammar, schedulers
from hpcscale.jobs.lint.options import Reading
from hpcscale.jobs.lint.script import Script
from hpcscale.spec.machine import Machine

__all__ = ["Finding", "lint", "machine_of"]


def lint(text: str, name: str, machine: Machine | None = None) -> list[Finding]:
    """What is wrong with a job script, in the order of its lines. ``machine`` adds its limits and its site's options.

    Nothing is run but ``bash -n``. Never raises.
    """
    source = script.read(text)
    remarks = list(source.remarks)
    code = shell.read(source.text) if source.shell else shell.Shell()
    found = _schedulers(source)
    needing = [each for each in found if schedulers()[each].needs_shebang] or found
    remarks += script.shebang(source, schedulers()[needing[0]] if needing else None)
    readings = [_read(source, each, machine if machine and machine.scheduler == each else None) for each in found]
    for spoken, reading in readings:
        remarks += reading.remarks + combine.contradictions(reading, spoken)
        remarks += script.overlooked(source, spoken.base, frozenset(code.here_documents))
    remarks += _at_machine(source, readings, machine)
    first = readings[0] if readings else (None, Reading())
    remarks += variables.undefined(code, *first, machine) + script.syntax(source)
    return sorted({Finding(name, each.line, each.severity, each.message) for each in remarks})


def _schedulers(source: Script) -> list[str]:
    """The schedulers whose directives stand in the script: those that are read, else those that are not."""
    head = "\n".join(source.lines[: source.body - 1])
    for part in (head, source.text):
        found = [name for name, each in schedulers().items() if _starts_a_line(part, each.prefix)]
        if found:
            return found
    return []


def _starts_a_line(text: str, prefix: str) -> bool:
    return text.startswith(prefix) or f"\n{prefix}" in text


def _read(source: Script, scheduler: str, machine: Machine | None) -> tuple[Grammar, Reading]:
    """``machine``: one that speaks the scheduler's language, or None."""
    lines = script.directives(source, schedulers()[scheduler])
    plain = grammar(scheduler, machine)
    reading = options.read(lines, plain)
    if plain.site or not (words := _site_words(reading)):
        return plain, reading
    there = grammar(scheduler, machine, words)
    return there, options.read(lines, there)


def _site_words(reading: Reading) -> frozenset[str]:
    return frozenset(filter(None, (reading.value("-L rscunit"), reading.value("-L rscgrp"))))


def _at_machine(source: Script, readings: list[tuple[Grammar, Reading]], machine: Machine | None) -> list[Remark]:
    """The machine's limits, where the script speaks its scheduler's language."""
    if machine is None or machine.scheduler == "local":
        return []
    for spoken, reading in readings:
        if spoken.base.scheduler == machine.scheduler:
            components = sorted({each.component for each in reading.given}) or [0]
            asked = [request.pjm(reading)]
            if machine.scheduler == "slurm":
                asked = [request.slurm(reading, each) for each in components]
            return limits.beyond(asked, reading, machine)
    prefix = schedulers()[machine.scheduler].prefix
    message = f"the script has no {prefix} line, but {machine.name} reads those; name the script's own machine"
    return [_error(1, message)]


def machine_of(text: str, machines: Iterable[Machine]) -> Machine | None:
    """The one machine whose queue or resource unit the script names; None if there is none, or more than one."""
    source = script.read(text)
    fitting = []
    readings = {name: _read(source, name, None)[1] for name in _schedulers(source)}
    for machine in machines:
        reading = readings.get(machine.scheduler)
        if reading and _is_named(reading, machine):
            fitting.append(machine)
    if len(fitting) > 1:  # a script of hpcscale's own says whose it is
        head = "\n".join(text.splitlines()[:8])
        fitting = [each for each in fitting if each.title and f" for {each.title}." in head]
    return fitting[0] if len(fitting) == 1 else None


def _is_named(reading: Reading, machine: Machine) -> bool:
    if machine.pjm is not None and reading.has("-L rscunit"):
        return reading.value("-L rscunit") == machine.pjm.resource_unit
    option = {"slurm": "--partition", "pjm": "-L rscgrp"}.get(machine.scheduler, "")
    names = {each.strip() for each in (reading.value(option) or "").split(",")}
    own = {queue.partition if machine.scheduler == "slurm" else queue.name for queue in machine.queues}
    return bool(names & own)
