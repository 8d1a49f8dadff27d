"""What a person may name."""

from collections.abc import Callable
from pathlib import Path

import pytest

from hpcscale.ingest.gather import gather
from hpcscale.spec.problems import InputError


def test_a_study_means_its_published_table_where_it_has_no_runs(tmp_path: Path):
    table = gather(["30b_scaling"], tmp_path)
    assert set(table["source"]) == {"megatron_30b_fugaku"} and len(table) == 16


def test_a_document_with_other_models_gives_the_studys_models_only(tmp_path: Path):
    assert set(gather(["nemo_bert"], tmp_path)["model"]) == {"bert-base", "bert-large"}


def test_measured_and_published_rows_stand_in_one_table(tmp_path: Path, write_run: Callable[..., Path]):
    write_run(tmp_path, [1.0, 1.0, 4.0], study="30b_scaling")
    (tmp_path / "s").rename(tmp_path / "30b_scaling")
    table = gather(["30b_scaling"], tmp_path)
    assert table["origin"].value_counts().to_dict() == {"published": 16, "measured": 1}


def test_a_study_without_runs_and_without_a_table_says_how_to_get_some(tmp_path: Path):
    with pytest.raises(InputError, match=r"quickstart has no runs in .*; make some with: hpcscale run"):
        gather(["quickstart"], tmp_path)


def test_several_arguments_are_one_table(tmp_path: Path):
    assert len(gather(["torchtitan", "studies/published/fmengine.csv"], tmp_path)) == 8 + 3


def test_an_unknown_name_gets_the_nearest(tmp_path: Path):
    with pytest.raises(InputError, match="did you mean 'torchtitan'"):
        gather(["torchtitn"], tmp_path)


def test_a_row_whose_point_the_study_no_longer_has_says_so(tmp_path: Path, write_run: Callable[..., Path]):
    write_run(tmp_path, [1.0, 1.0, 4.0], study="30b_scaling")
    (tmp_path / "s").rename(tmp_path / "30b_scaling")
    table = gather(["30b_scaling"], tmp_path)
    measured = table["origin"] == "measured"
    assert table["note"][measured].tolist() == ["not a point of the study as it stands"]
    assert not table["note"][~measured].fillna("").str.contains("as it stands").any()
