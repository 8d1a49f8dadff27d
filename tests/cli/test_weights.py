"""``hpcscale weights``: what model a folder of Hugging Face weights is, and a run's checkpoint made into such a folder."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from hpcscale.spec import model
from hpcscale.spec.model import Model
from hpcscale.spec.yaml12 import Document, loads
from hpcscale.train.checkpoint import Checkpointer
from hpcscale.train.huggingface import config
from hpcscale.train.huggingface.files import Folder
from hpcscale.train.mesh import Mesh
from hpcscale.train.point_file import parse
from hpcscale.train.trainer import Trainer

Cli = Callable[..., subprocess.CompletedProcess[str]]
SCALED = {
    "base": "llama3-8b", "tied_embeddings": True,
    "rope_scaling": {"factor": 8, "low_frequency_factor": 1, "high_frequency_factor": 4, "original_max_positions": 8192},
}  # fmt: skip
POINT = {
    "point": "tiny", "hash": "00000000", "layout": {}, "data": {}, "protocol": {},
    "training": {"sequence_length": 16, "global_batch_size": 1, "precision": "fp32", "checkpoint": {"at_end": True}},
}  # fmt: skip


def folder_of(found: Model, path: Path) -> Path:
    """A folder with the config.json of a model (and no weights, which `show` does not read)."""
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps(config.config_of(found, 1024, "float32")))
    return path


def checkpointed(found: Model, folder: Path) -> dict[str, torch.Tensor]:
    """A point with a checkpoint after its last step; its weights."""
    document = {**POINT, "model": found.model_dump(mode="json")}
    folder.mkdir(parents=True)
    (folder / "point.json").write_text(json.dumps(document))
    trainer = Trainer(parse(document, "point.json"), Mesh(), torch.device("cpu"))
    Checkpointer(trainer, folder / "attempts" / "1.0", 3).before_leaving(3)
    return {piece.name: piece.tensor for piece in trainer.pieces()}


@pytest.mark.parametrize(
    ("keys", "written"),
    [
        ({"base": "llama2-70b"}, "{family: llama, layers: 80, hidden: 8192, heads: 64, kv_heads: 8, ffn: 28672, vocab: 32000}"),
        ({"base": "gpt-124m", "mlp": "gelu-tanh"},
         "{family: gpt, layers: 12, hidden: 768, heads: 12, max_positions: 1024, mlp: gelu-tanh}"),
        ({"base": "mpt-7b", "positions": "alibi", "biases": False},
         "{family: mpt, layers: 32, hidden: 4096, heads: 32, positions: alibi, biases: false}"),
        ({"base": "bert-base", "norm_placement": "post", "norm_eps": 1e-12},
         "{family: bert, layers: 12, hidden: 768, heads: 12, norm_placement: post, norm_eps: 1e-12}"),
        (SCALED, None),
    ],
)  # fmt: skip
def test_show_writes_the_model_as_a_study_does(
    keys: dict[str, object], written: str | None, cli: Cli, tmp_path: Path
) -> None:
    made = model.build(keys, Document(keys, "a test"), ())
    folder = folder_of(made, tmp_path / "hub" / "m")
    done = cli("weights", "show", "hub/m")
    assert done.returncode == 0, done.stderr
    (line,) = (each for each in done.stdout.splitlines() if each.startswith("model: "))
    assert written is None or line == f"model: {written}"
    assert "training: {weights: hub/m}" in done.stdout
    # and a study that has the line gets a model that the folder fits
    document = loads(line)
    assert (
        list(config.differences(model.build(document.data["model"], document, ("model",)), 1024, config.read(folder)))
        == []
    )


def test_show_counts_what_the_files_hold(cli: Cli, tmp_path: Path) -> None:
    """124,439,808 is GPT-2's published size: no row of padding is counted."""
    made = model.named("gpt-124m").model_copy(update={"mlp": "gelu-tanh"})
    folder_of(made, tmp_path / "gpt2")
    assert json.loads(cli("weights", "show", "gpt2", "--json").stdout)["parameters"] == 124_439_808


def test_export_writes_a_runs_newest_checkpoint(cli: Cli, tmp_path: Path) -> None:
    pytest.importorskip("safetensors", reason="needs hpcscale[hf]")
    found = model.named("tiny-llama")
    weights = checkpointed(found, tmp_path / "runs" / "s" / "p")
    done = cli("weights", "export", "runs/s/p", "--out", "out/llama", "--file-size", "1 MB")
    assert done.returncode == 0, done.stderr
    assert "wrote out/llama from runs/s/p/attempts/1.0/checkpoints/step-3" in done.stdout
    assert done.stderr == ""
    assert len(list((tmp_path / "out" / "llama").glob("model-*-of-*.safetensors"))) > 10
    with Folder(tmp_path / "out" / "llama") as files:
        assert torch.equal(files.rows("lm_head.weight", (slice(None),)), weights["head.weight"])
        # query heads of the second group: after the first group's two queries, key and value, 32 rows each
        queries = files.rows("model.layers.3.self_attn.q_proj.weight", (slice(64, 128),))
        assert torch.equal(queries, weights["blocks.3.attention.qkv.weight"][128:192])
    again = cli("weights", "export", "runs/s/p", "--out", "out/llama")
    assert (again.returncode, again.stderr) == (2, "hpcscale: out/llama exists and is kept; choose another folder\n")


def test_wrong_input_is_a_sentence(cli: Cli, tmp_path: Path) -> None:
    checkpointed(model.named("tiny-mpt"), tmp_path / "mpt")
    for arguments, answer in [
        (("show", "nowhere"), "hpcscale: there is no nowhere/config.json"),
        (("export", "nowhere", "--out", "o"), "hpcscale: there is no folder nowhere"),
        (("export", "mpt", "--out", "o", "--file-size", "5"), "hpcscale: --file-size: '5' is not a size with a unit"),
        (("export", "mpt", "--out", "o"), "positions learned of tiny-mpt has no place in MptForCausalLM, whose models have alibi"),
    ]:  # fmt: skip
        done = cli("weights", *arguments)
        assert done.returncode == 2
        assert answer in done.stderr
        assert "Traceback" not in done.stderr
        assert not (tmp_path / "o").exists()
