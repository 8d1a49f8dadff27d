"""Charts: they are made, for few rows and many, and the same table gives the same file."""

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcscale.ingest import schema
from hpcscale.report import chart
from hpcscale.report.axes import short
from hpcscale.report.build import build
from hpcscale.report.curves import drawable, panels
from hpcscale.report.labels import spread
from hpcscale.report.scaling import with_scaling
from hpcscale.spec.problems import InputError


@pytest.mark.parametrize(
    "document", ["megatron_30b_fugaku", "mpt_llm_foundry", "torchtitan", "nanotron_nemo", "fmengine"]
)
def test_every_document_makes_a_chart(document: str, tmp_path: Path):
    chart.save(build([document]).frame, tmp_path / "chart.svg")
    assert (tmp_path / "chart.svg").stat().st_size > 5000


def test_a_png_is_a_png(tmp_path: Path):
    chart.save(build(["nanotron_nemo"]).frame, tmp_path / "chart.png")
    assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "chart.png").stat().st_size > 20000


def test_the_same_table_gives_the_same_svg(tmp_path: Path):
    frame = build(["megatron_30b_fugaku"]).frame
    for name in ("a.svg", "b.svg"):
        chart.save(frame, tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert b"<dc:date>" not in (tmp_path / "a.svg").read_bytes()


def test_each_series_is_named_beside_its_curve(tmp_path: Path):
    chart.save(build(["megatron_30b_fugaku"]).frame, tmp_path / "chart.svg")
    text = (tmp_path / "chart.svg").read_text()
    for name in (
        "gpt-30b tp4 June",
        "gpt-30b tp4 April",
        "gpt-30b-7176 tp6 June",
        "strong-scaling efficiency (%)",
        "nodes",
    ):
        assert name in text


def test_one_row_is_enough_for_a_chart(tmp_path: Path):
    row = {"origin": "measured", "status": "completed", "model": "m", "devices": 1, "tokens_per_second": 10.0,
           "tokens_per_second_per_device": 10.0}  # fmt: skip
    chart.save(with_scaling(schema.frame([row]))[0], tmp_path / "one.svg")
    assert (tmp_path / "one.svg").exists()


def test_many_series_are_split_by_machine():
    found = panels(drawable(build(["mpt_llm_foundry"]).frame))
    assert [panel.title for panel in found] == [
        "mosaicml-h100-80gb bf16", "mosaicml-a100-80gb bf16", "mosaicml-a100-40gb bf16",
    ]  # fmt: skip
    assert [len(panel.curves) for panel in found] == [6, 1, 9]


def test_failures_are_not_drawn():
    rows = drawable(build(["megatron_30b_fugaku"]).frame)
    assert len(rows) == 14 and all(row["status"] == "completed" for row in rows)


def test_a_table_without_throughput_is_refused(tmp_path: Path):
    frame = schema.frame([{"origin": "published", "status": "completed", "model": "m"}])
    with pytest.raises(InputError, match="nothing to draw"):
        chart.save(frame, tmp_path / "chart.png")


def test_another_suffix_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match=r"written as \.png, \.svg or \.pdf, not '\.jpg'"):
        chart.check_suffix(tmp_path / "chart.jpg")


@given(st.lists(st.floats(min_value=0, max_value=1), max_size=12))
def test_labels_keep_their_order_and_their_distance(heights: list[float]):
    placed = spread(heights, 0.05)
    ordered = sorted(range(len(heights)), key=lambda i: heights[i])
    for below, above in pairwise(ordered):
        assert placed[above] - placed[below] >= 0.05 - 1e-9


def test_labels_with_room_stay_where_they_are():
    assert spread([0.9, 0.1, 0.5], 0.05) == [0.9, 0.1, 0.5]


@pytest.mark.parametrize(("value", "text"), [(250, "250"), (12500, "12.5k"), (16e6, "16M"), (1e9, "1G")])
def test_ticks_are_short(value: float, text: str):
    assert short(value) == text
