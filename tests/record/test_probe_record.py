"""A probe's record as calibration reads it; the numbers are small enough to check by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpcscale.record import probe

# 2 * 512 * 768 * 256 = 201,326,592 FLOPs; 12 * 2 * 4 * 128 * 128 * 64 = 100,663,296; 2 arrays of 500 MB are copied.
EXAMPLE = """\
{"schema": "run", "version": 1, "time": 1.0, "point": {"machine": "elbe"}, "versions": {"torch": "2.9.0"}, "hosts": ["a", "b"], \
"ranks": 8, "nodes": 2, "device": {"kind": "cpu", "name": "Some CPU"}, "backend": "gloo", "threads": 6}
{"schema": "probe", "version": 1, "kind": "matmul", "dtype": "fp32", "m": 512, "n": 768, "k": 256, "flops": 201326592, \
"flops_per_second": 100663296000.0, "seconds": 0.002, "seconds_low": 0.0019, "seconds_high": 0.0025, "repeats": 20}
{"schema": "probe", "version": 1, "kind": "attention", "dtype": "bf16", "batch": 2, "heads": 4, "sequence": 128, "head_size": 64, \
"causal": true, "seconds": 0.01, "seconds_low": 0.01, "seconds_high": 0.01, "repeats": 6}
{"schema": "probe", "version": 1, "kind": "memory", "dtype": "fp32", "operation": "copy", "bytes": 1000000000, "seconds": 0.1, \
"seconds_low": 0.09, "seconds_high": 0.2, "repeats": 9}
{"schema": "probe", "version": 1, "kind": "launch", "dtype": "fp32", "seconds": 5e-06, "seconds_low": 4e-06, "seconds_high": 6e-06, \
"repeats": 50}
{"schema": "probe", "version": 1, "kind": "all_reduce", "dtype": "fp32", "bytes": 1048576, "ranks": 8, "span": "job", "seconds": 0.001, \
"seconds_low": 0.001, "seconds_high": 0.002, "repeats": 40}
{"schema": "probe", "version": 1, "kind": "send_recv", "dtype": "fp32", "bytes": 4096, "ranks": 4, "span": "node", "stride": 1, \
"seconds": 1e-05, "seconds_low": 1e-05, "seconds_high": 2e-05, "repeats": 40}
"""


@pytest.fixture
def example(tmp_path: Path) -> Path:
    path = tmp_path / "probes" / "elbe" / "2-nodes-8-ranks" / "attempts" / "7.0" / "record.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text(EXAMPLE)
    return path


def test_every_line_is_a_measurement_with_its_rate(example: Path) -> None:
    found = probe.read(example)
    assert (found.machine, found.device_name, found.ranks, found.nodes) == ("elbe", "Some CPU", 8, 2)
    assert (found.threads, found.backend, found.status) == (6, "gloo", "unfinished")
    (matmul,), (attention,), (memory,), (launch,) = found.matmuls, found.attentions, found.memory, found.launches
    assert (matmul.m, matmul.n, matmul.k, matmul.flops) == (512, 768, 256, 201_326_592)
    assert matmul.flops_per_second == 201_326_592 / 0.002
    assert (attention.flops, attention.dtype) == (100_663_296, "bf16")
    assert (memory.operation, memory.bytes_per_second) == ("copy", 1e9 / 0.1)
    assert (launch.seconds_low, launch.seconds, launch.seconds_high, launch.repeats) == (4e-6, 5e-6, 6e-6, 50)
    assert [(each.kind, each.ranks, each.span) for each in found.messages] == [
        ("all_reduce", 8, "job"),
        ("send_recv", 4, "node"),
    ]


def test_means_are_read_where_the_record_has_them(example: Path) -> None:
    line = {
        "kind": "launch", "dtype": "fp32", "seconds": 1.0, "seconds_low": 1.0, "seconds_high": 2.0, "repeats": 5,
        "mean_seconds": 1.5, "rank_seconds": 1.25,
    }  # fmt: skip
    found = probe.parse(line)
    assert found is not None
    assert (found.mean_seconds, found.rank_seconds) == (1.5, 1.25)
    assert probe.parse({**line, "mean_seconds": "long"}) is None
    (older,) = probe.read(example).launches
    assert (older.mean_seconds, older.rank_seconds) == (None, None)


def test_bandwidth_is_given_as_algorithm_and_as_bus(example: Path) -> None:
    all_reduce, shift = probe.read(example).messages
    assert all_reduce.bytes_per_second == pytest.approx(1_048_576_000)
    assert all_reduce.bus_bytes_per_second == pytest.approx(1_048_576_000 * 2 * 7 / 8)
    assert shift.bus_bytes_per_second == shift.bytes_per_second == pytest.approx(409_600_000)


def test_a_collective_beside_a_product_adds_what_both_take_longer_than_the_product() -> None:
    line = {
        "kind": "beside", "dtype": "bf16", "collective": "all_gather", "bytes": 4096, "ranks": 8, "span": "job", "m": 1, "n": 2, "k": 3,
        "product_seconds": 0.5, "collective_seconds": 0.25, "seconds": 0.625, "seconds_low": 0.5, "seconds_high": 0.75, "repeats": 7,
    }  # fmt: skip
    found = probe.parse(line)
    assert isinstance(found, probe.Beside)
    assert found.added_seconds == 0.125
    early = probe.parse({**line, "seconds": 0.375})
    assert isinstance(early, probe.Beside)
    assert early.added_seconds == 0, "noise makes no time negative"
    assert probe.parse({name: value for name, value in line.items() if name != "product_seconds"}) is None


@pytest.mark.parametrize(
    ("kind", "ranks", "factor"),
    [("all_reduce", 2, 1.0), ("all_reduce", 4, 1.5), ("all_gather", 4, 0.75), ("reduce_scatter", 2, 0.5), ("send_recv", 9, 1.0)],
)  # fmt: skip
def test_the_bus_factors_are_those_of_nccl_tests(kind: str, ranks: int, factor: float) -> None:
    assert probe.bus_factor(kind, ranks) == factor


def test_the_attempt_folder_names_its_record_too(example: Path) -> None:
    assert probe.read(example.parent) == probe.read(example)


def test_a_machines_probes_are_found_oldest_first(example: Path, tmp_path: Path) -> None:
    newer = example.parent.parent.parent.parent / "1-rank" / "attempts" / "1.0" / "record.jsonl"
    newer.parent.mkdir(parents=True)
    newer.write_text(EXAMPLE.replace('"time": 1.0', '"time": 2.0'))
    assert probe.records(tmp_path, "elbe") == [example, newer]
    assert probe.records(tmp_path, "nosuch") == []


@pytest.mark.parametrize(
    "line",
    [
        '{"schema": "probe", "kind": "matmul", "dtype": "fp32"',
        '{"schema": "probe", "kind": "matmul", "dtype": "fp32", "seconds": 1.0, "seconds_low": 1.0, "seconds_high": 1.0, "repeats": 1, "m": 1, "n": 2}',
        '{"schema": "probe", "kind": "launch", "dtype": "fp32", "seconds": "fast", "seconds_low": 1, "seconds_high": 1, "repeats": 1}',
        '{"schema": "probe", "kind": "launch", "dtype": "fp32", "seconds": 0.0, "seconds_low": 0.0, "seconds_high": 0.0, "repeats": 1}',
        '{"schema": "probe", "kind": "telepathy", "dtype": "fp32", "seconds": 1, "seconds_low": 1, "seconds_high": 1, "repeats": 1}',
    ],
)
def test_a_line_that_says_too_little_is_counted_and_left_out(line: str, example: Path) -> None:
    before = len(probe.read(example).measurements)
    with example.open("a") as file:
        file.write(line + "\n")
    found = probe.read(example)
    assert (len(found.measurements), found.damaged_lines) == (before, 1)
