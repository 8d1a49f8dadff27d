"""The archive itself: the same files give the same bytes, and what a stranger's archive unpacks to stays in its folder."""

from __future__ import annotations

import contextlib
import errno
import gzip
import os
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from hpcscale.spec.problems import InputError, Problem

# What hpcscale bundle makes has six parts in its longest names, and no strange letters.
_MOST_FILES = 500_000
_DEEPEST = 32
_BEFORE_A_MEMBER = (
    tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK
)  # fmt: skip
_MOST_BEFORE_A_MEMBER = 2**16


def pack(folder: Path, names: Sequence[str], target: Path) -> None:
    """``names`` of ``folder`` in their order. Neither times nor owners nor this computer's umask are in the archive."""
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        with (
            part.open("wb") as raw,
            gzip.GzipFile("", "wb", 6, raw, mtime=0) as zipped,
            tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as tar,
        ):
            for name in names:
                _add(tar, folder, name)
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _add(tar: tarfile.TarFile, folder: Path, name: str) -> None:
    path = folder / name
    info = tarfile.TarInfo(name)
    info.size = path.stat().st_size
    info.mode = 0o755 if name.endswith(".sh") else 0o644
    with path.open("rb") as file:
        tar.addfile(info, file)


def unpack(archive: Path, folder: Path, most_bytes: int) -> list[str]:
    """The names of the files that are now below ``folder``. Only plain files with relative names, and no more than ``most_bytes``
    of them, whatever the archive says. Raises InputError."""
    with _explained(archive), tarfile.open(archive, "r|gz", tarinfo=_Header) as tar:
        return list(_members(tar, archive, folder, most_bytes))


class _Header(tarfile.TarInfo):
    """tarfile reads what stands before a member (a long name) into memory, however long it says to be."""

    def _proc_member(self, tar: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type in _BEFORE_A_MEMBER and self.size > _MOST_BEFORE_A_MEMBER:
            raise tarfile.ReadError(f"a member's name and attributes take {self.size:,} bytes")
        return super()._proc_member(tar)  # type: ignore[misc]  # the hook that tarfile.py leaves to subclasses


def _members(tar: tarfile.TarFile, archive: Path, folder: Path, most_bytes: int) -> Iterator[str]:
    total, seen = 0, set[str]()
    for number, member in enumerate(tar, 1):
        if number > _MOST_FILES:
            raise _refusal(
                archive, f"has more than {_MOST_FILES:,} files and folders; hpcscale bundle makes no such archive"
            )
        if member.isdir():
            continue
        if not member.isreg():
            raise _refusal(archive, f"{member.name!r} is no plain file; nothing but files belongs into a bundle")
        path = PurePosixPath(member.name)
        name = str(path)  # tar of ./ writes ./runs for runs
        if path.is_absolute() or ".." in path.parts or not path.parts or "\\" in name or name in seen:
            raise _refusal(archive, f"{member.name!r} would not be a new file below the archive's folder")
        if len(path.parts) > _DEEPEST or not name.isprintable():
            raise _refusal(archive, f"{member.name[:200]!r} is no name that hpcscale bundle gives")
        seen.add(name)
        total += member.size
        if total > most_bytes:
            limit = f"{most_bytes / 2**30:.3g} GiB"
            raise _refusal(archive, f"unpacks to more than {limit}; if you trust it, allow more with --max-gib")
        _write(tar, member, folder / name)
        yield name


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    """Not by ``tar.extract``, whose filters Python has only since 3.11.4."""
    content = tar.extractfile(member)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        if content is not None:
            shutil.copyfileobj(content, file)
    settle(path)


def settle(path: Path) -> None:
    """Forget when the file was made: of attempts whose records have no time, the younger file would count, and in another folder
    that may be another one."""
    os.utime(path, (0, 0))


def _refusal(archive: Path, why: str) -> InputError:
    return InputError(Problem(str(archive), 0, 0, why))


@contextlib.contextmanager
def _explained(archive: Path) -> Iterator[None]:
    """What is wrong with a file as a sentence."""
    try:
        yield
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, RecursionError) as error:
        raise _refusal(archive, f"no archive of hpcscale bundle, or cut off ({error})") from None
    except FileNotFoundError:
        raise _refusal(archive, "there is no such archive") from None
    except (IsADirectoryError, NotADirectoryError, FileExistsError) as error:
        raise _refusal(archive, f"cannot be unpacked: {error.strerror}") from None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise _refusal(archive, "cannot be unpacked: a name in it is too long") from None
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            way = "free some space, or name a roomier folder with the variable TMPDIR"
            raise _refusal(archive, f"cannot be unpacked, there is no room in {tempfile.gettempdir()}; {way}") from None
        raise
