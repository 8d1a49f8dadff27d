"""The commands that show and write small things: init, machines, models, studies, schema."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest

from hpcscale import __version__
from hpcscale.spec import locate
from hpcscale.spec.yaml12 import load

Cli = Callable[..., subprocess.CompletedProcess[str]]


def test_help_and_version(cli: Cli) -> None:
    shown = cli("--help").stdout
    for command in ("init", "render", "run", "report", "machines", "models", "studies", "schema"):
        assert f"\n  {command} " in shown
        assert cli(command, "--help").returncode == 0
    assert cli("--version").stdout == f"hpcscale, version {__version__}\n"


def test_init_writes_what_render_needs(cli: Cli, tmp_path: Path) -> None:
    done = cli("init", "--machine", "fugaku", "--group", "hp000000", "--volumes", "/vol0003:/vol0004")
    assert done.returncode == 0
    cli(
        "init",
        "--machine",
        "juwels-booster",
        "--account",
        "12345",
        "--module",
        "Stages/2025",
        "--setup",
        "a: 'b'\nc # \"d\"",
    )
    shown = cli("render", "30b_scaling", "--stdout", "--point", "*-dp16-tp4*").stdout
    assert "#PJM -g hp000000\n" in shown
    assert "#PJM -x PJM_LLIO_GFSCACHE=/vol0003:/vol0004\n" in shown
    assert "#SBATCH --account=12345\n" in shown
    assert "module load Stages/2025 || exit 1\na: 'b'\nc # \"d\"\n" in shown
    assert (tmp_path / "configuration" / "settings.yaml").stat().st_mode & 0o077 == 0


def test_init_never_overwrites_and_keeps_what_a_person_wrote(cli: Cli, write: Callable[[str, str], Path]) -> None:
    path = write("configuration/settings.yaml", "# mine\nmachines:\n  fugaku:\n    group: hp000001 # ours\n")
    done = cli("init", "--machine", "fugaku", "--group", "hp000000")
    assert done.returncode == 2
    assert "has settings for fugaku already and they are kept" in done.stderr
    assert path.read_text() == "# mine\nmachines:\n  fugaku:\n    group: hp000001 # ours\n"
    assert cli("init", "--machine", "juwels-booster", "--account", "a").returncode == 0
    assert "# mine\n" in path.read_text()
    assert "group: hp000001 # ours\n" in path.read_text()


@pytest.mark.parametrize(
    ("kind", "files"),
    [
        ("study", sorted(locate.packaged("studies").glob("*.yaml"))),
        ("machine", sorted(locate.packaged("machines").glob("*.yaml"))),
    ],
)
def test_every_packaged_file_fits_the_schema_that_is_printed(kind: str, files: list[Path], cli: Cli) -> None:
    schema = json.loads(cli("schema", kind).stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    for path in files:
        jsonschema.validate(load(path).data, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"name": "x", "nonsense": 1}, schema)


@pytest.mark.parametrize("command", ["machines", "models", "studies"])
def test_lists_are_also_json(command: str, cli: Cli) -> None:
    listed = json.loads(cli(command, "--json").stdout)
    names = [each["name"] for each in listed]
    assert len(names) == len(set(names)) >= 7
    shown = json.loads(cli(command, "show", names[0], "--json").stdout)
    assert names[0] in json.dumps(shown)
    text = cli(command).stdout
    assert all(f"\n{name} " in text for name in names)


def test_the_machine_list_has_all_the_published_ones(cli: Cli) -> None:
    names = {each["name"] for each in json.loads(cli("machines", "--json").stdout)}
    assert names >= {
        "juwels-booster", "fugaku", "local", "mosaicml-h100-80gb", "mosaicml-a100-80gb", "mosaicml-a100-40gb",
        "torchtitan-a100-80gb", "nanotron-a100x4", "rtx3090-workstation",
    }  # fmt: skip


def test_the_model_list_has_exact_counts(cli: Cli) -> None:
    assert "29,974,755,328" in cli("models").stdout
    assert "29,977,507,840" in cli("models", "show", "gpt-30b", "--tp", "4").stdout


def test_a_study_is_shown_with_its_points_without_any_settings(cli: Cli) -> None:
    shown = cli("studies", "show", "30b_scaling").stdout
    assert "fugaku-gpt-30b-dp32-tp4-pp48-ac-full-" in shown
    assert " 6144  " in shown


@pytest.mark.parametrize(
    "text",
    [
        "machines: {}\n",
        "machines: {fugaku: {group: g}}\n",
        '"machines":\n  fugaku: {group: g}\n',
        "machines:\n    fugaku:\n        group: g\n",
    ],
)
def test_init_leaves_a_file_alone_that_it_cannot_add_to(text: str, cli: Cli, write: Callable[[str, str], Path]) -> None:
    path = write("configuration/settings.yaml", text)
    done = cli("init", "--machine", "juwels-booster", "--account", "a")
    assert done.returncode == 2
    assert "is left as it is; add this yourself:\njuwels-booster:\n  account: a" in done.stderr
    assert path.read_text() == text


def test_an_account_is_a_name_whatever_yaml_would_make_of_it(cli: Cli) -> None:
    shown = cli("render", "30b_scaling", "--machine", "juwels-booster", "--set", "account=0123", "--stdout").stdout
    assert "#SBATCH --account=0123\n" in shown


def test_render_says_which_points_the_trainer_will_refuse(cli: Cli) -> None:
    asked = ("render", "30b_scaling", "--set", "account=a", "--set", "group=g")
    done = cli(*asked, "--set", "precision=fp8")
    assert "warning: this version's trainer will refuse 19 of 19 points when they start:" in done.stdout
    assert "warning" not in cli(*asked).stdout


def test_settings_whose_content_is_commented_out_are_no_mistake(cli: Cli, write: Callable[[str, str], Path]) -> None:
    write("configuration/settings.yaml", "machines:\n  fugaku:\n  # group: g\n")
    assert cli("render", "quickstart").returncode == 0
    write("configuration/settings.yaml", "machines:\n")
    assert cli("render", "quickstart").returncode == 0
