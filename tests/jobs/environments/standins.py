"""Commands of a cluster as small shell scripts: each notes its call in a file and does what matters for a script's way."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

# One process a call: what a script sees of a launcher is its arguments and its status.
SRUN = 'while [[ "$1" == --* ]]; do shift; done\nexec "$@"\n'
SBCAST = 'cp -- "$2" "$3"\n'
SCONTROL = "echo node1\n"
# As many ranks as -n says, four a node, one after the other; the first that fails is the status.
MPIEXEC = """n=1
while [[ "$1" == -* ]]; do [ "$1" = -n ] && n="$2"; shift 2; done
for ((i = 0; i < n; i++)); do PLE_RANK_ON_NODE=$((i % 4)) "$@" || exit $?; done
"""
TAR = 'exec /usr/bin/env -i PATH=/usr/bin:/bin tar "$@"\n'
# Runs what stands behind the image on this computer.
APPTAINER = 'while [[ "$1" != *.sif ]]; do shift; done\nshift\nexec "$@"\n'
PYTHON = 'echo "$0 $*"\n'  # says which Python it is, and what it was to run


class Cluster:
    """Stand-ins on PATH. ``calls`` are the command lines of those that were run, in order."""

    def __init__(self, folder: Path, **commands: str):
        self.folder, self.log = folder / "bin", folder / "calls"
        self.folder.mkdir(parents=True)
        for name, body in commands.items():
            self.add(name, body)

    def add(self, name: str, body: str) -> Path:
        path = self.folder / name
        note = f'call="{name} $*"\necho "${{call//$\'\\n\'/ }}" >> {self.log}\n'  # one line a call
        path.write_text("#!/bin/bash\n" + note + body, encoding="utf-8")
        path.chmod(0o755)
        return path

    @property
    def calls(self) -> list[str]:
        return self.log.read_text(encoding="utf-8").splitlines() if self.log.exists() else []

    def run(self, script: Path, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PATH": f"{self.folder}:{os.environ['PATH']}", **variables}
        return subprocess.run(
            ["bash", str(script)], env=environment, capture_output=True, text=True, timeout=60, check=False
        )


def packed(folder: Path, name: str = "environment.tar.gz", top: str = ".") -> Path:
    """An archive that holds a Python which says where it was started; ``top``: the folder of the archive it lies in."""
    bin_ = folder / "packed" / top / "bin"
    bin_.mkdir(parents=True)
    for each in ("python3", "python"):
        (bin_ / each).write_text("#!/bin/bash\n" + PYTHON, encoding="utf-8")
        (bin_ / each).chmod(0o755)
    archive = folder / name
    subprocess.run(["tar", "-caf", archive, "-C", folder / "packed", "."], check=True)
    return archive
