"""The archive itself: the same files give the same bytes, and what a stranger's archive unpacks to stays in its folder."""

from __future__ import annotations

import contextlib
import gzip
import os
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from hpcscale.spec.problems import InputError, Problem

_MOST_FILES = 2_000_000


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
    with _explained(archive), tarfile.open(archive, "r|gz") as tar:
        return list(_members(tar, archive, folder, most_bytes))


def _members(tar: tarfile.TarFile, archive: Path, folder: Path, most_bytes: int) -> Iterator[str]:
    total, seen = 0, set[str]()
    for member in tar:
        if member.isdir():
            continue
        name = PurePosixPath(member.name)
        if not member.isreg():
            raise InputError(
                Problem(
                    str(archive), 0, 0, f"{member.name!r} is no plain file; nothing but files belongs into a bundle"
                )
            )
        if name.is_absolute() or ".." in name.parts or "\\" in member.name or member.name in seen:
            raise InputError(
                Problem(str(archive), 0, 0, f"{member.name!r} would not be a new file below the archive's folder")
            )
        seen.add(member.name)
        total += member.size
        if total > most_bytes or len(seen) > _MOST_FILES:
            limit = f"{most_bytes / 2**30:.3g} GiB"
            raise InputError(
                Problem(str(archive), 0, 0, f"unpacks to more than {limit}; if you trust it, allow more with --max-gib")
            )
        tar.extract(member, folder, set_attrs=False, filter="data")
        yield member.name


@contextlib.contextmanager
def _explained(archive: Path) -> Iterator[None]:
    """What is wrong with a file as a sentence."""
    try:
        yield
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(Problem(str(archive), 0, 0, f"no archive of hpcscale bundle, or cut off ({error})")) from None
    except FileNotFoundError as error:
        raise InputError(Problem(str(archive), 0, 0, "there is no such archive")) from error
    except (IsADirectoryError, NotADirectoryError, FileExistsError) as error:
        raise InputError(Problem(str(archive), 0, 0, f"cannot be unpacked: {error.strerror}")) from None
