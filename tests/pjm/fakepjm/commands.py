"""The commands by name, and how each ends: its lines, its code, no traceback."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from .messages import Refused, refused

# command: module of this package that has ``main(arguments) -> exit code``; some serve several commands.
MODULES = {
    "pjsub": "pjsub",
    "pjstat": "pjstat",
    "pjdel": "control",
    "pjhold": "control",
    "pjrls": "control",
    "pjwait": "pjwait",
    "pjacl": "pjacl",
    "mpiexec": "mpiexec",
    "mpirun": "mpiexec",
}


# command: the message it ends with while PJM cannot be reached, which is as long as `down` lies in the emulator's home.
UNREACHABLE = {"pjsub": 90, "pjdel": 190, "pjstat": 290, "pjhold": 390, "pjrls": 490, "pjwait": 590}


def run(command: str) -> None:
    """Runs the command with this process's arguments, and ends the process."""
    from importlib import import_module

    try:
        if not os.path.isdir(home()):
            raise Refused(f"fakepjm: no site is installed in {home()}; set FAKEPJM_HOME")
        if command in UNREACHABLE and os.path.exists(os.path.join(home(), "down")):
            raise refused(command, UNREACHABLE[command])
        code = import_module(f".{MODULES[command]}", __package__).main(command, sys.argv[1:])
    except Refused as error:
        print("\n".join(error.lines), file=sys.stderr)
        code = 1
    except BrokenPipeError:
        code = 1
    with suppress(BrokenPipeError):
        sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # an orderly shutdown of the interpreter would take another 5 ms


def home() -> str:
    return os.environ.get("FAKEPJM_HOME") or os.path.expanduser("~/.fakepjm")
