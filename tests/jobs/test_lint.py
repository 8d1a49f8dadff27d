"""`hpcscale lint`: what it says of right scripts (nothing) and of wrong ones (a sentence at the line)."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcscale.jobs import quoting
from hpcscale.jobs.lint import lint, machine_of, words
from hpcscale.jobs.render import Request, render
from hpcscale.spec import locate, machine, study
from hpcscale.spec.job import SettingsFile
from hpcscale.spec.machine import Machine
from hpcscale.spec.problems import InputError

Cli = Callable[..., subprocess.CompletedProcess[str]]
PUBLISHED = Path(__file__).parent / "scripts" / "30b_as_published.sh"
OWN = SettingsFile.model_validate(
    {"defaults": {"account": "<account>", "group": "hp000000", "volumes": ["/vol0003", "/vol0004"],
                  "environment": {"modules": ["Stages/2025", "PyTorch"], "venv": "/p/venv", "setup": "source /data/env.src"}}}
)  # fmt: skip


def profile(name: str) -> Machine:
    return machine.read(locate.find(name, "machines", "machine"))


JUWELS, FUGAKU = profile("juwels-booster"), profile("fugaku")


def said(text: str, where: Machine | None = None) -> list[str]:
    """The findings as people see them, without the file."""
    return [str(each).removeprefix("job.sh:") for each in lint(text, "job.sh", where)]


def slurm(*directives: str, body: str = "srun true") -> str:
    return "\n".join(["#!/bin/bash", *(f"#SBATCH {each}" for each in directives), body, ""])


def pjm(*directives: str, body: str = "mpiexec true") -> str:
    return "\n".join(["#!/bin/bash", *(f"#PJM {each}" for each in directives), body, ""])


GOOD_SLURM = ("--account=a", "--partition=develbooster", "--nodes=4", "--time=02:00:00")
GOOD_PJM = ('-L "rscunit=rscunit_ft01,rscgrp=small"', '-L "node=12"', "-L elapse=01:00:00", "-g hp000000")


@pytest.mark.parametrize("name", [path.stem for path in sorted((locate.packaged("studies")).glob("*.yaml"))])
def test_every_rendered_script_of_every_study_passes_with_no_finding(name: str) -> None:
    points = render(study.read(name), Request(out=Path("/scratch/<account>/runs")), OWN).points
    assert points
    for each in points:
        assert said(each.script, each.point.machine) == [], each.point.identity


def test_the_published_30b_script_is_caught_with_its_undefined_variable() -> None:
    text = PUBLISHED.read_text(encoding="utf-8")
    assert machine_of(text, [JUWELS, FUGAKU]) is FUGAKU
    (finding,) = lint(text, "30b.sh", FUGAKU)
    assert text.splitlines()[finding.line - 1] == 'output_path="outputs/30b/${nodos}_nodes"'
    assert finding.message.startswith("$nodos is assigned nowhere in this script")
    assert finding.severity == "warning", "line 14 sources a file, which might set it"
    without_source = "\n".join(line for line in text.splitlines() if not line.startswith("source"))
    (finding,) = lint(without_source, "30b.sh", FUGAKU)
    assert finding.severity == "error"


# What `sbatch --test-only` of 22.05.8 accepts although it is wrong.
@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (slurm("--account=a", "--partition=booster", "--nodes=4", "--time=25:00:00"),
         "5: error: --time: 25:00:00 is out of what booster takes, at most 24:00:00"),
        (slurm("--account=a", "--partition=develbooster", "--nodes=4", "--time=5:00:00"),
         "5: error: --time: 05:00:00 is out of what develbooster takes, at most 02:00:00"),
        (slurm("--partition=booster", "--nodes=4", "--time=1:00:00"),
         "2: error: juwels-booster wants --account (account), and no line has it; add --account <account>"),
        (slurm(*GOOD_SLURM, body="cd /tmp\n#SBATCH --exclusive\nsrun true"),
         "7: error: this #SBATCH line is silently ignored, since commands precede it; move it above line 6"),
    ],
)  # fmt: skip
def test_what_sbatch_lets_through_is_caught(text: str, sentence: str) -> None:
    (only,) = said(text, JUWELS)
    assert only.startswith(sentence)


# What it refuses too.
@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (slurm(*GOOD_SLURM, "--bogus-flag"), "6: error: sbatch knows no option --bogus-flag"),
        (slurm(*GOOD_SLURM, "--share"), "6: error: sbatch knows no option --share"),
        (slurm(*GOOD_SLURM, "--node=4"), "6: error: sbatch knows no option --node; did you mean '--nodes'?"),
        (slurm("--account=a", "--partition=booster", "--nodes=900", "--time=1:00:00"),
         "4: error: --nodes: booster takes 1 to 384 nodes and not 900"),
        (slurm("--account=a", "--partition=boster", "--nodes=4"),
         "3: error: --partition: juwels-booster has no queue 'boster'; did you mean 'booster'?"),
        (slurm(*GOOD_SLURM, "--mem=4G", "--mem-per-cpu=1G"), "7: error: --mem and --mem-per-cpu exclude each other"),
        (slurm(*GOOD_SLURM, "--gres=gpu:9"), "6: error: --gres: a node of juwels-booster has 4 GPUs, not 9"),
        (slurm(*GOOD_SLURM, "--signal=USR1@70000"), "6: error: --signal: 70000 is not 0 to 65535"),
        (slurm(*GOOD_SLURM, "--open-mode=foo"), "6: error: --open-mode: 'foo' is no value of it; valid: append, truncate"),
        (slurm(*GOOD_SLURM).removeprefix("#!/bin/bash\n"), "1: error: line 1 does not start with '#!'"),
        (slurm(*GOOD_SLURM).replace("\n", "\r\n"), "1: error: the line ends as on Windows"),
    ],
)  # fmt: skip
def test_what_sbatch_refuses_is_caught_before_it_is_asked(text: str, sentence: str) -> None:
    (only,) = said(text, JUWELS)
    assert only.startswith(sentence)


@pytest.mark.parametrize(
    ("directive", "sentence"),
    [
        ("--time=90m", "--time: '90m' is not a time: minutes, HH:MM:SS or D-HH:MM:SS"),
        ("--ntasks=0", "--ntasks: '0' is not a whole number from 1"),
        ("--mem=1.5G", "--mem: '1.5G' is not a size"),
        ("--cpus-per-task", "--cpus-per-task needs an argument; write it behind --cpus-per-task"),
        ("--requeue=1", "--requeue takes no argument; remove '=1'"),
        ("-nodes=4", "'-nodes=4' has one dash, so it is read as -n with 'odes=4'; write --nodes=4"),
        ("--job-name=two words", "'words' is no option: quote a value that has blanks"),
        ('--job-name="open', "the quote \" is not closed; close it on this line"),
        ("--output=$HOME/%j.out", "--output: '$HOME/%j.out' holds a shell variable, which is never expanded"),
        ("--nodes=4-", "--nodes: '4-' is not a number of nodes, 4 or 2-8"),
        ("--dependency=afterok", "--dependency: 'afterok' is not a dependency such as afterok:1234"),
        ("--array=3-", "--array: '3-' is not indexes such as 0-31%4 or 1,3,5"),
        ("--mail-type=END,FAILED", "--mail-type: 'FAILED' is no value of it; did you mean 'FAIL'?"),
        ("--hint=nomultithread --threads-per-core=1", "--hint and --threads-per-core exclude each other"),
        ("--wrap=true", "--wrap is for the command line and does no good in a script; remove it"),
    ],
)  # fmt: skip
def test_a_wrong_sbatch_line_is_an_error(directive: str, sentence: str) -> None:
    (only,) = said(slurm(directive))
    assert only.startswith(f"2: error: {sentence}")


@pytest.mark.parametrize(
    ("directive", "sentence"),
    [
        ("-L nodes=4", "-L knows no key nodes; did you mean 'node'?"),
        ('--mpi "procs=4"', "--mpi knows no key procs; did you mean 'proc'?"),
        ("--nodes 4", "pjsub knows no option --nodes"),
        ("-L node=4x6:strict", "-L node: '4x6:strict' is not nodes such as 12, 2x3x8:torus"),
        ("-L elapse=1:00:00:00", "-L elapse: '1:00:00:00' is not a time"),
        ("-L freq=2100", "-L freq: '2100' is no value of it; valid: 2000, 2200"),
        ("-N 1job", "-N: '1job' is not a name of at most 63 characters that starts with a letter"),
        ("-s -S", "-s and -S exclude each other"),
        ('--mpi "rank-map-bynode,rank-map-bychip"', "--mpi rank-map-bynode and --mpi rank-map-bychip exclude each other"),
        ('--llio "stripe-count=25"', "--llio stripe-count: 25 is not 1 to 24"),
        ("--llio async-close=yes", "--llio async-close: 'yes' is no value of it; valid: on, off"),
        ('-L "rscgrp=large', 'the quote " is not closed'),
        ("-p 300", "-p: 300 is not 0 to 255"),
        ("-x A=$HOME", "-x: 'A=$HOME' holds a shell variable, which is never expanded"),
        ("-g", "-g needs an argument"),
        ('--mpi "max-proc-per-node=64"', "--mpi max-proc-per-node: 64 need 64 processors a node, and fugaku has 48 cores"),
        ('--mpi "proc=30,max-proc-per-node=2"', "--mpi proc: 30 tasks do not fit on 12 nodes with 2 each (24)"),
        ("--omp thread=4", "pjsub knows no option --omp at Fugaku"),
    ],
)  # fmt: skip
def test_a_wrong_pjm_line_is_an_error(directive: str, sentence: str) -> None:
    (only,) = [each for each in said(pjm(*GOOD_PJM, directive), FUGAKU) if ": warning: " not in each]
    assert only.startswith(f"6: error: {sentence}")


def test_limits_of_resource_groups_count() -> None:
    (few,) = said(pjm("-L rscgrp=large,node=1,elapse=1:00:00", "-g hp000000"), FUGAKU)
    assert few.startswith(
        "2: error: -L node: large takes 385 to 12,288 nodes and not 1; small, small-s1, spot-small would"
    )
    (long,) = said(pjm("-L rscgrp=small,node=1,elapse=100:00:00", "-g hp000000"), FUGAKU)
    assert long.startswith("2: error: -L elapse: 100:00:00 is out of what small takes, 00:01:00 to 72:00:00")
    (group,) = said(pjm("-L rscgrp=small,node=1,elapse=1:00:00"), FUGAKU)
    assert group.startswith("2: error: fugaku wants -g (group), and no line has it")


def test_a_site_is_found_by_its_resource_group_and_brings_its_options() -> None:
    assert said(pjm("-L rscgrp=share-short,gpu=1", "--omp thread=4")) == []
    (only,) = said(pjm("-L node=1", "--omp thread=4"))
    assert only == "3: warning: the option --omp is known only at Wisteria; name the machine with --machine"
    assert said(pjm(*GOOD_PJM, "--no-check-directory")) == []


@pytest.mark.parametrize(
    "given",
    [  # as public scripts of Genkai, Flow and HOKUSAI have them
        "-L rscgrp=b-batch-mig,gpu=1", "-L rscgrp=a-batch,vnode=1,vnode-core=32", "-L rscgrp=c-batch,gpu=4,jobenv=singularity",
        "-L rscunit=cx,rscgrp=cxgfs-share,gpu=1", "-L rscunit=bwmpc,vnode=4,vnode-core=40",
    ],
)  # fmt: skip
def test_sites_that_share_nodes_are_found_by_their_names_for_queues(given: str) -> None:
    assert said(pjm(given)) == []
    own = FUGAKU.model_copy(update={"name": "my-cluster", "requires": (), "resources": {}})
    others = [each for each in said(pjm(given), own) if "has no queue" not in each]
    assert others == [], "a person's own profile of such a site"


def test_a_key_that_several_sites_know_names_them_all() -> None:
    (only,) = said(pjm("-L node=1,jobenv=singularity"))
    assert only.startswith("2: warning: the key jobenv of -L is known only at Fugaku and ")
    assert "Wisteria" in only


def test_cores_gpus_and_memory_of_a_node_count() -> None:
    full = ("--ntasks-per-node=4", "--cpus-per-task=24")
    assert said(slurm(*GOOD_SLURM, *full), JUWELS) == []
    (only,) = said(slurm(*GOOD_SLURM, *full, "--hint=nomultithread"), JUWELS)
    assert only.startswith("7: error: --cpus-per-task: 4 tasks of 24 processors need 96 processors a node")
    (memory,) = said(slurm(*GOOD_SLURM, "--mem=600G"), JUWELS)
    assert memory.startswith("6: error: --mem: 614,400 MiB is more than the 488,281 MiB of a node")
    (tasks,) = said(slurm(*GOOD_SLURM, "--ntasks-per-node=4", "--ntasks=17"), JUWELS)
    assert tasks.startswith("7: error: --ntasks: 17 tasks do not fit on 4 nodes with 4 each (16)")


def test_an_option_given_twice_with_another_value_is_a_warning() -> None:
    (only,) = said(slurm("--nodes=4", "-N 8"))
    assert only == (
        "3: warning: --nodes is given twice, '4' on line 2 and '8' here; the last one counts, remove the other"
    )
    assert said(slurm("--nodes=4", "-N 4")) == []
    assert said(pjm("-L node=4", "-L elapse=60", "-x A=1", "-x B=2")) == []


def test_components_of_a_heterogeneous_job_are_read_one_by_one() -> None:
    assert said(slurm("--nodes=4", "hetjob", "--nodes=8")) == []


@pytest.mark.parametrize("line", [" #SBATCH --nodes=2", "# SBATCH --nodes=2", "#sbatch --nodes=2"])
def test_a_line_that_only_looks_like_a_directive_is_a_warning(line: str) -> None:
    (only,) = said(f"#!/bin/bash\n#SBATCH --ntasks=1\n{line}\ntrue\n")
    assert only.startswith("3: warning: the line is a comment and no directive; write '#SBATCH '")
    assert said(f"#!/bin/bash\n#SBATCH --ntasks=1\n#{line.strip()}\ntrue\n") == [] or line.startswith("#s")


def test_directives_go_on_behind_an_indented_comment() -> None:
    assert said("#!/bin/bash\n  # what follows is read by sbatch too\n#SBATCH --nodes=1\ntrue\n") == []


def test_a_carriage_return_inside_a_line_is_no_end_of_line() -> None:
    assert said(slurm("--nodes=1", body="printf 'loss\r'\ntrue")) == []


def test_patterns_that_a_script_switches_on_are_known_to_the_syntax_check() -> None:
    assert said(slurm("--nodes=1", body="shopt -s extglob\nls !(*.txt)")) == []
    assert "bash cannot read this" in said(slurm("--nodes=1", body="ls !(*.txt"))[0]


@pytest.mark.parametrize("indexes", ["[0-31]%4", "[1,3,5-7]", "[1-100%10]", "0-15:4"])
def test_indexes_of_an_array_may_stand_in_brackets(indexes: str) -> None:
    assert said(slurm(f"--array={indexes}")) == []


def test_directives_of_a_script_that_the_script_writes_are_its_own() -> None:
    assert (
        said(slurm("--nodes=1", body="cat > other.sh <<'EOF'\n#!/bin/bash\n#SBATCH --nodes=2\nEOF\nsbatch other.sh"))
        == []
    )


def test_a_script_for_another_scheduler_is_told_apart() -> None:
    assert said(slurm("--nodes=1"), FUGAKU) == [
        "1: error: the script has no #PJM line, but fugaku reads those; name the script's own machine"
    ]


def test_a_script_without_directives_is_checked_for_the_rest() -> None:
    assert said("#!/bin/bash\nif true; then\necho $undefined_thing\n")[0].startswith("3: error: $undefined_thing")
    assert any("bash cannot read this" in each for each in said("#!/bin/bash\nif true; then\n"))
    assert said("echo a\n") == ["1: warning: line 1 does not start with '#!'; write #!/bin/bash there"]
    assert said("#!/usr/bin/env python3\nprint('$x')\n") == []


@pytest.mark.parametrize("prefix", ["#SBATCH", "#PJM"])
@settings(deadline=None, max_examples=60)
@given(value=st.text(max_size=40))
def test_what_quoting_writes_is_read_back(prefix: str, value: str) -> None:
    try:
        written = quoting.directive(value)
    except InputError:
        return
    assert words.split(f" --comment={written}", "sbatch" if prefix == "#SBATCH" else "shell") == [f"--comment={value}"]


@pytest.mark.parametrize(
    ("quoting_of", "text", "found"),
    [  # the first ones were shown by sbatch 22.05.8 in its messages about wrong values
        ("sbatch", r'--x="a\"b"', ['--x=a"b']), ("sbatch", r"--x='a\'b'", ["--x=a'b"]), ("sbatch", r"--x=a\ b", ["--x=a", "b"]),
        ("sbatch", r"--x=a\"b", ['--x=a"b']), ("sbatch", "--x=a#b", ["--x=a"]), ("sbatch", "--x=a'b c'd", ["--x=ab cd"]), ("sbatch", r'--x="a\nb"', ["--x=anb"]),
        ("shell", r"--x='a\\b'", [r"--x=a\\b"]), ("shell", r"--x=a\ b", ["--x=a b"]), ("shell", "--x=a#b # c", ["--x=a#b"]),
        ("shell", "-g hp000000          ", ["-g", "hp000000"]),
    ],
)  # fmt: skip
def test_words_are_cut_as_each_scheduler_cuts_them(quoting_of: words.Quoting, text: str, found: list[str]) -> None:
    assert words.split(text, quoting_of) == found


SCRAPS = st.sampled_from(
    ["#!/bin/bash\n", "#SBATCH ", "#PJM ", "-L ", "node=", "--mpi ", "=", ",", "\n", " ", "$", "${", "}", "$((", "))", "(",
     ")", "'", '"', "`", "\\", "<<EOF\n", "EOF\n", "x", "--nodes=", "9" * 5000, "--time=", "1-2:3", ":", "--gres=gpu:", "@",
     "--signal=", "elapse=", "#", "\r\n", "\0", "é", "\ufeff", "-n", "[", "]", "x=", "export ", "--mem=", "G"]
) | st.text(max_size=5)  # fmt: skip


@settings(deadline=None, max_examples=150)
@given(parts=st.lists(SCRAPS, max_size=30), where=st.sampled_from([None, JUWELS, FUGAKU]))
def test_no_text_makes_the_reader_fail(parts: list[str], where: Machine | None) -> None:
    text = "".join(parts)
    for finding in lint(text, "job.sh", where):
        assert 1 <= finding.line <= text.count("\n") + text.count("\r") + 1
    machine_of(text, [JUWELS, FUGAKU])


def test_the_command_tells_place_and_exit_code(cli: Cli, write: Callable[[str, str], Path]) -> None:
    good, bad = (
        write("good.sh", slurm(*GOOD_SLURM)),
        write("bad.sh", slurm("--account=a", "-p develbooster", "-t 5:00:00")),
    )
    done = cli("lint", good)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "1 script (limits of juwels-booster): 0 errors, 0 warnings\n"
    done = cli("lint", good, bad, "--machine", "juwels-booster")
    assert done.returncode == 1
    assert done.stdout.startswith(f"{bad}:4: error: --time: 05:00:00 is out of what develbooster takes")
    done = cli("lint", bad, "--json")
    document = json.loads(done.stdout)
    assert document["machines"] == {str(bad): "juwels-booster"}
    assert document["findings"][0]["line"] == 4
    warned = cli("lint", "-", stdin=slurm("--nodes=1", "--nodes=2"))
    assert warned.returncode == 0
    assert warned.stdout.startswith("<stdin>:3: warning: --nodes is given twice")


def test_a_script_that_is_not_there_is_wrong_input(cli: Cli) -> None:
    done = cli("lint", "nowhere.sh")
    assert done.returncode == 2
    assert done.stderr == "hpcscale: nowhere.sh: cannot read the script: No such file or directory; give a file\n"
