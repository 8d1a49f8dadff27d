"""``hpcscale data build``: what it writes, what it says, and that wrong input leaves nothing behind."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hpcscale.spec.problems import InputError
from hpcscale.train import corpus_build, documents, indexed, tokenizers
from hpcscale.train.documents import Documents

Cli = Callable[..., subprocess.CompletedProcess[str]]
Write = Callable[[str, str], Path]
BYTES = ("--tokenizer", "bytes", "--output", "c")


def texts(prefix: Path) -> list[str]:
    """A byte corpus's documents, with | for the end of one."""
    found = indexed.read(prefix)
    ids = [found.sequence(number).tolist() for number in range(found.sequences)]
    return ["".join("|" if token == 256 else chr(token) for token in each) for each in ids]


def build(path: Path, kind: Documents | None = None, **options: Any) -> list[str]:
    corpus_build.build([path], str(path.parent / "c"), tokenizers.load("bytes", None), kind, **options)
    return texts(path.parent / "c")


def test_files_become_documents_in_their_order(cli: Cli, write: Write, tmp_path: Path) -> None:
    write("b.txt", "bee\n\nhive\n")
    write("a.jsonl", '{"text": "ant"}\n\n{"text": "hill", "id": 3}\n')
    done = cli("data", "build", "b.txt", "a.jsonl", *BYTES)
    assert (done.returncode, done.stderr) == (0, "")
    assert texts(tmp_path / "c") == ["bee\n\nhive\n|", "ant|", "hill|"]
    assert done.stdout == (
        "wrote       c.bin and c.idx\ntokens      20\ndocuments   3\nvocab       257\ntoken type  uint16\n\n"
        "For a study (NAME: a model of hpcscale models):\n"
        "data: {kind: megatron, path: c}\nmodel: {base: NAME, vocab: 257}\n"
    )


def test_the_printed_lines_make_a_study(cli: Cli, write: Write, tmp_path: Path) -> None:
    write("a.txt", "x" * 100)
    (tmp_path / "my: data").mkdir()
    done = cli("data", "build", "a.txt", "--tokenizer", "bytes", "--output", "my: data/c")
    lines = done.stdout.replace("NAME", "tiny-llama").splitlines()[-2:]
    training = "training: {sequence_length: 16, global_batch_size: 2, precision: fp32}"
    write("s.yaml", "\n".join(["name: s", *lines, training, "machines: {local: {}}"]))
    assert cli("render", "s.yaml").returncode == 0
    point = json.loads(next(tmp_path.glob("runs/s/*/point.json")).read_text())
    assert point["data"]["path"] == "my: data/c"
    assert point["model"]["vocab"] == 257


def test_programs_get_json(cli: Cli, write: Write) -> None:
    write("a.txt", "x")
    assert json.loads(cli("data", "build", "a.txt", *BYTES, "--json").stdout) == {
        "bin": "c.bin", "idx": "c.idx", "tokens": 2, "documents": 1, "empty": 0, "vocab": 257, "token_type": "uint16",
    }  # fmt: skip


def test_without_output_the_corpus_is_named_after_the_first_text(cli: Cli, write: Write, tmp_path: Path) -> None:
    write("texts/a.b.txt", "one")
    write("texts/c.txt", "two")
    assert cli("data", "build", "texts/a.b.txt", "texts/c.txt", "--tokenizer", "bytes").returncode == 0
    assert texts(tmp_path / "a.b") == ["one|", "two|"]


def test_existing_files_are_kept_unless_forced(cli: Cli, write: Write, tmp_path: Path) -> None:
    write("a.txt", "one")
    assert cli("data", "build", "a.txt", *BYTES).returncode == 0
    write("a.txt", "another")
    done = cli("data", "build", "a.txt", *BYTES)
    assert done.returncode == 2
    assert done.stderr == "hpcscale: c.bin exists and is kept; --force replaces it, or choose another --output\n"
    assert texts(tmp_path / "c") == ["one|"]
    assert cli("data", "build", "a.txt", *BYTES, "--force").returncode == 0
    assert texts(tmp_path / "c") == ["another|"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nothing.txt", *BYTES], "there is no file nothing.txt"),
        (["folder", *BYTES], "folder is a folder; name the files in it, for example folder/*.txt"),
        (["a.txt", "latin.txt", *BYTES], "latin.txt: byte 1 is no UTF-8 text"),
        (["latin.txt", *BYTES, "--documents", "blank-lines"], "latin.txt:1:2: this is no UTF-8 text"),
        (["a.txt", *BYTES, "--documents", "jsonl"], "a.txt:1: this is no JSON ("),
        (["a.jsonl", *BYTES, "--json-key", "body"], "a.jsonl:1: there is no text under 'body'; its keys: text (--json-key"),
        (["empty.txt", *BYTES], "there is no text in empty.txt; nothing is written"),
        (["a.txt", "--tokenizer", "bytes", "--output", "no/c"], "there is no folder no to write into"),
        (["a.txt", "--tokenizer", "bytes", "--output", "folder/"], "'folder/' is no prefix of file names"),
        (["own.bin", "--tokenizer", "bytes", "--output", "own", "--force"], "own.bin is both a text and the output"),
        (["a.txt", "--tokenizer", "gpt2", "--output", "c"], "there is no file gpt2; --tokenizer is a Hugging Face tokenizer"),
        (["a.txt", *BYTES, "--end-of-document", "</s>"], "--end-of-document is for a tokenizer.json"),
        (["a.txt", *BYTES, "--end-of-document", "</s>", "--no-eod"], "--no-eod writes no token after a document"),
        (["a.txt", *BYTES, "--documents", "page"], "'page' is not one of 'file', 'blank-lines', 'jsonl'"),
        (BYTES, "Missing argument 'TEXT...'"),
    ],
    ids=str,
)  # fmt: skip
def test_wrong_input_is_a_sentence_and_leaves_nothing(
    arguments: list[str], sentence: str, cli: Cli, write: Write, tmp_path: Path
) -> None:
    for name, text in (("a.txt", "text"), ("a.jsonl", '{"text": "x"}'), ("empty.txt", ""), ("own.bin", "x")):
        write(name, text)
    (tmp_path / "latin.txt").write_bytes("aé".encode("latin-1"))
    (tmp_path / "folder").mkdir()
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    done = cli("data", "build", *arguments)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('["text"]', "there is no text under 'text' (--json-key"),
        ('{"text": 3}', "there is no text under 'text'; its keys: text"),
        ('{"text": "\\ud800"}', r"half of a surrogate pair, '\ud800', is no text"),
    ],
)
def test_lines_of_json_without_text_are_named(line: str, words: str, write: Write) -> None:
    path = write("a.jsonl", '{"text": "fine"}\n' + line)
    with pytest.raises(InputError) as caught:
        build(path)
    assert f"{path}:2: {words}" in str(caught.value)


def test_blank_lines_part_documents(write: Write) -> None:
    path = write("a.txt", "\n\none\nmore\n\n \t\n\ntwo\r\n\r\nthree")
    found = [(piece.text, piece.last) for piece in documents.pieces(path, "blank-lines", "")]
    assert found == [("one\nmore", True), ("two", True), ("three", True)]
    assert build(path, "blank-lines") == ["one\nmore|", "two|", "three|"]


def test_documents_without_text_are_left_out_and_counted(cli: Cli, write: Write, tmp_path: Path) -> None:
    write("a.jsonl", '{"text": ""}\n{"text": "x"}\n{"text": ""}')
    assert "documents   1 (and 2 empty ones left out)\n" in cli("data", "build", "a.jsonl", *BYTES).stdout
    assert texts(tmp_path / "c") == ["x|"]


def test_no_token_after_documents_if_not_wanted(write: Write) -> None:
    assert build(write("a.jsonl", '{"text": "x"}\n{"text": "y"}'), end_documents=False) == ["x", "y"]


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_where_a_file_is_cut_for_reading_does_not_show(
    size: int, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(documents, "CHUNK_BYTES", size)
    monkeypatch.setattr(corpus_build, "BATCH_TEXTS", 2)
    text = "\ufeffnaïve — 漢字 🙂\r\n\n end "
    path = write("a.txt", text)
    (found,) = build(path)
    assert bytes(ord(each) for each in found.removesuffix("|")).decode() == text.removeprefix("\ufeff")
    path.write_bytes(text.encode() + b"\xff")
    with pytest.raises(InputError, match=f"byte {len(text.encode())} is no UTF-8 text"):
        build(path, force=True)


WORDS = {"[UNK]": 0, "the": 1, "sea": 2, "<|endoftext|>": 3, "<end>": 70000}
TOKENIZER = {
    "version": "1.0",
    "truncation": {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0},
    "padding": {"strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0, "pad_token": "[UNK]"},
    "added_tokens": [],
    "normalizer": None,
    "pre_tokenizer": {"type": "Whitespace"},
    "post_processor": None,
    "decoder": None,
    "model": {"type": "WordLevel", "vocab": WORDS, "unk_token": "[UNK]"},
}  # fmt: skip


def test_a_tokenizer_file_encodes_whole_documents(cli: Cli, write: Write, tmp_path: Path) -> None:
    """Neither shortened nor filled up, whatever the file says, and ids beyond 16 bits are kept."""
    pytest.importorskip("tokenizers")
    write("t.json", json.dumps(TOKENIZER))
    write("a.jsonl", '{"text": "the sea the sea"}\n{"text": "sea"}')
    done = cli("data", "build", "a.jsonl", "--tokenizer", "t.json", "--output", "c")
    assert "vocab       70,001\ntoken type  int32\n" in done.stdout, done.stderr
    found = indexed.read(tmp_path / "c")
    assert [found.sequence(number).tolist() for number in range(2)] == [[1, 2, 1, 2, 3], [2, 3]]
    command = ("data", "build", "a.jsonl", "--tokenizer", "t.json", "--output", "c", "--force", "--end-of-document")
    assert cli(*command, "<end>").returncode == 0
    assert indexed.read(tmp_path / "c").sequence(1).tolist() == [2, 70000]
    assert "t.json: there is no token '<ends>'; did you mean '<end>'?" in cli(*command, "<ends>").stderr


def test_a_tokenizer_without_an_end_of_document_is_asked_for_one(cli: Cli, write: Write, tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    write("t.json", json.dumps({**TOKENIZER, "model": {**TOKENIZER["model"], "vocab": {"[UNK]": 0, "sea": 1}}}))
    write("a.txt", "sea")
    command = ("data", "build", "a.txt", "--tokenizer", "t.json", "--output", "c")
    assert "name one with --end-of-document, or write none with --no-eod" in cli(*command).stderr
    assert cli(*command, "--no-eod").returncode == 0
    assert indexed.read(tmp_path / "c").sequence(0).tolist() == [1]


def test_a_file_that_is_no_tokenizer_is_a_sentence(cli: Cli, write: Write) -> None:
    pytest.importorskip("tokenizers")
    write("a.txt", "x")
    write("t.json", "{}")
    done = cli("data", "build", "a.txt", "--tokenizer", "t.json", "--output", "c")
    assert done.returncode == 2
    assert "hpcscale: t.json: this is no tokenizer.json (" in done.stderr


def test_without_the_tokenizers_package_the_extra_is_named(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(InputError, match=r"pip install 'hpcscale\[hf\]'.*--tokenizer bytes needs nothing"):
        tokenizers.load(str(write("t.json", json.dumps(TOKENIZER))), None)


def test_a_document_that_must_be_tokenized_whole_has_a_limit(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """The byte tokenizer has none: it takes a document in pieces."""
    monkeypatch.setattr(corpus_build, "MOST_CHARACTERS", 9)
    path = write("a.txt", "0123456789")
    assert build(path) == ["0123456789|"]
    monkeypatch.setattr(tokenizers.ByteTokenizer, "cuttable", False)
    with pytest.raises(InputError, match="a document of more than 9 characters cannot be tokenized; split it"):
        build(path, force=True)
