"""Machine profiles: the facts that scripts and utilisation rest on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hpcscale.spec import locate, machine
from hpcscale.spec.device import catalogue, find
from hpcscale.spec.machine import Machine
from hpcscale.spec.problems import InputError


def profile(name: str) -> Machine:
    return machine.read(locate.find(name, "machines", "machine"))


@pytest.mark.parametrize("name", list(locate.available("machines")))
def test_every_profile_is_read_and_named_as_its_file(name: str) -> None:
    assert profile(name).name == name


# Fugaku's user guide and its performance guide: eco modes use one of two pipes; boost is 2.2 GHz.
@pytest.mark.parametrize(
    ("freq", "eco_state", "fp32"),
    [(2000, 0, 6.144), (2200, 0, 6.7584), (2000, 2, 3.072), (2200, 2, 3.3792), (2200, 1, 3.3792)],
)
def test_the_peak_of_a64fx_follows_from_clock_and_eco_mode(freq: int, eco_state: int, fp32: float) -> None:
    device = profile("fugaku").device_facts
    assert device.peak("fp32", {"freq": freq, "eco_state": eco_state}) == fp32
    assert device.peak("bf16", {"freq": freq, "eco_state": eco_state}) is None


def test_fugakus_default_is_boost_eco_mode() -> None:
    fugaku = profile("fugaku")
    assert fugaku.device_facts.peak("fp64", fugaku.default_resources()) == 1.6896


def test_a_device_without_modes_has_one_peak_a_precision_and_dense_ones() -> None:
    assert find("a100-40gb").peak("bf16") == 312  # type: ignore[union-attr]
    assert find("h100_80gb").peak("bf16") == 989.5  # type: ignore[union-attr]  # not 1979, the sparse figure
    assert find("h100_80gb").peak("fp8") == 1979  # type: ignore[union-attr]
    assert find("NVIDIA A100-SXM4-40GB") is find("a100-40gb")  # as torch.cuda.get_device_name has it
    assert find("cpu-core").peak("fp32") is None  # type: ignore[union-attr]
    assert find("a200") is None


def test_every_device_names_its_source() -> None:
    assert [name for name, device in catalogue().items() if not device.source] == []


def test_the_local_machine_is_what_this_process_may_use() -> None:
    import os

    local = profile("local")
    assert local.node.cores == local.node.devices == len(os.sched_getaffinity(0))


def test_an_unknown_device_is_refused_not_replaced(write: Callable[[str, str], Path]) -> None:
    path = write(
        "x.yaml",
        "name: x\nscheduler: local\nnodes: 1\ndevice: a100-41gb\nnode: {cores: 8, memory: 64 GB}\nlaunch: {command: ''}\n",
    )
    with pytest.raises(
        InputError, match=r"x.yaml:4:9: device: there is no device 'a100-41gb'; did you mean 'a100-40gb'\?"
    ):
        machine.read(path)


def test_all_problems_of_a_profile_are_told_at_once(write: Callable[[str, str], Path]) -> None:
    path = write("x.yaml", "name: a b\nscheduler: slrm\nnodes: 0\ndevice: h200\nnode: {cores: 8}\nlanch: 1\n")
    with pytest.raises(InputError) as caught:
        machine.read(path)
    text = str(caught.value)
    assert len(caught.value.problems) >= 5
    assert "x.yaml:2:12: scheduler is 'slrm'; did you mean 'slurm'?" in text
    assert "x.yaml:6:1: 'lanch' is no key of a machine; did you mean 'launch'?" in text
    assert "x.yaml:5:1: the key 'memory' is missing" in text
