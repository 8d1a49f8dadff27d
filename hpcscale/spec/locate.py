"""Where machines, studies, templates and tables lie: a person's own file of the same name wins."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from hpcscale.spec.job import configuration_folder
from hpcscale.spec.problems import InputError, suggestion

PACKAGE = Path(__file__).resolve().parent.parent


def packaged(folder: str) -> Path:
    """The data folder that came with hpcscale: inside the package (wheel), else beside it (checkout, editable)."""
    inside = PACKAGE / folder
    return inside if inside.is_dir() else PACKAGE.parent / folder


def folders(folder: str) -> list[Path]:
    """The places searched for files of one kind, in order."""
    return [Path(folder), configuration_folder() / folder, packaged(folder)]


def find(name: str, folder: str, what: str, suffix: str = ".yaml") -> Path:
    """The file that ``name`` means: a path, or a name looked up in :func:`folders`. Raises InputError if none is."""
    given = Path(name)
    if given.is_file() and ("/" in name or given.suffix):
        return given  # a bare word is a name, also where a file is called so
    if "/" in name or given.suffix == suffix:
        # `studies/x.yaml` also means the packaged one, so that the documentation's commands work outside a checkout
        if given.parent == Path(folder) and (packaged(folder) / given.name).is_file():
            return packaged(folder) / given.name
        raise InputError(f"there is no file {name}; {_known(given.stem, folder, what, suffix)}")
    for each in folders(folder):
        if (each / (name + suffix)).is_file():
            return each / (name + suffix)
    raise InputError(f"there is no {what} '{name}'{suggestion(name, available(folder, suffix))}")


def _known(name: str, folder: str, what: str, suffix: str) -> str:
    return f"no {what} has that path{suggestion(name, available(folder, suffix))}"


def available(folder: str, suffix: str = ".yaml") -> dict[str, Path]:
    """Every file of one kind by name, the winning one where several have the same name."""
    found: dict[str, Path] = {}
    for each in _files(folder, suffix):
        found.setdefault(each.stem, each)
    return dict(sorted(found.items()))


def _files(folder: str, suffix: str) -> Iterator[Path]:
    for place in folders(folder):
        if place.is_dir():
            yield from sorted(place.glob("*" + suffix))
