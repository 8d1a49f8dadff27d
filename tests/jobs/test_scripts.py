"""Job scripts: the golden ones, against the real 30B header, and whatever people put into names and settings."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpcscale.jobs import quoting
from hpcscale.jobs.render import Request, render
from hpcscale.jobs.script import Scripts
from hpcscale.spec import job, study
from hpcscale.spec.job import Settings, SettingsFile
from hpcscale.spec.problems import InputError

GOLDEN = Path(__file__).parent.parent / "golden" / "scripts"
OWN = SettingsFile.model_validate(
    {
        "machines": {
            "fugaku": {"group": "hp000000", "volumes": ["/vol0003", "/vol0004"], "environment": {"setup": "source /data/hp000000/share/env.src"}},
            "juwels-booster": {
                "account": "<account>",
                "environment": {"modules": ["Stages/2025", "GCC", "OpenMPI", "PyTorch"], "venv": "/p/project1/<account>/venv"},
            },
        }
    }
)  # fmt: skip
OUT = Path("/scratch/<account>/runs")


def scripts_of(name: str, pattern: str | None = None, own: SettingsFile = OWN, **sets: object) -> dict[str, str]:
    request = Request(point=pattern, sets=tuple(sets.items()), out=OUT)
    return {each.point.identity: each.script for each in render(study.read(name), request, own).points}


@pytest.mark.parametrize(
    ("name", "pattern", "file"),
    [
        ("30b_scaling", "fugaku-gpt-30b-dp1-tp4-*", "fugaku_192_nodes.sh"),
        ("30b_scaling", "fugaku-gpt-30b-dp16-tp4-*", "fugaku_3072_nodes.sh"),
        ("30b_scaling", "fugaku-gpt-30b-dp32-tp4-*", "fugaku_6144_nodes.sh"),
        ("30b_scaling", "juwels-*-dp16-*", "juwels_192_nodes.sh"),
        ("torchtitan_llama", "*llama3-70b*", "torchtitan_8_nodes.sh"),
        ("quickstart", "dp2-fsdp-*", "local_2_ranks.sh"),
    ],
)
def test_scripts_are_the_golden_ones(name: str, pattern: str, file: str) -> None:
    """A change of a template shows as a diff of these files. To accept it: HPCSCALE_GOLDEN=write make test."""
    (script,) = scripts_of(name, pattern).values()
    path = GOLDEN / file
    if os.environ.get("HPCSCALE_GOLDEN") == "write":
        path.write_text(script, encoding="utf-8")
    assert script == path.read_text(encoding="utf-8")


def directives(script: str, prefix: str) -> list[list[str]]:
    """The words of each directive, up to the first command, as the scheduler reads them."""
    found = []
    for line in script.splitlines():
        if line.startswith(prefix + " "):
            found.append(shlex.split(line[len(prefix) :], comments=True))
        elif line and not line.startswith("#"):
            break
    return found


def test_the_3072_node_header_agrees_with_the_real_30b_run() -> None:
    """github.com/rioyokotalab/DeepSpeedFugaku, experiments/scripts/30b/30b_pp48_mp4_dp16.sh: its header, as it stands."""
    real = """\
#PJM -L "rscunit=rscunit_ft01,rscgrp=large"
#PJM -L elapse=2:00:00
#PJM -L "node=3072"
#PJM --mpi "proc=3072"
#PJM --mpi "max-proc-per-node=1"
#PJM -g hp000000          
#PJM -x PJM_LLIO_GFSCACHE=/vol0003:/vol0004
#PJM -j
#PJM -S
"""  # noqa: W291
    (script,) = scripts_of("30b_scaling", "fugaku-gpt-30b-dp16-tp4-*").values()
    ours = directives(script, "#PJM")
    as_written = [[word.replace("elapse=2:", "elapse=02:") for word in line] for line in directives(real, "#PJM")]
    assert [line for line in as_written if line not in ours] == []
    added = [line for line in ours if line not in as_written]
    assert [line[0] for line in added] == ["-L", "-N", "-o", "--spath"]
    assert added[0] == ["-L", "freq=2000,eco_state=0"]


@pytest.mark.parametrize(
    "name", ["30b_scaling", "fmengine_llama", "nanotron_llama2_7b", "nemo_bert", "torchtitan_llama", "mpt_sweep"]
)
def test_every_script_of_every_study_is_sound(name: str) -> None:
    for identity, script in scripts_of(name).items():
        lines = script.splitlines()
        commands = [i for i, line in enumerate(lines) if line and not line.startswith("#")]
        late = [line for line in lines[commands[0] :] if line.startswith(("#SBATCH", "#PJM"))]
        assert late == [], identity
        assert lines[0] == "#!/bin/bash"
        assert "\r" not in script
        assert "\t" not in script
        for line in lines[: commands[0]]:
            assert "$" not in line or not line.startswith(("#SBATCH", "#PJM")), "schedulers expand no variables"
        assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed (CI installs it)")
def test_shellcheck_has_nothing_to_say() -> None:
    for name in ("30b_scaling", "quickstart", "torchtitan_llama"):
        script = list(scripts_of(name).values())[-1]
        # SC1091: files of the site (venv, env.src) are not here
        done = subprocess.run(
            ["shellcheck", "--exclude=SC1091", "-"], input=script, text=True, capture_output=True, check=False
        )
        assert done.stdout == ""


def test_no_script_names_the_interpreter_or_paths_of_the_machine_that_rendered_it() -> None:
    import sys

    for script in [*scripts_of("30b_scaling").values(), *scripts_of("quickstart").values()]:
        assert sys.executable not in script
        assert str(Path.home()) not in script.replace("/root", "") or str(Path.home()) == "/root"
        assert str(Path.cwd()) not in script


NASTY = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=30) | st.sampled_from(
    [
        "$(touch X)",
        "`touch X`",
        "a b",
        "it's",
        '"',
        "'; touch X; '",
        "日本語",
        "a\nb\n#SBATCH --x",
        "\\",
        "$HOME",
        "#",
        "&&",
        "a\r",
        "\u2028",
    ]
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(value=NASTY)
def test_a_shell_word_stays_what_it_was(value: str) -> None:
    if "\0" in value:
        with pytest.raises(InputError):
            quoting.shell(value)
        return
    done = subprocess.run(["bash", "-c", f"printf %s {quoting.shell(value)}"], capture_output=True, check=False)
    assert done.stdout.decode("utf-8", "surrogateescape") == value


@given(value=NASTY)
def test_a_directive_stays_one_word_or_is_refused(value: str) -> None:
    try:
        written = quoting.directive(value)
    except InputError as error:
        assert "control character or a line break" in str(error)
        return
    assert "\n" not in written
    assert shlex.split(written, comments=True) == [value]


@settings(deadline=None, max_examples=40)
@given(account=NASTY, variable=NASTY, venv=NASTY, group=NASTY)
def test_no_setting_breaks_out_of_its_place(account: str, variable: str, venv: str, group: str) -> None:
    own = {"account": account, "group": group, "environment": {"variables": {"X": variable}, "venv": venv}}
    for name in ("30b_scaling", "quickstart"):
        machines = dict.fromkeys(("fugaku", "juwels-booster", "local"), own)
        try:
            found = scripts_of(name, own=SettingsFile.model_validate({"machines": machines}))
        except InputError:
            continue  # said in a sentence, and nothing was written
        plain = scripts_of(name, own=_plain())
        for identity, script in found.items():
            kind = "#PJM" if identity.startswith("fugaku") else "#SBATCH"
            assert len(directives(script, kind)) == len(directives(plain[identity], kind))
            assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0


def _plain() -> SettingsFile:
    own = {"account": "a", "group": "g", "environment": {"variables": {"X": "1"}, "venv": "v"}}
    return SettingsFile.model_validate({"machines": dict.fromkeys(("fugaku", "juwels-booster", "local"), own)})


@given(name=st.text(min_size=1, max_size=100))
def test_job_names_are_what_pjm_takes(name: str) -> None:
    made = quoting.job_name(name, "0123abcd")
    assert len(made.encode()) <= 63
    assert made[0].isascii()
    assert made[0].isalpha()
    assert made.endswith("-0123abcd")


def test_a_folder_with_a_pattern_character_is_refused_for_schedulers_only(tmp_path: Path) -> None:
    request = Request(out=tmp_path / "100%")
    with pytest.raises(InputError, match="holds a '%'"):
        render(study.read("30b_scaling"), request, OWN)
    assert len(render(study.read("quickstart"), request, OWN).points) == 3


def test_job_keys_and_extra_directives_reach_the_script() -> None:
    (script,) = scripts_of(
        "30b_scaling",
        "juwels-*-dp1-*",
        reservation="big days",
        qos="high",
        **{"job.directives.exclude": "jwb[0026,0098]"},
    ).values()
    lines = directives(script, "#SBATCH")
    assert ["--reservation=big days"] in lines
    assert ["--qos=high"] in lines
    assert ["--exclude=jwb[0026,0098]"] in lines


def test_a_job_key_that_the_scheduler_does_not_know_is_refused() -> None:
    with pytest.raises(InputError, match=r"job.reservation means nothing to pjm on fugaku; it knows: mail_user"):
        scripts_of("30b_scaling", "fugaku*", reservation="x")


def test_missing_settings_of_all_machines_are_told_at_once() -> None:
    with pytest.raises(InputError) as caught:
        scripts_of("30b_scaling", own=SettingsFile())
    assert [str(problem).split()[0] for problem in caught.value.problems] == ["fugaku", "juwels-booster"]


def test_settings_merge_defaults_machine_and_set() -> None:
    file = SettingsFile.model_validate(
        {"defaults": {"account": "a", "python": "p"}, "machines": {"m": {"account": "b"}}}
    )
    merged = job.merge_settings(file, "m", {"python": "q", "m.environment.venv": "/v", "other.account": "z"})
    assert (merged.account, merged.python, merged.environment.venv) == ("b", "q", "/v")


@pytest.mark.parametrize("folder", ["plain", "a b", "it's $(x)", "日本語"])
def test_the_local_script_runs_in_any_folder(
    folder: str, tmp_path: Path, cli: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """With a stand-in for Python that only prints its arguments: one rank, real bash."""
    fake = tmp_path / "bin" / "python3"
    fake.parent.mkdir()
    fake.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    fake.chmod(0o755)
    assert cli("render", "quickstart", "--point", "dp1-*", "--out", folder).returncode == 0
    (script,) = (tmp_path / folder / "quickstart").glob("*/job.sh")
    environment = {**os.environ, "PATH": f"{fake.parent}:{os.environ['PATH']}"}
    assert subprocess.run(["bash", str(script)], env=environment, check=False).returncode == 0
    (output,) = script.parent.glob("attempts/*/output")
    assert output.read_text() == f"-m\nhpcscale.train\n{script.parent}/point.json\n"


@pytest.mark.parametrize("name", ["nodes", "--ntasks-per-node", "time"])
def test_a_directive_that_the_template_writes_cannot_be_given_twice(name: str) -> None:
    with pytest.raises(InputError, match=f"'{name}' is written by hpcscale itself"):
        scripts_of("30b_scaling", "juwels*", **{f"job.directives.{name}": 1})


@pytest.mark.parametrize(
    ("key", "value"), [("environment.venv", "~/venv"), ("environment.venv", "$PROJECT/v"), ("python", "~/p")]
)
def test_what_a_script_would_not_expand_is_refused(key: str, value: str) -> None:
    with pytest.raises(InputError, match="is not expanded in scripts; write the whole path"):
        scripts_of("quickstart", **{key: value})


def test_a_variable_of_ones_own_wins_over_the_computed_number_of_threads() -> None:
    (script,) = scripts_of("quickstart", "dp1-*", **{"environment.variables.OMP_NUM_THREADS": "3"}).values()
    assert script.count("OMP_NUM_THREADS") == 1
    assert "export OMP_NUM_THREADS=3\n" in script


def test_a_missing_virtual_environment_stops_the_job(tmp_path: Path) -> None:
    (script,) = scripts_of("quickstart", "dp1-*", **{"environment.venv": str(tmp_path / "none")}).values()
    done = subprocess.run(
        ["bash", "-c", script.replace(str(OUT), str(tmp_path))], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "No such file" in done.stderr


def test_a_profile_cannot_run_programs_where_it_is_rendered(tmp_path: Path) -> None:
    from hpcscale.spec import locate, machine

    local = machine.read(locate.find("local", "machines", "machine"))
    attack = "{{ cycler.__init__.__globals__.os.popen('touch " + str(tmp_path / "made") + "').read() }}"
    changed = local.model_copy(update={"launch": local.launch.model_copy(update={"command": attack})})
    (rendered,) = render(study.read("quickstart"), Request(point="dp1-*", out=OUT), OWN).points
    with pytest.raises(InputError, match="cannot be written"):
        Scripts(changed, Settings()).render(rendered.point, tmp_path)
    assert not (tmp_path / "made").exists()
