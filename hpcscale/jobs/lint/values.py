"""Whether a value is one that its option takes, and times and sizes as numbers."""

from __future__ import annotations

import re

from hpcscale.jobs.lint.grammar import Kind, Rule
from hpcscale.spec.problems import suggestion

_SHELL = re.compile(r"\$[A-Za-z_{(]|`[^`]*`")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*(=.*)?\Z", re.DOTALL)
_SLURM_TIME = re.compile(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?\Z")
_PJM_TIME = re.compile(r"(?i:(?:(?:(\d+):)?(\d+):)?(\d+)|(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?)\Z")
_SIZE = re.compile(r"(\d+)([KMGTP]?)(i?)B?\Z", re.IGNORECASE)
_FEW = 6  # so many valid values are simply listed
_UNITS = {unit: power for power, unit in enumerate("KMGTP", start=1)}


def holds_variable(value: str) -> bool:
    """Whether a shell would expand something in it; schedulers do not."""
    return bool(_SHELL.search(value))


def wrong(rule: Rule, kinds: dict[str, Kind], value: str, fold_case: bool) -> str | None:
    """None if ``rule`` takes the value, else what is wrong with it."""
    for part in value.split(rule.list) if rule.list else [value]:
        reason = _wrong_part(rule, kinds, part, fold_case)
        if reason:
            return reason
    return None


def _wrong_part(rule: Rule, kinds: dict[str, Kind], part: str, fold_case: bool) -> str | None:
    if rule.assignments:
        bad = next((each for each in part.split(",") if not _ASSIGNMENT.match(each.strip())), None)
        return None if bad is None else f"'{bad}' is not VARIABLE or VARIABLE=value"
    if not part and rule.kind != "text" and not rule.pattern:
        return "its value is empty"
    if rule.choices:
        known = {choice.lower() for choice in rule.choices} if fold_case else set(rule.choices)
        if (part.lower() if fold_case else part) in known:
            return None
        few = len(rule.choices) <= _FEW
        return f"'{part}' is no value of it" + (
            f"; valid: {', '.join(rule.choices)}" if few else suggestion(part, rule.choices)
        )
    kind = kinds[rule.kind] if rule.kind else Kind(pattern=rule.pattern or ".*", what=rule.what)
    if not re.fullmatch(kind.pattern, part, re.DOTALL):
        return f"'{part}' is not {kind.what}"
    low_high, number = rule.range, part
    if kind.after_at and "@" in part:
        low_high, number = kind.after_at, part.rpartition("@")[2]
    if low_high and number.isdigit() and not low_high[0] <= _integer(number) <= low_high[1]:
        return f"{number[:20]} is not {low_high[0]} to {low_high[1]}"
    return None


def _integer(digits: str) -> int:
    """Of any length: Python itself refuses thousands of digits."""
    return int(digits) if len(digits) < 20 else 10**19


def slurm_seconds(value: str) -> int | None:
    """Seconds of Slurm's ``minutes``, ``M:S``, ``H:M:S``, ``D-H``, ``D-H:M`` or ``D-H:M:S``; None: no limit, or no time."""
    match = _SLURM_TIME.match(value)
    if not match:
        return None
    days, first, second, third = (None if each is None else _integer(each) for each in match.groups())
    if days is not None:
        return days * 86400 + (first or 0) * 3600 + (second or 0) * 60 + (third or 0)
    if second is None:
        return (first or 0) * 60
    return (first or 0) * 60 + second if third is None else (first or 0) * 3600 + second * 60 + third


def pjm_seconds(value: str) -> int | None:
    """Seconds of PJM's ``[[H:]M:]S`` or ``1h30m``, of a range its end; None: no limit, or no time."""
    match = _PJM_TIME.match(value.rpartition("-")[2] or value.rstrip("-"))
    if not match or not match.group():
        return None
    hours, minutes, seconds, h, m, s = (_integer(each or "0") for each in match.groups())
    return (hours + h) * 3600 + (minutes + m) * 60 + seconds + s


def mebibytes(value: str) -> float | None:
    """MiB of ``400G`` or ``28Gi``; without a unit both schedulers mean mega. Slurm counts in 1024, PJM by the 'i'."""
    match = _SIZE.match(value)
    if not match:
        return None
    number, unit, _ = match.groups()
    return _integer(number) * 1024.0 ** (_UNITS[unit.upper() or "M"] - 2)
