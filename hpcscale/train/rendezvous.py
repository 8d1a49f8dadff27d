"""Who am I among the ranks: read from the variables that launchers set; MPI is asked only for what they leave open.

A launcher says it in its own words, so each is one table from a meaning to the variables that may hold it. Launchers
nest (torchrun inside srun, mpiexec inside a batch script), and the inner one is right; two that both number the ranks
and disagree are a mistake that would train nonsense, so they stop the run.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import TYPE_CHECKING

from hpcscale.train import mpi
from hpcscale.train.hostlist import first_host

if TYPE_CHECKING:
    from hpcscale.train.mpi.place import Place

# Meaning -> variables, the first one set counts. Launchers in the order in which they are asked.
LAUNCHERS: dict[str, dict[str, tuple[str, ...]]] = {
    "torchrun": {
        "rank": ("RANK",),
        "world_size": ("WORLD_SIZE",),
        "local_rank": ("LOCAL_RANK",),
        "local_size": ("LOCAL_WORLD_SIZE",),
        "node_rank": ("GROUP_RANK",),
        "nodes": ("GROUP_WORLD_SIZE",),
        "needs": ("RANK",),
    },
    "slurm": {
        "rank": ("SLURM_PROCID",),
        "world_size": ("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"),
        "local_rank": ("SLURM_LOCALID",),
        "node_rank": ("SLURM_NODEID",),
        "nodes": ("SLURM_STEP_NUM_NODES", "SLURM_NNODES"),
        "needs": ("SLURM_STEP_ID", "SLURM_STEPID"),
    },
    "pjm": {  # Fujitsu's mpiexec: PMIx for the rank, PJM for the size, PLE for the place on the node
        "rank": ("PMIX_RANK",),
        # A script may start more ranks than --mpi proc= says (Fugaku-LLM does), and then exports WORLD_SIZE itself.
        "world_size": ("WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "PJM_MPI_PROC"),
        "local_rank": ("PLE_RANK_ON_NODE",),
        "local_size": ("PJM_PROC_BY_NODE",),
        "nodes": ("PJM_NODE",),
        "needs": ("PJM_MPI_PROC", "PLE_RANK_ON_NODE", "PJM_JOBID"),
    },
    "openmpi": {
        "rank": ("OMPI_COMM_WORLD_RANK",),
        "world_size": ("OMPI_COMM_WORLD_SIZE",),
        "local_rank": ("OMPI_COMM_WORLD_LOCAL_RANK",),
        "local_size": ("OMPI_COMM_WORLD_LOCAL_SIZE",),
        "needs": ("OMPI_COMM_WORLD_RANK",),
    },
    "mpich": {  # also Intel MPI and Cray's PALS
        "rank": ("PMI_RANK", "PALS_RANKID"),
        "world_size": ("PMI_SIZE",),
        "local_rank": ("MPI_LOCALRANKID", "PMI_LOCAL_RANK", "PALS_LOCAL_RANKID"),
        "local_size": ("MPI_LOCALNRANKS", "PMI_LOCAL_SIZE"),
        "needs": ("PMI_RANK", "PALS_RANKID"),
    },
}
# What starts MPI programs, and so can be asked through MPI. Under srun and torchrun a program need not be one.
MPI_LAUNCHERS = ("pjm", "openmpi", "mpich")
# Variables that only the launcher of an MPI program sets, also launchers that have no table above.
MPI_SIGNS = (
    "PMI_FD", "PMI_PORT", "PMI_ID", "PMI_SIZE", "PMIX_RANK", "PMIX_NAMESPACE", "OMPI_COMM_WORLD_SIZE", "MPI_LOCALRANKID",
    "PALS_RANKID", "MV2_COMM_WORLD_RANK", "PLE_RANK_ON_NODE", "FLUX_TASK_RANK",
)  # fmt: skip
JOB_ID = ("SLURM_JOB_ID", "PJM_JOBID")
# What tells two programs of one job apart, beside Slurm's step: one name for all ranks that were started together.
STEP_NAMES = ("PJM_BULKNUM", "PMIX_NAMESPACE", "OMPI_MCA_ess_base_jobid", "PALS_APID", "FLUX_JOB_ID")
USER = ("USER", "LOGNAME")
DEFAULT_PORT = 29500  # torch's own
# Job ids are consecutive, and so are step ids: jobs that are near each other in time get different ports.
FIRST_PORT, PORTS, STEP_STRIDE = 10000, 50000, 7919
# Slurm numbers its pseudo-steps (batch script, interactive shell, extern) from the top of 32 bits.
FIRST_PSEUDO_STEP = 0xFFFFFFF0


class RendezvousError(Exception):
    """The environment contradicts itself or the layout; the text is the sentence for the user."""


@dataclass(frozen=True)
class Rendezvous:
    """One rank's place. ``rank`` counts over the job, ``local_rank`` over its node."""

    launcher: str
    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    node_rank: int = 0
    nodes: int = 1
    master_address: str = "127.0.0.1"  # empty where nothing says it
    master_port: int = DEFAULT_PORT
    # What this program is called in its job: keeps its keys apart from another's that listens on the same port.
    name: str = field(default="", compare=False)
    # Rank 0's socket (a file descriptor) that listens on ``master_port`` already, where it was chosen here.
    listener: int | None = field(default=None, compare=False)


def locate(environment: Mapping[str, str], communication: str = "auto", ranks: int | None = None) -> Rendezvous:
    """This process's place: what the launchers say, completed and (for ``communication`` mpi) checked by asking MPI.

    ``ranks``: how many the layout has, if known. MPI is not initialised for a process that nothing says is one of several:
    on some login nodes that would end it.
    """
    place = rendezvous(environment)
    if not must_ask_mpi(place, environment, communication, ranks) or not mpi.available():
        return place
    try:
        from hpcscale.train.mpi import place as from_mpi
        from hpcscale.train.mpi import world
    except (ImportError, RuntimeError) as error:  # mpi4py is there, but no MPI library that it can use
        if communication == "mpi":
            raise RendezvousError(f"communication mpi needs MPI, but mpi4py cannot be loaded: {error}") from None
        return place
    found = from_mpi.place()
    if communication == "mpi":
        return _checked(place, found)
    try:
        if found.world_size == 1 or (place.launcher != "none" and not _agree(place, found)):
            return place  # this MPI library is not the launcher's
        return _with_free_port(_completed(place, found), environment, from_mpi)
    finally:
        world.finalize_library()  # MPI was needed only for this


def must_ask_mpi(place: Rendezvous, environment: Mapping[str, str], communication: str, ranks: int | None) -> bool:
    """Whether MPI has something to say that the variables do not, and can be asked without danger."""
    if place.launcher == "none":
        return ranks != 1 and (communication == "mpi" or any(map(environment.get, MPI_SIGNS)))
    if place.world_size == 1:
        return False
    told = place.master_address and "MASTER_PORT" in environment
    return communication == "mpi" or (place.launcher in MPI_LAUNCHERS and not told)


def _agree(place: Rendezvous, found: Place) -> bool:
    return (place.rank, place.world_size) == (found.rank, found.world_size)


def _checked(place: Rendezvous, found: Place) -> Rendezvous:
    """The place for communication through MPI, whose numbers must be the launcher's."""
    if place.launcher == "none" or _agree(place, found):
        return _completed(place, found)
    reason = "torchrun starts no MPI programs: use mpiexec or srun"
    if place.launcher != "torchrun":
        reason = "mpi4py must be built for the MPI library of this launcher, or be started by its own mpiexec"
    raise RendezvousError(
        f"{place.launcher} says rank {place.rank} of {place.world_size}, but MPI says rank {found.rank} of "
        f"{found.world_size}; {reason}"
    )


def _completed(place: Rendezvous, found: Place) -> Rendezvous:
    """``place`` with what MPI knows of nodes, which launchers tell in part."""
    address = place.master_address if place.launcher != "none" else ""
    return replace(
        place,
        launcher="mpi4py" if place.launcher == "none" else place.launcher,
        rank=found.rank,
        world_size=found.world_size,
        local_rank=found.local_rank,
        node_rank=found.node_rank,
        nodes=found.nodes,
        master_address=address or ("127.0.0.1" if found.nodes == 1 else found.first_host),
    )


def _with_free_port(place: Rendezvous, environment: Mapping[str, str], from_mpi: ModuleType) -> Rendezvous:
    if "MASTER_PORT" in environment:
        return place
    port, listener = from_mpi.open_port()
    return replace(place, master_port=port, listener=listener)


def rendezvous(environment: Mapping[str, str]) -> Rendezvous:
    """This process's place, from ``environment`` alone. Raises RendezvousError for a contradiction."""
    claims = [claim for claim in (_claim(name, environment) for name in LAUNCHERS) if claim is not None]
    if not claims:
        return Rendezvous("none")
    chosen = _innermost(claims, environment)
    return _with_master(chosen, environment)


def check_world_size(place: Rendezvous, ranks: int) -> None:
    """Stops a run whose launcher started another number of ranks than the layout has."""
    if place.world_size == ranks:
        return
    started = f"{place.launcher} started {place.world_size}" if place.launcher != "none" else "no launcher was found: 1"
    raise RendezvousError(
        f"the layout needs {ranks} rank{'s' * (ranks > 1)}, but {started} rank{'s' * (place.world_size > 1)} runs; "
        "start exactly the layout's ranks (hpcscale's job.sh does)"
    )


def check_master(place: Rendezvous) -> None:
    """Stops ranks on several nodes that nobody told where rank 0 is."""
    if place.world_size > 1 and not place.master_address:
        raise RendezvousError(
            f"{place.world_size} ranks on {place.nodes} nodes need MASTER_ADDR, the name of rank 0's node; "
            "export it in the job script"
        )


def _claim(launcher: str, environment: Mapping[str, str]) -> Rendezvous | None:
    """What ``launcher`` says, or None if it did not start this rank."""
    table = LAUNCHERS[launcher]
    if not any(environment.get(name) for name in table["needs"]) or (launcher == "slurm" and not _in_step(environment)):
        return None
    found = {meaning: _number(environment, names) for meaning, names in table.items() if meaning != "needs"}
    rank, world_size = found["rank"], found["world_size"]
    if rank is None or (world_size is None and launcher == "pjm"):
        return None
    if world_size is None:
        raise RendezvousError(
            f"{launcher} gives rank {rank}, but none of {', '.join(table['world_size'])} says of how many ranks"
        )
    if not 0 <= rank < world_size:
        raise RendezvousError(f"{launcher} says rank {rank} of {world_size}: ranks count from 0 to {world_size - 1}")
    local_size = found.get("local_size")
    nodes = found.get("nodes") or (-(-world_size // local_size) if local_size else 1)
    per_node = local_size or -(-world_size // nodes)
    local_rank, node_rank = found.get("local_rank"), found.get("node_rank")
    return Rendezvous(
        launcher,
        rank,
        world_size,
        rank % per_node if local_rank is None else local_rank,
        rank // per_node if node_rank is None else node_rank,
        nodes,
    )


def _in_step(environment: Mapping[str, str]) -> bool:
    """Whether srun started this process. In a batch script Slurm also sets SLURM_PROCID (to 0) and SLURM_NTASKS."""
    step = _number(environment, LAUNCHERS["slurm"]["needs"])
    return step is not None and step < FIRST_PSEUDO_STEP


def _innermost(claims: list[Rendezvous], environment: Mapping[str, str]) -> Rendezvous:
    """The launcher that started this very process; RendezvousError where two number the ranks differently."""
    if claims[0].launcher == "torchrun" and "TORCHELASTIC_RUN_ID" in environment:
        return claims[0]  # its agent was started by the others: theirs are the agent's numbers, not the rank's
    if len(claims) > 1 and claims[0].launcher == "slurm" and claims[0].world_size != claims[1].world_size:
        # mpiexec inside an allocation starts one daemon a node through srun: the ranks inherit the daemon's numbers.
        # (The node that mpiexec itself runs on may have none, so the two counts of nodes need not be equal.)
        daemons = claims[0].world_size <= claims[0].nodes
        claims = claims[1:] if daemons else claims
    first = claims[0]
    for other in claims[1:]:
        if (other.rank, other.world_size) != (first.rank, first.world_size):
            raise RendezvousError(
                f"{first.launcher} says rank {first.rank} of {first.world_size}, but {other.launcher} says rank {other.rank} "
                f"of {other.world_size}; unset the variables of the one that did not start this rank "
                f"({', '.join(_set_variables(first.launcher, environment))} or "
                f"{', '.join(_set_variables(other.launcher, environment))})"
            )
    return first


def _set_variables(launcher: str, environment: Mapping[str, str]) -> list[str]:
    table = LAUNCHERS[launcher]
    return [name for name in (*table["rank"], *table["world_size"]) if name in environment]


def _with_master(place: Rendezvous, environment: Mapping[str, str]) -> Rendezvous:
    """Where rank 0 listens: what the script says, else Slurm's first host, else this node if it is the only one."""
    name = _program_name(environment)
    port = _number(environment, ("MASTER_PORT",)) or _derived_port(environment)
    address = environment.get("MASTER_ADDR")
    hosts = environment.get("SLURM_STEP_NODELIST") or environment.get("SLURM_JOB_NODELIST")
    if not address and hosts:
        address = first_host(hosts)
    if not address and place.nodes == 1:
        address = "127.0.0.1"
    return replace(place, master_address=address or "", master_port=port, name=name)


def _program_name(environment: Mapping[str, str]) -> str:
    """What all ranks of this program are told alike, and no rank of another: job, step and name, as far as there are any."""
    step = (environment.get("SLURM_STEP_ID"),) if _in_step(environment) else ()
    return "/".join(text for text in (_text(environment, JOB_ID), *step, *map(environment.get, STEP_NAMES)) if text)


def _derived_port(environment: Mapping[str, str]) -> int:
    """A port that the ranks agree on without talking, and that another job, step or user hardly has."""
    job = _number(environment, JOB_ID)
    names = "/".join(environment[name] for name in STEP_NAMES if environment.get(name))
    if job is None and not names:
        user = _text(environment, USER)
        return DEFAULT_PORT + (zlib.crc32(user.encode()) % 1000 if user else 0)
    step = _number(environment, ("SLURM_STEP_ID",)) if _in_step(environment) else None
    return FIRST_PORT + ((job or 0) + STEP_STRIDE * (step or 0) + zlib.crc32(names.encode())) % PORTS


def _text(environment: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    return next((environment[name] for name in names if environment.get(name)), None)


def _number(environment: Mapping[str, str], names: tuple[str, ...]) -> int | None:
    for name in names:
        text = environment.get(name)
        if text:
            try:
                return int(text)
            except ValueError:
                raise RendezvousError(f"{name} is '{text}'; it must be a whole number") from None
    return None
