"""Pieces as torch.distributed.checkpoint wants them: it writes and reads boxes of whole tensors, whatever the layout.

Its planner asks any object for write items, chunks and shards (the protocol ``_Checkpointable``, which DTensor implements too).
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner, DefaultSavePlanner
from torch.distributed.checkpoint.metadata import (
    STATE_DICT_TYPE,
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    StorageMeta,
    TensorProperties,
    TensorStorageMetadata,
)
from torch.distributed.checkpoint.planner import TensorWriteData, WriteItem, WriteItemType

from hpcscale.train.pieces import Piece


class Boxes:
    """This rank's pieces of one tensor: none if all are empty, two if the tensor is tied and both copies are here."""

    def __init__(self, pieces: list[Piece]):
        self.shape = pieces[0].shape
        self.pieces = [piece for piece in pieces if piece.tensor.numel()]

    def size(self) -> torch.Size:
        return torch.Size(self.shape)

    def __create_write_items__(self, name: str, _: object) -> list[WriteItem]:
        distinct = {piece.offset: piece for piece in self.pieces}  # copies are alike: one is enough
        return [
            WriteItem(
                MetadataIndex(name, offset),
                WriteItemType.SHARD,
                tensor_data=TensorWriteData(
                    chunk=_chunk(piece), properties=TensorProperties(dtype=piece.tensor.dtype), size=self.size()
                ),
            )
            for offset, piece in distinct.items()
        ]

    def __create_chunk_list__(self) -> list[ChunkStorageMetadata]:
        return [_chunk(piece) for piece in self.pieces]

    def __get_tensor_shard__(self, index: MetadataIndex) -> torch.Tensor:
        if index.index is not None and index.index < len(self.pieces):
            hinted = self.pieces[index.index]
            if torch.Size(hinted.offset) == index.offset:
                return hinted.tensor
        return next(piece.tensor for piece in self.pieces if torch.Size(piece.offset) == index.offset)


def _chunk(piece: Piece) -> ChunkStorageMetadata:
    return ChunkStorageMetadata(offsets=torch.Size(piece.offset), sizes=piece.tensor.size())


def boxes(pieces: Iterable[Piece]) -> dict[str, Boxes]:
    """Pieces by the name of their tensor."""
    by_name: dict[str, list[Piece]] = {}
    for piece in pieces:
        by_name.setdefault(piece.name, []).append(piece)
    return {name: Boxes(each) for name, each in by_name.items()}


class BoxSavePlanner(DefaultSavePlanner):
    """Plans as torch does (what several ranks hold is written once, by the one with least to write), but for boxes.

    ``staged``: copies to write instead of the live tensors.
    """

    def __init__(self) -> None:
        super().__init__(flatten_state_dict=False, flatten_sharded_tensors=False)
        self.staged: dict[MetadataIndex, torch.Tensor] = {}

    def set_up_planner(
        self, state_dict: STATE_DICT_TYPE, storage_meta: StorageMeta | None = None, is_coordinator: bool = False
    ) -> None:
        self.state_dict, self.is_coordinator = state_dict, is_coordinator

    def lookup_object(self, index: MetadataIndex) -> torch.Tensor:
        staged = self.staged.get(index)
        return self.state_dict[index.fqn].__get_tensor_shard__(index) if staged is None else staged


class BoxLoadPlanner(DefaultLoadPlanner):
    """Reads into boxes in place. What the checkpoint has beyond them is left alone."""

    def __init__(self) -> None:
        super().__init__(flatten_state_dict=False, flatten_sharded_tensors=False)

    def set_up_planner(
        self, state_dict: STATE_DICT_TYPE, metadata: Metadata | None = None, is_coordinator: bool = False
    ) -> None:
        self.state_dict, self.metadata, self.is_coordinator = state_dict, metadata, is_coordinator

    def lookup_tensor(self, index: MetadataIndex) -> torch.Tensor:
        return self.state_dict[index.fqn].__get_tensor_shard__(index)


def difference(metadata: Metadata, state: dict[str, Boxes]) -> str | None:
    """What the checkpoint lacks of ``state``, or has in another shape; None if nothing."""
    for name, own in state.items():
        stored = metadata.state_dict_metadata.get(name)
        if not isinstance(stored, TensorStorageMetadata):
            return f"it has no {name}"
        if stored.size != own.size():
            return f"its {name} is {list(stored.size)}, not {list(own.size())}"
    return None
