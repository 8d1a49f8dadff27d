"""Each launcher's variables are read, nesting is understood, and contradictions stop with one sentence."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest
import torch

from hpcscale.train import communication
from hpcscale.train.hostlist import first_host
from hpcscale.train.rendezvous import (
    Rendezvous,
    RendezvousError,
    check_master,
    check_world_size,
    must_ask_mpi,
    rendezvous,
)

TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "none", "RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4",
    "GROUP_RANK": "1", "GROUP_WORLD_SIZE": "2", "MASTER_ADDR": "node7", "MASTER_PORT": "1234",
}  # fmt: skip
BATCH_SHELL = {"SLURM_JOB_ID": "70001", "SLURM_PROCID": "0", "SLURM_NTASKS": "8", "SLURM_LOCALID": "0", "SLURM_NNODES": "2",
               "SLURM_JOB_NODELIST": "jwb[0097-0098]"}  # fmt: skip
SRUN = {**BATCH_SHELL, "SLURM_STEP_ID": "0", "SLURM_PROCID": "5", "SLURM_LOCALID": "1", "SLURM_NODEID": "1",
        "SLURM_STEP_NUM_TASKS": "8", "SLURM_STEP_NUM_NODES": "2"}  # fmt: skip
DAEMON = {**SRUN, "SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2", "SLURM_LOCALID": "0"}
PJM = {"PJM_JOBID": "123456", "PJM_MPI_PROC": "8", "PJM_NODE": "2", "PMIX_RANK": "5", "PLE_RANK_ON_NODE": "1",
       "MASTER_ADDR": "a01"}  # fmt: skip
OPENMPI = {"OMPI_COMM_WORLD_RANK": "5", "OMPI_COMM_WORLD_SIZE": "8", "OMPI_COMM_WORLD_LOCAL_RANK": "1",
           "OMPI_COMM_WORLD_LOCAL_SIZE": "4", "MASTER_ADDR": "n1", "MASTER_PORT": "77"}  # fmt: skip
MPICH = {"PMI_RANK": "5", "PMI_SIZE": "8", "MPI_LOCALRANKID": "1", "MPI_LOCALNRANKS": "4", "MASTER_ADDR": "n1"}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        (TORCHRUN, Rendezvous("torchrun", 5, 8, 1, 1, 2, "node7", 1234)),
        (SRUN, Rendezvous("slurm", 5, 8, 1, 1, 2, "jwb0097", 30001)),
        (PJM, Rendezvous("pjm", 5, 8, 1, 1, 2, "a01", 33456)),
        (OPENMPI, Rendezvous("openmpi", 5, 8, 1, 1, 2, "n1", 77)),
        (MPICH, Rendezvous("mpich", 5, 8, 1, 1, 2, "n1", 29500)),
        ({}, Rendezvous("none", 0, 1, 0, 0, 1, "127.0.0.1", 29500)),
    ],
    ids=["torchrun", "slurm", "pjm", "openmpi", "mpich", "none"],
)
def test_each_launcher_gives_the_same_place(environment: dict[str, str], expected: Rendezvous) -> None:
    assert rendezvous(environment) == expected


@pytest.mark.parametrize("around", [BATCH_SHELL, DAEMON, SRUN, PJM], ids=["batch shell", "srun", "other rank", "pjm"])
def test_torchrun_wins_silently_over_what_started_its_agent(around: dict[str, str]) -> None:
    assert rendezvous({**around, **TORCHRUN}) == rendezvous(TORCHRUN)


@pytest.mark.parametrize("inner", [OPENMPI, MPICH], ids=["openmpi", "mpich"])
@pytest.mark.parametrize("around", [BATCH_SHELL, DAEMON], ids=["batch shell", "daemons of one a node"])
def test_mpiexec_inside_an_allocation_gives_the_rank(around: dict[str, str], inner: dict[str, str]) -> None:
    assert rendezvous({**around, **inner}).rank == 5
    assert rendezvous({**around, **inner}).launcher != "slurm"


@pytest.mark.parametrize("step", [{}, {"SLURM_STEP_ID": "4294967291"}, {"SLURM_STEP_ID": "4294967290"}], ids=str)
def test_a_batch_or_interactive_shell_is_one_process(step: dict[str, str]) -> None:
    assert rendezvous({**BATCH_SHELL, **step}).launcher == "none"


def test_srun_with_pmi_agrees_with_itself() -> None:
    assert rendezvous({**SRUN, "PMI_RANK": "5", "PMI_SIZE": "8"}).launcher == "slurm"


def test_a_script_that_starts_more_ranks_than_pjm_knows_says_so_in_world_size() -> None:
    assert rendezvous({**PJM, "PJM_MPI_PROC": "1", "WORLD_SIZE": "6"}).world_size == 6


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({**SRUN, "PMI_RANK": "4", "PMI_SIZE": "8"}, "slurm says rank 5 of 8, but mpich says rank 4 of 8"),
        ({**SRUN, "RANK": "0", "WORLD_SIZE": "1"}, "torchrun says rank 0 of 1, but slurm says rank 5 of 8"),
        ({**OPENMPI, "PMI_RANK": "5", "PMI_SIZE": "9"}, "openmpi says rank 5 of 8, but mpich says rank 5 of 9"),
        ({"RANK": "0"}, "none of WORLD_SIZE says of how many"),
        ({"RANK": "2", "WORLD_SIZE": "2"}, "ranks count from 0 to 1"),
        ({"RANK": "x", "WORLD_SIZE": "2"}, "RANK is 'x'"),
    ],
)
def test_contradictions_are_one_sentence(environment: dict[str, str], words: str) -> None:
    with pytest.raises(RendezvousError) as caught:
        rendezvous(environment)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_wrong_number_of_ranks_is_refused() -> None:
    check_world_size(rendezvous(MPICH), 8)
    with pytest.raises(RendezvousError, match="the layout needs 4 ranks, but mpich started 8 ranks"):
        check_world_size(rendezvous(MPICH), 4)
    with pytest.raises(RendezvousError, match="no launcher was found"):
        check_world_size(rendezvous({}), 2)


def test_several_nodes_without_a_master_are_refused() -> None:
    check_master(rendezvous(OPENMPI))
    with pytest.raises(RendezvousError, match="8 ranks on 2 nodes need MASTER_ADDR"):
        check_master(rendezvous({name: value for name, value in OPENMPI.items() if name != "MASTER_ADDR"}))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (SRUN, {**SRUN, "SLURM_STEP_ID": "1"}),
        (SRUN, {**SRUN, "SLURM_JOB_ID": "70002"}),
        ({**PJM, "PMIX_NAMESPACE": "ple-1"}, {**PJM, "PMIX_NAMESPACE": "ple-2"}),
        ({**PJM, "PJM_BULKNUM": "1"}, {**PJM, "PJM_BULKNUM": "2"}),
        ({**MPICH, "USER": "ada"}, {**MPICH, "USER": "grace"}),
    ],
    ids=["steps", "jobs", "mpiexecs of a job", "bulk jobs", "users"],
)
def test_two_programs_on_a_node_have_two_ports(one: dict[str, str], other: dict[str, str]) -> None:
    ports = {rendezvous(environment).master_port for environment in (one, other)}
    assert len(ports) == 2
    assert all(1024 < port < 65536 for port in ports)


def test_all_ranks_of_a_program_have_one_port_and_one_name() -> None:
    ranks = [rendezvous({**SRUN, "SLURM_STEP_ID": "3", "SLURM_PROCID": str(rank)}) for rank in range(8)]
    assert {(place.master_port, place.name) for place in ranks} == {(ranks[0].master_port, "70001/3")}


def test_a_port_in_use_is_one_sentence() -> None:
    with socket.socket(socket.AF_INET6) as other:
        other.bind(("::", 0))
        other.listen()
        place = Rendezvous("openmpi", 0, 2, master_port=other.getsockname()[1])
        with pytest.raises(
            RendezvousError, match=f"port {place.master_port} of .* is in use by another program; set MASTER"
        ):
            communication.connect(place, "gloo", torch.device("cpu"), 5)


NO_PORT = {name: value for name, value in OPENMPI.items() if name != "MASTER_PORT"}


@pytest.mark.parametrize(
    ("environment", "communication", "ranks", "asked"),
    [
        ({}, "auto", None, False),
        ({}, "mpi", 1, False),
        ({}, "mpi", 2, True),
        ({"PMI_NO_FORK": "1", "PMIX_MCA_gds": "hash"}, "auto", 2, False),  # what a module sets, on login nodes too
        ({"PMI_FD": "9"}, "auto", 2, True),
        ({"PMI_FD": "9"}, "auto", 1, False),
        (OPENMPI, "gloo", 8, False),
        (NO_PORT, "gloo", 8, True),
        (OPENMPI, "mpi", 8, True),
        (SRUN, "auto", 8, False),
        (SRUN, "mpi", 8, True),
        (TORCHRUN, "gloo", 8, False),
        ({"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "1"}, "mpi", 1, False),
    ],
)
def test_mpi_is_asked_only_for_what_the_variables_leave_open(
    environment: dict[str, str], communication: str, ranks: int | None, asked: bool
) -> None:
    assert must_ask_mpi(rendezvous(environment), environment, communication, ranks) is asked


def test_a_process_on_its_own_never_loads_mpi() -> None:
    program = (
        "import sys; from hpcscale.train.rendezvous import locate; locate({}); locate({}, 'mpi', 1); "
        "sys.exit('mpi4py' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize(
    ("hosts", "first"),
    [
        ("jwb0097", "jwb0097"),
        ("jwb[0097-0099,0123],login1", "jwb0097"),
        ("n[3,5],m1", "n3"),
        ("login1,jwb[0001-0002]", "login1"),
        ("rack[1-2]node[03-04]", "rack1node03"),
        ("n[1-2]i,m3", "n1i"),
    ],
)
def test_the_first_host_of_slurms_list(hosts: str, first: str) -> None:
    assert first_host(hosts) == first
