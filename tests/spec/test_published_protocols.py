"""Each packaged study reproduces its document's protocol: every row of the published table is a point of the study."""

from __future__ import annotations

import csv

import pytest

from hpcscale.spec import locate, study
from hpcscale.spec.expand import expand
from hpcscale.spec.point import Point


def points(name: str) -> list[Point]:
    expansion = expand(study.read(name))
    assert expansion.skipped == []
    return expansion.points


def rows(document: str) -> list[dict[str, str]]:
    with (locate.packaged("studies") / "published" / f"{document}.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(line for line in file if not line.startswith("#")))


def key(point: Point) -> tuple[object, ...]:
    layout, training = point.layout, point.training
    return (
        point.machine.name, layout.dp, layout.tp, layout.pp, training.micro_batch_size, training.global_batch_size,
        training.sequence_length, training.activation_checkpointing,
    )  # fmt: skip


def test_the_30b_study_has_every_row_of_the_fugaku_tables() -> None:
    have = {(p.model.name, p.nodes, *key(p)[1:]) for p in points("30b_scaling") if p.machine.name == "fugaku"}
    want = {
        (r["model"], int(r["nodes"]), int(r["dp"]), int(r["tp"]), int(r["pp"]), int(r["micro_batch_size"]),
         int(r["global_batch_size"]), int(r["sequence_length"]), r["activation_checkpointing"])
        for r in rows("megatron_30b_fugaku")
    }  # fmt: skip
    assert have == want


def test_the_mpt_sweep_has_every_row_of_the_four_tables() -> None:
    have = sorted((p.model.name, p.training.precision, *key(p)) for p in points("mpt_sweep"))
    want = sorted(
        (r["model"], r["precision"], r["machine"], int(r["devices"]), 1, 1, int(r["micro_batch_size"]),
         int(r["global_batch_size"]), int(r["sequence_length"]), r["activation_checkpointing"])
        for r in rows("mpt_llm_foundry")
    )  # fmt: skip
    assert len(want) == 198
    assert have == want


def test_the_torchtitan_study_has_every_row() -> None:
    have = sorted((p.model.name, *key(p)[4:]) for p in points("torchtitan_llama"))
    want = sorted(
        (
            r["model"],
            int(r["micro_batch_size"]),
            int(r["global_batch_size"]),
            int(r["sequence_length"]),
            r["activation_checkpointing"],
        )
        for r in rows("torchtitan")
    )
    assert have == want


def test_the_nanotron_and_nemo_studies_have_every_row() -> None:
    # BERT has 512 positions; the study gives it 2048 for the longer rows, and its name says so
    have = {
        (p.model.name.removesuffix("-max_positions2048"), p.nodes, p.training.sequence_length)
        for name in ("nanotron_llama2_7b", "nemo_bert")
        for p in points(name)
    }
    want = {(r["model"], int(r["nodes"]), int(r["sequence_length"])) for r in rows("nanotron_nemo")}
    assert have == want


def test_the_fmengine_study_has_the_stated_batches() -> None:
    found = points("fmengine_llama")
    seven = {p.devices: p.training.global_batch_size for p in found if p.model.name == "llama2-7b"}
    assert seven == {8: 512, 16: 512, 32: 512, 64: 512, 128: 1024, 160: 1280}
    seventy = [p for p in found if p.model.name == "llama2-70b"]
    assert {
        (p.training.micro_batch_size, p.training.global_batch_size, p.training.sequence_length) for p in seventy
    } == {(4, 1024, 4096)}


@pytest.mark.parametrize(("name", "scaling"), [("30b_scaling", "strong"), ("nanotron_llama2_7b", "weak")])
def test_what_a_study_says_of_its_scaling_is_so(name: str, scaling: str) -> None:
    for machine in {p.machine.name for p in points(name)}:
        own = [p for p in points(name) if p.machine.name == machine]
        if scaling == "strong":
            assert len({p.training.global_batch_size for p in own}) == 1
        else:
            assert len({p.training.global_batch_size / p.devices for p in own}) == 1
