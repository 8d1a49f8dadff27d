"""Words and numbers that say how a job is and how it ended (CmdRef p.104-116, EUG appendix A, FUG 5.16)."""

from __future__ import annotations

WAITING = ("ACC", "QUE", "HLD", "ERR")
RUNNING = ("RNA", "RNP", "RUN", "RNE", "RNO")
ENDED = ("EXT", "CCL", "RJT")

# PJM code: how it came to be. 13 and 14 are never printed today.
PJM_CODES = {
    0: "ended",
    1: "pjdel",
    2: "rejected",
    3: "gate check",
    4: "pjhold",
    6: "step dependency",
    7: "deadline",
    8: "gate",
    9: "no restart",
    11: "elapse limit",
    12: "memory limit",
    16: "directory or standard files",
    18: "adaptive end",
    20: "node down",
    21: "shell failure",
    22: "ICC error",
    23: "out of memory",
    25: "HA failure",
    26: "prologue or epilogue",
    27: "exit script",
    28: "job environment",
    29: "job environment",
    30: "suspend or resume",
}


class Ending:
    """How an end that the job did not choose shows: its code, state, REASON, job message and the signals that bring it."""

    def __init__(
        self,
        code: int,
        state: str = "EXT",
        reason: str = "-",
        message: str | None = None,
        first: str = "SIGKILL",
        then_kill: bool = False,
        user: bool = False,
    ) -> None:
        self.code, self.state, self.reason, self.message = code, state, reason, message
        self.first, self.then_kill = first, then_kill
        self.level = "INFO" if user else "ERR."


# The state after an elapse limit is EXT, with EC 0 and SN 24, in captures of Fugaku's `pjstat -H -v`; for the other codes
# from 11 on it is not documented (emulator choice: EXT). REASON shows 16 characters.
ENDINGS = {
    "pjdel": Ending(
        1, "CCL", message="7090 Job {job} was canceled. User {user} executed pjdel command.", user=True
    ),
    "reject": Ending(2, "RJT"),
    "pjhold": Ending(
        4, "HLD", message="7091 Job {job} was canceled. User {user} executed pjhold command.", user=True
    ),
    "step": Ending(6, "CCL"),
    "elapse": Ending(
        11, reason="ELAPSE LIMIT EXCEEDED", first="SIGXCPU", then_kill=True,
        message="7004 Job {job} was canceled. The job exceeded its elapse time limit.",
    ),
    "memory": Ending(12, message="7005 Job {job} was canceled. The job exceeded its memory limit.", reason="MEMORY LIMIT EXCEEDED"),
    "no_directory": Ending(16, reason="NO CURRENT DIR"),
    "no_output": Ending(16, reason="NO STDOUT/STDERR"),
    "another_job": Ending(18, reason="ANOTHER JOB STARTED", first="SIGTERM", then_kill=True),
    "deadline": Ending(18, reason="DEADLINE SCHEDULE STARTED", first="SIGTERM", then_kill=True),
    "node_down": Ending(20, reason="NODE DOWN"),
    "shell_fail": Ending(21, message="7009 Job {job} was canceled. The job script execution failed."),
    "oom": Ending(23, message="7011 Job {job} was canceled. The OOM Killer stopped a process of the job.", reason="OOM KILLER"),
    "invalid_hostfile": Ending(16, reason="INVALID HOSTFILE"),
}  # fmt: skip

# What FAKEPJM_INJECT may name, as `kind` or `kind@5s`.
FAULTS = ("node_down", "oom", "memory", "shell_fail", "reject", "another_job", "deadline", "accept")
