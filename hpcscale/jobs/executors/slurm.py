"""sbatch job.sh."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from submitit.slurm import slurm

from hpcscale.jobs.executors.handover import Handover, ScriptJob, ScriptWatcher, hand_over
from hpcscale.jobs.schedulers import Unreachable


class SlurmScriptJob(ScriptJob):
    _cancel_command = "scancel"
    watcher = ScriptWatcher("slurm")


class SlurmScriptExecutor(slurm.SlurmExecutor):
    """submitit's Slurm executor whose submission file is a job.sh that exists."""

    job_class = SlurmScriptJob

    def __init__(self, folder: Path):
        if shutil.which("srun") is None or shutil.which("sbatch") is None:
            raise Unreachable("sbatch is not on the PATH; submit on a login node of the machine")
        super().__init__(folder)

    @classmethod
    def name(cls) -> str:
        return "slurm"

    def submit_script(self, handover: Handover) -> SlurmScriptJob:
        options = [f"--comment={handover.comment}"]
        if handover.after:
            options.append(f"--dependency=afterany:{handover.after}")
        if handover.delay_seconds:
            options.append(f"--begin=now+{handover.delay_seconds}")
        sbatch, script = self._make_submission_command(handover.script)
        answer = hand_over([sbatch, "--parsable", *options, script])
        return SlurmScriptJob(self.folder, self._get_job_id_from_submission_command(answer))

    @staticmethod
    def _get_job_id_from_submission_command(string: Any) -> str:
        """``--parsable`` answers with ``<id>`` or ``<id>;<cluster>``, after whatever the site prints."""
        text = string.decode() if isinstance(string, bytes) else str(string)
        for line in reversed(text.splitlines()):
            id_ = line.strip().split(";")[0]
            if id_.isdigit():
                return id_
        raise Unreachable(f"sbatch answered {text.strip()!r}, which holds no job id")
