"""From a run's checkpoint to a folder of Hugging Face weights, in one process.

One tensor at a time is read, put together and written: a model larger than this computer's memory can be exported.
"""

from __future__ import annotations

from pathlib import Path

from hpcscale.spec.model import Model
from hpcscale.spec.problems import InputError
from hpcscale.train import checkpoint_files, checkpoint_store, point_file
from hpcscale.train.checkpoint_format import Damaged, step_of
from hpcscale.train.checkpoint_store import Stored
from hpcscale.train.huggingface import write

POINT = "point.json"


def export(
    source: Path, out: Path, dtype: str = "fp32", most_bytes: int = write.MOST_FILE_BYTES
) -> tuple[Stored, list[str]]:
    """Writes the newest whole checkpoint of ``source`` (a point, an attempt or a checkpoint itself) to ``out``.

    Gives the checkpoint, and sentences about damaged ones that were passed over. Raises InputError.
    """
    stored, skipped = newest(source)
    training = point_file.read(_point(stored.folder)).training
    model = Model.model_validate(stored.manifest.model)
    try:
        tensors = checkpoint_files.tensors(stored.folder)
        write.write(out, model, training.sequence_length, tensors, dtype, most_bytes)
    except Damaged as error:
        raise InputError(str(error)) from None
    return stored, skipped


def newest(source: Path) -> tuple[Stored, list[str]]:
    """The whole checkpoint that was written last, and why others cannot be used."""
    if not source.is_dir():
        raise InputError(f"there is no folder {source}")
    if step_of(source) is not None:
        found = [checkpoint_store.whole(source)]
    else:
        homes = [source] if source.name == checkpoint_store.FOLDER else checkpoint_store.homes(source)
        found = list(checkpoint_store.newest_first(homes))
    damaged = [each for each in found if isinstance(each, str)]
    stored = next((each for each in found if isinstance(each, Stored)), None)
    if stored is None:
        raise InputError("; ".join([f"there is no whole checkpoint in {source}", *damaged]))
    return stored, damaged


def _point(checkpoint: Path) -> Path:
    for folder in checkpoint.absolute().parents:
        if (folder / POINT).is_file():
            return folder / POINT
    raise InputError(f"no folder above {checkpoint} has a {POINT}, which says for what sequence length it was trained")
