"""``hpcscale scaling`` as a user calls it, and its chart."""

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from hpcscale.ingest import schema
from hpcscale.report.build import build
from hpcscale.report.laws import picture
from hpcscale.report.laws.analysis import Analysis, Question, analyse
from hpcscale.report.scaling import with_scaling
from hpcscale.spec.problems import InputError

Cli = Callable[..., CompletedProcess[str]]


@pytest.fixture(scope="module")
def fugaku() -> Analysis:
    rows = schema.rows(build(["megatron_30b_fugaku"]).frame)
    return analyse(rows, Question(fit_on=(192, 768), to=6144, only="june tp4"))


def test_the_fugaku_rows_print_each_law_with_its_interval_and_how_far_off_it_is(cli: Cli):
    done = cli(
        "scaling",
        "megatron_30b_fugaku",
        "--series",
        "tp4 june",
        "--fit-on",
        "192-768",
        "--to",
        "6144",
        "--tokens",
        "300B",
    )
    assert done.returncode == 0, done.stderr
    for text in (
        "Laws fitted on 192-768 nodes, 1,152-6,144 nodes held out:",
        "Gunther's USL: no fit: needs 5 sizes or more, and there are 3",
        "At 6,144 nodes, and for 300B tokens:",
        "41,024,243",  # node-hours of the published row
    ):
        assert text in done.stdout
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["Amdahl", "237.8"] in [words[:2] for words in lines] and "-5.7" in done.stdout


def test_json_holds_rows_laws_and_what_they_foresaw(cli: Cli):
    found = json.loads(cli("scaling", "nanotron_nemo", "--to", "64", "--steps", "100k", "--json").stdout)
    (line,) = found["lines"]
    assert (line["kind"], line["unit"], line["devices_per_node"]) == ("weak", "nodes", 4)
    assert [law["law"] for law in line["laws"]] == ["gustafson", "usl", "physical"]
    to = line["laws"][0]["to"]
    assert to["devices"] == 256 and to["low"] < to["step_seconds"] < to["high"] and to["training"]["node_hours"] > 0
    assert len(found["others"]) == 3 and all("only one size" in note for note in found["notes"])


def test_wrong_input_is_one_sentence_and_exit_code_2(cli: Cli, tmp_path: Path):
    (tmp_path / "file").write_text("")
    for arguments, said in (
        (["torchtitan", "--fit-on", "8"], "--fit-on 8 is no range of node counts; write, for example, 192-768"),
        (["torchtitan", "--tokens", "some"], "'some' is no number of tokens or steps"),
        (["torchtitan", "--tokens", "1B", "--steps", "3"], "--tokens and --steps are two sizes of one training"),
        (["torchtitan", "--batch", "3"], "--batch says what a step of --steps is"),
        (["torchtitan", "--efficiency", "80"], "--efficiency 80 is no share between 0 and 1"),
        (["torchtitan", "--series", "xyz"], "no series has the words 'xyz' in its name"),
        (["torchtitan", "--chart", "x.gif"], "a chart is written as .png, .svg or .pdf, not '.gif'"),
        (["torchtitan", "--to", "0"], "--to 0 is no number of nodes; write one from 1"),
        (["torchtitan", "--chart", "file/x.png"], "--chart file/x.png: cannot make the folder file"),
        (["torchtitan", "--chart", "x.png"], "there is nothing to draw"),
    ):
        done = cli("scaling", *arguments)
        assert done.returncode == 2, arguments
        assert said in done.stderr and "Traceback" not in done.stderr, done.stderr


def test_a_line_that_slows_down_and_a_table_of_odd_numbers_are_said_to_be_so(cli: Cli, tmp_path: Path):
    header = "model,devices,nodes,dp,global_batch_size,sequence_length,step_seconds_published"
    for name, rows in (
        (
            "slower",
            ["m,1,4,1,64,4096,8", "m,2,8,2,64,4096,16", "m,4,16,4,64,4096,30"],
        ),  # four nodes a device: odd, but no error
        ("huge", ["m,1,1,1,64,4096,1e-300", "m,2,2,2,64,4096,1e300"]),
    ):
        (tmp_path / f"{name}.csv").write_text("\n".join([header, *rows]) + "\n")
    slower, huge = (cli("scaling", f"{name}.csv", "--to", "64") for name in ("slower", "huge"))
    assert slower.returncode == 0, slower.stderr
    assert "Amdahl misses a fitted row by -" in slower.stdout and "do not carry it on" in slower.stdout
    assert huge.returncode == 2 and "tokens/s is no speed of a training" in huge.stderr


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_the_same_analysis_gives_the_same_chart(suffix: str, fugaku: Analysis, tmp_path: Path):
    for name in ("a", "b"):
        picture.save(fugaku, tmp_path / (name + suffix))
    content = (tmp_path / f"a{suffix}").read_bytes()
    assert len(content) > 8000 and content == (tmp_path / f"b{suffix}").read_bytes()


def test_the_chart_names_its_laws_and_what_is_held_out(fugaku: Analysis, tmp_path: Path):
    picture.save(fugaku, tmp_path / "a.svg")
    text = (tmp_path / "a.svg").read_text()
    for name in ("Amdahl, 80 %", "physical model, 80 %", "held out", "ideal", "knee", "seconds per step", "nodes"):
        assert name in text, name


def test_more_lines_than_fit_side_by_side_are_refused_with_the_way_out(tmp_path: Path):
    start = {
        "origin": "measured",
        "status": "completed",
        "model": "m",
        "global_batch_size": 8,
        "tokens_per_step": 8,
        "step_seconds": 1.0,
    }
    rows = [{**start, "tp": tp, "devices": n, "tokens_per_second": 8.0 * n} for tp in range(1, 6) for n in (1, 2)]
    found = analyse(with_scaling(schema.frame(rows))[1], Question())
    with pytest.raises(
        InputError, match="a chart holds 4 lines and there are 5; choose with --series, for example of: tp1; tp2"
    ):
        picture.save(found, tmp_path / "a.svg")
