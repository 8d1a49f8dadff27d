"""job.sh as a process in the background of this computer, which goes on after logging out."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from submitit.local import local

from hpcscale.jobs.executors.handover import Handover, ScriptJob, ScriptWatcher
from hpcscale.jobs.schedulers import local as scheduler
from hpcscale.jobs.schedulers.command import environment
from hpcscale.jobs.states import EXIT_STATUS
from hpcscale.record.attempt import VARIABLE

# The job that it waits for is a process; then the script runs in the attempt folder that is named after this process.
_LINE = (
    '[ -z "$2" ] || tail --pid="$2" --follow /dev/null || exit 1; sleep "$3" || exit 1; '
    f'export {VARIABLE}="$4/attempts/local-${scheduler.TIME}-$$.0"; '
    f'bash "$1"; status=$?; echo "$status" > "${VARIABLE}/{EXIT_STATUS}"; exit "$status"'
)


class LocalScriptJob(ScriptJob):
    watcher = ScriptWatcher("local")

    def cancel(self, check: bool = True) -> None:
        scheduler.Local().cancel([self.job_id])


class LocalScriptExecutor(local.LocalExecutor):
    job_class: Any = LocalScriptJob

    @classmethod
    def name(cls) -> str:
        return "local"

    def submit_script(self, handover: Handover) -> LocalScriptJob:
        stamp = time.strftime("%Y%m%d-%H%M%S")
        point = handover.script.parent
        own = {scheduler.NAME: handover.name, scheduler.COMMENT: handover.comment, scheduler.TIME: stamp}
        variables = {**environment(), **own}
        # python3 in the script means the interpreter that runs hpcscale, as with hpcscale run
        variables["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), variables.get("PATH", "")])
        predecessor = (handover.after or "").rpartition("-")[2]
        word = scheduler.WAITS if handover.after else "hpcscale-job"
        with (point / "job.log").open("ab") as output:
            process = subprocess.Popen(
                ["bash", "-c", _LINE, word, str(handover.script), predecessor, str(handover.delay_seconds), str(point)],
                env=variables, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip
        return LocalScriptJob(self.folder, scheduler.job_id(stamp, process.pid))
