"""PJM for submitit: any function (``submitit.AutoExecutor(folder, cluster="pjm")``), and job.sh as it is.

Registered through submitit's entry points, so that it is there for every submitit user who has hpcscale installed.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

from submitit.core import core, job_environment, logger, utils

from hpcscale.jobs.executors.handover import Handover, ScriptJob, ScriptWatcher, hand_over
from hpcscale.jobs.quoting import directive
from hpcscale.jobs.schedulers import Unreachable
from hpcscale.spec.units import format_seconds

_SUBMITTED = re.compile(r"\[INFO\.?\] PJM \d+ pjsub Job (\S+) submitted")
# The first id of a job that was submitted again to go on: its files carry that one.
_FIRST_ID = "SUBMITIT_PJM_FIRST_ID"


def job_id_in(answer: str | bytes) -> str:
    """``[INFO] PJM 0000 pjsub Job 9714 submitted.``, among whatever else the site prints."""
    text = answer.decode(errors="replace") if isinstance(answer, bytes) else answer
    found = _SUBMITTED.search(text)
    if found is None:
        raise utils.FailedSubmissionError(f"pjsub answered {text.strip()!r}, which holds no job id")
    return found.group(1)


class PJMScriptJob(ScriptJob):
    _cancel_command = "pjdel"
    watcher = ScriptWatcher("pjm")


class PJMJob(core.Job[Any]):
    """A function's job. One that was submitted again goes on under its first id."""

    _cancel_command = "pjdel"
    watcher = ScriptWatcher("pjm", delay_s=600)

    def cancel(self, check: bool = True) -> None:
        (subprocess.check_call if check else subprocess.call)([self._cancel_command, self._last_id()])

    def done(self, force_check: bool = False) -> bool:
        if self._sub_jobs:
            return all(job.done(force_check) for job in self._sub_jobs)
        if self.paths.result_pickle.exists():
            return True
        return self.watcher.is_done(self._last_id(), mode="force" if force_check else "standard")

    @property
    def state(self) -> str:
        return self.watcher.get_state(self._last_id(), mode="standard")

    def _last_id(self) -> str:
        try:
            return successor_file(self.paths.folder, self.job_id).read_text(encoding="utf-8").split()[-1]
        except (OSError, IndexError):
            return self.job_id


def successor_file(folder: Path, job_id: str) -> Path:
    return folder / f"{job_id}_successors"


class PJMJobEnvironment(job_environment.JobEnvironment):
    _env: ClassVar[dict[str, str]] = {
        "job_id": "PJM_SUBJOBID",
        "num_tasks": "PJM_MPI_PROC",
        "num_nodes": "PJM_NODE",
        "global_rank": "PMIX_RANK",
        "local_rank": "PLE_RANK_ON_NODE",
    }

    @property
    def raw_job_id(self) -> str:
        return os.environ.get(_FIRST_ID) or os.environ[self._env["job_id"]]

    @property
    def node(self) -> int:
        """PJM numbers no nodes; ranks fill one node after the other (rank-map-bychip, its default)."""
        return self.global_rank // -(-self.num_tasks // self.num_nodes)

    def _requeue(self, countdown: int) -> None:
        """PJM requeues no running job: a new one goes on with the first one's files."""
        script = self.paths.folder / f"{self.job_id}_submission.sh"
        answer = subprocess.run(
            ["pjsub", "-x", f"{_FIRST_ID}={self.job_id}", str(script)], capture_output=True, text=True, timeout=60, check=True
        ).stdout  # fmt: skip
        with successor_file(self.paths.folder, self.job_id).open("a", encoding="utf-8") as file:
            file.write(job_id_in(answer) + "\n")
        logger.get_logger().info(f"Submitted job {job_id_in(answer)} to go on ({countdown} remaining timeouts)")


class PJMExecutor(core.PicklingExecutor):
    """Runs functions as PJM jobs. Parameters: see ``_DEFAULTS``; ``setup`` are shell lines before the function."""

    job_class: Any = PJMJob

    _DEFAULTS: ClassVar[dict[str, Any]] = {
        "job_name": "submitit", "time": 5, "nodes": 1, "tasks_per_node": 1, "cpus_per_task": None, "mem_gb": None,
        "gpus_per_node": None, "rscunit": None, "rscgrp": None, "group": None, "freq": None, "eco_state": None,
        "volumes": None, "setup": None, "directives": None,
    }  # fmt: skip

    def __init__(self, folder: Path | str, max_num_timeout: int = 3):
        super().__init__(folder, max_num_timeout)
        if not self.affinity() > 0:
            raise RuntimeError("Could not detect pjsub, are you indeed on a login node of a PJM system?")
        self.python = shlex.quote(sys.executable)
        self._throttling = 0.0  # submitit waits 0.2 s between two jobs for Slurm's sake

    @classmethod
    def name(cls) -> str:
        return "pjm"

    @classmethod
    def affinity(cls) -> int:
        return -1 if shutil.which("pjsub") is None else 2

    @classmethod
    def _equivalence_dict(cls) -> Any:
        return {
            "name": "job_name", "timeout_min": "time", "mem_gb": "mem_gb", "nodes": "nodes", "cpus_per_task": "cpus_per_task",
            "gpus_per_node": "gpus_per_node", "tasks_per_node": "tasks_per_node",
        }  # fmt: skip

    @classmethod
    def _valid_parameters(cls) -> set[str]:
        return set(cls._DEFAULTS)

    def _internal_update_parameters(self, **kwargs: Any) -> None:
        unknown = sorted(set(kwargs) - set(self._DEFAULTS))
        if unknown:
            valid = "\n  - ".join(f"{key} (default: {value!r})" for key, value in sorted(self._DEFAULTS.items()))
            raise ValueError(f"Unavailable parameter(s): {unknown}\nValid parameters are:\n  - {valid}")
        super()._internal_update_parameters(**kwargs)

    @property
    def _values(self) -> dict[str, Any]:
        return {**self._DEFAULTS, **self.parameters}

    def _num_tasks(self) -> int:
        return self._values["nodes"] * self._values["tasks_per_node"]

    @property
    def _submitit_command_str(self) -> str:
        return " ".join([self.python, "-u -m submitit.core._submit", shlex.quote(str(self.folder))])

    def _make_submission_file_text(self, command: str, uid: str) -> str:
        values, folder = self._values, str(self.folder)
        lists = {
            "rscunit": values["rscunit"], "rscgrp": values["rscgrp"], "node": values["nodes"],
            "elapse": format_seconds(int(values["time"] * 60)), "freq": values["freq"], "eco_state": values["eco_state"],
            "node-mem": f"{values['mem_gb']}Gi" if values["mem_gb"] else None, "gpu": values["gpus_per_node"],
        }  # fmt: skip
        lines = [f"-L {directive(f'{key}={value}')}" for key, value in lists.items() if value is not None]
        lines += [f"--mpi proc={self._num_tasks()}", f"--mpi max-proc-per-node={values['tasks_per_node']}"]
        lines += [f"-g {directive(values['group'])}"] if values["group"] else []
        lines += [f"-x {directive('PJM_LLIO_GFSCACHE=' + values['volumes'])}"] if values["volumes"] else []
        lines += [f"-N {directive(values['job_name'])}", *(values["directives"] or [])]
        lines += [f"-o {directive(f'{folder}/%j_0_log.out')}", f"-e {directive(f'{folder}/%j_0_log.err')}"]
        threads = [f"export OMP_NUM_THREADS={values['cpus_per_task']}"] if values["cpus_per_task"] else []
        several = self._num_tasks() > 1
        launch = f"mpiexec -std-proc {shlex.quote(folder + '/ranks.%j')} {command}" if several else command
        body = [
            *(values["setup"] or []), *threads, "export SUBMITIT_EXECUTOR=pjm",
            # PJM warns with SIGXCPU, and only when the time is over: 10 seconds to write what is to go on
            "export SUBMITIT_PREEMPT_SIGNAL=XCPU", launch,
        ]  # fmt: skip
        return "\n".join(["#!/bin/bash", *(f"#PJM {line}" for line in lines), "", *body, ""])

    def _make_submission_command(self, submission_file_path: Path) -> list[str]:
        return ["pjsub", str(submission_file_path)]

    @staticmethod
    def _get_job_id_from_submission_command(string: Any) -> str:
        return job_id_in(string)


class PJMScriptExecutor(PJMExecutor):
    """job.sh as it is."""

    job_class: Any = PJMScriptJob

    def __init__(self, folder: Path):
        if shutil.which("pjsub") is None:
            raise Unreachable("pjsub is not on the PATH; submit on a login node of the machine")
        super().__init__(folder)

    def submit_script(self, handover: Handover) -> PJMScriptJob:
        options = ["--comment", handover.comment]
        if handover.lane or handover.after:
            # A step job: its sub jobs run one after the other, however the one before ended.
            options.append("--step")
        if handover.after:
            options += ["--sparam", f"jid={handover.after.partition('_')[0]}"]
        if handover.delay_seconds:
            options += ["--at", _minute_after(handover.delay_seconds)]
        pjsub, script = self._make_submission_command(handover.script)
        try:
            return PJMScriptJob(self.folder, job_id_in(hand_over([pjsub, *options, script])))
        except utils.FailedSubmissionError as error:
            raise Unreachable(str(error)) from None


def _minute_after(seconds: int) -> str:
    import datetime

    return (datetime.datetime.now() + datetime.timedelta(seconds=seconds + 60)).strftime("%Y%m%d%H%M")
