"""The dry run: a rank on fake tensors holds what the real rank holds, to the byte, and fails where it would fail."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from hpcscale.cost import parameters
from hpcscale.spec.model import named
from hpcscale.train import dryrun, fake_rank
from hpcscale.train.fake_rank import CPU, dry_run
from hpcscale.train.mesh import Mesh
from hpcscale.train.point_file import Work, parse
from hpcscale.train.trainer import Trainer

from . import cases, forks, measured_ranks
from .toys import TIMEOUT, document

MEASURED = tuple(fake_rank.Memory.__dataclass_fields__)
FUGAKU: dict[str, Any] = {
    "layout": {"dp": 32, "tp": 4, "pp": 48},
    "training": {"sequence_length": 2048, "global_batch_size": 1536, "micro_batch_size": 1, "activation_checkpointing": "full"},
}  # fmt: skip


def work_of(layout: dict[str, Any] | None = None, family: str = "gpt", **training: Any) -> Work:
    return parse(document(family, layout, training, {"layers": 4}), "the case")


def faked(work: Work, rank: int = 0) -> dict[str, Any]:
    found = dry_run(work, rank)
    return {name: found[name] for name in MEASURED}


@pytest.mark.parametrize("precision", ["fp64", "bf16"])
@pytest.mark.parametrize("family", cases.FAMILIES)
def test_one_process_holds_what_its_fake_holds(family: str, precision: str) -> None:
    real = cases.case(family, {}, precision=precision)["document"]
    assert measured_ranks.measure(real) == faked(parse(real, "the case"))


WORLDS = {
    2: ("gpt: ddp", "gpt: zero1", "llama: fsdp", "llama: cp", "bert: tp+sp", "gpt: pp 1f1b", "gpt: pp gpipe",
        "gpt: pp interleaved", "gpt: pp zero-bubble", "gpt: pp zbv", "odd shards: fsdp", "llama: selective-op pp zero-bubble"),
    4: ("gpt: pp x fsdp", "gpt: fsdp x tp+sp"),
}  # fmt: skip


@pytest.mark.parametrize("ranks", WORLDS)
def test_each_rank_of_a_real_world_holds_what_its_fake_holds(ranks: int, tmp_path: Path) -> None:
    """What stays, to the byte. The peak too, but for messages: gloo's threads let go of their buffers a moment late."""
    documents = {name: cases.cases(ranks)[name]["document"] for name in WORLDS[ranks]}
    for name, found in _real(documents, ranks, tmp_path).items():
        for rank in (0, ranks - 1):
            real = found[rank]
            fake = faked(parse(documents[name], name), rank)
            for key in MEASURED:
                if "peak" not in key:
                    assert real[key] == fake[key], (name, rank, key)
            for kind in ("weights", "gathered_weights", "optimizer_states"):
                assert real["peak_by_kind"][kind] == fake["peak_by_kind"][kind], (name, rank, kind)
            assert real["building_peak_bytes"] == fake["building_peak_bytes"], (name, rank)
            assert fake["peak_bytes"] <= real["peak_bytes"] <= 1.05 * fake["peak_bytes"], (name, rank)


def _real(documents: dict[str, Any], ranks: int, folder: Path) -> dict[str, list[dict[str, Any]]]:
    (folder / "cases.json").write_text(json.dumps(documents))
    files = [str(folder / "cases.json"), str(folder / "found.json")]
    forks.world([str(Path(measured_ranks.__file__))], files, ranks, folder)
    return json.loads((folder / "found.json").read_text())


@pytest.mark.parametrize("mode", ["none", "full"])
def test_the_peak_is_that_of_torchs_allocator(mode: str, tmp_path: Path) -> None:
    work = work_of(activation_checkpointing=mode, sequence_length=128)
    trainer = Trainer(work, Mesh(), CPU)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        trainer.step(1)
    profiled.export_chrome_trace(str(tmp_path / "trace.json"))
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    grown = max(each["args"]["Total Allocated"] for each in events if each.get("name") == "[memory]")
    found = dry_run(work, 0)
    before = found["master_bytes"] + found["optimizer_state_bytes"]
    samples = 14 * (128 + 1) * 8  # made by numpy
    small = 64 * len(trainer.weights)  # the allocator rounds up
    assert found["step_peak_bytes"] == pytest.approx(before + grown + samples, abs=small)


@pytest.mark.parametrize("family", cases.FAMILIES)
def test_weights_gradients_and_states_are_the_models(family: str) -> None:
    work = work_of(family=family)
    found = dry_run(work, 0)
    whole = parameters.count(work.model, work.training.sequence_length).total
    assert found["parameters"] == found["own_parameters"] == whole
    assert found["master_bytes"] == found["gradient_bytes"] == 4 * whole
    assert found["optimizer_state_bytes"] == 8 * whole
    assert sum(found["peak_by_kind"].values()) == found["peak_bytes"]
    kinds = found["peak_by_kind"]
    assert (kinds["weights"], kinds["optimizer_states"]) == (4 * whole, 8 * whole)
    assert 4 * whole <= kinds["gradients"] < 8 * whole, "those of one micro batch meet the sums of those before"


def test_mixed_precision_computes_with_a_copy() -> None:
    found = dry_run(work_of(precision="bf16"), 0)
    assert found["compute_copy_bytes"] == found["master_bytes"] / 2
    assert found["peak_by_kind"]["weights"] == 1.5 * found["master_bytes"]


@pytest.mark.parametrize("sharding", ["zero1", "fsdp"])
def test_shards_add_up_to_the_model_and_are_gathered(sharding: str) -> None:
    work = work_of({"dp": 4, "sharding": sharding}, global_batch_size=16)
    found = [dry_run(work, rank) for rank in range(4)]
    whole = found[0]["parameters"]
    assert sum(each["own_parameters"] for each in found) == whole
    for each in found:
        gathered = each["peak_by_kind"]["gathered_weights"]
        assert (gathered >= 4 * whole) == (sharding == "zero1"), "zero1 keeps all of them through the step"
        assert gathered > 0


def test_a_scaled_loss_needs_no_value() -> None:
    assert dry_run(work_of(precision="fp16"), 0)["gradient_bytes"] > 0


def test_a_gpus_loss_takes_larger_chunks_of_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake_rank.loss, "CHUNK_LOGITS", {"cpu": 2**10, "cuda": 2**28})
    work = work_of()
    gpu = replace(work, document={**work.document, "device": {"kind": "gpu"}})
    assert dry_run(gpu, 0)["step_peak_bytes"] > dry_run(work, 0)["step_peak_bytes"]
    assert fake_rank.loss.CHUNK_LOGITS["cpu"] == 2**10


@pytest.mark.parametrize("layout", [{"pp": 4}, {"pp": 2, "tp": 2}, {}], ids=str)
def test_a_shortened_step_has_the_peak_of_the_whole_one(layout: dict[str, Any]) -> None:
    whole = work_of(layout, global_batch_size=12, micro_batch_size=1)
    short = dryrun.shortened(whole)
    left_out = 12 - short.training.global_batch_size
    assert left_out == 12 - 2 * whole.layout.pp
    for rank in dryrun.first_ranks(whole.layout, every_stage=True):
        bytes_, all_bytes = dry_run(short, rank)["step_peak_bytes"], dry_run(whole, rank)["step_peak_bytes"]
        assert bytes_ == pytest.approx(all_bytes, abs=left_out * (8 * (24 + 1) + 64)), "more than its token numbers"


@pytest.mark.parametrize("schedule", ["gpipe", "interleaved-1f1b", "interleaved-zero-bubble", "zbv"])
def test_schedules_that_hold_more_with_every_micro_batch_are_run_whole(schedule: str) -> None:
    virtual = 1 if schedule == "gpipe" else 2
    layout = {"pp": 2, "schedule": schedule, "virtual_stages": virtual}
    peaks = []
    for batch in (16, 32):
        work = work_of(layout, global_batch_size=batch, micro_batch_size=1)
        assert dryrun.shortened(work).training.global_batch_size == batch
        peaks.append(dry_run(work, 1)["step_peak_bytes"])
    assert peaks[1] > 1.1 * peaks[0]


def test_a_step_without_more_micro_batches_is_not_shortened() -> None:
    ragged = work_of(global_batch_size=4, micro_batch_size=3)  # 3 and 1
    assert dryrun.shortened(ragged).training.global_batch_size == 4


def test_ranks_are_chosen_by_pipeline_stage() -> None:
    layout = work_of({"dp": 32, "tp": 4, "pp": 48}).layout
    assert dryrun.first_ranks(layout) == [0, 24 * 128, 47 * 128]
    assert dryrun.first_ranks(layout, every_stage=True) == [128 * stage for stage in range(48)]
    assert dryrun.first_ranks(work_of({"dp": 2}).layout) == [0]


def test_a_rank_knows_its_place() -> None:
    work = work_of({"dp": 2, "tp": 2, "pp": 2}, global_batch_size=16, micro_batch_size=2)
    found = dry_run(work, 6)
    assert found["place"] == {"pp": 1, "dp": 1, "cp": 0, "tp": 0}
    assert (found["stages"], found["layers"]) == ([1], [[2, 3]])


def test_a_layout_that_the_program_cannot_have_fails_here_too() -> None:
    with pytest.raises(RuntimeError, match="shape"):
        dry_run(work_of({"tp": 3}), 0)  # 4 heads; the rules would refuse it before


def test_nothing_stays_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.UntypedStorage.resize_, torch.distributed.isend, dict(fake_rank.loss.CHUNK_LOGITS)
    dry_run(work_of({"pp": 2}, global_batch_size=16, micro_batch_size=1), 0)
    with pytest.raises(RuntimeError):
        dry_run(work_of({"tp": 3}), 0)
    assert before == (torch.UntypedStorage.resize_, torch.distributed.isend, fake_rank.loss.CHUNK_LOGITS)
    assert not torch.distributed.is_initialized()


def _module(point: Path, *arguments: str) -> tuple[int, list[dict[str, Any]], str]:
    command = [sys.executable, "-m", "hpcscale.train.dryrun", str(point), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=2 * TIMEOUT, check=False)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def _point(folder: Path, **parts: Any) -> Path:
    path = folder / "point.json"
    path.write_text(json.dumps(document(**parts)))
    return path


def test_a_rank_of_6144_takes_less_than_a_gibibyte(tmp_path: Path) -> None:
    content = {**document(**FUGAKU), "model": named("gpt-30b").model_dump(mode="json")}
    (tmp_path / "point.json").write_text(json.dumps(content))
    code, (found,), _ = _module(tmp_path / "point.json", "--rank", "3072")
    assert code == 0
    assert (found["ranks"], found["rank"], found["micro_batches"]) == (6144, 3072, 48)
    cut, whole = 12 * 7168**2 + 7 * 7168, 6 * 7168  # matrices and biases of qkv and up; other biases, norms
    assert found["parameters"] == cut // 4 + whole
    assert found["process_memory_bytes"] < 2**30


def test_a_refused_point_says_why_and_takes_no_other_with_it(tmp_path: Path) -> None:
    path = _point(tmp_path, layout={"dp": 2}, training={"global_batch_size": 15, "micro_batch_size": "auto"})
    good = tmp_path / "good.json"
    good.write_text(json.dumps(document()))
    code, found, words = _module(path, str(good))
    assert code == 2
    assert "global_batch_size 15 is not divisible by dp 2" in " ".join(found[0]["refused"])
    assert "micro_batch_size auto" in words and "Traceback" not in words
    assert found[1]["file"] == str(good) and found[1]["peak_bytes"] > 0


def test_a_rank_that_is_not_there_is_refused(tmp_path: Path) -> None:
    code, _, words = _module(_point(tmp_path, layout={"dp": 2}), "--rank", "2")
    assert (code, words) == (2, "hpcscale.train.dryrun: there is no rank 2: the layout has ranks 0 to 1\n")


def test_files_of_the_job_need_not_be_here(tmp_path: Path) -> None:
    path = _point(tmp_path, training={"weights": "/not/here"}, data={"kind": "megatron", "path": "not/here"})
    code, found, words = _module(path)
    assert (code, len(found)) == (0, 1), words


def test_a_rank_that_fails_ends_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("shapes\ndo not match")

    monkeypatch.setattr(fake_rank, "measured", broken)
    assert dryrun.run(_point(tmp_path), [0], False) == 1
    said = capsys.readouterr()
    assert json.loads(said.out)["failed"] == "RuntimeError: shapes do not match"
    assert said.err == "hpcscale.train.dryrun: rank 0 ended with RuntimeError: shapes do not match\n"
