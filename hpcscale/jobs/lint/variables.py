"""Variables that a script uses and nobody sets."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

from hpcscale.jobs.lint.finding import Remark, error, warning
from hpcscale.jobs.lint.grammar import Grammar, shell_file
from hpcscale.jobs.lint.options import Reading
from hpcscale.jobs.lint.shell import Shell, Use
from hpcscale.spec.machine import Machine
from hpcscale.spec.problems import suggestion


def undefined(shell: Shell, grammar: Grammar | None, reading: Reading, machine: Machine | None) -> list[Remark]:
    """A remark for the first use of each variable that is set neither here nor by scheduler, login or site."""
    known = _known_patterns(grammar, machine)
    set_here = shell.defined | shell.tested | _exported(grammar, reading)
    remarks = []
    seen: set[str] = set()
    for use in sorted(shell.uses, key=lambda each: each.line):
        if use.guarded or use.name in seen or use.name in set_here:
            continue
        seen.add(use.name)
        if any(fnmatchcase(use.name, pattern) for pattern in known):
            remarks += _conditional(use, grammar, reading)
        else:
            remarks.append(_remark(use, shell, grammar, reading))
    return remarks


def _known_patterns(grammar: Grammar | None, machine: Machine | None) -> list[str]:
    usual = shell_file()
    texts = [usual.bash, usual.login, usual.modules, usual.site]
    if grammar:
        texts.append(grammar.base.variables)
    return [word for text in texts for word in text.split()] + list(machine.variables if machine else ())


def _exported(grammar: Grammar | None, reading: Reading) -> set[str]:
    """Variables that directives bring into the job."""
    if grammar is None:
        return set()
    option = grammar.base.exports
    names = {each.name.removeprefix(option + " ") for each in reading.given if each.name.startswith(option + " ")}
    return names | {part.partition("=")[0].strip() for part in (reading.value(option) or "").split(",")}


def _conditional(use: Use, grammar: Grammar | None, reading: Reading) -> list[Remark]:
    needed = grammar.base.conditional.get(use.name) if grammar else None
    if not needed or any(reading.has(option) for option in needed):
        return []
    way = f"give {' or '.join(needed)}, or write ${{{use.name}:-<default>}}"
    return [warning(use.line, f"${use.name} is set only in jobs with {' or '.join(needed)}; {way}")]


def _remark(use: Use, shell: Shell, grammar: Grammar | None, reading: Reading) -> Remark:
    way = f"assign it before, or write ${{{use.name}:-<default>}}"
    if grammar and any(fnmatchcase(use.name, pattern) for pattern in grammar.base.own_variables.split()):
        hint = suggestion(use.name, grammar.base.variables.split())
        hint = hint if "did you mean" in hint else f"; {way}"
        return error(use.line, f"${use.name} is no variable that {grammar.base.scheduler} sets{hint}")
    near = suggestion(use.name.lower(), {name.lower() for name in shell.defined if len(name) > 3})
    like = next((name for name in sorted(shell.defined) if f"'{name.lower()}'" in near), None)
    hint = f" (did you mean ${like}?)" if like and "did you mean" in near else ""
    message = f"${use.name} is assigned nowhere in this script{hint}; {way}"
    origin = _other_origin(use, shell, grammar, reading)
    if origin:
        return warning(use.line, f"{message}, unless {origin} sets it")
    return error(use.line, message)


def _other_origin(use: Use, shell: Shell, grammar: Grammar | None, reading: Reading) -> str | None:
    """A command before the use that may set any variable, or the environment of the shell that submits."""
    if grammar and grammar.base.inherits and reading.has(grammar.base.inherits):
        return "the shell that submits"
    words = shell_file().may_define
    for line, word, arguments in shell.commands:
        any_name = word in words or (word == "export" and arguments[:1] in ("$", "`"))  # export $(cat .env)
        if any_name and line <= use.line and not re.search(r"/bin/activate\b", arguments):
            return f"line {line} ({word})"
    return None
