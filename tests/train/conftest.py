"""Ranks as real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from . import forks
from .toys import Run, Start, clean_environment, free_port


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a point document as processes: ``ranks`` of our own, or torchrun's; whatever still runs is killed after."""
    started: list[subprocess.Popen[str] | forks.Fork] = []

    def begin(
        content: dict[str, Any],
        ranks: int = 1,
        arguments: tuple[str, ...] = (),
        torchrun: bool = False,
        environment: dict[str, str] | None = None,
        program: tuple[str, ...] = ("-m", "hpcscale.train"),
    ) -> Run:
        point = tmp_path / "point.json"
        point.write_text(json.dumps(content))
        common = {**clean_environment(), **(environment or {})}
        if torchrun:
            launch = ["-m", "torch.distributed.run", "--nnodes=1", f"--nproc-per-node={ranks}", "--rdzv-backend=c10d"]
            command = [*launch, "--rdzv-endpoint=127.0.0.1:0", "--module", "hpcscale.train", str(point), *arguments]
            started.append(
                subprocess.Popen(
                    [sys.executable, *command], env=common, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                    cwd=tmp_path, start_new_session=True,
                )
            )  # fmt: skip
            return Run(tmp_path, started[-1:])
        master = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(ranks)}
        for rank in range(ranks):
            own = {**master, "RANK": str(rank)} if ranks > 1 else {}
            started.append(forks.start(program, [str(point), *arguments], {**common, **own}, tmp_path))
        return Run(tmp_path, started[-ranks:])

    yield begin
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
