"""PJM (Fujitsu TCS): pjstat for what lives, ``pjstat -H`` for what has ended in the last days."""

from __future__ import annotations

import re

from hpcscale.jobs.schedulers.answer import Answer, Found
from hpcscale.jobs.schedulers.command import ask, cancel_each
from hpcscale.jobs.states import PJM, PJM_CODES, JobState

_ITEMS = "jid,st,ec,pc,sn,ermsg,sdt,elp,elpl"
_MOST_IDS = 1000


class Pjm:
    name = "pjm"

    def states(self, ids: list[str], users: list[str]) -> Answer:
        answer = Answer()
        for start in range(0, len(ids), _MOST_IDS):
            part = ids[start : start + _MOST_IDS]
            answer.states |= _read(ask(["pjstat", "--data", "--choose", _ITEMS, *part]))
            # Finished jobs vanish from the plain list; those in neither are unknown.
            gone = [id_ for id_ in part if id_ not in answer.states]
            if gone:
                answer.states |= _read(ask(["pjstat", "-H", "--data", "--choose", _ITEMS, *gone]))
        return answer

    def find(self, names: list[str]) -> list[Found]:
        found: dict[str, Found] = {}
        chosen = ["--data", "--choose", "jid,jnam,cmt", "--filter", f"jnam={'+'.join(map(_escaped, names))}"]
        for history in ([], ["-H"]):
            for row in rows(ask(["pjstat", "-s", *history, *chosen])):
                if row.get("JOB_ID"):
                    id_ = row["JOB_ID"]
                    found.setdefault(id_, Found(id_, row.get("JOB_NAME", ""), row.get("COMMENT", "")))
        return list(found.values())

    def cancel(self, ids: list[str]) -> dict[str, str]:
        return cancel_each("pjdel", ids)


def _escaped(name: str) -> str:
    """A name in a filter value, where these characters mean something."""
    return re.sub(r"([\\+\-.*,=])", r"\\\1", name)


def rows(text: str) -> list[dict[str, str]]:
    """The rows of ``pjstat --data`` by column title: ``H,JOB_ID,ST,...`` and lines that begin with an empty field."""
    titles: list[str] = []
    found = []
    for line in text.splitlines():
        fields = line.split(",")
        if fields[0] == "H":
            titles = [title.strip() for title in fields[1:]]
        elif titles and len(fields) > 1 and fields[0] == "":
            found.append(dict(zip(titles, [field.strip() for field in fields[1:]], strict=False)))
    return found


def _read(text: str) -> dict[str, JobState]:
    states = {}
    for row in rows(text):
        id_, state = row.get("JOB_ID", ""), row.get("ST", "")
        if id_ and state:
            states[id_] = _state(id_, state, row)
    return states


def _state(id_: str, state: str, row: dict[str, str]) -> JobState:
    exit_code, code, number = (_number(row.get(title, "")) for title in ("EC", "PC", "SN"))
    reason = row.get("REASON", "").strip("- ")
    word = PJM.get(state, "running")
    if state in ("EXT", "CCL"):
        word, meaning = PJM_CODES.get(code or 0, ("failed", ""))
        if not code:
            fine = state == "EXT" and not exit_code and not number
            word, meaning = ("completed", "") if fine else ("cancelled" if state == "CCL" else "failed", "")
        reason = " ".join(part for part in (f"PJM code {code}" if code else "", meaning, reason) if part)
    return JobState(
        id_, word, state, reason, exit_code, number, elapsed=row.get("ELAPSE_TIM", "").strip("- "), start=row.get("START_DATE", "").strip("- ")
    )  # fmt: skip


def _number(text: str) -> int | None:
    return int(text) if text.lstrip("-").isdigit() and text != "-" else None
