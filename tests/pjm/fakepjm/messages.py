"""What the commands print, by number (CmdRef p.99-122, EUG appendix E; mpiexec: MPIUG), and the exception that prints it."""

from __future__ import annotations

TRY = "Try `{command} --help` for more information."
# Messages after which the command points to its help.
WITH_TRY = {1, 2, 3, 23}

ERRORS = {
    "pjsub": {
        1: "Unknown option or no option argument: {option}.",
        2: "Invalid combination: {detail}.",  # the detail is an emulator choice
        3: "Unknown option argument: {option} {argument}.",
        4: "Invalid option argument: {option} {argument}.",
        8: "Option arguments must be enclosed in quotation mark.",
        12: "Job {job} does not exist.",
        20: "File open failed: {path} ({errno}).",
        23: "Multiple script files specified.",
        25: "Line length too long.",
        46: "Option argument is out of range: {option} {argument}.",  # the text is an emulator choice
        48: "Option argument must be less than or equal to {limit}: {option}.",
        49: "Option argument is invalid. sharedtmp-size + localtmp-size must be less than or equal to {limit}.",
        54: "{key}={value} is less than the lower limit ({limit}).",
        56: "The specified execution time is earlier than the current time: {time}.",
        57: "{key}={value} is greater than the upper limit ({limit}).",
        58: "{key}={value} does not exist.",
        59: "{key}={value} is disabled.",
        60: "Step number overflowed.",
        69: "{key} in -L option is not specified.",
        70: "No execute permission{detail}.",
        71: "Group not authorized to submit a job: group({group})",  # without a final dot [FUG]
        72: "Job exceeded the accept limit: {limit}.",
        76: "{key}={value} cannot be specified. The value must be specified as follows:",
        77: "Too many custom resources specified.",
        90: "PJM daemon is not present.",  # the number is an emulator choice, after pjstat's
    },
    "pjstat": {
        201: "Unknown option or no option argument: {option}.",
        202: "Invalid combination of options: {first} and {second}.",
        203: "Unknown option argument: {option} {argument}.",
        204: "Invalid option argument: {option} {argument}.",
        211: "Invalid jobid: {job}.",
        270: "No execute permission.",
        290: "PJM daemon is not present.",
        297: "Resource unit does not exist: {name}.",
    },
    "pjdel": {
        101: "Unknown option or no option argument: {option}.",
        110: "No jobid(s) specified.",
        111: "Invalid jobid: {job}.",
        112: "Job {job} does not exist.",
        113: "Job {job} is not in the state that pjdel can be accepted.",
        171: "No permission: {job}.",
        190: "PJM daemon is not present.",
    },
    "pjhold": {
        301: "Unknown option or no option argument: {option}.",
        310: "No jobid(s) specified.",
        311: "Invalid jobid: {job}.",
        312: "Job {job} does not exist.",
        313: "Job {job} is not in the state that pjhold can be accepted.",
        390: "PJM daemon is not present.",
    },
    "pjrls": {
        401: "Unknown option or no option argument: {option}.",
        410: "No jobid(s) specified.",
        411: "Invalid jobid: {job}.",
        412: "Job {job} does not exist.",
        413: "Job {job} status is not hold.",
        490: "PJM daemon is not present.",
    },
    "pjwait": {
        501: "Unknown option or no option argument: {option}.",
        511: "Invalid jobid: {job}.",
        590: "PJM daemon is not present.",
    },
}

INFOS = {
    "pjsub": {0: "Job {job} submitted."},
    "pjdel": {100: "Accepted job {job}.", 119: "Already accepted job {job}."},
    "pjhold": {300: "Accepted job {job}.", 319: "Already accepted job {job}."},
    "pjrls": {400: "Job {job} released."},
}

# Lines without a number that Fugaku's own submission check prints [FUG].
NOT_A_DATA_AREA = (
    "The current directory is not a data area. (directory: {directory})",
    "Specify --no-check-directory option if you want to submit jobs outside the data area.",
)
SPACK_WITHOUT_VOLUME = (
    "If you use Spack, set PJM_LLIO_GFSCACHE to /vol0004.(ex. pjsub -x PJM_LLIO_GFSCACHE=/vol0004)",
    "Specify --no-check-gfscache option if you do not want to use Spack and want to submit jobs.",
)
CORE_RETENTION = "warn: specification of core retention is invalid because job size is too large."


class Refused(Exception):
    """The command ends with code 1 after printing ``lines`` to standard error."""

    def __init__(self, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


def error_line(command: str, number: int, **words: object) -> str:
    return f"[ERR.] PJM {number:04d} {command} {ERRORS[command][number].format(**words)}"


def info_line(command: str, number: int, **words: object) -> str:
    return f"[INFO] PJM {number:04d} {command} {INFOS[command][number].format(**words)}"


def warn_line(command: str, number: int, text: str) -> str:
    return f"[WARN] PJM {number:04d} {command} {text}"


def refused(command: str, number: int, *more: str, **words: object) -> Refused:
    """The error with its number; ``more``: lines that follow it."""
    lines = [error_line(command, number, **words), *more]
    if number % 100 in WITH_TRY and (command == "pjsub" or number % 100 == 1):
        lines.append(TRY.format(command=command))
    return Refused(*lines)
