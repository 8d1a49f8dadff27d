"""Errors as people see them: sentences, exit codes, no traceback unless HPCSCALE_TRACEBACK is set."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FAILED, WRONG_INPUT = 1, 2
_WAYS = {
    errno.EACCES: "; change its permissions, or name another folder ({option})",
    errno.ENOENT: "; make the folder that it lies in, or name another ({option})",
    errno.EEXIST: "; a file stands where a folder should be, name another ({option})",
    errno.ENOTDIR: "; a file stands where a folder should be, name another ({option})",
    errno.EROFS: "; name a folder that can be written to ({option})",
    errno.ENOSPC: "; free some space, or name another folder ({option})",
    errno.EDQUOT: "; your quota is used up: free some space, or name another folder ({option})",
}


@contextmanager
def report_input_errors() -> Iterator[None]:
    """Turn what goes wrong inside into one sentence on stderr and an exit code."""
    try:
        yield
    except Exception as error:
        if os.environ.get("HPCSCALE_TRACEBACK"):
            raise
        sys.stdout.flush()
        code = _explain(error)
        sys.stderr.flush()
        sys.exit(code)


def _option_of(place: str) -> str:
    """The option of this command line that named the place, or the folder that it lies in."""
    for option, value in zip(sys.argv, sys.argv[1:], strict=False):
        folder = Path(value).parent
        inside = Path(place).is_relative_to(value) or (folder.name and folder.is_relative_to(place))
        if option.startswith("--") and place and (inside or (folder.name and Path(place).parent == folder)):
            return option
    return "--out"


def _explain(error: Exception) -> int:
    from hpcscale.spec.problems import InputError

    if isinstance(error, InputError):
        for problem in error.problems:
            print(f"hpcscale: {problem}", file=sys.stderr)
        return WRONG_INPUT
    if isinstance(error, BrokenPipeError):
        # The reader (head, less) has gone: nobody is there to be told.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        way = _WAYS.get(error.errno or 0, "").format(option=_option_of(str(error.filename or "")))
        print(f"hpcscale: {place}{error.strerror or error}{way}", file=sys.stderr)
        return FAILED
    print(
        f"hpcscale: this should not happen ({type(error).__name__}: {error}); "
        "HPCSCALE_TRACEBACK=1 shows where, please report it",
        file=sys.stderr,
    )
    return FAILED
