"""How many bytes the tensors of a program hold while it runs, at most, and what for.

Every storage is followed from the operation that makes it to its end, and through FSDP's resizing of those that it keeps.
It counts what operations return, on real tensors and on fake ones alike; what a kernel takes and gives back within one
operation is not seen.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed.fsdp  # it registers the operations of that name
from torch.distributed.tensor import DTensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

WEIGHTS = "weights"  # masters, and what is computed with where that is a copy
GATHERED = "gathered_weights"  # FSDP's whole weights of a block, and its message buffers for them
GRADIENTS = "gradients"
STATES = "optimizer_states"
ACTIVATIONS = "activations"  # and all that is nothing else
KINDS: tuple[str, ...] = (WEIGHTS, GATHERED, GRADIENTS, STATES, ACTIVATIONS)

# Operations whose every argument is of one kind, unless it is known to be another.
OPERATIONS = {
    torch.ops.fsdp.all_gather_copy_in.default: GATHERED,
    torch.ops.fsdp.split_with_sizes_copy.default: GATHERED,
    torch.ops.fsdp.chunk_cat.default: GRADIENTS,
}


@dataclass(eq=False)
class _Block:
    """A storage that lives or has lived. Its kind may become known after its end."""

    bytes: int = 0
    kind: str = ACTIVATIONS


class MemoryTracker(TorchDispatchMode):
    """Counts while it is entered, which it may be several times; what ends in between is noticed too."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = self.peak_bytes = 0
        self._live: dict[int, tuple[_Block, weakref.ref[torch.UntypedStorage]]] = {}  # by address
        self._log: list[tuple[_Block, int]] = []  # who grew or shrank, by how many bytes
        self._peak_at = 0  # entries of the log up to the peak

    def start_anew(self) -> None:
        """From here on a new peak is sought; what lives now belongs to it."""
        self._log = [(block, block.bytes) for block, _ in self._live.values()]
        self._peak_at, self.peak_bytes = len(self._log), self.bytes

    @property
    def peak_by_kind(self) -> dict[str, int]:
        """What ``peak_bytes`` consists of."""
        sums = dict.fromkeys(KINDS, 0)
        for block, change in self._log[: self._peak_at]:
            sums[block.kind] += change
        return sums

    def mark(self, values: Iterable[Any], kind: str) -> None:
        """Says what tensors are for, from their making to their end."""
        for each in values:
            local = each.to_local() if isinstance(each, DTensor) else each
            if _has_memory(local):
                self._follow(local).kind = kind

    def __enter__(self) -> Any:
        self._resize = resize = torch.UntypedStorage.resize_

        def noticed(storage: torch.UntypedStorage, size: int) -> Any:
            result = resize(storage, size)
            entry = self._live.get(storage._cdata)
            if entry is not None:
                self._becomes(entry[0], storage.nbytes())
            return result

        # FSDP frees and allocates by resizing, which is no operation that a dispatch mode sees.
        torch.UntypedStorage.resize_ = noticed  # pyright: ignore[reportAttributeAccessIssue]
        return super().__enter__()

    def __exit__(self, *reason: Any) -> None:
        torch.UntypedStorage.resize_ = self._resize
        super().__exit__(*reason)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if any(issubclass(each, DTensor) for each in types):
            return NotImplemented  # what it does to this rank's tensors comes back here
        result = func(*args, **(kwargs or {}))
        for each in tree_leaves(result):
            if _has_memory(each):
                self._follow(each)
        if func in OPERATIONS:
            arguments = [self._follow(each) for each in tree_leaves((args, kwargs)) if _has_memory(each)]
            for block in arguments:
                block.kind = OPERATIONS[func] if block.kind == ACTIVATIONS else block.kind
        return result

    def _follow(self, tensor: torch.Tensor) -> _Block:
        storage = tensor.untyped_storage()
        address = storage._cdata
        if address in self._live:
            block = self._live[address][0]
        else:
            block = _Block()

            def ends(_: object) -> None:
                del self._live[address]
                self._becomes(block, 0)

            self._live[address] = block, weakref.ref(storage, ends)
        self._becomes(block, storage.nbytes())
        return block

    def _becomes(self, block: _Block, size: int) -> None:
        if size == block.bytes:
            return
        change = size - block.bytes
        block.bytes = size
        self.bytes += change
        self._log.append((block, change))
        if self.bytes > self.peak_bytes:
            self.peak_bytes, self._peak_at = self.bytes, len(self._log)


def _has_memory(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.device.type != "meta"
