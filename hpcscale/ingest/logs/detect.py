"""Which tool wrote a log: decided by lines that only this tool prints, never by a file's name."""

from __future__ import annotations

from dataclasses import dataclass

from hpcscale.ingest.logs import composer, fmengine, jube, megatron, nanotron, nemo, torchtitan
from hpcscale.ingest.logs.blocks import Log
from hpcscale.ingest.logs.collect import line_of
from hpcscale.ingest.logs.format import Evidence, Format
from hpcscale.spec.problems import InputError, suggestion

JUBE = Format(
    "jube", "JUBE (CARAML)", "", "FZJ-JSC/CARAML llm_training/llm_benchmark_nvidia_amd.yaml", (), lambda _: ()
)

# Where several know a line, the first of them wins: the forks of Megatron print more than it does.
FORMATS: tuple[Format, ...] = (
    megatron.DEEPSPEED_FUGAKU,
    megatron.MEGATRON_DEEPSPEED,
    megatron.MEGATRON_LM,
    nanotron.NANOTRON,
    torchtitan.TORCHTITAN,
    composer.COMPOSER,
    nemo.NEMO,
    nemo.NEMO_BAR,
    fmengine.FMENGINE,
    JUBE,
)
NAMES = tuple(each.name for each in FORMATS)


@dataclass(frozen=True)
class Recognised:
    """A format, and the line by which it is known (number and text; 0 where a person named the format)."""

    format: Format
    line: int = 0
    text: str = ""

    def __str__(self) -> str:
        return f"{self.format.tool}, by line {self.line}: {self.text}" if self.line else f"{self.format.tool}, as told"


def named(name: str) -> Format:
    """The format of this name. Raises InputError with the nearest for an unknown one."""
    found = next((each for each in FORMATS if each.name == name), None)
    if found is None:
        raise InputError(f"there is no log format '{name}'{suggestion(name, ('auto', *NAMES))}")
    return found


def recognise(log: Log) -> Recognised:
    """The format of the log's first step; where it has none, of what the program said when it started."""
    if jube.is_result(log):
        return Recognised(JUBE, 1, "a table of results")
    started: dict[str, Recognised] = {}
    seen: set[str] = set()  # formats whose `also` has stood in the log
    for block in log.blocks():
        for each in FORMATS:
            if each.also is not None and _found(each.also, log, block, each):
                seen.add(each.name)
        for each in FORMATS:
            if each.also is not None and each.name not in seen:
                continue
            for evidence in each.evidence:
                found = _found(evidence, log, block, each)
                if found is not None and evidence.step:
                    return found
                if found is not None:
                    started.setdefault(each.name, found)
    for each in FORMATS:
        if each.name in started:
            return started[each.name]
    raise InputError(_unknown(log))


def _found(evidence: Evidence, log: Log, block: bytes, of: Format) -> Recognised | None:
    match = evidence.regex.search(block) if evidence.literal in block else None
    if match is None:
        return None
    # A pattern may start at the end of the line before.
    start = match.start() + len(match[0]) - len(match[0].lstrip())
    return Recognised(of, log.line_number(block, start), line_of(match, 100))


def _unknown(log: Log) -> str:
    tools = ", ".join(each.name for each in FORMATS)
    if log.damage:
        return f"{log.path}: {log.damage}, and what lies before is no log that is known; known are {tools}"
    return (
        f"{log.path} has no line of a step by which a tool is known, of any of: {tools}; "
        "give the log in which steps are printed, or its format with --format"
    )
