"""Fujitsu's PJM (Technical Computing Suite) on one host, for tests: its commands, its grammar, its refusals.

Written from the manuals, not from what hpcscale renders, so that it can disagree. Sources, as short names in comments:
CmdRef = Command Reference J2UL-2549-01ENZ0, EUG = End-user's Guide J2UL-2534-01ENZ0, FUG = RIKEN-RCCS/fugaku-doc user guide 1.52,
MPIUG = MPI User's Guide J2UL-2565. "Emulator choice" marks what no source fixes.

The commands start hundreds of times in a test run: they run without ``site``, and modules that are slow to import
(subprocess, dataclasses, typing, pathlib, yaml) are loaded only where needed, if at all.
"""
