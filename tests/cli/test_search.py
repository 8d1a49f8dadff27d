"""hpcscale search, as a user calls it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

Cli = Callable[..., "CompletedProcess[str]"]
QUESTION = ("search", "--model", "gpt-1.3b", "--machine", "juwels-booster", "--gbs", 96, "--seq", 2048)


def test_layouts_are_ranked_by_seconds_with_their_memory_and_what_all_share_is_said_once(cli: Cli) -> None:
    done = cli(*QUESTION, "--nodes", 6, "--top", 4)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("gpt-1.3b on juwels-booster, 6 nodes: global batch 96 x 2,048 tokens, bf16. ")
    assert "legal layouts" in done.stdout
    assert "All: nodes 6" in done.stdout
    rows = [line.split() for line in done.stdout.splitlines() if re.match(r"\d ", line)]
    assert [row[0] for row in rows] == ["1", "2", "3", "4"]
    assert "was never calibrated" in done.stdout
    assert "node-h" not in done.stdout


def test_json_has_raw_numbers_and_the_terms_add_up(cli: Cli) -> None:
    done = cli(*QUESTION, "--nodes", 6, "--top", 3, "--tokens", "20B", "--explain", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    best = found["layouts"][0]
    assert found["legal"] > found["fitting"] > 100
    assert best["dp"] * best["tp"] * best["pp"] * best["cp"] == 24
    assert best["seconds_low"] < best["seconds"] < best["seconds_high"]
    assert best["node_hours"] == pytest.approx(6 * best["hours"])
    assert best["hours"] == pytest.approx(20e9 / (96 * 2048) * best["seconds"] / 3600)
    # 6 N with the attention of 24 layers: 1.3 B parameters
    assert best["tflops"] * 24e12 * best["seconds"] == pytest.approx(96 * 2048 * 9.1e9, rel=0.03)
    assert best["utilisation"] == pytest.approx(best["tflops"] / 312)
    explain = found["explain"]
    assert sum(explain["seconds"].values()) * explain["correction"] == pytest.approx(best["seconds"])
    stages = [sum(explain[name].values()) for name in ("first_stage_bytes", "last_stage_bytes")]
    assert max(stages) == pytest.approx(best["memory_bytes"])


def test_explain_prints_terms_and_memory(cli: Cli) -> None:
    done = cli(*QUESTION, "--nodes", 6, "--top", 1, "--explain")
    assert re.search(r"^matmul +[0-9.]+ +[0-9.]+ %  matrix products of the layers$", done.stdout, re.MULTILINE)
    assert re.search(r"^sum +[0-9.]+ +[0-9.]+$", done.stdout, re.MULTILINE)
    assert "of 40.0 GiB" in done.stdout


@pytest.mark.parametrize("columns", [80, 120])
def test_nothing_is_wider_than_the_terminal(cli: Cli, columns: int) -> None:
    done = cli(*QUESTION, "--nodes", "2-6", "--tokens", "20B", "--explain", COLUMNS=str(columns))
    assert done.returncode == 0, done.stderr
    assert max(len(line) for line in done.stdout.splitlines()) <= columns


def test_a_range_shows_the_pareto_front_and_what_was_left_out(cli: Cli) -> None:
    done = cli(*QUESTION, "--nodes", "6,7,12", "--tokens", "20B", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    front = found["front"]
    assert found["nodes"] == [6, 7, 12] or any("7 nodes" in note for note in found["notes"])
    assert [each["seconds"] for each in front] == sorted(each["seconds"] for each in front)
    assert [each["node_hours"] for each in front] == sorted((each["node_hours"] for each in front), reverse=True)
    costs = [each["node_hours"] for each in found["layouts"]]
    assert costs == sorted(costs)


def test_the_written_study_is_rendered(cli: Cli, tmp_path: Path) -> None:
    done = cli(*QUESTION, "--nodes", 6, "--top", 3, "--write", "best.yaml")
    assert done.returncode == 0, done.stderr
    assert "next: hpcscale render best.yaml" in done.stdout
    rendered = cli("render", "best.yaml", "--set", "account=account1")
    assert rendered.returncode == 0, rendered.stderr
    assert len(list((tmp_path / "runs" / "best").glob("*/job.sh"))) == 3
    assert "skipped" not in rendered.stdout + rendered.stderr


def test_a_precision_that_the_trainer_lacks_is_said(cli: Cli) -> None:
    done = cli(
        "search",
        "--model",
        "gpt-1.3b",
        "--machine",
        "jupiter",
        "--gbs",
        96,
        "--seq",
        2048,
        "--nodes",
        6,
        "--precision",
        "fp8",
    )
    assert done.returncode == 0, done.stderr
    assert "own trainer does not run this: precision fp8" in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--nodes", "9-3"), "--nodes 9-3: write a node count (64), a range (16-256) or several (16,48,64)"),
        (("--nodes", "0"), "--nodes 0: write a node count"),
        (("--nodes", "2000"), "2000 nodes are more than juwels-booster has (936)"),
        (("--nodes", "6", "--tokens", "many"), "--tokens many: write a number above zero"),
        (("--nodes", "6", "--deadline", "3"), "say how many with --tokens"),
        (("--nodes", "6", "--tokens", "1T", "--deadline", "soon"), "--deadline soon: write hours (200) or a duration"),
        (("--nodes", "6", "--tokens", "1T", "--budget", "10"), "no layout trains 1e+12 tokens within 10 node-hours: the cheapest"),
        (("--nodes", "6", "--set", "freq=2000"), "--set freq: juwels-booster has no such resource"),
        (("--nodes", "6", "--precision", "fp8"), "no fp8 peak of a100-40gb is known"),
        (("--nodes", "6", "--convention", "six"), "there is no FLOP convention 'six'"),
    ],
)  # fmt: skip
def test_wrong_input_ends_in_a_sentence(cli: Cli, arguments: tuple[str, ...], sentence: str) -> None:
    done = cli(*QUESTION, *arguments)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_no_torch_and_no_pandas_are_loaded(cli: Cli) -> None:
    done = cli(*QUESTION, "--nodes", 6, PYTHONPROFILEIMPORTTIME="1")
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "numpy" in loaded
    assert not loaded & {"torch", "pandas", "scipy"}
