"""Who am I among the ranks: read from the variables that launchers set, nothing else.

A launcher says it in its own words, so each is one table from a meaning to the variables that may hold it. Launchers
nest (torchrun inside srun, mpiexec inside a batch script), and the inner one is right; two that both number the ranks
and disagree are a mistake that would train nonsense, so they stop the run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from hpcscale.train.hostlist import first_host

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
JOB_ID = ("SLURM_JOB_ID", "PJM_JOBID")
DEFAULT_PORT = 29500  # torch's own
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
    job = _number(environment, JOB_ID)
    port = _number(environment, ("MASTER_PORT",)) or (10000 + job % 50000 if job is not None else DEFAULT_PORT)
    address = environment.get("MASTER_ADDR")
    hosts = environment.get("SLURM_STEP_NODELIST") or environment.get("SLURM_JOB_NODELIST")
    if not address and hosts:
        address = first_host(hosts)
    if not address and place.nodes == 1:
        address = "127.0.0.1"
    return replace(place, master_address=address or "", master_port=port)


def _number(environment: Mapping[str, str], names: tuple[str, ...]) -> int | None:
    for name in names:
        text = environment.get(name)
        if text:
            try:
                return int(text)
            except ValueError:
                raise RendezvousError(f"{name} is '{text}'; it must be a whole number") from None
    return None
