"""``hpcscale audit`` as people and programs call it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

Cli = Callable[..., "CompletedProcess[str]"]
Write = Callable[[str, str], Path]
DOCUMENTS = Path(__file__).parent / "documents"
GOOD = "# Llama 2 7B on A100\n\n| GPUs | Seq len | Tokens/s/GPU | MFU (%) |\n|--|--|--|--|\n| 8 | 4096 | 3500 | 51.70 |\n| 16 | 4096 | 3400 | 50.22 |\n"


def test_a_table_that_adds_up_ends_with_0(cli: Cli, write: Write) -> None:
    done = cli("audit", write("table.md", GOOD))
    assert (done.returncode, done.stderr) == (0, "1 table, 2 rows: 2 reproduce\n")
    assert "line 5: reproduces to" in done.stdout
    assert "as palm-full" in done.stdout


def test_an_inconsistent_row_ends_with_1_and_a_sentence_with_the_numbers(cli: Cli) -> None:
    done = cli("audit", DOCUMENTS / "megatron_30b_fugaku.md")
    assert done.returncode == 1
    assert "layout: DP is 64; 32 would follow, since dp x tp x pp x cp is the number of devices" in done.stdout
    assert "line 25: unverifiable; note: OOM" in done.stdout


def test_json_has_a_verdict_and_causes_for_each_row(cli: Cli) -> None:
    done = cli("audit", DOCUMENTS / "nanotron_nemo.md", "--json")
    rows = json.loads(done.stdout)["rows"]
    assert [(row["table"], row["verdict"]) for row in rows] == [(1, "reproduces")] * 5 + [(2, "inconsistent")] * 2 + [
        (3, "inconsistent")
    ]
    assert rows[-1]["causes"] == ["batch"]
    assert rows[0]["convention"] == "nanotron"


def test_model_and_machine_may_be_given(cli: Cli, write: Write) -> None:
    bare = "| GPUs | Seq len | Tokens/s/GPU | MFU (%) |\n|--|--|--|--|\n| 8 | 4096 | 3500 | 51.70 |\n| 16 | 4096 | 3400 | 50.22 |\n"
    path = write("table.md", bare)
    done = cli("audit", path, "--model", "llama2-7b", "--machine", "juwels-booster")
    assert "line 3: reproduces to" in done.stdout
    assert cli("audit", path).stdout.count("unverifiable") == 2


def test_wrong_input_is_a_sentence_and_2(cli: Cli, write: Write) -> None:
    for arguments, sentence in (
        (("nowhere.md",), "cannot read the table"),
        ((write("words.md", "only words\n"),), "no table found"),
        ((write("table.md", GOOD), "--model", "llama9"), "there is no model 'llama9'"),
        ((write("table.md", GOOD), "--machine", "nowhere"), "there is no machine 'nowhere'"),
    ):
        done = cli("audit", *arguments)
        assert (done.returncode, "Traceback" in done.stderr) == (2, False)
        assert sentence in done.stderr


def test_standard_input_and_bytes_that_are_no_text_are_read(cli: Cli, tmp_path: Path) -> None:
    assert cli("audit", "-", stdin=GOOD).returncode == 0
    (tmp_path / "bytes").write_bytes(bytes(range(256)) * 20)
    assert cli("audit", "bytes").returncode == 2
