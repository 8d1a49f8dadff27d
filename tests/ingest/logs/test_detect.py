"""Which tool a log is taken for, and what is said of it."""

from __future__ import annotations

import pytest

from hpcscale.ingest.logs.blocks import Log
from hpcscale.ingest.logs.detect import NAMES, recognise
from hpcscale.spec.problems import InputError

from .conftest import SAMPLES, Importing, sample

OF = {
    "composer.txt": "composer",
    "deepspeed-fugaku.txt": "deepspeed-fugaku",
    "fmengine.txt": "fmengine",
    "jube.csv": "jube",
    "megatron-deepspeed.txt": "megatron-deepspeed",
    "megatron-lm-2021.txt": "megatron-lm",
    "megatron-lm.txt": "megatron-lm",
    "nanotron-2024.txt": "nanotron",
    "nanotron.txt": "nanotron",
    "nemo-bar-thousands.txt": "nemo-bar",
    "nemo-bar.txt": "nemo-bar",
    "nemo.txt": "nemo",
    "torchtitan-2024.txt": "torchtitan",
    "torchtitan.txt": "torchtitan",
}


def test_there_is_a_sample_of_every_format():
    assert set(OF) == {path.name for path in SAMPLES.iterdir()}
    assert set(OF.values()) == set(NAMES)


@pytest.mark.parametrize("name", OF)
def test_every_sample_is_recognised(name: str):
    assert recognise(Log(SAMPLES / name)).format.name == OF[name]


def test_it_is_said_by_which_line(importing: Importing):
    noise = "NCCL INFO Channel 00\n" * 100_000
    found = recognise(Log(importing.log(noise + sample("torchtitan-2024.txt").decode())))
    assert str(found).startswith(
        "torchtitan, by line 100007: [rank0]:2024-07-20 10:00:06,123 - root - INFO - step: 1 loss: "
    )


def test_colours_hide_nothing(importing: Importing):
    assert recognise(Log(importing.log(sample("nanotron.txt")))).text.startswith("11/20/2024 12:30:00 [INFO|DP=0")


@pytest.mark.parametrize("content", ["", "\n", "hello\nworld\n", "a,b,c\n1,2,3\n", "step: 3\n", b"\x00\xff" * 1000])
def test_an_unknown_log_is_refused_with_the_list_of_the_known(importing: Importing, content: str | bytes):
    with pytest.raises(
        InputError, match=r"no line of a step by which a tool is known, of any of: deepspeed-fugaku, .*jube"
    ):
        importing.one(content)


def test_one_unknown_log_among_several_stops_all_before_anything_is_written(importing: Importing):
    from hpcscale.ingest.logs.importer import import_logs

    good, bad = importing.log(sample("nemo.txt"), "good.log"), importing.log("nothing\n", "bad.log")
    with pytest.raises(InputError, match=r"bad\.log has no line"):
        import_logs([good, bad, importing.folder / "none.log"], importing.folder / "runs", "imported")
    assert not (importing.folder / "runs").exists()


def test_a_misspelt_format_is_answered_with_the_nearest(importing: Importing):
    with pytest.raises(InputError, match="there is no log format 'megatron-ml'; did you mean 'megatron-lm'"):
        importing.one(sample("nemo.txt"), form="megatron-ml")


def test_a_format_that_does_not_fit_says_so(importing: Importing):
    with pytest.raises(InputError, match=r"has no step and no start of nanotron; is it another --format\?"):
        importing.one(sample("nemo.txt"), form="nanotron")


def test_seconds_instead_of_milliseconds_are_taken_as_they_are_called(importing: Importing):
    text = sample("megatron-lm-2021.txt").decode().replace("iteration (ms): 340.6", "iteration (s): 0.34")
    assert importing.steps(text)[1]["step_seconds"] == 0.34


def test_old_keys_of_nanotron_are_known(importing: Importing):
    row = importing.row(sample("nanotron-2024.txt"))
    assert (row["step_seconds"], row["global_batch_size"]) == (0.0412, None)
