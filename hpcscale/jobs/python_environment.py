"""Where a job's Python comes from: modules, a virtual environment, an archive unpacked on every node, a container image.

What is said here about archives and images is how docs/environments.md tells people to make them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from hpcscale.jobs import quoting
from hpcscale.spec.job import Environment, Settings
from hpcscale.spec.machine import Machine
from hpcscale.spec.point import Point
from hpcscale.spec.problems import InputError

TARBALLS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
IMAGE = ".sif"
# What Apptainer and Singularity need to hand a device of this maker into a container.
DEVICE_FLAGS = {"nvidia": "--nv", "amd": "--rocm"}
# A folder that the nodes expand: a path with plain variables in it, nothing that runs a command.
_FOLDER = re.compile(
    r"(?:[A-Za-z0-9_./+-]|\$[A-Za-z_][A-Za-z0-9_]*|\$\{[A-Za-z_][A-Za-z0-9_]*(?::-[A-Za-z0-9_./-]+|:\?)?\})+\Z"
)


@dataclass(frozen=True)
class PythonEnvironment:
    """One person's Python on one machine, as the templates read it. Paths of files are as the person wrote them."""

    python: str  # the interpreter, a path or a name that PATH finds
    venv: str | None = None  # activated by the script
    archive: str | None = None
    local_folder: str = ""  # of each node, text between double quotes
    keeps_nothing: bool = False  # the system empties that folder when a job ends
    inside: str = ""  # the folder of the archive that holds bin/python3
    container: str | None = None  # the image; empty where the archive is the image
    runtime: str = ""  # apptainer or singularity
    device_flag: str = ""
    options: tuple[str, ...] = ()
    directives: tuple[str, ...] = ()  # PJM's options without which none of this is there

    @property
    def archive_is_image(self) -> bool:
        return bool(self.archive) and str(self.archive).endswith(IMAGE)

    def prefix(self, point: Point, places: Iterable[str] = ()) -> str:
        """What starts a program in the container, up to the program; empty without one. ``$point`` is the point's folder,
        and ``places`` are others that the program reads."""
        if not self.runtime:
            return ""
        image = quoting.shell(self.container) if self.container else '"$local_copy.sif"'
        binds = ['--bind "$point"']
        data = point.data.path
        if data and data.startswith("/"):
            binds.append(f"--bind {quoting.shell(_bindable(str(PurePosixPath(data).parent)))}")
        if self.python.endswith("/bin/python"):
            binds.append(f"--bind {quoting.shell(_bindable(self.python.removesuffix('/bin/python')))}")
        binds += [f"--bind {quoting.shell(_bindable(place))}" for place in places]
        words = [self.runtime, "exec", self.device_flag, *binds, *map(quoting.shell, self.options), image]
        return " ".join(filter(None, words)) + " "


def resolve(machine: Machine, settings: Settings) -> PythonEnvironment:
    """What the settings mean on this machine. Raises InputError for what cannot be."""
    environment = settings.environment
    python = settings.python or machine.python
    for key, value in (
        ("environment.venv", environment.venv),
        ("environment.archive", environment.archive),
        ("environment.container", environment.container),
        ("python", settings.python),
    ):
        if value and (value.startswith("~") or "$" in value):
            way = "write the whole path, or use shell lines in environment.setup"
            raise InputError(f"{key} '{value}' is not expanded in scripts; {way}")
    if environment.archive and environment.container:
        message = (
            "environment.archive and environment.container are both set; keep one (an image that each node is to copy "
        )
        raise InputError(message + f"first is an archive: environment.archive: /path/image{IMAGE})")
    if environment.archive and not environment.archive.endswith(IMAGE):
        return _unpacked(machine, environment, environment.archive, python)
    if environment.archive or environment.container:
        return _contained(machine, settings, python)
    if environment.container_options:
        raise InputError("environment.container_options are set, but no environment.container; set both or neither")
    return PythonEnvironment(python, venv=environment.venv)


def _unpacked(machine: Machine, environment: Environment, archive: str, python: str) -> PythonEnvironment:
    if not archive.endswith(TARBALLS):
        valid = ", ".join((*TARBALLS, IMAGE))
        raise InputError(f"environment.archive '{archive}' is no archive that scripts can unpack ({valid})")
    inside = environment.venv or ""
    if inside.startswith("/") or ".." in PurePosixPath(inside).parts:
        message = "with environment.archive, environment.venv is a folder of the archive (inst/venv), not '"
        raise InputError(f"{message}{inside}'; remove it if bin/python3 stands at the top of the archive")
    folder, emptied, directives = _local_folder(machine, environment)
    _absolute("environment.archive", archive)
    return PythonEnvironment(
        python, archive=archive, local_folder=folder, keeps_nothing=emptied, inside=inside, directives=directives
    )


def _contained(machine: Machine, settings: Settings, python: str) -> PythonEnvironment:
    environment = settings.environment
    if machine.container is None:
        message = f"{machine.name} runs no Apptainer or Singularity images; use environment.modules, venv or a packed "
        raise InputError(message + "environment (environment.archive: /path/environment.tar.gz)")
    if environment.venv:
        _absolute("environment.venv", environment.venv)
        python = settings.python or f"{environment.venv.rstrip('/')}/bin/python"
    directives = (machine.pjm.container,) if machine.pjm and machine.pjm.container else ()
    vendor = machine.device_facts.vendor
    found = PythonEnvironment(
        python,
        container=environment.container or environment.archive,
        runtime=machine.container,
        device_flag=DEVICE_FLAGS[vendor] if vendor else "",
        options=environment.container_options,
        directives=directives,
    )
    if not environment.archive:
        if "://" not in str(environment.container):
            _absolute("environment.container", str(environment.container))
        return found
    _absolute("environment.archive", environment.archive)
    if machine.scheduler == "local":
        return found  # the image lies on this computer already
    folder, emptied, more = _local_folder(machine, environment)
    return replace(
        found,
        container=None,
        archive=environment.archive,
        local_folder=folder,
        keeps_nothing=emptied,
        directives=(*directives, *more),
    )


def _local_folder(machine: Machine, environment: Environment) -> tuple[str, bool, tuple[str, ...]]:
    """The folder of each node, whether the system empties it, and the PJM options without which it is not there."""
    own, storage = environment.local_folder, machine.local_storage
    folder = own or (storage.folder if storage else "${TMPDIR:-/tmp}" if machine.scheduler == "local" else "")
    if not folder:
        message = f"the profile of {machine.name} names no folder of the nodes for environment.archive; set "
        raise InputError(message + "environment.local_folder (/dev/shm, memory of the node, is on every Linux)")
    if not _FOLDER.match(folder):
        raise InputError(
            f"the folder '{folder}' of the nodes is no path of plain characters and $VARIABLES; choose another"
        )
    if own or storage is None:
        return folder, False, ()
    return folder, storage.emptied, (machine.pjm.local_storage,) if machine.pjm and machine.pjm.local_storage else ()


def _absolute(key: str, path: str) -> None:
    if not path.startswith("/"):
        raise InputError(
            f"{key} '{path}' is no absolute path, and a job starts in whatever folder it was submitted from"
        )


def _bindable(path: str) -> str:
    if ":" in path or "," in path:
        raise InputError(f"'{path}' cannot be bound into a container: ':' and ',' separate its binds; rename it")
    return path
