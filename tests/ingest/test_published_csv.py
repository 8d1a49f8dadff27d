"""Reading tables of documents: types, and the place of everything that is wrong."""

import csv
import io
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpcscale.ingest import published, schema
from hpcscale.spec import locate
from hpcscale.spec.problems import InputError


def write(tmp_path: Path, text: str, name: str = "table.csv") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def problems(tmp_path: Path, text: str) -> list[str]:
    path = write(tmp_path, text)
    with pytest.raises(InputError) as caught:
        published.read(path)
    return [str(problem).removeprefix(str(tmp_path) + "/") for problem in caught.value.problems]


def test_a_table_is_typed_and_knows_its_origin(tmp_path: Path):
    text = '# a comment, with a comma\nmodel,devices,mfu_published,note\nllama2-7b,8,0.5,"one, two"\nmpt-7b,,,\n'
    table = published.read(write(tmp_path, text))
    first, second = schema.rows(table)
    assert (first["origin"], first["source"], first["status"]) == ("published", "table", "completed")
    assert (first["devices"], first["mfu_published"], first["note"]) == (8, 0.5, "one, two")
    assert (second["devices"], second["mfu_published"]) == (None, None)
    assert str(table["devices"].dtype) == "Int64"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("model,devces\nx,8\n", "table.csv:1:7: there is no column 'devces'; did you mean 'devices'?"),
        ("# c\n\nmodel,devices\nx,8\ny,eight\n", "table.csv:5:3: devices: 'eight' is no number"),
        ("devices\n2.5\n", "table.csv:2:1: devices: '2.5' is no whole number"),
        ("devices\n0\n", "table.csv:2:1: devices: '0' is not above zero"),
        ("model,mfu_published\nx,nan\n", "table.csv:2:3: mfu_published: 'nan' is no finite number; leave the cell empty "
         "where the value is unknown"),
        ("devices,devices\n1,2\n", "table.csv:1:9: the column 'devices' stands twice"),
        ("model,devices\nx\n", "table.csv:2:1: the row has 1 cells, the header 2 columns"),
        ("model,devices\nx,1,2\n", "table.csv:2:1: the row has 3 cells, the header 2 columns"),
        ("model,status\nx,Oom\n", "table.csv:2:3: status: there is no status 'Oom'; did you mean 'oom'?"),
        ("flops_convention\npalm\n", "table.csv:2:1: flops_convention: there is no FLOP convention 'palm'"),
        ('note,devices\n"a, b",many\n', "table.csv:2:8: devices: 'many' is no number"),
        ('note\n"never closed\n', "table.csv:2:1: the line is no CSV"),
        ("model,devices\n", "table.csv: the table has no rows"),
        ("", "table.csv: the table has no rows"),
    ],
)  # fmt: skip
def test_an_error_names_line_column_and_value(tmp_path: Path, text: str, expected: str):
    assert problems(tmp_path, text)[0].startswith(expected)


def test_every_problem_is_reported_not_only_the_first(tmp_path: Path):
    assert len(problems(tmp_path, "devices,nodes\na,1\n2,b\n-1,1\n")) == 3


def test_a_file_that_is_no_text_is_refused(tmp_path: Path):
    path = tmp_path / "table.csv"
    path.write_bytes(b"model\n\xff\xfe\n")
    with pytest.raises(InputError, match="not UTF-8"):
        published.read(path)


def test_windows_line_ends_and_a_byte_order_mark_are_read(tmp_path: Path):
    path = tmp_path / "table.csv"
    path.write_bytes(b"\xef\xbb\xbfmodel,devices\r\nmpt-7b,8\r\n")
    assert schema.rows(published.read(path))[0]["devices"] == 8


def test_a_tools_name_means_its_convention(tmp_path: Path):
    table = published.read(write(tmp_path, "flops_convention\nllm-foundry\n"))
    assert schema.rows(table)[0]["flops_convention"] == "6N"


CELL = st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\x00\r\n"), max_size=12)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(st.lists(st.tuples(CELL, CELL), min_size=1, max_size=5))
def test_any_text_comes_back_as_it_was_written(tmp_path: Path, rows: list[tuple[str, str]]):
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerows([("note", "model", "devices"), *((a, b, "8") for a, b in rows)])
    path = tmp_path / "any.csv"
    path.write_text(file.getvalue(), encoding="utf-8")
    found = schema.rows(published.read(path))
    assert [(row["note"] or "", row["model"] or "") for row in found] == [(a.strip(), b.strip()) for a, b in rows]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
@given(st.binary(max_size=80) | st.text(max_size=80).map(lambda text: ("model,devices\n" + text).encode()))
def test_nothing_but_an_input_error_comes_of_garbage(tmp_path: Path, content: bytes):
    path = tmp_path / "garbage.csv"
    path.write_bytes(content)
    try:
        published.read(path)
    except InputError as error:
        assert all(problem.file == str(path) for problem in error.problems)


@pytest.mark.parametrize(
    ("name", "rows"),
    [("mpt_llm_foundry", 198), ("megatron_30b_fugaku", 16), ("torchtitan", 8), ("nanotron_nemo", 8), ("fmengine", 3)],
)
def test_every_row_of_every_document_is_stored(name: str, rows: int):
    assert len(published.read(locate.find(name, published.FOLDER, "published table", ".csv"))) == rows
