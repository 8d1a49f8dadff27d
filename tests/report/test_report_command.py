"""``hpcscale report`` as a user calls it."""

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

Cli = Callable[..., CompletedProcess[str]]


def test_a_study_prints_its_table_and_draws_its_chart(cli: Cli, tmp_path: Path):
    done = cli("report", "30b_scaling", "--chart", "charts/30b.svg")
    assert done.returncode == 0, done.stderr
    assert "6,144" in done.stdout and "43.8" in done.stdout
    assert (tmp_path / "charts/30b.svg").stat().st_size > 5000


def test_the_outputs_suffix_says_its_format(cli: Cli, tmp_path: Path):
    done = cli("report", "torchtitan", "--output", "table.md")
    assert (done.returncode, done.stdout) == (0, "")
    assert (tmp_path / "table.md").read_text().count("\n| Llama") == 8


def test_json_is_only_json(cli: Cli):
    assert len(json.loads(cli("report", "fmengine", "--json").stdout)["rows"]) == 3


def test_wrong_input_is_one_sentence_and_exit_code_2(cli: Cli, tmp_path: Path):
    (tmp_path / "mine.csv").write_text("model,devces\nx,8\n")
    for arguments, said in (
        (["mine.csv"], "mine.csv:1:7: there is no column 'devces'; did you mean 'devices'?"),
        (["nothing"], "there is no study, published table or folder of runs 'nothing'"),
        (["torchtitan", "--convention", "sixN"], "there is no FLOP convention 'sixN'"),
        (["torchtitan", "--chart", "x.jpg"], "a chart is written as .png, .svg or .pdf, not '.jpg'"),
        (["torchtitan", "--style", "mtp"], "there is no style 'mtp'; did you mean 'mpt'?"),
        (["quickstart"], "quickstart has no runs in runs/quickstart"),
    ):
        done = cli("report", *arguments)
        assert (done.returncode, done.stdout) == (2, ""), arguments
        assert said in done.stderr and "Traceback" not in done.stderr
