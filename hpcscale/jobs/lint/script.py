"""A script as lines: shebang, line ends, which lines are directives, and which only look like one."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass, field

from hpcscale.jobs.lint.finding import Remark, error, warning
from hpcscale.jobs.lint.grammar import SchedulerFile

_SHELLS = re.compile(r"#!\s*\S*/(?:env\s+(?:-S\s*)?)?(ba|da|k|z)?sh\b")
_PLACE = re.compile(r"bash: line (\d+): (.*)")
_SECONDS = 10.0  # bash -n on any script takes milliseconds


@dataclass
class Script:
    """A script's text with line feeds only, and its lines."""

    text: str
    lines: list[str]
    remarks: list[Remark] = field(default_factory=list)
    shell: bool = True  # a POSIX shell reads the body

    @property
    def body(self) -> int:
        """The number of the first line that is neither blank nor a comment; behind the last line if none is."""
        for number, line in enumerate(self.lines, start=1):
            if line.strip() and not line.lstrip().startswith("#"):
                return number
        return len(self.lines) + 1


def read(text: str) -> Script:
    """The script's lines, with what is wrong with its line ends."""
    remarks: list[Remark] = []
    if "\r\n" in text:
        line = text.count("\n", 0, text.index("\r\n")) + 1
        way = "convert the file with: sed -i 's/\\r$//' FILE"
        remarks.append(error(line, f"the line ends as on Windows (\\r\\n), which schedulers and shells refuse; {way}"))
        text = text.replace("\r\n", "\n")
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        remarks.append(error(line, "the line holds a NUL character, so this is no text; give the script itself"))
        text = text.replace("\0", " ")
    lines = text.split("\n")
    first = lines[0] if lines else ""
    return Script(text, lines, remarks, not first.startswith("#!") or bool(_SHELLS.match(first)))


def shebang(script: Script, scheduler: SchedulerFile | None) -> list[Remark]:
    """Line 1 must name the interpreter."""
    first = script.lines[0]
    if first.startswith("#!"):
        return [] if first[2:].strip() else [error(1, "the shebang names no interpreter; write #!/bin/bash")]
    later = next((n for n, line in enumerate(script.lines, start=1) if line.startswith("#!")), None)
    where = f"; it stands on line {later}, move it up" if later else "; write #!/bin/bash there"
    if first.startswith("\ufeff"):
        where = "; a byte order mark stands before it, save the file as UTF-8 without one"
    message = f"line 1 does not start with '#!'{where}"
    return [error(1, message) if scheduler and scheduler.needs_shebang else warning(1, message)]


def directives(script: Script, scheduler: SchedulerFile) -> list[tuple[int, str]]:
    """The directives that the scheduler reads: line number and what follows the prefix."""
    found = []
    for number, line in enumerate(script.lines[: script.body - 1], start=1):
        if _is_directive(line, scheduler):
            found.append((number, line[len(scheduler.prefix) :]))
    return found


def _is_directive(line: str, scheduler: SchedulerFile) -> bool:
    if not line.startswith(scheduler.prefix):
        return False
    following = line[len(scheduler.prefix) :]
    return not scheduler.prefix_ends_in_blank or following[:1] in (" ", "\t", "")


def overlooked(script: Script, scheduler: SchedulerFile, quoted: frozenset[int]) -> list[Remark]:
    """Lines that are meant as directives and are none. ``quoted``: lines of here-documents, which are other files."""
    remarks = []
    prefix, body = scheduler.prefix, script.body
    alike = re.compile(rf"\s*#\s*{re.escape(prefix[1:])}\b[\s-]", re.IGNORECASE)
    for number, line in enumerate(script.lines, start=1):
        if number in quoted:
            continue
        if _is_directive(line, scheduler):
            if number >= body:
                way = f"move it above line {body}, the first command"
                remarks.append(
                    error(number, f"this {prefix} line is silently ignored, since commands precede it; {way}")
                )
        elif alike.match(line) and (number < body or line.lstrip() != line):
            way = f"write '{prefix} ' at the start of the line, or '##' if it is switched off on purpose"
            remarks.append(warning(number, f"the line is a comment and no directive; {way}"))
    return remarks


def _options(script: Script) -> list[str]:
    """Without running anything, bash does not see that the script switches on patterns such as !(*.txt)."""
    return ["-O", "extglob"] if "extglob" in script.text else []


def syntax(script: Script) -> list[Remark]:
    """What bash says about the syntax, without running anything."""
    if not script.shell:
        return []
    try:
        done = subprocess.run(
            ["bash", *_options(script), "-n"],
            input=script.text.encode("utf-8", "surrogatepass"),
            capture_output=True,
            timeout=_SECONDS,
            env={"LC_ALL": "C", "PATH": "/usr/bin:/bin:/usr/local/bin"},
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    match = _PLACE.search(done.stderr.decode("utf-8", "replace"))
    if done.returncode == 0 or not match:
        return []
    line = min(int(match[1]), len(script.lines))
    return [error(line, f"bash cannot read this: {match[2].strip()}; correct the line, or the quote before it")]
