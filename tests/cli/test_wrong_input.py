"""Wrong input: one clear sentence with the place and the way out, exit code 2, and nothing written."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Cli = Callable[..., subprocess.CompletedProcess[str]]

STUDY = """\
name: s
model: gpt-30b
training: {sequence_length: 2048, global_batch_size: 1536}
layout: {tp: 4, pp: 48}
job: {time: 02:00:00}
machines: {fugaku: {training: {precision: fp32}}}
"""

TWELVE = {
    "a misspelt key": (
        STUDY.replace("global_batch_size", "globl_batch_size"),
        "s.yaml:3:35: 'globl_batch_size' is no key of 'training'; did you mean 'global_batch_size'?",
    ),
    "tp that does not divide the heads": (
        STUDY.replace("tp: 4", "tp: 5"),
        "s.yaml:6:12: skipped fugaku: tp 5 does not divide the 56 heads of gpt-30b (nearest that do: 4 and 7)",
    ),
    "13,000 nodes": (
        STUDY.replace("pp: 48}", "pp: 10, dp: 325}").replace("1536", "1300"),
        "s.yaml:6:12: skipped fugaku: no queue takes 13000 nodes for 02:00:00: small takes 1 to 384 nodes, large takes 385 to 12288 nodes",
    ),
    "no account": (
        STUDY,
        "fugaku needs your group, and no script is written without it; give --set group=<group>, or write it once with: hpcscale init --machine fugaku --group <group>",
    ),
    "two values for one axis": (
        STUDY.replace("tp: 4", "tp: 4, mp: 8"),
        "s.yaml:4:21: two values for one axis: mp: 8 and tp: 4 (mp is a spelling of tp); keep one",
    ),
    "a tab": (
        STUDY + "sweep:\n\tproduct: {dp: [1]}\n",
        "s.yaml:8:1: a tab stands where YAML wants spaces; indent with spaces",
    ),
    "a duplicate key": (
        STUDY + "model: gpt-13b\n",
        "s.yaml:7:1: the key 'model' stands here a second time (first on line 2)",
    ),
    "an unquoted time that is no time": (
        STUDY.replace("02:00:00", "120"),
        "s.yaml:5:13: job.time: 120 is no duration with a unit; write HH:MM:SS or, for example, 90m or 2h",
    ),
    "an unknown machine": (
        STUDY.replace("fugaku", "fugako"),
        "s.yaml:6:12: there is no machine 'fugako'; did you mean 'fugaku'?",
    ),
    "negative dp": (STUDY + "sweep: {product: {dp: [-1, 2]}}\n", "s.yaml:7:24: dp is -1; it must be greater than 0"),
    "a cycle in derived values": (
        STUDY + "derive: {dp: mbs * 2, mbs: dp + 1}\n",
        "s.yaml:7:14: derived values go round in a circle: dp -> mbs -> dp",
    ),
    "a study that is a list": ("- name: s\n", "s.yaml:1:1: a study is a mapping of keys to values, but this is a list"),
}


@pytest.mark.parametrize("what", list(TWELVE))
def test_wrong_studies(what: str, cli: Cli, write: Callable[[str, str], Path], tmp_path: Path) -> None:
    text, answer = TWELVE[what]
    write("s.yaml", text)
    done = cli("render", "s.yaml", *([] if what == "no account" else ["--set", "group=hp000000"]))
    assert done.returncode == 2
    assert answer in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()


def test_an_unquoted_clock_time_is_what_it_says(cli: Cli, write: Callable[[str, str], Path]) -> None:
    """YAML 1.1 reads 12:00:00 as 43200; here it is twelve hours."""
    write("s.yaml", STUDY.replace("02:00:00", "12:00:00"))
    done = cli("render", "s.yaml", "--set", "group=hp000000", "--stdout")
    assert '#PJM -L "elapse=12:00:00"' in done.stdout


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (["rendr", "x"], "there is no command 'rendr'; did you mean 'render'?"),
        (["render", "30b_scalin"], "there is no study '30b_scalin'; did you mean '30b_scaling'?"),
        (["render", "no/such.yaml"], "there is no file no/such.yaml"),
        (
            ["render", "quickstart", "--machine", "locl"],
            "the study quickstart has no machine 'locl'; did you mean 'local'?",
        ),
        (["render", "quickstart", "--set", "mbz=2"], "--set: 'mbz' is no key that can be set; did you mean 'mbs'?"),
        (["render", "quickstart", "--set", "mbs"], "'mbs' is not key=value"),
        (["render", "quickstart", "--set", "mbs=0"], "--set: micro_batch_size is 0; it must be greater than 0"),
        (
            ["render", "quickstart", "--point", "zz*"],
            "quickstart: no point's name matches 'zz*'; the first of 3 is dp1-",
        ),
        (
            ["submit", "quickstart", "--smoke", "--point", "zz*"],
            "quickstart: no point's name matches 'zz*'; the first of 3 is",
        ),
        (["run", "quickstart", "--point", "dp1"], "no point's name matches 'dp1'; the first of 3 is dp1-"),
        (["render", "30b_scaling", "--set", "account=a\nb", "--set", "group=g"], "cannot stand in a directive"),
        (["machines", "show", "fugaky"], "there is no machine 'fugaky'; did you mean 'fugaku'?"),
        (["models", "show", "gpt-31b"], "there is no model 'gpt-31b'; did you mean 'gpt-30b'?"),
        (["run", "30b_scaling"], "30b_scaling has no machine that runs here"),
        (["init", "--machine", "fugaku"], "fugaku needs --group <group>"),
        (["init"], "name the machine: hpcscale init --machine NAME"),
        (["schema", "modl"], "'modl'"),
        (["report", "no_such_study"], "no_such_study"),
    ],
)
def test_wrong_arguments(arguments: list[str], answer: str, cli: Cli, tmp_path: Path) -> None:
    done = cli(*arguments, stdin="")
    assert done.returncode == 2
    assert answer in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_settings_that_are_wrong_name_their_place(cli: Cli, write: Callable[[str, str], Path]) -> None:
    write("configuration/settings.yaml", "machines:\n  fugaku: {grup: x}\n")
    done = cli("render", "30b_scaling")
    assert done.returncode == 2
    assert "settings.yaml:2:12: 'grup' is no key of 'machines.fugaku'; did you mean 'group'?" in done.stderr


def test_a_folder_that_cannot_be_written_is_a_sentence(cli: Cli, write: Callable[[str, str], Path]) -> None:
    write("runs", "a file where the folder should be")
    done = cli("render", "quickstart")
    assert done.returncode == 2
    assert "'runs' is a file" in done.stderr
    done = cli("render", "quickstart", "--out", "runs/deeper")
    assert done.returncode == 1
    assert done.stderr.endswith("Not a directory; a file stands where a folder should be, name another (--out)\n")


def test_the_way_out_names_the_option_that_named_the_place(cli: Cli, write: Callable[[str, str], Path]) -> None:
    write("pages", "a file where the folder should be")
    done = cli("report", "torchtitan", "--html", "pages/page.html")
    assert done.stderr.endswith("a file stands where a folder should be, name another (--html)\n")


def test_a_reader_that_goes_away_is_no_error_message(cli: Cli, tmp_path: Path) -> None:
    import sys

    command = f"{sys.executable} -m hpcscale render mpt_sweep --stdout 2>/dev/null | head -n 1"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout == "#!/bin/bash\n"
