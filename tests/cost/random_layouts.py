"""Random layouts that hpcscale's trainer can run, and what its dry run holds of them.

python tests/cost/random_layouts.py 2026 60      # writes dry_runs.json: seed, how many; some minutes
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hpcscale.spec import rules
from hpcscale.spec.layout import Data, Layout, Training
from hpcscale.spec.model import Model, catalogue
from hpcscale.train.supported import not_built

GOLDEN = Path(__file__).with_name("dry_runs.json")
FAMILIES = ("gpt", "mpt", "llama", "bert")
SCHEDULES = ("1f1b", "1f1b", "gpipe", "interleaved-1f1b", "interleaved-zero-bubble", "zbv")
CHECKPOINTING = ("none", "full", "selective-op", "selective-layer:2", "selective-layer:3", "core-attention")
# what a point.json says of its device; the loss takes larger chunks on a GPU
KINDS = ("gpu", "cpu")
# The first and the last stage of each point; the stages between hold less than one of them.
RUN = """
from pathlib import Path
from hpcscale.train import dryrun, point_file
for file in map(Path, {files}):
    layout = point_file.read(file).layout
    dryrun.run(file, sorted({{0, (layout.pp - 1) * (layout.ranks // layout.pp)}}), False)
"""


def drawn(seed: int, count: int) -> list[dict[str, Any]]:
    """That many layouts without a refusal: {kind, model, layout, training}."""
    dice = random.Random(seed)
    found: list[dict[str, Any]] = []
    while len(found) < count:
        case = _draw(dice)
        if case is not None:
            found.append(case)
    return found


def _draw(dice: random.Random) -> dict[str, Any] | None:
    kind = dice.choice(KINDS)
    model = _model(dice)
    pp = dice.choice((1, 1, 2, 4))
    schedule = dice.choice(SCHEDULES) if pp > 1 else "1f1b"
    virtual = 2 if schedule == "zbv" else 2 if schedule.startswith("interleaved") else 1
    sharding = dice.choice(("ddp", "zero1", "fsdp", "hsdp"))
    dp, tp, cp = dice.choice((1, 2, 4, 8, 16)), dice.choice((1, 1, 2, 4)), dice.choice((1, 1, 1, 2, 4))
    layout = Layout(
        dp=dp, tp=tp, pp=pp, cp=cp, sharding=sharding, dp_replicate=2 if sharding == "hsdp" else None,
        sequence_parallel=tp > 1 and dice.random() < 0.5, schedule=schedule, virtual_stages=virtual,
    )  # fmt: skip
    micro = dice.choice((1, 1, 2, 4, 8))
    count = dice.choice((1, 2, 3)) if pp == 1 else pp * dice.choice((1, 2))
    training = Training(
        sequence_length=model.max_positions or dice.choice((512, 1024, 2048, 4096)), micro_batch_size=micro,
        global_batch_size=dp * micro * count, activation_checkpointing=dice.choice(CHECKPOINTING),
        precision=dice.choice(("bf16", "bf16", "fp16", "fp32")),
    )  # fmt: skip
    broken = [
        *rules.layout_violations(model, layout, training),
        *not_built(model, layout, training, Data(), "auto", kind == "gpu"),
    ]
    if broken:
        return None
    return {
        "kind": kind,
        "model": model.model_dump(mode="json", exclude_defaults=True),
        "layout": layout.model_dump(mode="json", exclude_defaults=True),
        "training": training.model_dump(mode="json", exclude_defaults=True),
    }


def _model(dice: random.Random) -> Model:
    family = dice.choice(FAMILIES)
    head_size, heads = dice.choice((64, 64, 128)), dice.choice((8, 16, 32))
    hidden = head_size * heads
    gated = catalogue()[0][family].get("mlp") == "swiglu"
    given = {
        **catalogue()[0][family], "family": family, "name": f"random-{family}", "layers": dice.choice((4, 6, 8, 12)), "hidden": hidden, "heads": heads,
        "kv_heads": dice.choice((heads, heads // 4)) if family == "llama" else heads,
        "ffn": 64 * round(hidden * 8 / 3 / 64) if gated else 4 * hidden,
    }  # fmt: skip
    if family != "bert":
        given["vocab"] = dice.choice((8000, 32000, 50304, 128256))
    if family == "mpt":
        given["positions"] = dice.choice(("learned", "alibi"))
    return Model.model_validate(given)


def document(case: dict[str, Any]) -> dict[str, Any]:
    """The content of the point.json of a case."""
    return {
        "schema": 1, "study": "random", "point": "random-00000000", "hash": "00000000", "machine": "local", "nodes": 1,
        "device": {"name": "any", "kind": case["kind"], "peak_tflops": None, "memory_bytes": None},
        "model": case["model"], "layout": case["layout"], "training": case["training"],
        "data": {"kind": "synthetic"}, "protocol": {"warmup_steps": 0, "measured_steps": 1},
    }  # fmt: skip


def dry_runs(cases: list[dict[str, Any]]) -> list[dict[str, dict[str, Any]]]:
    """For each case the bytes of its first and its last stage's rank: rank -> peak and what it consists of."""
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, f"{number}.json") for number in range(len(cases))]
        for file, case in zip(files, cases, strict=True):
            file.write_text(json.dumps(document(case)))
        # one process for all: torch takes seconds to load
        command = [sys.executable, "-c", RUN.format(files=[str(file) for file in files])]
        output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False).stdout
    found: dict[str, dict[str, Any]] = {str(file): {} for file in files}
    for line in output.splitlines():
        each = json.loads(line)
        if "peak_bytes" not in each:
            raise SystemExit(f"{each} {cases[int(Path(each['file']).stem)]}")
        found[each["file"]][str(each["rank"])] = {"peak": each["peak_bytes"], **each["peak_by_kind"]}
    return list(found.values())


def main(seed: int, count: int, file: Path = GOLDEN) -> None:
    cases = drawn(seed, count)
    runs = dry_runs(cases)
    lines = [json.dumps({**case, "ranks": run}) for case, run in zip(cases, runs, strict=True)]
    file.write_text("[\n" + ",\n".join(lines) + "\n]\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), *map(Path, sys.argv[3:]))
