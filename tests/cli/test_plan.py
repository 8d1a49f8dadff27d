"""``hpcscale plan``, predicted rows in a report and predicted steps in a status, as a user calls them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from click.testing import CliRunner

from hpcscale.cli import explanation, group
from hpcscale.cost.explain import explain
from hpcscale.cost.plan import plan
from hpcscale.spec import study
from hpcscale.spec.expand import expand
from hpcscale.spec.problems import InputError

Cli = Callable[..., CompletedProcess[str]]
Write = Callable[[str, str], Path]

STUDY = """\
name: s
model: gpt-30b
training: {sequence_length: 2048, global_batch_size: 768, activation_checkpointing: full}
job: {time: 02:00:00}
budget_node_hours: 40
machines: {juwels-booster: {layout: {tp: 4}}}
sweep: {product: {pp: [1, 12]}}
"""


def test_both_machines_of_the_30b_study_stand_beside_the_published_rows(cli: Cli) -> None:
    done = cli("plan", "30b_scaling", COLUMNS="200")
    assert done.returncode == 0, done.stderr
    fugaku, juwels = done.stdout.split("juwels-booster:", maxsplit=1)
    line = next(each for each in fugaku.splitlines() if "fugaku-gpt-30b-dp32-tp4-pp48" in each)
    assert re.match(r" *6144 +gpt-30b +32 +4 +full ", line) and " 252.1 " in line  # published
    assert "GiB" in fugaku and "80 % interval" in fugaku and "MFU %" in fugaku
    assert "juwels-booster-gpt-30b-dp16-tp4-pp12" in juwels
    assert re.search(r"^30b_scaling: [\d,]+ node-hours$", juwels, re.MULTILINE)
    assert "published: sec/it of rows of megatron_30b_fugaku" in juwels


def test_what_does_not_fit_what_is_best_and_the_budget_are_said(cli: Cli, write: Write) -> None:
    write("s.yaml", STUDY + "compare: []\n")
    done = cli("plan", "s.yaml", "--tokens", "1B", COLUMNS="200")
    assert done.returncode == 0, done.stderr
    assert re.search(r" OOM .* pp1-\w+$", done.stdout, re.MULTILINE)
    assert re.search(r"^pp1-\w+: out of memory: a rank needs [\d.,]+ of 40.0 GiB; ", done.stdout, re.MULTILINE)
    assert "without 1 that run out of memory" in done.stdout
    assert re.search(r"^s: [\d.]+ node-hours of a budget of 40.00 \(\d+ %\)$", done.stdout, re.MULTILINE)
    assert re.search(r"long node-h +days +jobs", done.stdout)


def test_a_narrow_terminal_loses_columns_and_breaks_no_line_of_the_table(cli: Cli, write: Write) -> None:
    write("s.yaml", STUDY)
    table = cli("plan", "s.yaml", COLUMNS="80").stdout.splitlines()
    assert all(len(line) <= 80 for line in table[1:4])
    assert table[4] == "Not shown at this width: TFLOPs, point."


def test_an_explanation_says_what_bounds_a_point_and_whether_it_fits() -> None:
    done = CliRunner().invoke(group, ["plan", "30b_scaling", "--explain", "juwels-*-dp16-*"])
    assert done.exit_code == 0, done.output
    head, time, memory = done.output.split("\n\n")
    assert re.search(r"bound by compute \(\d+ % of it\)", head)
    assert "matmul: matrix products of the layers" in time
    assert "of 40.0 that a rank may use: fits" in memory


def test_the_printed_tables_of_every_explanation_add_up() -> None:
    found = plan([point for name in ("30b_scaling", "torchtitan_llama") for point in expand(study.read(name)).points])
    assert found.predictions is not None
    for row in found.rows:
        assert row.index is not None
        text = "\n".join(explanation.lines(row, explain(found.predictions, row.index)))
        for table, columns in zip(text.split("\n\n")[1:], (2, 2 if row.point.layout.pp > 1 else 1), strict=True):
            lines = [line.replace(",", "").split() for line in table.splitlines()[1:]]
            *parts, total = [[float(cell) for cell in line[:columns]] for line in lines if line[0][0].isdigit()]
            assert [sum(column) for column in zip(*parts, strict=True)] == pytest.approx(total, abs=1e-6)


def test_json_has_everything_with_units_in_the_names(cli: Cli) -> None:
    found = json.loads(cli("plan", "30b_scaling", "--machine", "fugaku", "--steps", "10", "--json").stdout)
    assert len(found["points"]) == 14 and found["flops_convention"] == "palm-full"
    point = found["points"][0]
    assert point["step_seconds_low"] < point["step_seconds"] < point["step_seconds_high"]
    assert sum(point["terms_seconds"].values()) == pytest.approx(point["step_seconds"])
    assert point["long_node_hours"] > 10 * 192 * point["step_seconds"] / 3600
    assert [each["step_seconds"] for each in point["published"]] == [3720.0, 3534.8833]
    runs = [each for each in found["points"] if each["verdict"] != "OOM"]
    assert len(runs) == 12  # 48 nodes with tp 1, and tp 8 without checkpointing, ran out of memory there too
    assert found["node_hours"]["fugaku"] == pytest.approx(sum(each["protocol_node_hours"] for each in runs))


def test_points_of_other_programs_are_predicted_as_the_same_layout(cli: Cli) -> None:
    done = cli("plan", "torchtitan_llama", "--set", "workload=torchtitan", COLUMNS="220")
    assert done.returncode == 0, done.stderr
    assert "Points that torchtitan runs are predicted as the same layout" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--tokens", "many"], "'many' is no number of tokens; write, for example, 300B or 1.5T"),
        (["--tokens", "1B", "--steps", "5"], "--tokens and --steps are two answers to one question"),
        (["--explain", "pp*"], "--explain explains one point, and 'pp*' matches 2: pp1-"),
        (["--explain", "pp13"], "there is no point 'pp13'; "),
        (["--point", "x*"], "s: no point is left that matches 'x*'"),
        (["--set", "precision=fp8", "--explain", "pp1-*"], "no fp8 peak of a100-40gb is known"),
    ],
)
def test_what_cannot_be_planned_says_why(arguments: list[str], said: str, write: Write) -> None:
    done = CliRunner().invoke(group, ["plan", str(write("s.yaml", STUDY)), *arguments])
    answer = str(done.exception) if isinstance(done.exception, InputError) else done.output
    assert done.exit_code and said in answer


def test_what_cannot_be_predicted_is_a_row_with_its_reason(write: Write) -> None:
    done = CliRunner().invoke(group, ["plan", str(write("s.yaml", STUDY)), "--set", "precision=fp8"])
    assert done.exit_code == 0
    assert "2 points cannot be predicted: no fp8 peak of a100-40gb is known" in done.output


def test_planning_imports_neither_torch_nor_pandas() -> None:
    program = (
        "import sys; from click.testing import CliRunner; from hpcscale.cli import group\n"
        "done = CliRunner().invoke(group, ['plan', '30b_scaling']); assert done.exit_code == 0, done.output\n"
        "print([name for name in ('torch', 'pandas', 'scipy', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_report_shows_predicted_rows_only_when_asked(cli: Cli) -> None:
    plain = json.loads(cli("report", "30b_scaling", "--json").stdout)["rows"]
    assert {row["origin"] for row in plain} == {"published"}
    assert not any("predicted_step_seconds" in row for row in plain)
    rows = json.loads(cli("report", "30b_scaling", "--predicted", "--json").stdout)["rows"]
    predicted = [row for row in rows if row["origin"] == "predicted"]
    assert len(predicted) == 19
    assert (
        sum(bool(row.get("efficiency_kind")) for row in predicted) == 17
    )  # two would run out of memory, and take no part
    published = next(row for row in rows if row["origin"] == "published" and row["nodes"] == 6144)
    same = next(row for row in predicted if row["nodes"] == 6144)
    # one from the study's point, one from the columns of the document: the same layout on the same machine
    assert published["predicted_step_seconds"] == pytest.approx(same["step_seconds"], rel=0.1)


def test_predicted_rows_can_be_written_and_read_again(cli: Cli, tmp_path: Path) -> None:
    assert cli("report", "30b_scaling", "--predicted", "--output", "all.csv").returncode == 0
    again = json.loads(cli("report", "all.csv", "--json").stdout)["rows"]
    assert sum(row["origin"] == "predicted" for row in again) == 19
