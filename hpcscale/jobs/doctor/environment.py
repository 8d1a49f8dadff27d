"""What a job needs before it trains: modules, interpreter, virtual environment, archive, container."""

from __future__ import annotations

import os
import shlex
import shutil
import sys

from hpcscale.jobs import python_environment
from hpcscale.jobs.doctor.ask import Answer, ask, last_line
from hpcscale.jobs.doctor.check import Check, Status
from hpcscale.spec.job import Settings
from hpcscale.spec.machine import Machine
from hpcscale.spec.problems import InputError

_SECONDS = 60.0  # modules on a busy parallel file system take their time
_NEEDED = ("hpcscale", "torch")
_FIND = "import importlib.util as u, sys; sys.exit(' '.join(m for m in sys.argv[1:] if not u.find_spec(m)) or 0)"


def environment(machine: Machine, settings: Settings) -> list[Check]:
    """Looks at paths, loads the modules in a login shell of its own, and asks the interpreter for its packages."""
    return [
        *_written(machine, settings),
        *_paths(settings),
        *_modules(machine, settings),
        *_interpreter(machine, settings),
    ]


def _written(machine: Machine, settings: Settings) -> list[Check]:
    """What no script can be written from."""
    try:
        python_environment.resolve(machine, settings)
    except InputError as error:
        return [Check("environment", "problem", str(error))]
    return []


def _paths(settings: Settings) -> list[Check]:
    own = settings.environment
    packed = own.archive and not own.archive.endswith(python_environment.IMAGE)  # then venv is a folder of the archive
    named = {
        "venv": own.venv
        and not packed
        and f"{own.venv}/bin/{'python' if own.container or own.archive else 'activate'}",
        "archive": own.archive,
        "container": own.container and "://" not in own.container and own.container,  # else the runtime fetches it
    }
    checks = []
    for key, path in named.items():
        if path:
            there = os.path.exists(path)
            message = f"{path} is there" if there else f"{path} is not there; make it, or correct environment.{key}"
            checks.append(Check(key, "ok" if there else "problem", message))
    return checks


def _load(settings: Settings) -> str:
    """The modules as job scripts load them."""
    return "module --force purge; module load " + " ".join(map(shlex.quote, settings.environment.modules))


def _modules(machine: Machine, settings: Settings) -> list[Check]:
    modules = settings.environment.modules
    if not modules:
        return []
    # Old module commands end with status 0 whatever happens, so what they complain about counts as well.
    answer = _login_shell(
        "type module > /dev/null 2>&1 || { echo 'there is no module command' >&2; exit 1; }; " + _load(settings)
    )
    complaint = _complaint(answer)
    if not complaint:
        return [Check("modules", "ok", f"{' '.join(modules)} load")]
    # PJM's login nodes have another architecture than its compute nodes, and other modules.
    status: Status = "warning" if machine.scheduler == "pjm" else "problem"
    return [Check("modules", status, f"{' '.join(modules)} do not load ({complaint}); correct environment.modules")]


def _complaint(answer: Answer) -> str:
    if not answer:
        return last_line(answer.errors) or answer.failure
    wrong = [line.strip() for line in answer.errors.splitlines() if "error" in line.lower() or "unable" in line.lower()]
    return wrong[0][:200] if wrong else ""


def _interpreter(machine: Machine, settings: Settings) -> list[Check]:
    """The compute node's interpreter, as far as this node can tell."""
    python, own = settings.python or machine.python, settings.environment
    if own.archive or own.container:
        kind = "archive" if own.archive else "container"
        return [Check("interpreter", "ok", f"{python} is that of environment.{kind} and is not tried on this node")]
    if "/" in python and not os.path.exists(python):
        return [Check("interpreter", "problem", f"{python} is not there; correct python in the settings file")]
    if machine.scheduler == "pjm":
        return [Check("interpreter", "ok", f"{python} is the compute nodes' and is not tried on this node")]
    if own.setup:
        return [Check("interpreter", "ok", f"{python} is not tried, since environment.setup is not run here")]
    steps = [_load(settings) + " > /dev/null 2>&1"] if own.modules else []
    steps += [f"source {shlex.quote(own.venv + '/bin/activate')}"] if own.venv else []
    found = f"command -v {shlex.quote(python)} > /dev/null || {{ echo 'it is not found' >&2; exit 1; }}"
    packages = " ".join(_NEEDED)
    steps += [found, f"{shlex.quote(python)} -c {shlex.quote(_FIND)} {packages}"]
    answer = _login_shell("; ".join(steps)) if machine.scheduler != "local" else _here(python, steps)
    if answer:
        return [Check("interpreter", "ok", f"{python} finds {' and '.join(_NEEDED)}")]
    missing = last_line(answer.errors)
    lacks = f"lacks {missing}" if set(missing.split()) <= set(_NEEDED) and missing else missing or answer.failure
    way = "install it there, or set environment.venv or environment.modules"
    return [Check("interpreter", "problem", f"{python}: {lacks}; {way}")]


def _here(python: str, steps: list[str]) -> Answer:
    """On this computer `python3` in a script is the interpreter that runs hpcscale (jobs/local.py)."""
    path = f"PATH={shlex.quote(os.path.dirname(sys.executable))}:$PATH"
    return ask([shutil.which("bash") or "bash", "-c", "; ".join([path, *steps])], _SECONDS)


def _login_shell(lines: str) -> Answer:
    """Jobs begin with a login's environment."""
    return ask([shutil.which("bash") or "bash", "-lc", lines], _SECONDS)
