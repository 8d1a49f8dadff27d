"""A folder of safetensors files: which file has which tensor, and slices of tensors straight from the disk."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

from hpcscale.spec.problems import InputError
from hpcscale.train.huggingface.names import Shape

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"


class Folder:
    """The tensors of a folder, opened (mapped, not read). ``shapes`` are those of all tensors."""

    def __init__(self, folder: Path):
        self._open = ExitStack()
        self._file_of: dict[str, Any] = {}
        self.shapes: dict[str, Shape] = {}
        try:
            for path in _files(folder):
                self._add(path)
        except BaseException:
            self._open.close()
            raise

    def rows(self, name: str, box: tuple[slice, ...]) -> torch.Tensor:
        """A box of a tensor; only its bytes are read."""
        return self._file_of[name].get_slice(name)[box]

    def _add(self, path: Path) -> None:
        package = _package(path)
        try:
            file = self._open.enter_context(package.safe_open(path, framework="pt"))
        except FileNotFoundError:
            raise InputError(f"there is no {path}, which {INDEX} beside it names") from None
        except OSError as error:
            raise InputError(f"{path}: {error.strerror or error}") from None
        except package.SafetensorError as error:
            raise InputError(f"{path}: this is no whole safetensors file ({error})") from None
        for name in file.keys():  # noqa: SIM118 (no mapping)
            self._file_of[name] = file
            self.shapes[name] = tuple(file.get_slice(name).get_shape())

    def __enter__(self) -> Folder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()


def _files(folder: Path) -> list[Path]:
    index = folder / INDEX
    if not index.exists():
        if not (folder / SINGLE).exists():
            old = next((each.name for each in sorted(folder.glob("*.bin"))), None)
            why = f"; {old} is a pickle, which is not read: save the model anew with transformers" if old else ""
            raise InputError(f"there is neither {SINGLE} nor {INDEX} in {folder}{why}")
        return [folder / SINGLE]
    try:
        names = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
        return [folder / name for name in sorted(set(names))]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{index}: this is no index of safetensors files ({error})") from None


def _package(path: Path) -> Any:
    try:
        import safetensors
    except ImportError:
        raise InputError(
            f"{path}: to read it, the package safetensors is needed (pip install 'hpcscale[hf]')"
        ) from None
    return safetensors
