"""Who submits, and from which shell: the PJM_O_* variables keep it for the job (EUG table of environment variables)."""

from __future__ import annotations

import os

# PJM_O_<name>: the variable of the submitting shell.
SHELL_VARIABLES = ("HOME", "LANG", "LOGNAME", "MAIL", "PATH", "SHELL", "TZ")


def user() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def submitter() -> dict:
    origin = {name: os.environ[name] for name in SHELL_VARIABLES if name in os.environ}
    origin["HOST"] = os.uname().nodename
    origin["WORKDIR"] = os.getcwd()
    return {"user": user(), "origin": origin}
