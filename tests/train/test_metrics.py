"""What a step's line says: times, loss, memory, energy; and what is written beside the record."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from hpcscale.record import reader
from hpcscale.train import energy, loop, measure, tensorboard
from hpcscale.train.failures import Ended
from hpcscale.train.job_clock import START, JobClock
from hpcscale.train.journal import Journal
from hpcscale.train.point_file import parse
from hpcscale.train.trainer import StepResult

from .toys import document

FACTS = {"point": {}, "versions": {}, "hosts": ["h"], "ranks": 1, "device": {}, "backend": "none"}


# A step's line


def _rank(seconds: float, loss_share: float = 0.0, energy_joules: float = math.nan, **others: float) -> list[float]:
    values = {"peak_memory_bytes": 1.0, "stop_signal": 0.0, "out_of_time": 0.0, **others}
    return measure.RankStep(seconds=seconds, loss_share=loss_share, energy_joules=energy_joules, **values).numbers()


def test_a_step_takes_as_long_as_its_slowest_rank() -> None:
    line, stop = measure.combine([_rank(1.0, 2.5), _rank(3.0, 0.5, peak_memory_bytes=100.0), _rank(1.5)])
    assert line == {
        "step_seconds": 3.0, "fastest_rank_seconds": 1.0, "median_rank_seconds": 1.5, "slowest_rank": 1, "loss": 3.0,
        "peak_memory_bytes": 100,
    }  # fmt: skip
    assert not stop


def test_one_ranks_signal_or_clock_stops_all() -> None:
    assert measure.combine([_rank(1.0), _rank(1.0, stop_signal=15.0)])[1].signal == 15
    assert measure.combine([_rank(1.0), _rank(1.0, out_of_time=1.0)])[1]


def test_energy_is_the_sum_of_the_ranks_that_read_a_counter() -> None:
    line, _ = measure.combine([_rank(1.0, energy_joules=5.0), _rank(1.0), _rank(1.0, energy_joules=7.0)])
    assert line["energy_joules"] == 12.0


# Energy counters


def _zone(folder: Path, name: str, microjoules: int, largest: int = 1_000_000_000) -> Path:
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{name}\n")
    (folder / "energy_uj").write_text(f"{microjoules}\n")
    (folder / "max_energy_range_uj").write_text(f"{largest}\n")
    return folder / "energy_uj"


def test_rapl_counts_packages_and_their_memory_and_nothing_twice(tmp_path: Path) -> None:
    for folder, name in {
        "intel-rapl:0": "package-0", "intel-rapl:0:0": "core", "intel-rapl:0:1": "dram", "intel-rapl:1": "package-1",
        "intel-rapl:2": "psys", "intel-rapl-mmio:0": "package-0",
    }.items():  # fmt: skip
        _zone(tmp_path / folder, name, 0)
    meter = energy.meter(torch.device("cpu"), tmp_path)
    assert sorted(counter.name for counter in meter.counters) == ["dram", "package-0", "package-1"]
    assert meter.source == "rapl: 1 dram, 2 package"
    for folder in tmp_path.iterdir():
        (folder / "energy_uj").write_text("2500000\n")
    assert meter.joules() == pytest.approx(3 * 2.5)


def test_a_rapl_counter_that_wraps_goes_on(tmp_path: Path) -> None:
    counter = _zone(tmp_path / "intel-rapl:0", "package-0", 9_000_000, largest=10_000_000)
    meter = energy.meter(torch.device("cpu"), tmp_path)
    readings = []
    for microjoules in (9_500_000, 1_000_000, 9_000_000, 2_000_000):
        counter.write_text(str(microjoules))
        readings.append(meter.joules())
    assert readings == [0.5, 2.0, 10.0, 13.0]


def test_counters_that_may_not_be_read_are_no_energy_and_no_complaint(tmp_path: Path) -> None:
    _zone(tmp_path / "intel-rapl:0", "package-0", 0).unlink()
    (tmp_path / "intel-rapl:1").mkdir()
    assert energy.meter(torch.device("cpu"), tmp_path) == energy.Meter(None, [])
    assert energy.meter(torch.device("cpu"), tmp_path / "nowhere").joules() is None


def test_a_counter_that_stops_answering_ends_no_run(tmp_path: Path) -> None:
    counter = _zone(tmp_path / "intel-rapl:0", "package-0", 0)
    meter = energy.meter(torch.device("cpu"), tmp_path)
    counter.unlink()
    assert meter.joules() is None


class FakeNvml:
    def __init__(self) -> None:
        self.millijoules = {"GPU-1": 1000, "GPU-2": 5000}

    def nvmlInit(self) -> None: ...

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:
        return uuid

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: str) -> int:
        return self.millijoules[handle]


def test_nvml_counts_the_ranks_own_gpu() -> None:
    nvml = FakeNvml()
    counter = energy.NvmlDevice(nvml, "GPU-2")
    before = counter.joules()
    nvml.millijoules["GPU-2"] += 2500
    assert counter.joules() - before == 2.5
    with pytest.raises(KeyError):
        energy.NvmlDevice(nvml, "GPU-3")


def test_ranks_that_share_a_counter_read_it_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _zone(tmp_path / "intel-rapl:0", "package-0", 0)
    zone = (energy.socket.gethostname(), str(tmp_path / "intel-rapl:0"), "package-0")
    elsewhere = ("another host", *zone[1:])
    monkeypatch.setattr(energy.dist, "is_initialized", lambda: True)
    read = {}
    for rank in range(3):
        monkeypatch.setattr(energy.dist, "get_rank", lambda rank=rank: rank)
        monkeypatch.setattr(energy.communication, "gather_objects", lambda _: [[elsewhere], [zone], [zone]])
        meter = energy.meter(torch.device("cpu"), tmp_path)
        read[rank] = len(meter.counters)
        assert meter.source == "rapl: 2 package"
    assert read == {0: 1, 1: 1, 2: 0}


# The job's clock


def test_the_clock_stops_in_time_for_two_steps_and_a_checkpoint() -> None:
    def nearly_over(elapsed: float, limit: float | None, step: float = 1.0, checkpoint: float = 0.0) -> bool:
        clock = JobClock(limit, {START: str(time.time() - elapsed)})
        return clock.is_nearly_over(step, checkpoint)

    assert not nearly_over(560, 600) and nearly_over(571, 600)  # half a minute at least
    assert not nearly_over(410, 600, step=50, checkpoint=80) and nearly_over(421, 600, step=50, checkpoint=80)
    assert not nearly_over(50, 60) and nearly_over(55, 60)  # but a tenth of a short job
    assert not nearly_over(1e9, None)


@pytest.mark.parametrize("start", ["", "soon", "99999999999"])
def test_without_a_start_the_job_begins_now(start: str) -> None:
    assert 0 <= JobClock(600, {START: start}).elapsed() < 60


# The loop


class FakeTrainer:
    """Gives the results it is told to, the last one again and again."""

    def __init__(self, *results: StepResult):
        self.results = list(results)

    def step(self, step: int) -> StepResult:
        return self.results[min(step, len(self.results)) - 1]


class FakeCheckpointer:
    seconds = 0.0

    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []

    def after_step(self, step: int, line: Any) -> None:
        assert line["step_seconds"] >= 0
        self.calls.append(("after", step))

    def before_leaving(self, step: int) -> None:
        self.calls.append(("leaving", step))


class NoSignal:
    number = 0

    def finished(self) -> None: ...


def _result(loss: float = 1.0, **values: Any) -> StepResult:
    given = {"gradient_norm": torch.tensor(0.5), "learning_rate": 0.1, "skipped": False, "loss_scale": None, **values}
    return StepResult(loss=torch.tensor(loss, dtype=torch.float64), **given)


def _session(folder: Path, *results: StepResult, **values: Any) -> loop.Session:
    given: dict[str, Any] = {"clock": JobClock(None, {}), "stop": NoSignal(), **values}
    journal = Journal(folder, 0, FACTS)
    return loop.Session(FakeTrainer(*results), parse(document(), "test"), torch.device("cpu"), journal, **given)


def _steps(folder: Path) -> list[dict[str, Any]]:
    return reader.read(folder / "record.jsonl").steps


def test_a_skipped_step_is_recorded_with_its_loss_scale_and_is_no_failure(tmp_path: Path) -> None:
    overflow = _result(math.inf, skipped=True, loss_scale=65536.0)
    loop.run_steps(_session(tmp_path, overflow, _result(2.0, loss_scale=32768.0)), 2)
    assert [(line["skipped"], line["loss_scale"]) for line in _steps(tmp_path)] == [(True, 65536.0), (False, 32768.0)]


def test_a_hundred_skipped_steps_in_a_row_are_a_failure(tmp_path: Path) -> None:
    with pytest.raises(Ended, match=r"100 steps in a row .* loss scale of 0.5; the last step was 100") as caught:
        loop.run_steps(_session(tmp_path, _result(skipped=True, loss_scale=0.5)), 1000)
    assert caught.value.kind == "nan"


def test_skipped_steps_with_good_ones_between_are_no_failure(tmp_path: Path) -> None:
    class Alternating:
        def step(self, step: int) -> StepResult:
            return _result(skipped=step % 50 != 0, loss_scale=1.0)

    session = _session(tmp_path)
    session.trainer = Alternating()
    assert loop.run_steps(session, 120) == 1.0


def test_a_loss_that_is_no_number_ends_the_run_before_a_checkpoint(tmp_path: Path) -> None:
    checkpointer = FakeCheckpointer()
    with pytest.raises(Ended, match="the loss of step 2 is nan"):
        loop.run_steps(_session(tmp_path, _result(), _result(math.nan), checkpointer=checkpointer), 5)
    assert checkpointer.calls == [("after", 1)]


def test_checkpoints_are_asked_for_after_each_step_and_before_leaving(tmp_path: Path) -> None:
    checkpointer = FakeCheckpointer()
    loop.run_steps(_session(tmp_path, _result(), checkpointer=checkpointer), 3)
    assert checkpointer.calls == [("after", 1), ("after", 2), ("leaving", 3)]


def test_a_run_that_is_out_of_time_saves_and_ends_as_a_timeout(tmp_path: Path) -> None:
    checkpointer = FakeCheckpointer()
    clock = JobClock(600, {START: str(time.time() - 590)})
    with pytest.raises(Ended, match="stopped by itself after step 1: 590 s of the job's 600 s") as caught:
        loop.run_steps(_session(tmp_path, _result(), clock=clock, checkpointer=checkpointer), 5)
    assert caught.value.kind == "timeout"
    assert checkpointer.calls == [("leaving", 1)]


def test_a_resumed_attempt_warms_up_again(tmp_path: Path) -> None:
    loop.run_steps(_session(tmp_path, _result()), 14, first=11)
    assert [(line["step"], line["warmup"]) for line in _steps(tmp_path)] == [
        (11, True), (12, True), (13, False), (14, False),
    ]  # fmt: skip


def test_energy_of_a_step_is_what_its_counters_grew_by(tmp_path: Path) -> None:
    counter = _zone(tmp_path / "intel-rapl:0", "package-0", 0)

    class Hungry:
        def step(self, step: int) -> StepResult:
            counter.write_text(str(int(counter.read_text()) + step * 1_000_000))
            return _result()

    session = _session(tmp_path / "attempt", meter=energy.meter(torch.device("cpu"), tmp_path))
    session.trainer = Hungry()
    loop.run_steps(session, 3)
    assert [line["energy_joules"] for line in _steps(tmp_path / "attempt")] == [1.0, 2.0, 3.0]


def test_traffic_is_counted_in_the_first_step_and_never_in_a_measured_one(tmp_path: Path) -> None:
    loop.run_steps(_session(tmp_path / "warm", _result()), 3)
    assert ["collectives" in line for line in _steps(tmp_path / "warm")] == [True, False, False]
    session = _session(tmp_path / "cold", _result())
    session.work = parse(document(protocol={"warmup_steps": 0, "measured_steps": 2}), "test")
    loop.run_steps(session, 2)
    assert ["collectives" in line for line in _steps(tmp_path / "cold")] == [False, False]


# TensorBoard


def test_tensorboard_gets_each_steps_scalars(tmp_path: Path) -> None:
    board = tensorboard.Board(tmp_path)  # alive until the end: what is read was written step by step
    loop.run_steps(_session(tmp_path, _result(3.0), _result(2.0), board=board), 2)
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("training/loss")] == [(1, 3.0), (2, 2.0)]
    assert "training/loss_scale" not in events.Tags()["scalars"]


@pytest.mark.parametrize(
    ("variable", "key", "wanted"),
    [("1", None, True), ("", True, True), ("0", True, False), ("", None, False)],
)
def test_the_variable_decides_over_the_document(variable: str, key: bool | None, wanted: bool) -> None:
    assert tensorboard.wanted({"tensorboard": key}, {"HPCSCALE_TENSORBOARD": variable}) == wanted


def test_without_the_package_tensorboard_is_refused_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tensorboard.refusal({}, {"HPCSCALE_TENSORBOARD": "1"}) is None
    monkeypatch.setattr(tensorboard.importlib.util, "find_spec", lambda _: None)
    sentence = tensorboard.refusal({}, {"HPCSCALE_TENSORBOARD": "1"})
    assert sentence is not None and "pip install 'hpcscale[tensorboard]'" in sentence
    assert tensorboard.refusal({}, {}) is None
