"""An explained prediction as lines for people and as JSON; every printed table adds up."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hpcscale.cost.explain import Explanation, parts
from hpcscale.cost.plan import Row, gib
from hpcscale.report.text import percent, significant


def lines(row: Row, told: Explanation) -> Iterator[str]:
    """What bounds the point, its terms of time, its memory by stage."""
    point = row.point
    yield f"{point.identity}: {point.nodes} node{'s' * (point.nodes > 1)}, {point.ranks} ranks"
    low, high = row.step_seconds_low or told.seconds, row.step_seconds_high or told.seconds
    yield f"{significant(told.seconds)} s a step (80 %: {significant(low)}–{significant(high)}), bound by {told.bound} ({percent(told.bound_share, 0)} % of it)"  # fmt: skip
    for each in row.published:
        seconds = "" if each.step_seconds is None else f" {significant(each.step_seconds)} s a step"
        memory = "" if each.memory_bytes is None else f", {gib(each.memory_bytes)} GiB"
        yield f"published in {each.source}:{seconds}{memory}" + (", out of memory" if each.status == "oom" else "")
    yield ""
    yield from _time(told)
    yield ""
    yield from _memory(row, told)
    if row.problem:
        yield row.problem + (f"; {row.way}" if row.way else "")


def _time(told: Explanation) -> Iterator[str]:
    terms = sorted((term for term in told.terms if term.seconds > 0), key=lambda term: -term.seconds)
    decimals = max(0, min(6, 4 - len(str(int(told.seconds)))))
    seconds = parts([term.seconds for term in terms], decimals)
    shares = parts([100 * term.share for term in terms], 1)
    total = round(sum(seconds), decimals)
    width = max(len("seconds"), len(f"{total:,.{decimals}f}"))
    yield f"{'seconds'.rjust(width)}  share %  term"
    for term, value, share in zip(terms, seconds, shares, strict=True):
        yield f"{value:>{width},.{decimals}f}  {share:7.1f}  {term.name}: {term.meaning}"
    yield f"{total:>{width},.{decimals}f}  {sum(shares):7.1f}  in all" + (
        f"; this machine's own rows moved each by a factor of {told.correction:.3f}" if told.calibrated else ""
    )


def _memory(row: Row, told: Explanation) -> Iterator[str]:
    sizes = 2**30
    first = parts([line.first / sizes for line in told.lines], 2)
    last = parts([line.last / sizes for line in told.lines if line.last is not None], 2)
    titles = ["first stage", "last stage"] if last else ["GiB"]
    yield ("GiB of a rank on the " if last else "") + ", ".join(titles) + (":" if last else " of a rank:")
    for i, line in enumerate(told.lines):
        cells = [first[i], *(last[i : i + 1])]
        if any(cells):
            yield "  ".join(f"{cell:8.2f}" for cell in cells) + f"  {line.name}: {line.meaning}"
    totals = [sum(first), *([sum(last)] if last else [])]
    usable = f", of {gib(row.usable_bytes)} that a rank may use: {row.verdict}" if row.usable_bytes else ""
    yield "  ".join(f"{total:8.2f}" for total in totals) + f"  in all{usable}"


def document(told: Explanation) -> dict[str, Any]:
    return {
        "bound": told.bound,
        "bound_share": told.bound_share,
        "correction": told.correction,
        "terms": [
            {"term": term.name, "meaning": term.meaning, "seconds": term.seconds, "share": term.share} for term in told.terms
        ],
        "memory": [
            {"line": line.name, "meaning": line.meaning, "first_stage_bytes": line.first, "last_stage_bytes": line.last}
            for line in told.lines
        ],
    }  # fmt: skip
