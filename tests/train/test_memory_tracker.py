"""The memory tracker on a few tensors: what comes, what goes, what is a view, what is resized, what is what at the peak."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from hpcscale.train.memory_tracker import ACTIVATIONS, GRADIENTS, KINDS, WEIGHTS, MemoryTracker

KILOBYTE = 250  # numbers in fp32
Mode = AbstractContextManager[object]


@pytest.fixture(params=[nullcontext, lambda: FakeTensorMode(allow_non_fake_inputs=True)], ids=["real", "fake"])
def mode(request: pytest.FixtureRequest) -> Mode:
    return request.param()


def test_tensors_count_while_they_live(mode: Mode) -> None:
    with mode, MemoryTracker() as tracker:
        first = torch.zeros(KILOBYTE)
        second = first + 1
        assert tracker.bytes == 2000
        del first
        assert (tracker.bytes, tracker.peak_bytes) == (1000, 2000)
        second.add_(1)
        assert tracker.bytes == 1000


def test_a_view_holds_what_it_looks_at_and_costs_nothing(mode: Mode) -> None:
    with mode, MemoryTracker() as tracker:
        whole = torch.zeros(4, KILOBYTE)
        row = whole[1]
        assert tracker.bytes == 4000
        del whole
        assert tracker.bytes == 4000
        del row
        assert tracker.bytes == 0


def test_a_resized_storage_counts_with_its_size_of_the_moment(mode: Mode) -> None:
    """FSDP frees and gathers weights so."""
    with mode, MemoryTracker() as tracker:
        tensor = torch.zeros(KILOBYTE)
        tensor.untyped_storage().resize_(0)
        assert tracker.bytes == 0
        tensor.untyped_storage().resize_(1000)
        assert (tracker.bytes, tracker.peak_bytes) == (1000, 1000)


def test_what_the_backward_pass_makes_counts_too(mode: Mode) -> None:
    with mode, MemoryTracker() as tracker:
        leaf = torch.ones(KILOBYTE, requires_grad=True)
        loss = leaf.exp().sum()
        assert tracker.bytes == 1000 + 1000 + 4, "the leaf, what exp keeps, the loss"
        loss.backward()
        assert tracker.bytes == 1000 + 1000 + 4, "the leaf, its gradient, the loss"
        assert tracker.peak_bytes > 3000


def test_the_peak_is_told_by_kind_even_if_the_kind_is_known_later(mode: Mode) -> None:
    with mode, MemoryTracker() as tracker:
        weight, gone, gradient = torch.zeros(KILOBYTE), torch.zeros(2 * KILOBYTE), torch.zeros(3 * KILOBYTE)
        del gone
        tracker.mark([weight], WEIGHTS)
        tracker.mark([gradient[1:]], GRADIENTS)
    assert tracker.peak_by_kind == {**dict.fromkeys(KINDS, 0), WEIGHTS: 1000, ACTIVATIONS: 2000, GRADIENTS: 3000}


def test_a_new_search_begins_with_what_lives() -> None:
    tracker = MemoryTracker()
    with tracker:
        kept, gone = torch.zeros(KILOBYTE), torch.zeros(5 * KILOBYTE)
        tracker.mark([kept], WEIGHTS)
    del gone  # between two times
    tracker.start_anew()
    with tracker:
        later = kept + 1
    assert tracker.peak_bytes == 2000
    assert tracker.peak_by_kind == {**dict.fromkeys(KINDS, 0), WEIGHTS: 1000, ACTIVATIONS: 1000}
    assert later.numel() == KILOBYTE


def test_tensors_without_memory_do_not_count() -> None:
    with MemoryTracker() as tracker:
        shape = torch.empty(KILOBYTE, device="meta")
        assert (tracker.bytes, shape.numel()) == (0, KILOBYTE)
