"""One rank of a probe from start to end. The record is a run's, with a line for each measurement as soon as there is one.

Exit codes: 0 all was measured, 1 something failed or a signal came, 2 refused before it began.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from hpcscale.record.attempt import attempt_folder
from hpcscale.record.probe import with_rates
from hpcscale.spec.probe import Probe, read
from hpcscale.spec.problems import InputError
from hpcscale.train.rendezvous import Rendezvous, RendezvousError, check_master, check_world_size, locate
from hpcscale.train.run import FAILED, PATIENCE_SECONDS, REFUSED
from hpcscale.train.stop_signal import StopSignal

if TYPE_CHECKING:
    from hpcscale.train.probe.cases import Case
    from hpcscale.train.probe.ranks import Ranks

MEASURED = 0


def run(file: Path) -> int:
    """Probes as this rank and returns the exit code."""
    try:
        asked = read(file)
        place = locate(os.environ, asked.communication, asked.ranks)
        check_world_size(place, asked.ranks)
        if asked.communication != "mpi":  # MPI needs no address
            check_master(place)
        # A folder that is named after a process is rank 0's: it will tell.
        folder = attempt_folder(file.absolute().parent)
        stop = StopSignal(patience=PATIENCE_SECONDS if place.rank else 0.0)
        rank = _Rank(asked, place, folder if place.rank == 0 or not folder.name.startswith("local-") else None, stop)
    except (InputError, RendezvousError) as error:
        return _refuse(str(error))
    except OSError as error:
        return _refuse(f"the record cannot be written: {error}")
    return rank.run()


def _refuse(sentence: str) -> int:
    print(f"hpcscale.train.probe: {sentence}", file=sys.stderr, flush=True)
    return REFUSED


class _Rank:
    """The pieces that the way through a probe shares, whether it ends well or not."""

    def __init__(self, asked: Probe, place: Rendezvous, folder: Path | None, stop: StopSignal):
        # torch takes seconds to import: only now, when there is something to do with it
        import torch

        from hpcscale.train import communication, provenance
        from hpcscale.train.journal import Journal

        cuda = asked.device.kind == "gpu" and torch.cuda.is_available()
        if asked.device.kind == "gpu" and not cuda:
            raise InputError(
                f"the probe is for {asked.device.name}, but this rank sees no GPU: what it measured would be taken for the GPU's"
            )
        self.asked, self.place, self.stop = asked, place, stop
        self.device = communication.device_for(place, cuda)
        torch.set_num_threads(asked.threads_per_rank)
        self.timeout = communication.timeout_seconds()
        self.backend = "none" if place.world_size == 1 else communication.backend_for(asked.communication, cuda)
        self.journal = Journal(
            folder,
            place.rank,
            {
                "point": asked.document(),
                "versions": provenance.versions(),
                "hosts": [socket.gethostname()],
                "ranks": place.world_size,
                "nodes": place.nodes,
                "launcher": place.launcher,
                "device": provenance.device_facts(self.device),
                "backend": self.backend,
                "threads": torch.get_num_threads(),
                "load_average": os.getloadavg()[0],  # of rank 0's node, in processes: who else was there
                "environment": provenance.environment() if place.rank == 0 else {},
            },
        )

    def run(self) -> int:
        from hpcscale.train import communication

        try:
            self._measure()
        except BaseException as error:
            return self._failed(error)
        self.stop.finished()
        with contextlib.suppress(Exception):  # the record is complete
            communication.disconnect()
        return MEASURED

    def _measure(self) -> None:
        import torch

        from hpcscale.train import communication, measure
        from hpcscale.train.probe import precisions
        from hpcscale.train.probe.ranks import Ranks

        communication.connect(self.place, self.backend, self.device, self.timeout)
        native = precisions.native(self.asked.precisions, self.device)
        met = communication.gather_objects((socket.gethostname(), self.journal.folder, native))
        self.journal.folder = met[0][1]
        hosts = self.journal.hosts = [host for host, _, _ in met]
        measured = [each for each in self.asked.precisions if all(each in has for _, _, has in met)]
        self.journal.begin(hosts=sorted(set(hosts)), nodes=len(set(hosts)), precisions=measured)
        before = time.monotonic()
        with torch.no_grad():
            left_out = self._each(self._cases(measured, hosts), Ranks(self.device, lambda: self.stop.number))
        self.journal.finish(
            steps=0,
            wall_seconds=time.monotonic() - before,
            peak_memory_bytes=measure.peak_memory_bytes(self.device),
            left_out=left_out,
        )

    def _cases(self, measured: list[str], hosts: list[str]) -> Iterator[Iterable[Case]]:
        """What to measure, short things first, so that a probe that is cut off has something of everything."""
        from hpcscale.train.probe import beside, memory, messages, products

        sizes, device = self.asked.sizes, self.device
        yield memory.cases(sizes.array_bytes, hosts.count(self.journal.host), device)
        groups = messages.groups(hosts, device, self.timeout)
        for group in groups:
            yield messages.cases(group, sizes, device)
        for group in groups if measured else []:
            yield beside.cases(group, sizes, measured[0], device)
        for precision in measured:
            yield products.attentions(sizes, precision, device)
            yield products.matmuls(sizes, precision, device)

    def _each(self, cases: Iterable[Iterable[Case]], ranks: Ranks) -> int:
        """Measures and records; how many were left out because a call would take too long."""
        from hpcscale.train.probe.clock import Clock
        from hpcscale.train.probe.repeat import Rates, measure

        clock, rates, left_out = Clock(self.device), Rates(self.asked.sizes.seconds), 0
        for case in (each for some in cases for each in some):
            if rates.too_long(case.family, case.amount):
                left_out += 1
                continue
            seconds = self.asked.sizes.seconds
            alone = {name: measure(part(), clock, ranks, seconds).median.value for name, part in case.parts.items()}
            timing = measure(case.prepare(), clock, ranks, seconds)
            rates.add(case.family, case.amount, timing.median.value)
            self.journal.probe(**with_rates({**case.line, **alone, **timing.line()}))
        return left_out

    def _failed(self, error: BaseException) -> int:
        """One line in the record says why, whichever rank failed."""
        from hpcscale.train import communication, last_words, mpi
        from hpcscale.train.failures import Ended

        reason = last_words.say(error, self.journal, PATIENCE_SECONDS)
        if os.environ.get("HPCSCALE_TRACEBACK") == "1":
            traceback.print_exception(error)
        elif self.place.rank == 0 or reason.own:
            print(f"hpcscale.train.probe: {reason}", file=sys.stderr, flush=True)
        if reason.kind == "node":
            last_words.stand_in(reason, self.journal, PATIENCE_SECONDS)
        self.stop.finished()
        if isinstance(error, Ended):  # all ranks know
            with contextlib.suppress(Exception):
                communication.disconnect()
        elif mpi.loaded():
            communication.abort(FAILED)
        return FAILED
