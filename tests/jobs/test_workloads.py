"""Foreign workloads: what is written for each system, what it cannot say, and one that really runs."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from hpcscale.jobs.render import Rendered, Rendering, Request, render
from hpcscale.spec import study, workload
from hpcscale.spec.job import SettingsFile
from hpcscale.spec.problems import InputError

Cli = Callable[..., subprocess.CompletedProcess[str]]
Write = Callable[[str, str], Path]

GOLDEN = Path(__file__).parent.parent / "golden" / "workloads"
OUT = Path("/scratch/<account>/runs")
CODE = "/p/project1/<account>"
PLACES = {
    "megatron-lm": {"path": f"{CODE}/Megatron-LM"},
    "megatron-deepspeed": {"path": f"{CODE}/Megatron-DeepSpeed", "data": f"{CODE}/data/oscar_text_document"},
    "megatron-deepspeed-fugaku": {
        "path": "/data/hp000000/DeepSpeedFugaku", "data": "/data/hp000000/codeparrot_content_document",
        "tokenizer": "/data/hp000000/code20k_en40k_ja60k.ver2.1.model",
    },
    "nanotron": {"path": f"{CODE}/nanotron"},
    "torchtitan": {"path": f"{CODE}/torchtitan"},
    "llm-foundry": {"path": f"{CODE}/llm-foundry", "data": f"{CODE}/data/my-copy-c4"},
    "fmengine": {"path": f"{CODE}/fmengine", "data": f"{CODE}/data/dataset.jsonl", "weights": f"{CODE}/llama2-7b"},
}  # fmt: skip
OWN = SettingsFile.model_validate({"defaults": {"account": "<account>", "group": "hp000000", "workloads": PLACES}})


def rendered(name: str, pattern: str | None, system: Any, **sets: Any) -> Rendering:
    given = tuple({"workload": system, **sets}.items())
    return render(study.read(name), Request(point=pattern, sets=given, out=OUT), OWN)


def one(name: str, pattern: str, system: Any, **sets: Any) -> Rendered:
    (point,) = rendered(name, pattern, system, **sets).points
    return point


def reasons(name: str, system: str, **sets: Any) -> str:
    found = rendered(name, None, system, **sets).expansion.skipped
    assert found, "nothing was refused"
    return "\n".join(each.reason for each in found)


# Each published study with the system that its table comes from, and the others on a study that they can run.
EXAMPLES = [
    ("megatron-deepspeed-fugaku", "30b_scaling", "fugaku-gpt-30b-dp16-tp4-*", {}),
    ("megatron-lm", "30b_scaling", "juwels-*-dp4-*", {}),
    ("megatron-deepspeed", "30b_scaling", "juwels-*-dp4-*", {"sharding": "zero1"}),
    ("nanotron", "nanotron_llama2_7b", "dp4-*", {}),
    ("torchtitan", "torchtitan_llama", "llama2-13b-*-selective-layer-2-*", {}),
    ("llm-foundry", "mpt_sweep", "mosaicml-h100-80gb-mpt-7b-dp8-ac-none-*", {}),
    ("fmengine", "fmengine_llama", "juwels-*-llama2-7b-dp64-*", {"sharding": "zero1"}),
]


@pytest.mark.parametrize(("system", "name", "pattern", "sets"), EXAMPLES, ids=[each[0] for each in EXAMPLES])
def test_scripts_and_files_are_the_golden_ones(system: str, name: str, pattern: str, sets: dict[str, Any]) -> None:
    """To accept a change: HPCSCALE_GOLDEN=write make test; the diff shows what it was."""
    point = one(name, pattern, system, **sets)
    texts = {file: text for file, text in point.texts.items() if file != "point.json"}
    folder = GOLDEN / system
    if os.environ.get("HPCSCALE_GOLDEN") == "write":
        folder.mkdir(parents=True, exist_ok=True)
        for file, text in texts.items():
            (folder / file).write_text(text, encoding="utf-8")
    assert texts == {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}


def test_every_shipped_system_has_facts_and_a_template() -> None:
    assert sorted(workload.names()) == sorted([workload.OWN, *workload.catalogue()])
    assert {each[0] for each in EXAMPLES} == set(workload.catalogue())
    assert {rule for facts in workload.catalogue().values() for rule in facts.rules} == set(workload.RULES)


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*/*.sh")), ids=lambda path: f"{path.parent.name}-{path.name}")
def test_shellcheck_finds_nothing(path: Path) -> None:
    done = subprocess.run(["shellcheck", "-s", "bash", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def options(script: str) -> dict[str, list[str]]:
    """The command's options with their values, from its last line on."""
    found: dict[str, list[str]] = {}
    name = ""
    for word in shlex.split(script[script.index("\nexec ") :].replace("\\\n", " ")):
        if word.startswith("--"):
            name = word
            found[name] = []
        elif name:
            found[name].append(word)
    return found


def test_the_30b_command_has_every_option_of_the_real_one() -> None:
    """github.com/rioyokotalab/DeepSpeedFugaku, experiments/scripts/30b/30b_pp48_mp4_dp16.sh, as it stands."""
    real = """\
--num-layers 48 --hidden-size 7168 --num-attention-heads 56 --micro-batch-size 1 --global-batch-size 1536
--seq-length 2048 --checkpoint-activations --distributed-backend mpi --no-cuda --use-cpu-initialization --num-workers 0
--no-load-rng --tensor-model-parallel-size 4 --pipeline-model-parallel-size 48"""
    point = one("30b_scaling", "fugaku-gpt-30b-dp16-tp4-*", "megatron-deepspeed-fugaku")
    ours = options(point.extra["workload.sh"])
    wanted = options("\nexec " + real)
    assert {name: ours.get(name) for name in wanted} == wanted
    assert "mpiexec -n 3072 " in point.script
    assert "export WORLD_SIZE=3072\n" in point.extra["workload.sh"]


def test_torchrun_starts_once_a_node_and_finds_its_host_at_juelich() -> None:
    point = one("30b_scaling", "juwels-*-dp4-*", "megatron-lm")
    assert "#SBATCH --nodes=48\n#SBATCH --ntasks-per-node=1\n#SBATCH --cpus-per-task=48\n" in point.script
    assert "export OMP_NUM_THREADS=12\n" in point.script, "threads of one of the node's four ranks"
    assert "srun --label --kill-on-bad-exit=1 --cpu-bind=none" in point.script
    command = options(point.extra["workload.sh"])
    assert "--nnodes=48" in command
    assert "--nproc-per-node=4" in command
    assert '--rdzv-conf=is_host="$((SLURM_NODEID == 0))"' in point.extra["workload.sh"]
    assert "exec torchrun_jsc " in point.extra["workload.sh"]


def test_output_goes_where_hpcscale_expects_it() -> None:
    point = one("30b_scaling", "juwels-*-dp4-*", "megatron-lm")
    assert 'bash "$point/workload.sh" \\\n  > "$HPCSCALE_ATTEMPT/output" 2>&1' in point.script
    assert 'cd -- "$HPCSCALE_ATTEMPT"' in point.extra["workload.sh"]


def test_nanotrons_file_holds_the_point() -> None:
    point = one("nanotron_llama2_7b", "dp4-*", "nanotron", lr=1e-8)
    file = yaml.safe_load(point.extra["workload.yaml"])  # YAML 1.1, as nanotron reads it
    shape = file["model"]["model_config"]
    assert (shape["num_hidden_layers"], shape["hidden_size"], shape["intermediate_size"]) == (32, 4096, 11008)
    assert {axis: file["parallelism"][axis] for axis in ("dp", "tp", "pp")} == {"dp": 4, "tp": 4, "pp": 1}
    tokens = file["tokens"]
    assert (tokens["sequence_length"], tokens["micro_batch_size"], tokens["train_steps"]) == (4096, 2, 4)
    assert tokens["batch_accumulation_per_replica"] == 16
    assert file["optimizer"]["learning_rate_scheduler"]["learning_rate"] == 1e-8, "text to YAML 1.1 without a point"


def test_torchtitans_file_holds_the_point_and_its_model_any_shape() -> None:
    point = one("torchtitan_llama", "llama2-13b-*-selective-layer-2-*", "torchtitan")
    file = tomllib.loads(point.extra["workload.toml"])
    assert file["training"]["global_batch_size"] == 128
    assert file["training"]["seq_len"] == 4096
    assert file["parallelism"]["data_parallel_shard_degree"] == 64
    assert file["activation_checkpoint"] == {"mode": "selective", "selective_ac_option": "2"}
    called: dict[str, Any] = {}
    shape = point.extra["workload.py"].split("TransformerModelArgs", 2)[2].removeprefix("(").rstrip().removesuffix(")")
    exec(f"called.update(dict({shape}))", {"called": called})
    assert (called["dim"], called["n_layers"], called["n_heads"]) == (5120, 40, 40)
    # its rule for the feed-forward size, torchtitan/models/llama3/model/model.py
    wanted = int(called["ffn_dim_multiplier"] * int(2 * 4 * called["dim"] / 3))
    assert called["multiple_of"] * -(-wanted // called["multiple_of"]) == 13824


def test_torchtitan_cuts_a_replicas_batch_where_there_is_a_pipeline() -> None:
    sets = {
        "dp": 4,
        "pp": 2,
        "tp": 8,
        "sequence_parallel": True,
        "gbs": 64,
        "schedule": "interleaved-1f1b",
        "virtual_stages": 2,
    }
    file = tomllib.loads(
        one("torchtitan_llama", "llama3-8b-*-selective-op-*", "torchtitan", **sets).extra["workload.toml"]
    )
    assert file["training"]["local_batch_size"] == 16
    assert file["parallelism"]["pipeline_parallel_microbatch_size"] == 1
    assert file["parallelism"]["pipeline_parallel_schedule"] == "Interleaved1F1B"
    assert file["parallelism"]["pipeline_parallel_layers_per_stage"] == 8


def test_llm_foundrys_file_holds_the_point() -> None:
    point = one("mpt_sweep", "mosaicml-h100-80gb-mpt-7b-dp8-ac-none-*", "llm-foundry")
    file = yaml.safe_load(point.extra["workload.yaml"])
    assert (file["model"]["d_model"], file["model"]["n_layers"], file["model"]["vocab_size"]) == (4096, 32, 50368)
    assert (file["global_train_batch_size"], file["device_train_microbatch_size"]) == (48, 6)
    assert file["max_duration"] == "12ba"
    assert file["optimizer"]["weight_decay"] == 3e-5, (
        "decoupled: its weight decay is not multiplied by the learning rate"
    )
    assert file["fsdp_config"]["sharding_strategy"] == "FULL_SHARD"


@pytest.mark.parametrize(("warmup", "decay", "wanted"), [(0, None, "7"), (2000, None, "2001"), (10, 100, "100")])
def test_megatron_gets_a_decay_longer_than_the_warm_up_which_it_asserts(warmup: int, decay: int, wanted: str) -> None:
    sets = {"training.optimizer.warmup_steps": warmup, "training.optimizer.decay_steps": decay}
    for system, pattern in (
        ("megatron-lm", "juwels-*-dp4-*"),
        ("megatron-deepspeed-fugaku", "fugaku-gpt-30b-dp16-tp4-*"),
    ):
        command = options(one("30b_scaling", pattern, system, **sets).extra["workload.sh"])
        assert command["--lr-decay-iters"] == [wanted]
        assert command["--lr-warmup-iters"] == [str(warmup)]


def test_nanotron_counts_its_decay_from_the_end_of_the_warm_up() -> None:
    sets = {"training.optimizer.warmup_steps": 10, "training.optimizer.decay_steps": 100}
    file = yaml.safe_load(one("nanotron_llama2_7b", "dp4-*", "nanotron", **sets).extra["workload.yaml"])
    assert file["optimizer"]["learning_rate_scheduler"]["lr_decay_steps"] == 90


def test_llm_foundrys_flash_attention_is_not_asked_for_fp32() -> None:
    point = one("mpt_sweep", "mosaicml-h100-80gb-mpt-7b-dp8-ac-none-*", "llm-foundry", precision="fp32")
    assert yaml.safe_load(point.extra["workload.yaml"])["model"]["attn_config"]["attn_impl"] == "torch"


def test_a_container_sees_what_the_system_reads_and_runs_the_python_of_its_environment() -> None:
    environment = {"environment.container": "/i.sif", "environment.venv": "/p/venv"}
    point = one("30b_scaling", "juwels-*-dp4-*", "megatron-deepspeed", **environment)
    (line,) = [each for each in point.script.splitlines() if "apptainer exec" in each]
    assert f"--bind '{CODE}/Megatron-DeepSpeed' --bind '{CODE}/data' /i.sif bash" in line
    text = one("nanotron_llama2_7b", "dp4-*", "nanotron", **environment).extra["workload.sh"]
    assert "exec /p/venv/bin/python -m torch.distributed.run " in text


def test_deepspeeds_files_hold_the_batch() -> None:
    for system, name, pattern, sets in EXAMPLES:
        if system in ("megatron-deepspeed", "fmengine"):
            point = one(name, pattern, system, **sets)
            file = json.loads(point.extra["workload.json"])
            training = point.point.training
            assert file["train_batch_size"] == training.global_batch_size
            assert file["train_micro_batch_size_per_gpu"] == training.micro_batch_size
            assert file["zero_optimization"]["stage"] == 1


@pytest.mark.parametrize(
    ("system", "name", "sets", "sentence"),
    [
        ("fmengine", "fmengine_llama", {}, "fmengine cannot say layout.sharding fsdp (it knows: ddp, zero1)"),
        ("fmengine", "fmengine_llama", {"sharding": "zero1", "cp": 2}, "fmengine cannot say layout.cp 2 (it knows: 1)"),
        ("llm-foundry", "30b_scaling", {}, "llm-foundry cannot say layout.pp 12 (it knows: 1)"),
        ("megatron-deepspeed", "torchtitan_llama", {}, "megatron-deepspeed cannot say layout.sharding fsdp"),
        ("megatron-lm", "30b_scaling", {}, "megatron-lm is written for slurm, local, not for pjm (fugaku)"),
        ("megatron-lm", "30b_scaling", {"pp": 5}, "deals equally many layers to each stage, but 5 stages do not divide 48 layers"),
        ("megatron-lm", "30b_scaling", {"pp": 1, "mbs": 7}, "to be a multiple of dp 1 x micro_batch_size 7 = 7"),
        ("torchtitan", "torchtitan_llama", {"tp": 2}, "set layout.sequence_parallel: true"),
        ("torchtitan", "torchtitan_llama", {"ac": "core-attention"}, "cannot say training.activation_checkpointing core-attention"),
        ("nanotron", "mpt_sweep", {}, "nanotron cannot say model.family mpt (it knows: llama)"),
        ("nanotron", "nanotron_llama2_7b", {"data.kind": "megatron", "data.path": "/d/text"}, "nanotron cannot say data.kind megatron"),
        ("megatron-lm", "30b_scaling", {"training.weights": "/w/llama"}, "megatron-lm cannot say training.weights /w/llama"),
        ("megatron-lm", "30b_scaling", {"communication": "gloo"}, "cannot say training.communication gloo (it knows: auto, nccl)"),
        ("llm-foundry", "mpt_sweep", {"compile": True}, "llm-foundry cannot say training.compile true (it knows: auto, false)"),
        ("fmengine", "fmengine_llama", {"sharding": "zero1", "training.optimizer.schedule": "cosine"}, "fmengine cannot say training.optimizer.schedule"),
        ("torchtitan", "torchtitan_llama", {"training.optimizer.decay_steps": 9}, "torchtitan cannot say training.optimizer.decay_steps 9"),
        ("torchtitan", "torchtitan_llama", {"dp": 1, "tp": 8, "sequence_parallel": True}, "only where weights are sharded, and else in fp32"),
    ],
)  # fmt: skip
def test_what_a_system_cannot_say_is_refused(system: str, name: str, sets: dict[str, Any], sentence: str) -> None:
    assert sentence in reasons(name, system, **sets)


def test_ranks_that_nodes_do_not_share_equally_are_refused() -> None:
    assert "2 nodes do not divide 5 ranks" in reasons(
        "fmengine_llama", "fmengine", sharding="zero1", dp=5, tp=1, pp=1, gbs=40
    )


def test_a_missing_place_stops_everything_and_says_the_way_out(cli: Cli, tmp_path: Path) -> None:
    done = cli("render", "nanotron_llama2_7b", "--set", "workload=nanotron")
    assert done.returncode == 2
    assert "nanotron needs its path" in done.stderr
    assert "--set workloads.nanotron.path=PLACE" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_a_place_that_no_script_expands_is_refused() -> None:
    with pytest.raises(InputError, match=r"workload.path '~/nanotron' is not expanded in scripts"):
        rendered("nanotron_llama2_7b", None, "nanotron", **{"workload.path": "~/nanotron"})


def test_an_unknown_workload_is_named_with_the_nearest_one() -> None:
    with pytest.raises(InputError, match="there is no workload 'nanotorn'; did you mean 'nanotron'"):
        rendered("nanotron_llama2_7b", None, "nanotorn")


def test_points_of_hpcscale_itself_stay_as_they_were() -> None:
    (plain,) = render(study.read("quickstart"), Request(point="dp1-*", out=OUT), OWN).points
    named = one("quickstart", "dp1-*", "hpcscale")
    assert named.texts == plain.texts
    assert '"workload"' not in plain.description


def test_the_workload_is_part_of_what_a_point_is_and_its_place_is_not() -> None:
    plain = one("30b_scaling", "juwels-*-dp4-*", "megatron-lm")
    (own,) = render(study.read("30b_scaling"), Request(point="juwels-*-dp4-*", out=OUT), OWN).points
    moved = one("30b_scaling", "juwels-*-dp4-*", {"name": "megatron-lm", "path": "/elsewhere"})
    tuned = one("30b_scaling", "juwels-*-dp4-*", "megatron-lm", **{"workload.arguments.transformer-impl": "local"})
    assert len({own.point.hash, plain.point.hash, tuned.point.hash}) == 3
    assert moved.point.hash == plain.point.hash
    assert "/elsewhere/pretrain_gpt.py" in moved.extra["workload.sh"]
    assert "/elsewhere" not in moved.description
    assert json.loads(tuned.description)["workload"] == {
        "name": "megatron-lm",
        "arguments": {"transformer-impl": "local"},
    }


def test_further_arguments_are_given_in_the_systems_own_way() -> None:
    options_ = {"lr-warmup-fraction": 0.01, "manual-gc": True, "profile": False, "recompute-modules": ["mlp", "a b"]}
    text = one("30b_scaling", "juwels-*-dp4-*", {"name": "megatron-lm", "arguments": options_}).extra["workload.sh"]
    assert "  --lr-warmup-fraction 0.01 \\\n  --manual-gc \\\n  --recompute-modules mlp 'a b' \\\n" in text
    assert "--profile" not in text
    dotted = {"name": "llm-foundry", "arguments": {"model.attn_config.attn_impl": "torch"}}
    text = one("mpt_sweep", "mosaicml-h100-80gb-mpt-7b-dp8-ac-none-*", dotted).extra["workload.sh"]
    assert text.endswith("workload.yaml' \\\n  model.attn_config.attn_impl=torch\n")
    inside = {"name": "nanotron", "arguments": {"optimizer.zero_stage": 1}}
    assert (
        yaml.safe_load(one("nanotron_llama2_7b", "dp4-*", inside).extra["workload.yaml"])["optimizer"]["zero_stage"]
        == 1
    )
    with pytest.raises(InputError, match=r"'optimizer.zero_stag' is no key of the file that nanotron reads"):
        rendered("nanotron_llama2_7b", None, {"name": "nanotron", "arguments": {"optimizer.zero_stag": 1}})


OWN_STUDY = """\
name: s
model: tiny-gpt
training: {sequence_length: 64, global_batch_size: 8}
workload: {name: counter, arguments: {word: "it's $HOME"}}
protocol: {warmup_steps: 1, measured_steps: 2}
machines: {local: {sweep: {product: {dp: [1, 2]}}}}
"""
COUNTER = """\
exec {{ python }} -c 'import os, sys
open("left-" + os.environ.get("RANK", "0"), "w").close()
print("rank", os.environ.get("RANK", 0), "layers {{ model.layers }} steps {{ steps }}", *sys.argv[1:])' {{ arguments | options | join(" ") }}
"""


def test_a_template_of_ones_own_really_runs(cli: Cli, write: Write, tmp_path: Path) -> None:
    write("templates/workloads/counter.sh.j2", COUNTER)
    write("s.yaml", OWN_STUDY)
    done = cli("run", "s.yaml")
    assert done.returncode == 0, done.stderr
    assert "failed" not in done.stderr
    assert done.stderr.count("counter printed into ") == 2
    (attempt,) = tmp_path.glob("runs/s/dp2-*/attempts/*")
    lines = (attempt / "output").read_text().splitlines()
    assert sorted(lines) == [f"rank {rank} layers 4 steps 3 --word it's $HOME" for rank in (0, 1)]
    assert sorted(path.name for path in attempt.iterdir()) == ["left-0", "left-1", "output"]


def test_a_command_in_the_study_that_fails_is_reported(cli: Cli, write: Write) -> None:
    command = '{name: mine, command: "echo {{ model.name }} is {{ ranks }} too much; exit 3"}'
    write("s.yaml", OWN_STUDY.replace('{name: counter, arguments: {word: "it\'s $HOME"}}', command))
    done = cli("run", "s.yaml", "--point", "dp1-*")
    assert done.returncode == 1
    assert "job.sh ended with exit status 3: tiny-gpt is 1 too much" in done.stderr


def test_a_mistake_in_a_template_of_ones_own_is_one_sentence(cli: Cli, write: Write) -> None:
    write("templates/workloads/counter.sh.j2", "echo {{ modle.layers }}")
    write("s.yaml", OWN_STUDY)
    done = cli("render", "s.yaml")
    assert done.returncode == 2
    assert "'modle' is undefined" in done.stderr
    assert "Traceback" not in done.stderr


def test_hpcscales_trainer_says_nothing_about_points_of_others(cli: Cli) -> None:
    given = ("--set", "workload={name: mine, command: exec true}", "--set", "precision=fp8")
    own = cli("render", "quickstart", "--set", "precision=fp8")
    assert "this version's trainer will refuse" in own.stdout
    assert "this version's trainer" not in cli("render", "quickstart", *given).stdout
    done = cli("dryrun", "quickstart", *given)
    assert done.returncode == 2
    assert "is run by mine; a dry run knows hpcscale's own trainer" in done.stderr


def test_hpcscales_trainer_does_not_train_a_point_of_another_system() -> None:
    from hpcscale.train.point_file import parse

    document = one("30b_scaling", "juwels-*-dp4-*", "megatron-lm").point.document()
    with pytest.raises(InputError, match="this point is run by megatron-lm, not by hpcscale's own trainer"):
        parse(document, "point.json")


def test_systems_stand_side_by_side_in_a_sweep(cli: Cli, write: Write) -> None:
    write("s.yaml", OWN_STUDY.replace("dp: [1, 2]", "workload: [hpcscale, {name: mine, command: exec true}]").replace(
        'workload: {name: counter, arguments: {word: "it\'s $HOME"}}\n', ""))  # fmt: skip
    points = json.loads(cli("render", "s.yaml", "--json").stdout)["points"]
    assert [point["point"].rsplit("-", 1)[0] for point in points] == ["hpcscale", "mine"]
