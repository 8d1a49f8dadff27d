"""What a job's script finds in its environment (EUG table of variables, CmdRef p.514-530)."""

from __future__ import annotations

import os
import time

from . import names, values
from .store import Store

SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"
# PJM_<name>: --llio key, as the prologue sees them.
LLIO_NAMES = {"localtmp-size": "LOCALTMP_SIZE", "sharedtmp-size": "SHAREDTMP_SIZE", "sio-read-cache": "SIO_READ_CACHE"}


def of_job(store: Store, job: dict, site: dict, stdout: str, stderr: str) -> dict[str, str]:
    """A login's environment, what pjsub was told to pass on, and PJM's own variables."""
    login = {
        "HOME": job["origin"].get("HOME", "/"),
        "USER": job["user"],
        "LOGNAME": job["user"],
        "SHELL": shell(job),
        "LANG": job["origin"].get("LANG", "C"),
        "PATH": f"{os.path.join(store.home, 'bin')}:{SYSTEM_PATH}",
        "PWD": job["workdir"],
    }
    inherited = {name: value for name, value in (job["inherit"] or {}).items() if name != "LD_LIBRARY_PATH"}
    chosen = {name: str(value) for name, value in site.get("login_environment", {}).items()}
    own = {
        **job["emulator"]["variables"],
        **pjm(job, stdout, stderr),
        **temporary(store, job),
        "FAKEPJM_HOME": store.home,
    }
    return {**login, **chosen, **inherited, **job["export"], **own}


def shell(job: dict) -> str:
    return job["origin"].get("SHELL") or "/bin/bash"


def pjm(job: dict, stdout: str, stderr: str) -> dict[str, str]:
    node, mpi, elapse = job["node"], job["mpi"], job["elapse"]
    found: dict[str, object] = {
        "ENVIRONMENT": "BATCH",
        "JOBID": job["id"],
        "SUBJOBID": job["key"],
        "JOBNAME": job["name"],
        "JOBDIR": job["workdir"],
        "BULKNUM": job["number"] if job["model"] == "BU" else None,
        "STEPNUM": job["number"] if job["model"] == "ST" else None,
        "NODE": node["count"],
        "NODE_ALLOCATION_MODE": node["mode"],
        "NODE_MEM_LIMIT": limit(job["node_mem"]),
        "MPI_PROC": mpi["declared"],
        "PROC_BY_NODE": mpi["per_node"],
        "RSCUNIT": job["rscunit"],
        "RSCGRP": job["rscgrp"],
        "ELAPSE_LIMIT": limit(elapse["max"]),
        "ELAPSED_TIME_MODE": "adaptive" if elapse["adaptive"] else "fixed",
        "SHELL": shell(job),
        "STDOUT_PATH": stdout,
        "STDERR_PATH": stderr,
        "COMMENT": job["comment"],
        "APPNAME": job["appname"],
        "FSNAME": job["fs"],
        "NORESTART": 1 if job["restart"] is False else None,
        "NET_ROUTE": job["net_route"],
        "DPREFIX": job["dir_prefix"],
        "CUSTOM_RESOURCES": ",".join(f"{key}={value}" for key, value in sorted(job["custom"].items())) or None,
    }
    for axis, length in zip("XYZ", node["shape"], strict=False):
        found[f"NODE_{axis}"] = length
    for axis, length in zip("XYZ", mpi["shape"], strict=False):
        found[f"MPI_SHAPE_{axis}"] = length
    if mpi["map"]["given"]:
        found[f"RANK_MAP_{mpi['map']['kind'].upper()}"] = mpi["map"]["order"] or "DEF"
    if elapse["adaptive"]:
        found["ADAPTIVE_ELAPSED_TIME_MIN"], found["ADAPTIVE_ELAPSED_TIME_MAX"] = elapse["min"], elapse["max"]
    if job.get("at_waited"):
        found["AT"] = time.strftime("%Y%m%d%H%M", time.localtime(job["at_waited"]))
    for key, value in job["llio"].items():
        found[f"LLIO_{LLIO_NAMES.get(key, key.replace('-', '_').upper())}"] = value or "on"
    for name, value in job["origin"].items():
        found[f"O_{name}"] = value
    return {f"PJM_{name}": str(value) for name, value in found.items() if value is not None}


def limit(number: int | None) -> object:
    return "unlimited" if number == values.UNLIMITED else number


def temporary(store: Store, job: dict) -> dict[str, str]:
    """The job's temporary folders, there only if --llio asks for some bytes of them."""
    found = {}
    for name in ("localtmp", "sharedtmp"):
        if values.size(job["llio"].get(f"{name}-size") or "0"):
            path = store.file(job["key"], name)
            os.makedirs(path, exist_ok=True)
            found[f"PJM_{name.upper()}"] = path
    return found


def outputs(job: dict) -> tuple[str, str]:
    """Absolute paths of the job's output and error file; the same with -j."""
    out = names.output(job, job["stdout"], "out")
    return out, out if job["join"] else names.output(job, job["stderr"], "err")
