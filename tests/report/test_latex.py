"""LaTeX tables: booktabs, escaped whatever a run is called, on the page whatever their size."""

import re
import unicodedata
from pathlib import Path
from subprocess import CompletedProcess
from typing import Protocol

from hypothesis import given
from hypothesis import strategies as st

from hpcscale.ingest import schema
from hpcscale.report.build import Report, build
from hpcscale.report.latex import ESCAPES, escaped, latex
from hpcscale.report.styles import STYLES

# What may stand in escaped text: the escapes, and what two hyphens are kept apart by
_WRITTEN = {written: character for character, written in ESCAPES.items()} | {"-{}": "-"}
_TOKEN = re.compile("|".join(re.escape(each) for each in sorted(_WRITTEN, key=len, reverse=True)) + "|.", re.DOTALL)
_SPECIAL = set("\\{}$&%#_^<>|[]*\n")  # a tilde is the escape of a blank that no line breaks at


class Cli(Protocol):
    def __call__(self, *arguments: object) -> CompletedProcess[str]: ...


def report_of(*rows: dict[str, object]) -> Report:
    frame = schema.frame([{"status": "completed", "origin": "measured", **row} for row in rows])
    return Report(frame, schema.rows(frame), [], [], [], [])


@given(st.text(st.characters(codec="utf-8")) | st.text("\\{}$&%#_^~<>|[]*-`\n", max_size=12))
def test_whatever_a_run_is_called_is_text_to_tex(name: str):
    written = escaped(name)
    tokens = _TOKEN.findall(written)
    assert "".join(tokens) == written
    assert not any(token in _SPECIAL for token in tokens)
    # and it is the same text that a reader sees: but for what nothing can show, and straight double quotes
    shown = "".join(" " if each in "\n\r\t\f\v" else each for each in name).replace('"', "''")
    shown = "".join(each for each in shown if unicodedata.category(each)[0] != "C")
    assert "".join(_WRITTEN.get(token, str(token)).replace('"', "''") for token in tokens) == shown
    assert "--" not in written


def test_a_hostile_name_stays_in_its_cell():
    row = {"model": r"m & \input{/etc/passwd} \\ [2em] % 100 #1 $x_1^2$ ~", "tokens_per_second": 1.0}
    text = latex(report_of(row, {"model": "[b]", "tokens_per_second": 2.0}))
    assert r"m \& \textbackslash{}input\{/etc/passwd\} \textbackslash{}\textbackslash{} {[}2em{]} \% 100" in text
    assert "\n{[}b{]} & " in text  # after \\ a bare bracket would be its option
    body = text[text.index(r"\midrule") : text.index(r"\bottomrule")]
    assert all(len(re.findall(r"(?<!\\)&", line)) == 1 for line in body.splitlines()[1:])


def test_a_table_has_booktabs_rules_a_caption_and_its_notes():
    text = latex(build(["torchtitan"]))
    assert text.startswith("% needs \\usepackage{booktabs}\n")
    order = [text.index(each) for each in (r"\caption{", r"\toprule", r"\midrule", r"\bottomrule", r"\end{table*}")]
    assert order == sorted(order)
    assert "Device a100-80gb" in text and "MFU: 8 of 8 rows reproduce" in text and r"\%\par" in text
    assert "\n& " not in text and text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 1


def test_numbers_stand_at_the_right_and_words_at_the_left():
    columns = re.search(r"\\begin\{tabular\}\{@\{\}(\w+)@\{\}\}", latex(build(["nanotron_nemo"])))
    assert columns and columns[1].startswith("r")  # the row's number, which notes refer to
    assert "l" in columns[1]


def test_what_the_page_is_too_narrow_for_is_named():
    lines = latex(build(["megatron_30b_fugaku"])).splitlines()
    (left_out,) = [line for line in lines if line.startswith("% left out")]
    titles = lines[lines.index(r"\toprule") + 1 : lines.index(r"\midrule")]
    assert "tokens/s/device" in left_out and any("sec/it" in line for line in titles)
    assert any("TFLOPs" in line for line in titles)


def test_a_long_table_breaks_over_pages_and_a_wide_one_is_turned():
    text = latex(build(["mpt_llm_foundry"]), STYLES["mpt"])
    assert text.startswith("% needs \\usepackage{booktabs,longtable,pdflscape}\n")
    assert text.count(r"\begin{longtable}") == text.count(r"\end{longtable}") == 3  # the seven rows of FP8 are short
    assert text.count(r"\begin{landscape}") == text.count(r"\end{landscape}") == 4
    assert text.count("FULL\\_SHARD") == 198


def test_a_tex_file_holds_latex(cli: Cli, tmp_path: Path):
    assert cli("report", "torchtitan", "--style", "torchtitan", "--output", "table.tex").returncode == 0
    assert "8B & 1 & selective layer & 2904 & 56.8\\% \\\\" in (tmp_path / "table.tex").read_text()
    asked = cli("report", "torchtitan", "--style", "torchtitan", "--format", "latex")
    assert asked.stdout == (tmp_path / "table.tex").read_text()


def test_json_has_no_style(cli: Cli):
    done = cli("report", "torchtitan", "--style", "torchtitan", "--json")
    assert (done.returncode, done.stdout) == (2, "") and "JSON holds raw numbers and has no style" in done.stderr
