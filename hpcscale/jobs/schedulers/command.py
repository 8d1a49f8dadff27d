"""Calling a scheduler's command: never for ever, and with one sentence when it fails."""

from __future__ import annotations

import os
import subprocess

TIMEOUT_SECONDS = 30.0
# They would change what a script says, or what the job believes of itself.
_NOT_PASSED_ON = ("SBATCH_", "HPCSCALE_RETRY", "HPCSCALE_ATTEMPT", "HPCSCALE_JOB_START")


class Unreachable(Exception):
    """The scheduler's command is missing, does not answer or answers with an error; the text is a sentence."""


class Refused(Exception):
    """The command ran and said no; the text is what it said."""


def environment() -> dict[str, str]:
    """What a scheduler's command gets: everything but variables that override the script's directives."""
    return {key: value for key, value in os.environ.items() if not key.startswith(_NOT_PASSED_ON)}


def call(arguments: list[str], timeout: float = TIMEOUT_SECONDS) -> str:
    """The command's stdout. Raises Refused if it says no, Unreachable if it is not there or does not answer in time."""
    try:
        done = subprocess.run(
            arguments, env=environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout,
            errors="replace", check=False,
        )  # fmt: skip
    except FileNotFoundError:
        raise Unreachable(f"{arguments[0]} is not on the PATH; is this a login node of the machine?") from None
    except OSError as error:
        raise Unreachable(f"{arguments[0]} cannot be called: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise Unreachable(f"{arguments[0]} has not answered for {timeout:.0f} s") from None
    if done.returncode != 0:
        raise Refused(said(done.stderr) or said(done.stdout) or f"{arguments[0]} ended with {done.returncode}")
    return done.stdout


def said(text: str, lines: int = 3) -> str:
    """The command's own words in one line."""
    return " / ".join([line.strip() for line in text.splitlines() if line.strip()][-lines:])


def ask(arguments: list[str], timeout: float = TIMEOUT_SECONDS) -> str:
    """As :func:`call`, for questions that have no wrong answer: any error means that the scheduler cannot be asked."""
    try:
        return call(arguments, timeout)
    except Refused as error:
        raise Unreachable(f"{arguments[0]}: {error}") from None


def cancel_each(command: str, ids: list[str]) -> dict[str, str]:
    """Calls ``command`` for every job; those that it refused to end, with what it said. One call each: a list would end at
    the first job that is gone."""
    refused = {}
    for id_ in ids:
        try:
            call([command, id_])
        except Refused as error:
            refused[id_] = str(error)
    return refused
