"""Every kind of chart: it fits its paper, no text touches another, and the same table gives the same file."""

import json
from collections.abc import Callable
from functools import cache
from itertools import combinations
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.text import Annotation, Text

from hpcscale.ingest import schema
from hpcscale.ingest.terms import GROUPS, by_group
from hpcscale.record.reader import read as record_of
from hpcscale.report import chart, labels
from hpcscale.report.build import build
from hpcscale.report.charts import energy, loss, names, utilisation
from hpcscale.report.charts.paper import COLOURS, PAPERS, NothingToDraw, style
from hpcscale.report.scaling import with_scaling
from hpcscale.spec.model import named
from hpcscale.spec.problems import InputError

Rows = list[dict[str, Any]]
Cli = Callable[..., CompletedProcess[str]]


def drawn(kind: str, rows: Rows, paper: str = "page") -> Figure:
    with mpl.rc_context(style(PAPERS[paper])):
        figure = chart.KINDS[kind](rows, PAPERS[paper])
        FigureCanvasAgg(figure).draw()
    return figure


def texts_of(figure: Figure) -> list[Text]:
    """What is to be read: a tick beyond the axis' ends has a text too, which is not drawn."""
    found = list(figure.texts)
    for axes in figure.axes:
        found += [child for child in axes.get_children() if isinstance(child, Text)]
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            found += [axis.label, *(tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high)]
    return [text for text in found if text.get_visible() and text.get_text().strip()]


def xs(line: Line2D) -> list[float]:
    return [float(x) for x in np.asarray(line.get_xdata())]


def touching(figure: Figure) -> list[tuple[str, str]]:
    """Pairs of texts whose boxes overlap, with the slack of letters that reach below the line."""
    boxes = [(text.get_text(), Text.get_window_extent(text).padded(-1.5)) for text in texts_of(figure)]
    return [(a, b) for (a, at), (b, beside) in combinations(boxes, 2) if at.overlaps(beside)]


def outside(figure: Figure) -> list[str]:
    whole = figure.bbox.padded(1)
    return [
        text.get_text()
        for text in texts_of(figure)
        if not (whole.contains(*Text.get_window_extent(text).min) and whole.contains(*Text.get_window_extent(text).max))
    ]


@cache
def frame_of(document: str, foresee: bool = False) -> pd.DataFrame:
    return build([document], foresee=foresee).frame


def rows_of(document: str, foresee: bool = False) -> Rows:
    return schema.rows(frame_of(document, foresee))


def measured(**values: Any) -> dict[str, Any]:
    return {"origin": "measured", "status": "completed", "source": "own", "model": "m", "machine": "here", **values}


def table(*rows: dict[str, Any]) -> Rows:
    return with_scaling(schema.frame(list(rows)))[1]


@pytest.fixture
def with_records(tmp_path: Path) -> Rows:
    """Three runs of 12 steps, the last of which broke off and restarted at step 6."""
    rows = []
    for number, tokens in enumerate((1000, 1000, 2000)):
        path = tmp_path / str(number) / "record.jsonl"
        path.parent.mkdir()
        steps = [
            {"schema": "step", "version": 1, "step": step, "step_seconds": 1.0, "loss": 5 / (step + number), "tokens": tokens}
            for step in ([*range(1, 9), *range(6, 13)] if number == 2 else range(1, 13))
        ]  # fmt: skip
        path.write_text("".join(json.dumps(line) + "\n" for line in steps))
        rows.append(measured(devices=2**number, record=str(path), tokens_per_step=tokens))
    return table(*rows)


def energetic() -> Rows:
    rows = rows_of("torchtitan")
    for number, row in enumerate(rows):
        row |= {
            "watts_per_device": 380.0 + number,
            "energy_joules_per_step": 64.0 * (380 + number) * row["step_seconds"],
        }
    return rows


def swept() -> Rows:
    return table(
        *(
            measured(
                devices=16,
                dp=16 // (tp * pp),
                tp=tp,
                pp=pp,
                micro_batch_size=micro,
                global_batch_size=64,
                step_seconds=1.0,
                tokens_per_second=1000.0 * tp + 100 * pp + micro,
            )
            for tp in (1, 2, 4)
            for pp in (1, 2, 4)
            for micro in (1, 2)
        )
    )


DOCUMENTS = ("megatron_30b_fugaku", "mpt_llm_foundry", "nanotron_nemo", "torchtitan")


@pytest.mark.parametrize("paper", PAPERS)
@pytest.mark.parametrize("document", DOCUMENTS)
def test_no_text_touches_another_or_leaves_the_paper(document: str, paper: str):
    rows = rows_of(document)
    for kind in chart.KINDS:
        try:
            figure = drawn(kind, rows, paper)
        except NothingToDraw:
            continue
        assert (kind, touching(figure)) == (kind, [])
        assert (kind, outside(figure)) == (kind, [])
        if (kind, document) != ("scaling", "mpt_llm_foundry"):  # three panels side by side
            assert figure.get_size_inches()[0] == PAPERS[paper].width


@pytest.mark.parametrize("paper", PAPERS)
def test_the_other_kinds_fit_too(with_records: Rows, paper: str):
    predicted = rows_of("nanotron_nemo", foresee=True)
    for kind, rows in (("loss", with_records), ("energy", energetic()), ("layouts", swept()), ("step-time", predicted)):
        figure = drawn(kind, rows, paper)
        assert (kind, touching(figure), outside(figure)) == (kind, [], [])


@pytest.mark.parametrize("suffix", chart.SUFFIXES)
def test_the_same_table_gives_the_same_bytes(suffix: str, tmp_path: Path):
    frame = frame_of("nanotron_nemo")
    for name in ("a", "b"):
        chart.save(frame, tmp_path / f"{name}{suffix}", "throughput")
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


def test_a_pdf_has_its_fonts_inside_as_publishers_want_them(tmp_path: Path):
    chart.save(frame_of("nanotron_nemo"), tmp_path / "a.pdf", "throughput")
    content = (tmp_path / "a.pdf").read_bytes()
    assert content.startswith(b"%PDF") and b"/FontFile2" in content
    assert b"/Type3" not in content and b"CreationDate" not in content


def test_devices_stand_on_doublings_and_so_do_throughput_and_step_time():
    rows = rows_of("megatron_30b_fugaku")
    for kind in ("throughput", "step-time"):
        axes = drawn(kind, rows).axes[0]
        assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
        assert list(axes.get_xticks()) == [256, 512, 1024, 2048, 4096]
    narrow = drawn("throughput", rows, "column").axes[0]
    assert list(narrow.get_xticks()) == [256, 1024, 4096]
    assert [label.get_text() for label in narrow.get_xticklabels()] == ["256", "1,024", "4,096"]


def test_efficiency_and_throughput_per_device_start_at_zero():
    rows = rows_of("megatron_30b_fugaku")
    for kind in ("efficiency", "per-device"):
        assert drawn(kind, rows).axes[0].get_ylim()[0] == 0
    # unless most of it could not be read then
    assert drawn("per-device", rows_of("mpt_llm_foundry")).axes[0].get_yscale() == "log"


def test_intervals_are_drawn():
    rows = table(
        *(
            measured(
                devices=d,
                global_batch_size=8,
                step_seconds=8 / d,
                step_seconds_low=7 / d,
                step_seconds_high=10 / d,
                tokens_per_second=100.0 * d,
            )
            for d in (1, 2)
        )
    )
    for kind, ends in (
        ("throughput", {80.0, 800 / 7, 160.0, 1600 / 7}),
        ("per-device", {80.0, 800 / 7}),
        ("efficiency", {80.0, 800 / 7}),
        ("step-time", {7.0, 10.0, 3.5, 5.0}),
    ):
        (bars,) = drawn(kind, rows).axes[0].containers
        assert {round(float(y), 6) for (_, y) in [p for s in bars[2][0].get_segments() for p in s]} == {
            round(end, 6) for end in ends
        }


def test_a_series_looks_the_same_in_every_chart():
    rows = rows_of("megatron_30b_fugaku")
    for kind in ("throughput", "efficiency"):
        named_so = {text.get_text(): text.get_color() for text in texts_of(drawn(kind, rows))}
        assert named_so["gpt-30b tp4 June"] == "#007b5a"  # the third colour, darkened for letters


def test_a_dollar_in_a_name_starts_no_formula():
    rows = table(*(measured(model=name, devices=1, tokens_per_second=1.0) for name in ("a$x^2$", "b_{$")))
    assert "a$x^2$" in [text.get_text() for text in texts_of(drawn("throughput", rows)) if not text.get_parse_math()]


def test_memory_stands_against_the_devices_and_failures_are_hatched():
    figure = drawn("memory", rows_of("megatron_30b_fugaku"))
    bars = [patch for patch in figure.axes[0].patches if isinstance(patch, Rectangle) and patch.get_width() > 1]
    assert [bool(bar.get_hatch()) for bar in bars] == [True, False, False, True, False]
    assert {round(xs(line)[0]) for line in figure.axes[0].lines} == {32}
    assert "28.5 (89 %) OOM" in [text.get_text().strip() for text in texts_of(figure)]


def test_what_a_process_holds_is_not_set_against_the_memory_of_a_whole_node():
    rows = [row | {"memory_kind": "resident"} for row in rows_of("megatron_30b_fugaku") if row["peak_memory_bytes"]]
    shown = [text.get_text() for text in texts_of(drawn("memory", rows))]
    assert not any("%" in each or "upright mark" in each for each in shown)


def test_mfu_is_shown_under_each_convention_and_the_rows_own_is_marked():
    rows = rows_of("torchtitan")
    found = {each.name: round(100 * share, 1) for each, share in utilisation.shares(rows[1])}
    assert found == {"palm-full": 55.2, "6N": 58.2, "megatron-causal": 49.0, "eq3-hardware": 51.4}
    bars = drawn("mfu", rows[1:2]).axes[0].patches
    assert [to_hex(bar.get_facecolor()).upper() == COLOURS[0] for bar in bars] == [False, True, False, False]


def test_more_than_the_peak_is_called_impossible():
    rows = [row | {"peak_tflops": row["peak_tflops"] / 2} for row in rows_of("torchtitan")[:1]]
    shown = [text.get_text() for text in texts_of(drawn("mfu", rows))]
    above = [float(each.split()[0]) for each in shown if "impossible: above the peak" in each]
    assert above and all(100 < each < 200 for each in above)


def test_a_layouts_cell_is_its_fastest_row():
    """1402 tokens/s of 16 devices with two sequences a micro batch, 1401 with one."""
    words = [text.get_text() for text in texts_of(drawn("layouts", swept()))]
    assert "87.6" in words and "dp16 MBS 2" in words and "dp16 MBS 1" not in words


def test_loss_is_drawn_over_tokens_where_batches_differ(with_records: Rows):
    axes = drawn("loss", with_records).axes[0]
    assert axes.get_xlabel() == "tokens" and [xs(line)[-1] for line in axes.lines] == [12e3, 12e3, 24e3]
    assert len(xs(axes.lines[2])) == 12  # the steps before the restart count once
    same = drawn("loss", with_records[:2]).axes[0]
    assert same.get_xlabel() == "step" and xs(same.lines[0])[:2] == [1, 2]


def test_a_line_that_is_the_mean_of_ten_steps_has_seen_the_tokens_of_ten(tmp_path: Path):
    lines = [
        {
            "schema": "step",
            "version": 1,
            "step": 10 * i,
            "step_seconds": 1.0,
            "loss": 9 - i,
            "tokens": 100,
            "averaged_steps": 10,
        }
        for i in (1, 2)
    ]
    record = tmp_path / "record.jsonl"
    record.write_text("".join(json.dumps(line) + "\n" for line in lines))
    curve = loss.curve_of({"record": str(record)})
    assert curve is not None and curve.tokens == [1000, 2000]


@pytest.mark.parametrize("paper", PAPERS)
def test_tokens_below_loss_curves_stand_apart(paper: str, tmp_path: Path):
    rows = []
    for batch in (3_145_728, 131_072):
        record = tmp_path / f"{batch}.jsonl"
        lines = [
            {"schema": "step", "version": 1, "step": i, "step_seconds": 1.0, "loss": 9 / i, "tokens": batch}
            for i in range(1, 41)
        ]
        record.write_text("".join(json.dumps(line) + "\n" for line in lines))
        rows.append({**rows_of("torchtitan")[0], "tokens_per_step": batch, "date": str(batch), "record": str(record)})
    figure = drawn("loss", rows, paper)
    assert not touching(figure)
    assert len([tick for tick in figure.axes[0].get_xticks() if 0 <= tick <= 40 * 3_145_728]) >= 3


def test_a_line_to_a_name_runs_through_no_other_name():
    figure = Figure(figsize=(7.2, 4))
    axes = figure.subplots()
    figure.subplots_adjust(right=0.6)
    axes.set(xlim=(0, 1.02), ylim=(0, 1))
    ends = [labels.Label(f"the {i}th of several long names", 1.0, 0.5, COLOURS[i], True) for i in range(5)]
    labels.place(axes, ends)
    FigureCanvasAgg(figure).draw()
    led = [each for each in axes.texts if isinstance(each, Annotation) and each.arrow_patch is not None]
    for name in led:
        leader = name.arrow_patch
        assert leader is not None
        ends_at = np.asarray(leader.get_transform().transform_path(leader.get_path()).vertices)
        way = [ends_at[0] + share * (ends_at[-1] - ends_at[0]) for share in np.linspace(0, 1, 100)]
        others = [Text.get_window_extent(each).padded(-2) for each in led if each is not name]
        assert not any(box.contains(float(x), float(y)) for x, y in way for box in others)
    assert len(led) == 5


def test_energy_follows_from_joules_where_tokens_per_joule_are_not_there():
    rows = energetic()
    by_joules = [text.get_text().strip() for text in texts_of(drawn("energy", rows))]
    assert f"{2904 / 380:.2f}" in by_joules and "380" in by_joules
    with pytest.raises(NothingToDraw):
        energy.draw(rows_of("torchtitan"), PAPERS["page"])


def test_the_terms_of_a_step_add_up_to_its_prediction():
    rows = rows_of("megatron_30b_fugaku", foresee=True)
    found = by_group(rows, [named(row["model"]) for row in rows])
    for row, terms in zip(rows, found, strict=True):
        assert terms is not None and list(terms) == list(GROUPS)
        assert sum(terms.values()) == pytest.approx(row["predicted_step_seconds"])
    pipeline = [terms["pipeline"] / sum(terms.values()) for terms in found[5:12] if terms]
    assert pipeline == sorted(pipeline)  # fewer micro batches a replica, more waiting


def test_the_number_beside_a_measured_mark_is_the_measured_one():
    (row,) = [row for row in rows_of("nanotron_nemo", True) if row["devices"] == 8 and row["model"] == "llama2-7b"]
    shown = texts_of(drawn("step-time", [row]))
    assert f"{row['step_seconds']:.2f} ({row['predicted_step_seconds']:.2f})" in [
        each.get_text().strip() for each in shown
    ]
    assert any("numbers: measured (predicted)" in each.get_text() for each in shown)


def test_rows_of_a_series_and_size_are_told_apart():
    rows = table(*(measured(devices=8, micro_batch_size=micro, tokens_per_second=1.0) for micro in (32, 40)))
    assert names.of_rows(rows) == ["m, MBS 32", "m, MBS 40"]


def test_a_kind_without_data_says_so(tmp_path: Path):
    frame = frame_of("torchtitan")
    for kind, said in (
        ("loss", "'loss': no row has a record with losses"),
        ("energy", "'energy': no row says how much energy"),
        ("memory", "'memory': no row says how much memory"),
        ("layouts", "'layouts': no two rows of one size differ in their tp or pp"),
        ("efficiency", "'efficiency': no two rows differ in their number of devices alone"),
    ):
        with pytest.raises(InputError, match=said):
            chart.drawings(frame, tmp_path / "a.png", (kind,))
    empty = schema.frame([{"origin": "published", "status": "completed", "model": "m"}])
    for kind in chart.KINDS:
        with pytest.raises(InputError, match="there is nothing to draw"):
            chart.drawings(empty, tmp_path / "a.png", (kind,))


def test_several_kinds_are_several_files_and_all_leaves_out_what_has_no_data(cli: Cli, tmp_path: Path):
    done = cli("report", "torchtitan", "--chart", "c/t.pdf", "--chart-kind", "all")
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (tmp_path / "c").iterdir()} == {
        f"t-{kind}.pdf" for kind in ("scaling", "throughput", "per-device", "step-time", "mfu")
    }
    assert "there is nothing to draw for 'loss': no row has a record with losses" in done.stderr


def test_wrong_kinds_stop_before_anything_is_written(cli: Cli, tmp_path: Path):
    for kind, said in (
        ("memry", "there is no kind of chart 'memry'; did you mean 'memory'?"),
        (",", "--chart-kind names no kind of chart"),
        ("throughput,loss", "there is nothing to draw for 'loss': no row has a record with losses"),
    ):
        done = cli("report", "torchtitan", "--chart", "t.png", "--output", "t.md", "--chart-kind", kind)
        assert (done.returncode, done.stdout) == (2, "") and said in done.stderr
        assert not list(tmp_path.glob("t*"))


def test_a_kind_needs_a_file(cli: Cli):
    done = cli("report", "torchtitan", "--chart-kind", "memory")
    assert (done.returncode, done.stdout) == (2, "") and "name a file with --chart" in done.stderr


def test_of_many_runs_only_those_that_are_drawn_are_read(with_records: Rows, monkeypatch: pytest.MonkeyPatch):
    read: list[Path] = []
    monkeypatch.setattr(loss, "read", lambda path: read.append(path) or record_of(path))
    figure = drawn("loss", with_records * 1000)
    assert len(read) == loss.MOST and "the first 10 of 3000 runs" in [text.get_text() for text in figure.texts]


@pytest.mark.parametrize("paper", PAPERS)
def test_the_longest_and_oddest_names_keep_to_the_paper(paper: str):
    rows = table(
        *(
            measured(
                model=name,
                devices=d,
                global_batch_size=8,
                step_seconds=1.0,
                tokens_per_second=(1.0 + i) * d,
                peak_memory_bytes=2**30,
            )
            for d in (1, 2)
            for i, name in enumerate(("x" * 150, "a model of many words " * 8, "two\nlines"))
        )
    )
    for kind in ("scaling", "throughput", "memory", "step-time"):
        for some in (rows, rows[2::3]):
            figure = drawn(kind, some, paper)
            assert (kind, touching(figure), outside(figure)) == (kind, [], [])
    assert labels.fitted("x" * 20 + "y" * 20, 1.0, 9).count("…") == 1
