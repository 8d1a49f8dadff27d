"""Fujitsu's PJM (Technical Computing Suite) on one host, for tests: its commands, its grammar, its refusals.

Written from the manuals, not from what hpcscale renders, so that it can disagree. Sources, as short names in comments:
CmdRef = Command Reference J2UL-2549-01ENZ0, EUG = End-user's Guide J2UL-2534-01ENZ0, FUG = RIKEN-RCCS/fugaku-doc user guide 1.52,
MPIUG = MPI User's Guide J2UL-2565. "Emulator choice" marks what no source fixes.

The commands start hundreds of times in a test run: they run without ``site``, and modules that are slow to import
(subprocess, dataclasses, typing, pathlib, yaml) are loaded only where needed, if at all.

Variables of the shell that calls pjsub:

    FAKEPJM_HOME         where site.yaml and the jobs are
    FAKEPJM_MAX_RUN      jobs that run at once (1)
    FAKEPJM_TIME_SCALE   how many times faster limits come (1); FAKEPJM_GRACE: scaled seconds from SIGXCPU to SIGKILL (10)
    FAKEPJM_INJECT       a fault of the job: node_down, oom, memory, shell_fail, reject, another_job, deadline; with @5s, when
    FAKEPJM_MAX_RANKS    ranks that really start (16); FAKEPJM_RANK_POLICY=refuse: more are an error
    FAKEPJM_REAL_MPI=1   MPICH's mpiexec (FAKEPJM_MPIEXEC, else the one beside Python) starts the ranks
    FAKEPJM_OMPI_ENV=1   ranks also see Open MPI's variables, which Fujitsu's manuals do not name
"""
