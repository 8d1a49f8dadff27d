"""pjwait: waits for jobs, and prints ``<job> <PJM code> <exit code> <signal>`` of each (CmdRef p.99)."""

from __future__ import annotations

import sys
import time

from .codes import ENDED
from .commands import home
from .messages import refused
from .pjstat import notice_lost
from .selection import Invalid, Wanted
from .store import Store

PAUSE = 0.05


def main(command: str, arguments: list[str]) -> int:
    store = Store(home())
    words = [word for word in arguments if word != "-z"]
    options = [word for word in words if word.startswith("-")]
    if options:
        raise refused(command, 501, option=options[0])
    keys = store.live()
    if words:
        keys = []
        for word in words:
            try:
                keys += Wanted(word).keys(store)
            except Invalid:
                raise refused(command, 511, job=word) from None
    for key in dict.fromkeys(keys):
        job = store.read(key)
        while job["state"] not in ENDED:
            time.sleep(PAUSE)
            notice_lost(store)
            job = store.read(key)
        print(f"{key} {job['pc']} {job['ec']} {job['sn'] or '-'}")
        sys.stdout.flush()
    return 0
