"""What a person fills in, and what stays unknown."""

from __future__ import annotations

import json

import pytest

from hpcscale.ingest.logs.described import description
from hpcscale.spec.problems import InputError

from .conftest import Importing, sample


def test_what_a_log_does_not_say_stays_unknown_and_is_named(importing: Importing):
    found = importing.one(sample("fmengine.txt"))
    told = json.loads((found.folder / "point.json").read_text())
    assert "layout" not in told and "model" not in told and "devices" not in told
    assert found.unknown == (
        "model", "devices", "training.sequence_length", "layout.dp", "layout.tp", "layout.pp", "training.precision", "device",
    )  # fmt: skip


def test_what_is_filled_in_gives_the_figures(importing: Importing):
    row = importing.row(
        sample("fmengine.txt"), model="llama2-7b", devices=64, seq=2048, layout__tp=1, pp=1, ac="full", machine="juwels-booster",
        precision="bf16",
    )  # fmt: skip
    assert (row["dp"], row["nodes"], row["device"], row["peak_tflops"]) == (64, 16, "a100-40gb", 312.0)
    assert row["tokens_per_second"] == pytest.approx(512 * 2048 / 3.5)
    assert row["mfu"] == pytest.approx(row["tflops_per_device"] / 312)


def test_tokens_per_device_alone_give_tflops_once_the_model_is_known(importing: Importing):
    row = importing.row(sample("torchtitan-2024.txt"), seq=8192)
    assert row["step_seconds"] is None
    assert row["tokens_per_second_per_device"] == 4000.0
    assert row["tflops_per_device"] == pytest.approx(57.91445e9 * 4000 / 1e12, rel=1e-5)


def test_the_batch_of_a_person_gives_torchtitan_its_seconds(importing: Importing):
    steps = importing.steps(sample("torchtitan-2024.txt"), seq=8192, gbs=16)
    assert steps[1]["step_seconds"] == pytest.approx(16 * 8192 / (4000 * 8))


def test_a_value_that_contradicts_the_log_is_refused(importing: Importing):
    with pytest.raises(InputError, match=r"train\.log says layout\.tp 4, --set says 8; --set only fills in"):
        importing.one(sample("megatron-lm.txt"), tp=8)


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("layoutt", 3, "--set layoutt: there is no such key"),
        ("devices", "many", "--set devices=many: it must be a whole number above 0"),
        ("device", "a1000", "--set device=a1000: there is no device 'a1000'"),
        ("tp", 0, "--set tp=0: tp is 0; it must be greater than 0"),
        ("machine", "fugako", "there is no machine 'fugako'; did you mean 'fugaku'"),
        ("model", "gpt-31b", "there is no model 'gpt-31b'"),
    ],
)
def test_a_wrong_value_is_refused_with_a_way_out(importing: Importing, key: str, value: object, sentence: str):
    with pytest.raises(InputError) as error:
        importing.one(sample("fmengine.txt"), **{key: value})
    assert sentence in str(error.value)


def test_a_model_is_known_by_its_exact_number_of_parameters(importing: Importing):
    assert importing.row(sample("torchtitan.txt"))["model"] == "llama3-8b"
    other = sample("torchtitan.txt").replace(b"8,030,261,248", b"8,030,261,249")
    assert importing.row(other)["model"] == "llama3 8B"  # the log's words
    assert importing.row(other)["tflops_per_device"] is None


def test_a_model_that_no_catalogue_has_is_named_by_its_shape(importing: Importing):
    row = importing.row(sample("megatron-lm-2021.txt").replace(b" 24\n", b" 20\n"))
    assert (row["model"], row["parameters"]) == ("gpt-20x1024x16", 304486400)


def test_a_mixture_of_experts_is_not_taken_for_a_dense_model(importing: Importing):
    text = sample("megatron-lm.txt").replace(
        b"num_experts ..................................... None",
        b"num_experts ..................................... 8",
    )
    row = importing.row(text)
    assert row["model"] is None and "mixture of experts" in row["note"]


def test_checkpointing_of_some_layers_only_is_not_called_full(importing: Importing):
    text = sample("megatron-lm.txt").replace(b" uniform\n", b" block\n")
    assert importing.row(text)["activation_checkpointing"] is None


def test_warm_up_that_a_person_names_is_left_out_of_the_figures(importing: Importing):
    row = importing.row(sample("megatron-lm.txt"), warmup_steps=1)
    assert (row["measured_steps"], row["step_seconds_high"]) == (39, 100.44)


def test_a_mean_that_holds_a_step_of_the_warm_up_is_left_out_too(importing: Importing):
    assert importing.row(sample("megatron-lm.txt"), warmup_steps=5)["measured_steps"] == 30


def test_a_step_that_is_no_number_is_kept_as_such(importing: Importing):
    row = importing.row(sample("nemo-bar-thousands.txt"))
    assert row["loss_last"] is None and "the loss is not a number from step 9000 on" in row["note"]


def test_the_number_of_parameters_says_nothing_where_a_size_contradicts_it():
    known = {"parameters": 8030261248, "training.sequence_length": 8192}
    assert description(known)["model"]["name"] == "llama3-8b"
    assert description({**known, "model.layers": 31})["model"] == {"layers": 31}
