"""A real Slurm of four nodes with accounting on this host: munged, MariaDB, slurmdbd, slurmctld and one slurmd a node.

Everything lies in one folder and listens on this host only; nothing of the system's own Slurm, munge or MariaDB is used or
changed. Debian's packages: slurm-wlm slurmdbd mariadb-server munge (``make slurm``).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PROGRAMS = ("munged", "mariadbd", "mariadb-install-db", "slurmdbd", "slurmctld", "slurmd", "sbatch", "srun", "sacctmgr")
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random")  # stand-ins for a node's four GPUs: gres needs files
CPUS = 8
MEMORY_MB = 4000

# As JUWELS Booster names and limits them, and one whose jobs take nodes back from the others.
JUWELS = (
    "PartitionName=booster Nodes=jwb[0001-0004] MaxTime=24:00:00 DefaultTime=01:00:00 MaxNodes=384 Default=YES PriorityTier=1",
    "PartitionName=largebooster Nodes=jwb[0001-0004] MaxTime=24:00:00 MinNodes=385 MaxNodes=936 PriorityTier=1",
    "PartitionName=develbooster Nodes=jwb[0001-0004] MaxTime=02:00:00 MaxNodes=4 PriorityTier=1",
    "PartitionName=urgent Nodes=jwb[0001-0004] MaxTime=24:00:00 PriorityTier=10 PreemptMode=OFF",
)


def missing() -> list[str]:
    """Those of the programs that are not installed."""
    places = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    return [name for name in PROGRAMS if shutil.which(name, path=places) is None]


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@dataclass
class Cluster:
    """Start it, use ``run`` and ``environment``, stop it. ``extra`` are lines for slurm.conf."""

    folder: Path
    partitions: Sequence[str] = JUWELS
    nodes: int = 4
    prefix: str = "jwb"
    accounting: bool = True
    extra: Sequence[str] = ()
    virtual_nodes: str = ""  # a NodeName line of nodes that never come up, for tests of acceptance only
    cpus: int = CPUS
    daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.host = socket.gethostname().split(".")[0]
        ports = free_ports(2 + self.nodes)
        self.controller_port, self.database_port, self.node_ports = ports[0], ports[1], ports[2:]

    @property
    def node_names(self) -> list[str]:
        return [f"{self.prefix}{number:04d}" for number in range(1, self.nodes + 1)]

    @property
    def environment(self) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("SLURM", "SBATCH"))}
        return {
            **kept,
            "SLURM_CONF": str(self.folder / "slurm.conf"),
            "PATH": os.pathsep.join([kept.get("PATH", ""), "/usr/sbin", "/sbin"]),
            "MYSQL_UNIX_PORT": str(self.folder / "mysql.sock"),
        }

    def run(self, *arguments: object, check: bool = True, **keywords: object) -> str:
        """A Slurm command's stdout."""
        done = subprocess.run(
            [str(each) for each in arguments], env=self.environment, capture_output=True, text=True, timeout=60,
            check=False, **keywords,  # type: ignore[call-overload]
        )  # fmt: skip
        if check and done.returncode != 0:
            raise AssertionError(f"{' '.join(map(str, arguments))}: {done.stderr.strip()}")
        return str(done.stdout)

    def configure(self) -> None:
        """Writes the configuration, and starts munge if it does not run yet."""
        self._write_configuration()
        if "munged" not in self.daemons:
            self._munge()

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.configure()
        if self.accounting:
            self._database()
            self.start_slurmdbd()
        self.start_slurmctld("-c")
        for name in self.node_names:
            self.start_slurmd(name)
        if self.nodes:
            self.wait_for(
                lambda: self.run("sinfo", "-h", "-N", "-o", "%N %t", check=False).count(" idle") >= self.nodes
            )

    def stop(self) -> None:
        """Every daemon by its id, last started first; then whatever steps of jobs are left."""
        with contextlib.suppress(AssertionError, subprocess.TimeoutExpired):
            self.run("scancel", "--full", "--signal=KILL", "-u", self._user(), check=False)
            self.run("scancel", "-u", self._user(), check=False)
            self.wait_for(lambda: not self.run("squeue", "-h", check=False).strip(), seconds=10, fail=False)
        for name in reversed(list(self.daemons)):
            self.kill(name, signal.SIGTERM)
        for pid in _with_variable(f"SLURM_CONF={self.folder}/slurm.conf"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def kill(self, daemon: str, number: int = signal.SIGKILL) -> None:
        process = self.daemons.pop(daemon)
        process.send_signal(number)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def kill_node(self, name: str) -> None:
        """As a node that loses power: its slurmd, its step daemons and all that they started are gone at once."""
        self.kill(name)  # first, or it would live to tell that the job's script has ended
        for pid in _with_step_daemons(_with_variable(f"SLURMD_NODENAME={name}")):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def start_slurmctld(self, *options: str) -> None:
        self._spawn("slurmctld", "-D", *options)
        self.wait_for(lambda: "UP" in self.run("scontrol", "ping", check=False))

    def start_slurmdbd(self) -> None:
        self._spawn("slurmdbd", "-D")
        self.wait_for(lambda: self._answers("sacctmgr", "-n", "show", "cluster"))

    def start_slurmd(self, name: str) -> None:
        self._spawn("slurmd", "-D", "-N", name, label=name)

    def wait_for(self, condition: object, seconds: float = 60, fail: bool = True) -> bool:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if condition():  # type: ignore[operator]
                return True
            time.sleep(0.1)
        if fail:
            raise AssertionError(f"waited {seconds:.0f} s in vain; the daemons' output lies in {self.folder}/*.out")
        return False

    def state(self, job: str) -> str:
        return self.run("squeue", "-h", "--states=all", "-j", job, "-o", "%T", check=False).strip()

    def _answers(self, *command: str) -> bool:
        return subprocess.run(command, env=self.environment, capture_output=True, check=False).returncode == 0

    def _spawn(
        self, program: str, *options: str, label: str = "", environment: Mapping[str, str] | None = None
    ) -> None:
        path = shutil.which(program, path=self.environment["PATH"])
        assert path is not None
        name = label or program
        with (self.folder / f"{name}.out").open("ab") as output:
            self.daemons[name] = subprocess.Popen(
                [path, *options], env=dict(environment or self.environment), stdout=output, stderr=output,
                stdin=subprocess.DEVNULL, cwd=self.folder, start_new_session=True,
            )  # fmt: skip

    def _munge(self) -> None:
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        self.folder.chmod(0o755)
        at = self.folder
        self._spawn(
            "munged", "--foreground", "--force", f"--key-file={key}", f"--socket={at}/munge.sock", f"--pid-file={at}/munge.pid",
            f"--log-file={at}/munge.log", f"--seed-file={at}/munge.seed", "--num-threads=4",
        )  # fmt: skip
        self.wait_for((self.folder / "munge.sock").exists)

    def _database(self) -> None:
        data = self.folder / "mysql"
        subprocess.run(
            ["mariadb-install-db", "--no-defaults", f"--datadir={data}", f"--user={self._user()}", "--auth-root-authentication-method=normal", "--skip-test-db"],
            check=True, capture_output=True, env=self.environment,
        )  # fmt: skip
        self._spawn(
            "mariadbd", "--no-defaults", f"--datadir={data}", f"--socket={self.folder}/mysql.sock", f"--user={self._user()}",
            f"--pid-file={self.folder}/mysql.pid", "--skip-networking", "--innodb-flush-log-at-trx-commit=0",
            "--innodb-buffer-pool-size=64M", "--performance-schema=OFF",
        )  # fmt: skip
        self.wait_for((self.folder / "mysql.sock").exists)

    @staticmethod
    def _user() -> str:
        import pwd

        return pwd.getpwuid(os.getuid()).pw_name

    def _write_configuration(self) -> None:
        at, user = self.folder, self._user()
        (at / "spool").mkdir(exist_ok=True)
        (at / "state").mkdir(exist_ok=True)
        accounting = (
            ["AccountingStorageType=accounting_storage/slurmdbd", "AccountingStorageHost=localhost",
             f"AccountingStoragePort={self.database_port}", f"AccountingStoragePass={at}/munge.sock", "AccountingStoreFlags=job_comment"]
            if self.accounting else ["AccountingStorageType=accounting_storage/none"]
        )  # fmt: skip
        names = f"{self.prefix}[0001-{self.nodes:04d}]"
        lines = [
            "ClusterName=hpcscale", f"SlurmctldHost={self.host}(127.0.0.1)", f"SlurmctldPort={self.controller_port}",
            f"SlurmUser={user}", f"SlurmdUser={user}", "AuthType=auth/munge", f"AuthInfo=socket={at}/munge.sock,cred_expire=3",
            "CredType=cred/munge", f"StateSaveLocation={at}/state", f"SlurmdSpoolDir={at}/spool/%n",
            f"SlurmctldPidFile={at}/slurmctld.pid", f"SlurmdPidFile={at}/slurmd-%n.pid", f"SlurmdLogFile={at}/slurmd-%n.log",
            f"SlurmctldLogFile={at}/slurmctld.log", "ProctrackType=proctrack/linuxproc", "TaskPlugin=task/none",
            "SelectType=select/cons_tres", "SelectTypeParameters=CR_CPU", "ReturnToService=2", "MpiDefault=none",
            "JobAcctGatherType=jobacct_gather/linux", "JobAcctGatherFrequency=1", "GresTypes=gpu",
            "SlurmdParameters=config_overrides", "EnforcePartLimits=ALL", "PreemptType=preempt/partition_prio",
            "PreemptMode=REQUEUE", "SlurmdTimeout=10", "SlurmctldTimeout=20", "InactiveLimit=0", "KillWait=5", "OverTimeLimit=0",
            "MinJobAge=300", "SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,bf_interval=1,default_queue_depth=2000",
            "RequeueExit=", "MaxJobCount=20000", "ReconfigFlags=KeepPartState",
            *accounting,
            *([f"NodeName={names} NodeHostname={self.host} NodeAddr=127.0.0.1 Port=[{','.join(map(str, self.node_ports))}] "
               f"CPUs={self.cpus} RealMemory={MEMORY_MB} Gres=gpu:4 State=UNKNOWN"] if self.nodes else []),
            *([self.virtual_nodes] if self.virtual_nodes else []),
            *self.partitions, *self.extra,
        ]  # fmt: skip
        (at / "slurm.conf").write_text("\n".join(line for line in lines if not line.endswith("=")) + "\n")
        (at / "gres.conf").write_text(f"Name=gpu File={','.join(DEVICES)}\n")
        database = at / "slurmdbd.conf"
        database.write_text(
            f"DbdHost=localhost\nDbdAddr=127.0.0.1\nDbdPort={self.database_port}\nSlurmUser={user}\nAuthType=auth/munge\n"
            f"AuthInfo=socket={at}/munge.sock\nStorageType=accounting_storage/mysql\nStorageUser=root\nStorageHost=localhost\n"
            f"StorageLoc=slurm_acct\nPidFile={at}/slurmdbd.pid\nLogFile={at}/slurmdbd.log\n"
        )
        database.chmod(0o600)


def _with_step_daemons(pids: list[int]) -> list[int]:
    """The slurmstepd processes that started these, and then these."""
    parents = []
    for pid in pids:
        with contextlib.suppress(OSError, IndexError):
            parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
            if Path(f"/proc/{parent}/comm").read_text().strip() == "slurmstepd":
                parents.append(parent)
    return [*dict.fromkeys(parents), *pids]


def _with_variable(setting: str) -> list[int]:
    """Processes that were started with it."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if f"{setting}\0".encode() in path.read_bytes():
                found.append(int(path.parent.name))
    return found
