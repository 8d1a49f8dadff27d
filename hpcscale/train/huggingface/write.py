"""Whole tensors into a folder that transformers loads: config.json and safetensors files, one tensor in memory at a time.

The format (github.com/huggingface/safetensors, "Format"): 8 bytes with the length of the header, the header (JSON: type,
shape and byte range of each tensor), the bytes. Where each tensor goes is known before the first one comes, so they may
come in any order, and nothing is kept.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch

from hpcscale.spec.model import Model
from hpcscale.spec.problems import InputError, Problem
from hpcscale.train.huggingface import config
from hpcscale.train.huggingface.files import INDEX, SINGLE
from hpcscale.train.huggingface.names import Place, Shape, place
from hpcscale.train.huggingface.whole import shapes

MOST_FILE_BYTES = 5_000_000_000  # as transformers writes them by default up to version 4


@dataclass(frozen=True)
class Dtype:
    """A number format: torch's, and its name in a file's header and in config.json."""

    torch: torch.dtype
    header: str
    config: str


DTYPES = {
    "fp32": Dtype(torch.float32, "F32", "float32"),
    "bf16": Dtype(torch.bfloat16, "BF16", "bfloat16"),
    "fp16": Dtype(torch.float16, "F16", "float16"),
    "fp64": Dtype(torch.float64, "F64", "float64"),
}


@dataclass(frozen=True)
class Entry:
    """One tensor of one file: ``start`` is its first byte there, after the header."""

    name: str
    shape: Shape
    start: int
    bytes: int


@dataclass(frozen=True)
class Plan:
    """The files by name, each with its tensors in order."""

    files: dict[str, list[Entry]]
    dtype: str

    @property
    def total_bytes(self) -> int:
        return sum(each.bytes for entries in self.files.values() for each in entries)


def check(folder: Path, model: Model, dtype: str) -> None:
    """Raises InputError if ``model`` has no place in Hugging Face's format, or the folder is in use."""
    if dtype not in DTYPES:
        raise InputError(f"dtype is {dtype}; valid: {', '.join(DTYPES)}")
    if sentences := config.unsavable(model):
        raise InputError(Problem("", 0, 0, each) for each in sentences)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} exists and is kept; choose another folder")


@torch.no_grad()
def write(
    folder: Path,
    model: Model,
    sequence_length: int,
    tensors: Iterable[tuple[str, torch.Tensor]],
    dtype: str = "fp32",
    most_bytes: int = MOST_FILE_BYTES,
) -> Plan:
    """Writes the model's whole tensors (our names, in any order, each once); the folder appears when all is in it.

    Raises InputError for a model that the format cannot hold, a folder in use, and tensors that are missing or wrong.
    """
    check(folder, model, dtype)
    ours = shapes(model, sequence_length)
    places = {name: place(model, name, shape) for name, shape in ours.items()}
    theirs = {name: shape for ours_, where in places.items() for name, shape in where.shapes(ours[ours_]).items()}
    plan = _plan(theirs, dtype, most_bytes)
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    partial.mkdir(parents=True)
    try:
        starts = _write_headers(partial, plan)
        missing = set(ours)
        for name, tensor in tensors:
            if name not in missing:
                raise InputError(f"the tensor {name} has no place in {model.name}, or came twice")
            if tuple(tensor.shape) != ours[name]:
                raise InputError(f"{name} is {tuple(tensor.shape)}, but {model.name} needs {ours[name]}")
            for other in places[name].shapes(ours[name]):
                _write_tensor(starts[other], _theirs(places[name], other, tensor, DTYPES[dtype].torch))
            missing.remove(name)
        if missing:
            raise InputError(f"{len(missing)} tensors of {model.name} are missing, {min(missing)} among them")
        _write_text(partial, plan, config.config_of(model, sequence_length, DTYPES[dtype].config))
        partial.replace(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return plan


def _plan(tensors: dict[str, Shape], dtype: str, most_bytes: int) -> Plan:
    """Files of at most ``most_bytes`` (a larger tensor has one of its own), in the model's order."""
    files: list[list[Entry]] = [[]]
    filled = 0
    for name, shape in tensors.items():
        size = torch.Size(shape).numel() * DTYPES[dtype].torch.itemsize
        if files[-1] and filled + size > most_bytes:
            files.append([])
            filled = 0
        files[-1].append(Entry(name, shape, filled, size))
        filled += size
    if len(files) == 1:
        return Plan({SINGLE: files[0]}, dtype)
    return Plan(
        {f"model-{number:05}-of-{len(files):05}.safetensors": each for number, each in enumerate(files, 1)}, dtype
    )


def _header(entries: list[Entry], dtype: str) -> bytes:
    content = {
        "__metadata__": {"format": "pt"},  # transformers asks for it
        **{
            each.name: {
                "dtype": DTYPES[dtype].header,
                "shape": each.shape,
                "data_offsets": [each.start, each.start + each.bytes],
            }
            for each in entries
        },
    }
    text = json.dumps(content, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the tensors start on a multiple of 8 bytes
    return struct.pack("<Q", len(text)) + text


def _write_headers(folder: Path, plan: Plan) -> dict[str, tuple[Path, int]]:
    """Makes the files, in their whole length. Gives the file and first byte of each tensor."""
    starts: dict[str, tuple[Path, int]] = {}
    for name, entries in plan.files.items():
        header = _header(entries, plan.dtype)
        with (folder / name).open("wb") as file:
            file.write(header)
            file.truncate(len(header) + sum(each.bytes for each in entries))
        starts |= {each.name: (folder / name, len(header) + each.start) for each in entries}
    return starts


def _write_tensor(start: tuple[Path, int], value: torch.Tensor) -> None:
    path, byte = start
    with path.open("r+b") as file:
        file.seek(byte)
        file.write(value.view(-1).view(torch.uint8).numpy().data)


def _theirs(where: Place, name: str, tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """The files' tensor ``name`` made of ours, as it is stored."""
    runs = [run for run in where.runs if run.name == name]
    if len(runs) == 1:
        value = tensor[runs[0].start : runs[0].stop].to("cpu", dtype)  # no copy if it is all that already
    else:
        value = torch.empty(sum(run.stop - run.start for run in runs), *tensor.shape[1:], dtype=dtype)
        for run in runs:
            value[run.first : run.first + run.stop - run.start] = tensor[run.start : run.stop]
    return (value.t() if where.transposed else value).contiguous()


def _write_text(folder: Path, plan: Plan, content: config.Config) -> None:
    if len(plan.files) > 1:
        index = {
            "metadata": {"total_size": plan.total_bytes},
            "weight_map": {each.name: name for name, entries in plan.files.items() for each in entries},
        }
        (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    (folder / config.NAME).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
