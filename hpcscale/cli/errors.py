"""Errors as people see them: sentences, exit codes, no traceback unless HPCSCALE_TRACEBACK is set."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

FAILED, WRONG_INPUT = 1, 2
_WAYS = {
    errno.EACCES: "; change its permissions, or name another folder (--out)",
    errno.ENOENT: "; make the folder that it lies in, or name another (--out)",
    errno.ENOTDIR: "; a file stands where a folder should be, name another (--out)",
    errno.EROFS: "; name a folder that can be written to (--out)",
    errno.ENOSPC: "; free some space, or name another folder (--out)",
    errno.EDQUOT: "; your quota is used up: free some space, or name another folder (--out)",
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
        way = _WAYS.get(error.errno or 0, "")
        print(f"hpcscale: {place}{error.strerror or error}{way}", file=sys.stderr)
        return FAILED
    print(
        f"hpcscale: this should not happen ({type(error).__name__}: {error}); "
        "HPCSCALE_TRACEBACK=1 shows where, please report it",
        file=sys.stderr,
    )
    return FAILED
