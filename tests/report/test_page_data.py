"""What the page embeds: formulas that add up, specs that share what is common, and nothing that HTML could take for markup."""

import json
import re
import warnings
from pathlib import Path
from typing import Any

import pytest
import written_runs as written
from hypothesis import given
from hypothesis import strategies as st

from hpcscale.cost import flops
from hpcscale.ingest import schema
from hpcscale.report.build import Report, build
from hpcscale.report.columns import COLUMNS
from hpcscale.report.page import document, figures, payload, save
from hpcscale.report.page.losses import losses_of, thinned
from hpcscale.report.page.packed import ABSENT, packed
from hpcscale.report.page.specs import columns_of, specs_of
from hpcscale.spec.problems import InputError

DOCUMENTS = ("megatron_30b_fugaku", "mpt_llm_foundry", "torchtitan", "nanotron_nemo", "fmengine")
FIGURES = ("step_seconds", "tokens_per_second", "tokens_per_second_per_device", "samples_per_second", "steps_per_second",
           "tflops_per_device", "aggregate_pflops", "mfu", "hfu", "speedup", "efficiency", "peak_memory_bytes")  # fmt: skip
RUNS = Path("runs")


def report_of(*rows: dict[str, Any]) -> Report:
    start = {"origin": "measured", "status": "completed"}
    frame = schema.frame([{**start, **row} for row in rows])
    return Report(frame, schema.rows(frame), [], [], [], [])


def unpacked(found: dict[str, Any], count: int) -> list[Any]:
    if "all" in found:
        return [found["all"]] * count
    if "codes" in found:
        return [ABSENT if code == -1 else found["words"][code] for code in found["codes"]]
    return found["values"]


VALUES = st.one_of(st.none(), st.booleans(), st.integers(-5, 5), st.floats(allow_nan=False, allow_infinity=False), st.text(),
                   st.lists(st.integers(0, 2)), st.just(ABSENT))  # fmt: skip


@given(st.lists(VALUES, min_size=1))
def test_packing_keeps_every_value_and_its_type(values: list[Any]):
    again = unpacked(packed(values), len(values))
    assert [(type(each), each) for each in again] == [(type(each), each) for each in values]


@pytest.mark.parametrize("name", [*DOCUMENTS, "30b_scaling"])
def test_every_figure_has_a_formula_that_gives_it(name: str, tmp_path: Path):
    report = build([name], tmp_path, foresee=name == "30b_scaling")
    data = payload.payload(report, [name], tmp_path)
    for figure in FIGURES:
        ways = unpacked(data["figures"].get(figure, {"all": -1}), data["count"])
        unexplained = [i + 1 for i, row in enumerate(report.rows) if row[figure] is not None and ways[i] == -1]
        assert not unexplained, (figure, unexplained)


def test_measured_figures_have_formulas_too(tmp_path: Path):
    folder = written.write_scaling(tmp_path)
    report = build([str(folder)], tmp_path)
    data = payload.payload(report, [str(folder)], tmp_path)
    assert {row["status"] for row in report.rows} == {"completed", "oom"}
    for figure in FIGURES:
        ways = unpacked(data["figures"][figure], data["count"])
        assert all((row[figure] is None) == (way == -1) for row, way in zip(report.rows, ways, strict=True)), figure


def test_a_figure_that_follows_from_nothing_has_no_formula():
    row = {"step_seconds": 2.0, "tokens_per_step": 100, "tokens_per_second": 50.001, "record": "r"}
    report = report_of(row)
    assert figures.ways(report.rows)["step_seconds"] != [-1]
    assert "tokens_per_second" not in figures.ways(report.rows)


@pytest.mark.parametrize("each", flops.CONVENTIONS, ids=lambda each: each.name)
def test_a_conventions_formula_has_the_models_numbers_in_it(each: flops.Convention):
    row = {"model": "llama2-7b", "sequence_length": 4096, "global_batch_size": 8, "step_seconds": 1.0, "devices": 8,
           "tokens_per_second_per_device": 4096.0, "tflops_per_device": 1.0, "flops_convention": each.name,
           "flops_per_token": each.flops_per_token(written.named("llama2-7b"), 4096)}  # fmt: skip
    said = unpacked(payload.payload(report_of(row), [], RUNS)["flops"], 1)[0].split("\n")
    assert said[0] == each.formula
    assert "L = 32" in said[-1] or each.name == "nemo"
    # Megatron-DeepSpeed's formula ends in words, and NeMo's for Llama names another
    assert len(said) == (2 if each.name in ("megatron-deepspeed", "nemo") else 3)


def test_each_convention_counts_a_row_in_its_own_way():
    data = payload.payload(build(["torchtitan"]), ["torchtitan"], RUNS)
    counts = {each["name"]: unpacked(each["flops"], 8)[1] for each in data["conventions"]}
    assert len(counts) == len(flops.CONVENTIONS)
    mfu = {name: 100 * count * 2973 / 312e12 for name, count in counts.items()}
    assert round(mfu["6N"], 1) == 58.2 and round(mfu["palm-full"], 1) == 55.2


def test_specs_of_many_points_keep_what_they_share_once():
    specs = [written.described(8 * (i + 1)) for i in range(1000)]
    columns = columns_of(specs)
    assert len(json.dumps(columns)) < 0.1 * len(json.dumps(specs))
    layouts = next(each for each in columns if each["path"] == ("layout", "dp"))
    assert unpacked(layouts["values"], 1000) == [8 * (i + 1) for i in range(1000)]


def test_a_row_of_a_document_knows_its_line(tmp_path: Path):
    path = tmp_path / "mine.csv"
    path.write_text("# from a talk\nmodel,devices,tokens_per_second_published\nllama2-7b,8,100\n\nllama2-7b,16,190\n")
    data = payload.payload(build([str(path)]), [str(path)], RUNS)
    assert unpacked(data["facts"]["line"], 2) == [3, 5]
    assert unpacked(data["documents"]["lines"], 2) == ["llama2-7b,8,100", "llama2-7b,16,190"]
    assert data["documents"]["files"]["mine"] == {"file": str(path), "about": "from a talk"}


def test_a_line_is_found_as_the_table_counts_lines(tmp_path: Path):
    path = tmp_path / "mine.csv"
    path.write_text("model,devices,note\nllama2-7b,8,a\fb\u2028c\nllama2-7b,16,d\n")
    data = payload.payload(build([str(path)]), [str(path)], RUNS)
    assert unpacked(data["documents"]["lines"], 2) == ["llama2-7b,8,a\fb\u2028c", "llama2-7b,16,d"]


def test_of_two_files_of_one_name_no_line_is_shown(tmp_path: Path):
    names = [str(tmp_path / folder / "t.csv") for folder in ("a", "b")]
    for number, name in enumerate(names, 1):
        Path(name).parent.mkdir()
        Path(name).write_text(f"model,devices\nllama2-7b,{number}\n")
    data = payload.payload(build(names), names, RUNS)
    assert data["documents"]["lines"] == {"all": None}
    assert data["documents"]["files"]["t"]["file"] == " or ".join(names)


def test_a_packaged_table_is_found_by_its_path_outside_a_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    name = "studies/published/torchtitan.csv"
    data = payload.payload(build([name]), [name], RUNS)
    assert data["documents"]["files"]["torchtitan"]["file"] == name


@pytest.mark.parametrize(
    ("argument", "title"),
    [("torchtitan", "torchtitan"), ("a/t.csv", "t"), ("s.yaml", "s"), ("runs/30b.v2", "30b.v2"), ("runs/", "runs")],
)
def test_the_title_is_what_was_named(argument: str, title: str):
    assert save._title(argument) == title


def test_the_title_of_this_folder_is_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert f"<h1>{tmp_path.name}</h1>" in save.page(report_of({"model": "m"}), ["."], RUNS)


def test_a_row_shows_what_ran_though_its_point_was_rendered_anew(tmp_path: Path):
    record = written.write(tmp_path, written.described(8), [1.0, 1.0, 1.0])
    report = build([str(tmp_path / "s")], tmp_path)
    changed = {**written.described(8), "hash": "ffffffff", "nodes": 99}
    record.parents[2].joinpath("point.json").write_text(json.dumps(changed))
    (spec,) = specs_of(report.rows, {}, [], tmp_path)
    assert spec is not None and spec["nodes"] == 2


def test_a_row_without_a_record_has_no_other_points_spec(tmp_path: Path):
    written.write(tmp_path, written.described(8), [1.0, 1.0, 1.0])
    folder = next((tmp_path / "s").iterdir())
    report = report_of({"source": "other", "point": "dp4-00000004", "hash": "00000004", "status": "missing"})
    assert specs_of(report.rows, {}, [str(folder)], tmp_path) == [None]


def test_a_figure_of_zero_is_a_page_without_warnings():
    row = {
        "step_seconds": 1.0,
        "tokens_per_step": 8,
        "energy_joules_per_step": 0.0,
        "tokens_per_joule": 1.0,
        "record": "r",
    }
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "tokens_per_joule" not in figures.ways(report_of(row).rows)


def test_the_place_of_packaged_tables_on_this_machine_stays_here():
    page = save.page(build(["torchtitan"]), ["torchtitan"], RUNS)
    assert "studies/published/torchtitan.csv" in page and str(payload.device.CATALOGUE.parent.parent) not in page


def test_the_row_that_an_efficiency_is_against_is_named():
    data = payload.payload(build(["megatron_30b_fugaku"]), ["megatron_30b_fugaku"], RUNS)
    references = unpacked(data["facts"]["reference"], data["count"])
    assert references[11] == 5  # of the June rows at tp 4, that on 192 nodes


def test_a_loss_curve_keeps_its_spikes_and_its_ends():
    steps = [(i, 1.0) for i in range(10_000)]
    steps[777] = (777, 50.0)
    kept = thinned(steps, 100)
    assert len(kept) <= 100 and (777, 50.0) in kept
    assert kept[0] == steps[0] and kept[-1] == steps[-1]


def test_no_more_of_many_curves_is_kept_than_is_drawn_at_once(tmp_path: Path):
    rows = []
    for number in range(40):
        record = tmp_path / f"{number}.jsonl"
        steps = (
            {"schema": "step", "step": i, "step_seconds": 1.0, "loss": 99.0 if i == 777 else 1.0}
            for i in range(1, 1001)
        )
        record.write_text("".join(json.dumps(each) + "\n" for each in steps))
        rows.append({"record": str(record), "loss_first": 1.0})
    found = losses_of(rows)
    assert (found["of"], len(found["curves"])) == (40, found["drawn"])
    for curve in found["curves"]:
        assert len(curve["steps"]) <= 300 and max(curve["losses"]) == 99.0 and curve["steps"][-1] == 1000


def test_losses_that_are_no_numbers_are_left_out_of_a_curve(tmp_path: Path):
    record = written.write(tmp_path, written.described(8), [1.0, 1.0, 1.0])
    record.write_text(record.read_text().replace('"loss": 9.8', '"loss": "nan"'))
    (curve,) = losses_of([{"record": str(record), "loss_first": 9.9}])["curves"]
    assert (curve["steps"], curve["losses"]) == ([1, 3], [9.9, 9.7])


def test_every_column_of_numbers_is_sorted_by_numbers():
    numbers = {each.name for each in schema.COLUMNS if each.kind in ("int", "float")}
    row: dict[str, Any] = {name: 1 if name in numbers else "x" for name in schema.NAMES}
    for kind in ("strong", "weak"):
        data = payload.payload(report_of({**row, "efficiency_kind": kind, "mfu_published": 2, "printed": "y"}, {**row, "origin": "published", "efficiency_kind": kind}), [], RUNS)  # fmt: skip
        words = [each["name"] for each in data["columns"] if not each["left"] and not each["numeric"]]
        assert words == []
    assert all(column.left or column.name != "Layout" for column in COLUMNS)


def test_data_can_end_no_script_and_begin_no_comment():
    text = document.as_json({"name": "</script><!-- & \u2028\u2029 <img>"})
    assert not re.search("[<>&\u2028\u2029]", text)
    assert json.loads(text) == {"name": "</script><!-- & \u2028\u2029 <img>"}


def test_the_policy_lets_in_the_pages_own_scripts_and_nothing_else():
    page = save.page(build(["torchtitan"]), ["torchtitan"], RUNS)
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)
    assert policy is not None
    said = policy[1].replace("&#39;", "'")
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    assert len(scripts) == 2
    assert said == (
        f"default-src 'none'; script-src {' '.join(map(document.hashed, scripts))}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def test_the_same_report_gives_the_same_page():
    first, second = (save.page(build(["torchtitan"]), ["torchtitan"], RUNS) for _ in range(2))
    assert first == second


def test_without_anything_to_draw_the_page_is_small():
    page = save.page(report_of({"model": "m", "status": "missing"}), ["s"], RUNS)
    assert len(page) < 150_000 and "plotly.js v" not in page


def test_a_page_of_five_thousand_points_stays_small(tmp_path: Path):
    rows = [
        {"source": "s", "point": f"dp{i}-{i:08x}", "hash": f"{i:08x}", "model": "llama2-7b", "machine": "m", "devices": i + 1,
         "nodes": i + 1, "dp": i + 1, "tp": 1, "pp": 1, "sequence_length": 4096, "global_batch_size": 256, "tokens_per_step": 2**20,
         "step_seconds": 1000 / (i + 1), "step_seconds_low": 999 / (i + 1), "step_seconds_high": 1001 / (i + 1), "peak_tflops": 312.0,
         "tokens_per_second": 1048.576 * (i + 1), "tokens_per_second_per_device": 1048.576, "record": f"runs/s/p{i}/attempts/1/record.jsonl",
         "mfu": 0.1 + i / 10**7, "tflops_per_device": 43 + i / 10**5, "flops_convention": "6N", "flops_per_token": 4.1e10}
        for i in range(5000)
    ]  # fmt: skip
    page = save.page(report_of(*rows), ["s"], tmp_path)
    assert len(page.encode()) - len(document._plotly().encode()) < 10_000_000


@pytest.mark.parametrize("name", ["page.pdf", "page"])
def test_a_page_is_written_as_html(name: str):
    with pytest.raises(InputError, match=r"a page is written as \.html"):
        save.check_suffix(Path(name))
