"""Hugging Face weights into this rank's pieces, in any layout. Each rank reads the rows that it keeps, and no more."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import torch

from hpcscale.spec.layout import Training
from hpcscale.spec.model import Model
from hpcscale.spec.problems import InputError, Problem
from hpcscale.train.huggingface import config, start
from hpcscale.train.huggingface.files import Folder
from hpcscale.train.huggingface.names import Place, Run, Shape, canonical, is_dropped, place
from hpcscale.train.huggingface.whole import shapes
from hpcscale.train.pieces import Piece


def begin(pieces: Iterable[Piece], model: Model, training: Training) -> None:
    """Fills every piece from ``training.weights``, as :func:`load` does."""
    assert training.weights is not None
    load(pieces, model, training.sequence_length, start.find(training.weights, Path.cwd()))


@torch.no_grad()
def load(pieces: Iterable[Piece], model: Model, sequence_length: int, folder: Path) -> None:
    """Fills every piece. Raises InputError, before any is touched and alike on all ranks, if the folder's model is not ``model``.

    Values are cast to the pieces' type. What lies outside the pieces (padding of the vocabulary) stays as it is.
    """
    problems = list(config.differences(model, sequence_length, config.read(folder)))
    if problems:
        raise InputError(Problem(str(folder / config.NAME), 0, 0, each) for each in problems)
    with Folder(folder) as files:
        names = _check(files, model, sequence_length, folder)
        for piece in pieces:
            _fill(piece, place(model, piece.name, piece.shape), files, names)


def _check(files: Folder, model: Model, sequence_length: int, folder: Path) -> dict[str, str]:
    """Name that the model's class has today -> name in the files; after every shape was compared."""
    names = {canonical(model.family, name): name for name in files.shapes}
    problems = list(_wrong(files, model, sequence_length, names))
    if problems:
        raise InputError(Problem(str(folder), 0, 0, each) for each in problems)
    return names


def _wrong(files: Folder, model: Model, sequence_length: int, names: dict[str, str]) -> Iterator[str]:
    used: set[str] = set()
    for name, shape in shapes(model, sequence_length).items():
        for theirs, wanted in place(model, name, shape).shapes(shape).items():
            used.add(theirs)
            if theirs not in names:
                yield f"there is no tensor {theirs}, which {model.name} needs for its {name}"
            elif (found := files.shapes[names[theirs]]) != wanted:
                yield f"{names[theirs]} is {_written(found)}, but {model.name} needs {_written(wanted)}"
    for name, own in names.items():
        if name not in used and not is_dropped(model, name):
            yield f"the tensor {own} has no place in {model.name}"


def _fill(piece: Piece, where: Place, files: Folder, names: dict[str, str]) -> None:
    first = piece.offset[0]
    for run in where.runs:
        start, stop = max(run.start, first), min(run.stop, first + piece.tensor.shape[0])
        if start < stop:
            box = _box(piece, run, start, stop)
            value = files.rows(names[run.name], tuple(reversed(box)) if where.transposed else box)
            piece.tensor[start - first : stop - first].copy_(value.t() if where.transposed else value)


def _box(piece: Piece, run: Run, start: int, stop: int) -> tuple[slice, ...]:
    """Rows ``start`` to ``stop`` of our tensor, and the piece's part of the other dims, as the files count rows."""
    shift = run.first - run.start
    return slice(start + shift, stop + shift), *piece.box[1:]


def _written(shape: Shape) -> str:
    return " x ".join(map(str, shape)) or "a number"
