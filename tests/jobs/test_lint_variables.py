"""Variables in job scripts: which are set by nobody."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcscale.jobs.lint import lint
from hpcscale.jobs.lint import shell as reader


def said(body: str, head: str = "#SBATCH --nodes=1") -> list[str]:
    return [
        f"{each.severity}: {each.message}"
        for each in lint(f"#!/bin/bash\n{head}\n{body}\n", "job.sh")
        if each.message.startswith("$")
    ]


@pytest.mark.parametrize(
    "body",
    [
        "echo $gone", 'echo "${gone}"', "echo ${gone%.txt}", "echo ${#gone}", "echo $((gone + 1))", "echo `echo $gone`",
        'x="$(echo "a $gone")"', "cat <<EOF\n$gone\nEOF", "cat <<-EOF\n\t$gone\n\tEOF", "srun -n $gone true", "export gone; echo $gone",
        '[ "$gone" = yes ] && true', '[ "x$gone" = xy ] && true', "x=${gone:-1}; echo $gone",
        "(( gone > 3 )) && true", "echo ${x:-$gone}", "echo ${gone[0]}", 'echo \'$a\' "\'$gone\'"',
    ],
)  # fmt: skip
def test_a_variable_that_is_assigned_nowhere_is_an_error(body: str) -> None:
    (only,) = said(body)
    assert only == "error: $gone is assigned nowhere in this script; assign it before, or write ${gone:-<default>}"


@pytest.mark.parametrize(
    "body",
    [
        "there=1; echo $there", "export there=1\necho ${there}", "for there in 1 2; do echo $there; done",
        "read -r there < file; echo $there", "echo ${there:-1}", "echo ${there-}", ": ${there:=1}; echo $there",
        "echo '$there'", r"echo \$there", "# $there", "cat <<'EOF'\n$there\nEOF", 'cat <<"EOF"\n$there\nEOF',
        'if [ -z "$there" ]; then echo "$there"; fi', "[[ -v there ]] && echo $there", "declare -a there; echo ${there[@]}",
        "printf -v there %s x; echo $there", "mapfile -t there < f; echo ${there[0]}", "echo $1 $@ $? $$ $#",
        "local there=1; echo $there", "((there = 3)); echo $there", "for ((there=0; there<3; there++)); do echo $there; done",
        "there[1]=2; echo ${there[1]}", "there+=x; echo $there", "echo $HOME $PATH $RANDOM $SCRATCH", "echo $'\\'$there'",
        "let 'there = 3'; let there++; echo $there", "coproc there { cat; }; echo ${there[0]}", "exec {there}>file; echo $there",
        'printf -v "there" x; echo $there', "sleep 1 & wait -n -p there; echo $there", "echo $_",
        "srun ${there:+--reservation $there} true", 'if [ "${there:-}" ]; then echo $there; fi', ": ${there:?}; echo $there",
        '[ "$there" ] && echo $there', '[[ $there ]] && echo $there', 'if [ "$there" = "" ]; then echo none; fi',
        "[ x$there != x ] && echo $there", 'test "x${there}" = "x" || echo $there', "[ \"$there\" == '' ] || echo $there",
        "X=1 there=2 env; echo $there", "echo ${there:?must be set}", "echo a#$HOME # $there", "echo $((16#ff + 0x1f))",
    ],
)  # fmt: skip
def test_a_variable_with_an_origin_is_none(body: str) -> None:
    assert said(body) == []


@pytest.mark.parametrize(
    "command", ["export $(cat .env)", "source env.src", ". ./env.src", "module load CUDA", "ml CUDA", 'eval "$(tool)"']
)
def test_a_file_or_module_before_it_may_set_anything_so_it_is_a_warning(command: str) -> None:
    (only,) = said(f"{command}\necho $gone")
    assert only.startswith("warning: $gone is assigned nowhere in this script")
    assert only.endswith(f"unless line 3 ({command.split(maxsplit=1)[0]}) sets it")
    (only,) = said(f"echo $gone\n{command}")
    assert only.startswith("error")


def test_a_virtual_environment_sets_no_other_variables() -> None:
    (only,) = said("source venv/bin/activate\necho $gone")
    assert only.startswith("error")


def test_a_near_name_of_the_script_is_suggested() -> None:
    (only,) = said("NNODES=4\necho $nodes")
    assert "(did you mean $NNODES?)" in only


def test_variables_of_the_scheduler_are_known_by_name() -> None:
    assert said("echo $SLURM_JOB_ID $SLURM_NODELIST $SLURM_STEP_ID $SLURMD_NODENAME") == []
    assert said("echo $SLURM_JOBS_ID") == [
        "error: $SLURM_JOBS_ID is no variable that slurm sets; did you mean 'SLURM_JOB_ID'?"
    ]
    assert said("echo $PJM_JOBID", "#PJM -L node=1") == []
    assert said("echo $SLURM_JOB_ID", "#PJM -L node=1")[0].startswith("error: $SLURM_JOB_ID is assigned nowhere")


def test_a_variable_that_only_some_jobs_have_is_a_warning_in_the_others() -> None:
    (only,) = said("echo $SLURM_GPUS_PER_NODE", "#SBATCH --gres=gpu:4")
    assert only.startswith("warning: $SLURM_GPUS_PER_NODE is set only in jobs with --gpus-per-node")
    assert said("echo $SLURM_GPUS_PER_NODE", "#SBATCH --gpus-per-node=4") == []
    (only,) = said("echo $PJM_LOCALTMP", "#PJM -L node=1")
    assert only.startswith("warning: $PJM_LOCALTMP is set only in jobs with --llio localtmp-size")
    assert said("echo $PJM_LOCALTMP", "#PJM --llio localtmp-size=50Gi") == []


def test_variables_that_directives_bring_are_known() -> None:
    assert said("echo $mine $other", "#SBATCH --export=ALL,mine=1,other") == []
    assert said("echo $mine", "#PJM -x mine=1,other") == []
    (only,) = said("echo $gone", "#PJM -X")
    assert only.startswith("warning: $gone") and only.endswith("unless the shell that submits sets it")


@given(st.lists(st.sampled_from(list("$({[\"'`\\<>EOF\n #=ax)]}+-!&;")) | st.text(max_size=3), max_size=60))
def test_the_tokenizer_ends_on_any_text(parts: list[str]) -> None:
    text = "".join(parts)
    found = reader.read(text)
    assert all(1 <= use.line <= text.count("\n") + 1 for use in found.uses)
