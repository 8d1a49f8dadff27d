"""``hpcscale compare``: the verdict, its interval, what was compared with what. Seeded runs written by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from hpcscale.cli.compare import command
from hpcscale.cli.errors import report_input_errors
from hpcscale.ingest.statistics.interval import median_interval
from hpcscale.report.comparison.compare import compare
from hpcscale.report.comparison.ratio import METRICS, ratio
from hpcscale.report.comparison.sides import Side
from hpcscale.spec.problems import InputError

Cli = Callable[..., CompletedProcess[str]]
Write = Callable[..., str]


@pytest.fixture
def write_runs(write_run: Callable[..., Path], described_point: dict[str, Any]) -> Write:
    """Runs of each size; ``times``: how many times slower; ``between``: how much runs of one configuration differ."""

    def write(
        folder: Path, times: float = 1.0, seed: int = 0, repeats: int = 1, sizes: tuple[int, ...] = (1, 2, 4), between: float = 0.0,
        **changes: Any,
    ) -> str:  # fmt: skip
        random = np.random.default_rng(seed)
        for size in sizes:
            for repeat in range(1, repeats + 1):
                level = 200.0 / size * times * (1 + between * random.normal())
                seconds = [9e3, 9e3, *(level * (1 + 0.02 * random.normal(size=40))).tolist()]
                layout = {**described_point["layout"], "dp": size}
                own = {"devices": size, "layout": layout, "repeat": repeat, "hash": f"{size:04}{repeat:04}", **changes}
                write_run(folder, seconds, point=f"dp{size}-{repeat}", **own)
        return str(folder)

    return write


@pytest.fixture
def a(tmp_path: Path, write_runs: Write) -> str:
    return write_runs(tmp_path / "a", seed=1)


@pytest.mark.parametrize(
    ("times", "verdict"), [(1.1, "slower"), (0.9, "faster"), (1.0, "cannot tell")], ids=["slower", "faster", "equal"]
)
def test_the_verdict_is_right_for_each_configuration_and_for_all(
    tmp_path: Path, write_runs: Write, a: str, times: float, verdict: str
):
    found = compare(a, (write_runs(tmp_path / "b", times, seed=2)))
    assert found.verdict == verdict
    assert found.low is not None and found.high is not None
    assert found.low <= times <= found.high and found.value == pytest.approx(times, rel=0.02)
    if times != 1.0:
        assert [each.verdict for each in found.compared] == [verdict] * 3
    else:
        assert found.within


def test_throughput_is_faster_where_it_is_more(tmp_path: Path, write_runs: Write, a: str):
    b = write_runs(tmp_path / "b", 0.8, seed=2)
    for metric in ("tokens_per_second", "tokens_per_second_per_device"):
        found = compare(a, b, metric=metric)
        assert found.verdict == "faster" and found.value == pytest.approx(1.25, rel=0.02)


def test_a_difference_within_the_tolerance_is_none(tmp_path: Path, write_runs: Write, a: str):
    b = write_runs(tmp_path / "b", 1.1, seed=2)
    assert compare(a, b, tolerance=0.05).verdict == "slower"
    assert compare(a, b, tolerance=0.2).verdict == "cannot tell"


def test_runs_that_differ_from_one_another_make_it_uncertain(tmp_path: Path, write_runs: Write):
    """Repeats are runs, not steps: many steps of a run do not outvote that the next run is 10 % away."""
    a, b = (
        (write_runs(tmp_path / name, seed=seed, repeats=3, between=0.1, sizes=(2,)))
        for name, seed in (("a", 3), ("b", 5))
    )
    (found,) = compare(a, b).compared
    assert found.verdict == "cannot tell" and not found.within
    assert found.ratio.low is not None and found.ratio.high is not None
    assert found.ratio.high / found.ratio.low > 1.05


def test_intervals_hold_the_truth_as_often_as_they_say(tmp_path: Path, write_runs: Write):
    held = 0
    for seed in range(40):
        one, other = (write_runs(tmp_path / f"{seed}{k}", seed=2 * seed + k, sizes=(1, 2)) for k in (0, 1))
        ratios = [each.ratio for each in compare(one, other).compared]
        held += sum(bool(each.low and each.high and each.low <= 1 <= each.high) for each in ratios)
    assert held >= 72  # of 80; 76 are expected


def steps(random: np.random.Generator, n: int, correlation: float = 0.0) -> np.ndarray:
    noise = random.normal(size=n + 50) * 0.02 * (1 - correlation**2) ** 0.5
    for step in range(1, n + 50):
        noise[step] += correlation * noise[step - 1]
    return 1 + noise[50:]


def side(*runs: np.ndarray) -> Side:
    seconds = float(np.median([np.median(run) for run in runs]))
    return Side({"step_seconds": seconds, "repeats": len(runs), "measured_steps": len(runs[0])}, runs)


def held(make: Callable[[], Side], times: int = 150) -> float:
    """How often the interval of equal sides holds 1."""
    found = [ratio(make(), make(), METRICS["step_seconds"], str(place)) for place in range(times)]
    return float(np.mean([bool(each and each.low and each.high and each.low <= 1 <= each.high) for each in found]))


@pytest.mark.parametrize(("n", "correlation"), [(2, 0.0), (3, 0.0), (5, 0.0), (40, 0.0), (100, 0.6), (50, 0.8)])
def test_few_steps_and_steps_that_remember_make_it_as_uncertain_as_it_is(n: int, correlation: float):
    random = np.random.default_rng(21)
    assert held(lambda: side(steps(random, n, correlation))) >= 0.92


@pytest.mark.parametrize("runs", [2, 3, 5])
def test_few_runs_make_it_as_uncertain_as_it_is(runs: int):
    random = np.random.default_rng(22)
    assert held(lambda: side(*(steps(random, 20) * np.exp(0.05 * random.normal()) for _ in range(runs)))) >= 0.94


def test_five_runs_of_each_tell_a_fifth_from_the_usual_differences_of_runs():
    """Both sides' degrees of freedom count together (Welch): with those of each alone hardly anything could be told."""
    random, told = np.random.default_rng(23), 0
    for place in range(60):
        a, b = (
            side(*(level * steps(random, 20) * np.exp(0.05 * random.normal()) for _ in range(5))) for level in (1, 1.25)
        )
        found = ratio(a, b, METRICS["step_seconds"], str(place))
        told += bool(found and found.low and found.low > 1)
    assert told >= 50


@pytest.mark.parametrize("counted", [{"repeats": 2}, {"measured_steps": 2}])
def test_a_reports_row_of_two_values_knows_that_they_are_two(counted: dict[str, int]):
    row = {
        "step_seconds": 1.0,
        "step_seconds_low": 0.99,
        "step_seconds_high": 1.01,
        "repeats": None,
        "measured_steps": None,
    }
    many, two = (ratio(Side(each), Side(each), METRICS["step_seconds"], "") for each in (row, {**row, **counted}))
    assert many and two and many.high and two.high
    assert many.high == pytest.approx(1.0142, abs=0.001)  # 1 % twice, as independent errors
    assert two.high > 1.06  # 2 degrees of freedom together


def even(seconds: float) -> np.ndarray:
    return np.full(20, seconds)


def test_two_runs_have_students_interval_with_one_degree_of_freedom():
    found = ratio(side(even(1.0)), side(even(0.99), even(1.01)), METRICS["step_seconds"], "")
    assert found and found.high == pytest.approx(1.01 ** (2**0.5 * 12.706 / 1.96), rel=1e-4)


def test_the_ratio_is_as_uncertain_as_the_run_that_remembers():
    """Neither is widened twice: for its blocks and for its neighbours."""
    random, widths = np.random.default_rng(24), []
    for place in range(40):
        run = steps(random, 200, 0.8)
        found, own = (
            ratio(side(even(1.0)), side(run), METRICS["step_seconds"], str(place)),
            median_interval(run.tolist()),
        )
        assert found and found.low and found.high
        widths.append(np.log(found.high / found.low) / np.log(own.high / own.low))
    assert np.median(widths) == pytest.approx(1, abs=0.15)


def test_throughputs_interval_is_that_of_the_time_turned_over():
    random = np.random.default_rng(25)
    a, b = (side(np.exp(0.5 * random.exponential(size=15))) for _ in range(2))
    for each in (a, b):
        each.row["tokens_per_second"] = 100 / each.row["step_seconds"]
    time, rate = (ratio(a, b, METRICS[name], "") for name in ("step_seconds", "tokens_per_second"))
    assert time and rate and time.high and time.low
    assert (rate.low, rate.high) == (pytest.approx(1 / time.high), pytest.approx(1 / time.low))


@pytest.mark.parametrize(
    ("seconds", "half", "verdict", "within"),
    [(0.9802, 1e-5, "faster", False), (0.981, 1e-5, "cannot tell", True), (0.985, 0.03, "cannot tell", False),
     (1.0201, 1e-5, "slower", False), (1.0199, 1e-5, "cannot tell", True), (1.015, 0.03, "cannot tell", False)],
)  # fmt: skip
def test_a_tolerance_of_2_percent_is_the_same_in_both_directions(
    tmp_path: Path, seconds: float, half: float, verdict: str, within: bool
):
    """1.02 times and 1 / 1.02 times."""
    for name, value, off in (("a", 1.0, 1e-5), ("b", seconds, half)):
        (tmp_path / f"{name}.csv").write_text(
            "model,devices,global_batch_size,sequence_length,step_seconds_published,step_seconds_low,step_seconds_high\n"
            + f"llama2-7b,8,64,4096,{value},{value - off},{value + off}\n"
        )
    found = compare(str(tmp_path / "a.csv"), str(tmp_path / "b.csv"))
    assert (found.verdict, found.within) == (verdict, within)


def test_configurations_with_one_label_are_drawn_apart(
    tmp_path: Path, write_runs: Write, described_point: dict[str, Any]
):
    """Equal draws would add up as if one configuration had been measured twice."""
    for name in ("a", "b"):
        for seed in (7, 8, 9, 10):
            training = {**described_point["training"], "seed": seed}
            write_runs(tmp_path / name / str(seed), seed=3, sizes=(1,), training=training)
            (tmp_path / name / str(seed) / "s").rename(tmp_path / name / f"s{seed}")
    found = compare(str(tmp_path / "a"), str(tmp_path / "b"))
    drawn = [each.ratio.logarithms for each in found.compared]
    assert len(drawn) == 4 and drawn[0] is not None and drawn[1] is not None
    assert abs(np.corrcoef(drawn[0], drawn[1])[0, 1]) < 0.1


def test_the_same_input_gives_the_same_interval(tmp_path: Path, write_runs: Write, a: str):
    b = write_runs(tmp_path / "b", seed=9)
    assert compare(a, b).low == compare(a, b).low


def test_names_batches_of_files_and_protocols_are_no_configuration(tmp_path: Path, write_runs: Write, a: str):
    b = write_runs(
        tmp_path / "b", seed=2, study="other", protocol={"warmup_steps": 2, "measured_steps": 9, "repeats": 1}
    )
    assert [each.pair.unlike for each in compare(a, b).compared] == [(), (), ()]


def test_what_only_one_side_has_is_named_and_not_compared(tmp_path: Path, write_runs: Write, a: str):
    found = compare(a, (write_runs(tmp_path / "b", seed=2, sizes=(2, 4, 8))))
    assert [side.row["point"] for side in found.matches.only_a] == ["dp1-1"]
    assert [side.row["point"] for side in found.matches.only_b] == ["dp8-1"]
    assert len(found.compared) == 2


def test_settings_that_differ_are_said(tmp_path: Path, write_runs: Write, described_point: dict[str, Any], a: str):
    other = {**described_point["training"], "seed": 7}
    found = compare(a, (write_runs(tmp_path / "b", seed=2, training=other)))
    assert [each.pair.unlike for each in found.compared] == [("training.seed None / 7",)] * 3


def test_another_machine_is_compared_only_if_asked(tmp_path: Path, write_runs: Write, a: str):
    b = write_runs(tmp_path / "b", seed=2, machine="other")
    with pytest.raises(InputError, match="no configuration in common: machine is m in one and other in the other"):
        compare(a, b)
    assert len(compare(a, b, ignored=["machine"]).compared) == 3
    with pytest.raises(InputError, match="--ignore machin: there is no such column or setting; did you mean 'machine'"):
        compare(a, b, ignored=["machin"])


def test_two_configurations_that_only_settings_tell_apart_are_not_mixed_up(
    tmp_path: Path, write_runs: Write, write_run: Callable[..., Path], described_point: dict[str, Any], a: str
):
    b = write_runs(tmp_path / "b", seed=2)
    other = {"training": {**described_point["training"], "seed": 7}, "layout": {**described_point["layout"], "dp": 2}}
    write_run(tmp_path / "b", [9.0] * 20, point="again", devices=2, **other)
    found = compare(a, b)
    assert len(found.compared) == 3 and [side.row["point"] for side in found.matches.only_b] == ["again"]


def test_where_several_could_be_meant_none_is_compared(
    tmp_path: Path, write_runs: Write, described_point: dict[str, Any]
):
    a = write_runs(tmp_path / "a", sizes=(2, 4))
    b = write_runs(tmp_path / "b", sizes=(4,))
    for seed in (7, 8):
        training = {**described_point["training"], "seed": seed}
        write_runs(tmp_path / "b" / f"seed{seed}", sizes=(2,), training=training)
        (tmp_path / "b" / f"seed{seed}" / "s").rename(tmp_path / "b" / f"s{seed}")
    found = compare(a, b)
    assert [each.pair.a.row["devices"] for each in found.compared] == [4]
    assert (len(found.matches.only_a), len(found.matches.only_b)) == (1, 2)


def test_a_table_without_steps_or_interval_gives_a_ratio_and_no_verdict(tmp_path: Path):
    for name, seconds in (("a", 2.0), ("b", 3.0)):
        (tmp_path / f"{name}.csv").write_text(
            "model,devices,global_batch_size,sequence_length,step_seconds_published\n"
            + f"llama2-7b,8,64,4096,{seconds}\n"
        )
    found = compare(str(tmp_path / "a.csv"), str(tmp_path / "b.csv"))
    assert (found.verdict, found.value, found.low) == ("cannot tell", pytest.approx(1.5), None)


def test_a_reports_own_csv_brings_its_intervals_along(tmp_path: Path, write_runs: Write, cli: Cli):
    for name, times in (("a", 1.0), ("b", 1.3)):
        write_runs(tmp_path / "runs" / name, times, seed=4)
        assert cli("report", f"runs/{name}", "--output", f"{name}.csv").returncode == 0
    found = compare(str(tmp_path / "a.csv"), str(tmp_path / "b.csv"))
    assert found.verdict == "slower" and found.low is not None and found.low <= 1.3


# As a user calls it


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments: str) -> Result:
        def main() -> None:
            with report_input_errors():
                command.main(args=list(arguments), prog_name="hpcscale compare")

        runner = CliRunner()
        with runner.isolation() as (out, err, *_):
            try:
                main()
                code: Any = 0
            except SystemExit as exit_:
                code = exit_.code
            return Result(runner, out.getvalue(), err.getvalue(), b"", None, code or 0, None)

    return invoke


def test_exit_codes_are_for_ci(tmp_path: Path, write_runs: Write, call: Callable[..., Result]):
    write_runs(tmp_path / "a", seed=1)
    write_runs(tmp_path / "slower", 1.1, seed=2)
    write_runs(tmp_path / "noisy", 1.0, seed=3, repeats=2, between=0.2)
    assert call("a", "slower").exit_code == 1
    assert call("slower", "a").exit_code == 0
    assert call("a", "noisy").exit_code == 0
    assert call("a", "noisy", "--strict").exit_code == 1
    assert call("a", "slower", "--tolerance", "20%").exit_code == 0
    assert call("a", "slower", "--tolerance", "0.2", "--strict").exit_code == 0
    assert call("a", "nowhere").exit_code == 2


def test_the_last_word_is_a_sentence_with_its_reasons(tmp_path: Path, write_runs: Write, call: Callable[..., Result]):
    write_runs(tmp_path / "a", seed=1)
    write_runs(tmp_path / "b", 1.1, seed=2)
    said = call("a", "b").stdout
    assert "b is slower than a: geometric mean of sec/it 1." in said and "beyond the tolerance of 2 %" in said
    assert "By configuration: 3 slower." in said
    assert "single runs: they do not know how much runs differ" in said


def test_values_without_intervals_are_not_said_to_have_any(tmp_path: Path, call: Callable[..., Result]):
    rows = "".join(f"llama2-7b,{devices},64,4096,2\n" for devices in (8, 16))
    (tmp_path / "a.csv").write_text("model,devices,global_batch_size,sequence_length,step_seconds_published\n" + rows)
    said = call("a.csv", "a.csv").stdout
    assert "By configuration: 2 cannot tell (one value).\n" in said and "interval of its own" not in said


def test_json_is_only_json_with_raw_numbers(tmp_path: Path, write_runs: Write, call: Callable[..., Result]):
    write_runs(tmp_path / "a", seed=1)
    write_runs(tmp_path / "b", 1.1, seed=2)
    document = json.loads(call("a", "b", "--json").stdout)
    assert document["verdict"] == "slower" and len(document["points"]) == 3
    assert document["ratio_low"] < document["ratio"] < document["ratio_high"]
    assert {"point", "a", "b", "ratio", "ratio_low", "ratio_high", "verdict"} <= document["points"][0].keys()
