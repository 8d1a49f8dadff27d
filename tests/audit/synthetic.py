"""Tables as people publish them, computed from a model under one convention, and errors to put into them.

A table is a list of rows (exact quantities by name) and a style (which of them are printed, under which names, with how
many digits). An error changes quantities or printed text and says which rows it hits.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from hpcscale.cost.flops import convention
from hpcscale.spec.model import named

Row = dict[str, float | str]


@dataclass(frozen=True)
class Column:
    """How one quantity is printed."""

    quantity: str
    name: str
    form: str  # a format specification; `cut` drops digits instead of rounding
    factor: float = 1.0


@dataclass(frozen=True)
class Style:
    """``title`` and ``intro`` are the words around the table; ``drawn`` is markdown, csv, text or html."""

    columns: tuple[Column, ...]
    title: str
    intro: str = ""
    drawn: str = "markdown"
    strong: bool = False  # one global batch for all rows
    checkpointing: str = "none"


@dataclass(frozen=True)
class Case:
    style: Style
    rows: tuple[Row, ...]
    conv: str
    model: str
    hit: frozenset[int] = frozenset()  # indices of rows with an error
    header: tuple[str, ...] | None = None  # where it is not the style's
    texts: dict[tuple[int, str], str] = field(default_factory=dict)  # printed instead of what follows


PEAKS = {"A100": 312.0, "H100": 989.5, "V100": 125.0, "MI250X": 191.5}
C = Column
MEGATRON = (
    C("model", "Model", "s"), C("devices", "GPUs", ".0f"), C("tp", "TP", ".0f"), C("pp", "PP", ".0f"), C("dp", "DP", ".0f"),
    C("mbs", "MBS", ".0f"), C("gbs", "GBS", ".0f"), C("seq", "Seq len", ".0f"), C("seconds", "Sec/it", ".4g"),
    C("tflops", "TFLOP/s/GPU", ".1f"), C("pflops", "Aggregate PFLOP/s", ".4g"),
)  # fmt: skip
FOUNDRY = (
    C("model", "Model", "s"), C("seq", "SeqLen (T)", ".0f"), C("devices", "# GPUs", ".0f"), C("mfu", "MFU", ".2f", 100),
    C("mbs", "MicroBatchSize", ".0f"), C("accum", "GradAccum", ".0f"), C("gbs", "GlobalBatchSize", ".0f"),
    C("total", "Throughput (T/s)", ",.0f"), C("each", "Throughput (T/s/GPU)", ".0f"), C("parameters", "NumParams", ".0f"),
)  # fmt: skip
NODES = (
    C("nodes", "Nodes", ".0f"), C("devices", "GPUs", ".0f"), C("seconds", "Step time (ms)", ".1f", 1000),
    C("each", "Tokens/s per GPU", ".0f"), C("total", "Tokens/s", ".0f"), C("tflops", "TFLOPs/GPU", ".2f"),
    C("mfu", "MFU (%)", ".2f", 100), C("efficiency", "Scaling efficiency (%)", ".1f", 100),
)  # fmt: skip
TITAN = (
    C("devices", "Num GPUs", ".0f"), C("dp", "DP", ".0f"), C("tp", "TP", ".0f"), C("pp", "PP", ".0f"), C("mbs", "Local batch size", ".0f"),
    C("gbs", "Global batch size", ".0f"), C("each", "TPS/GPU", ",.0f"), C("tflops", "TFLOPS/GPU", ".1f"), C("mfu", "MFU", ".1f%"),
)  # fmt: skip
HARDWARE = (
    C("model", "Model", "s"), C("devices", "#GPUs", ".0f"), C("seq", "Sequence length", ".0f"), C("gbs", "Global batch size", ".0f"),
    C("ac", "Activation checkpointing", "s"), C("seconds", "Time per iteration (s)", ".4f"), C("mfu", "MFU (%)", ".2f", 100),
    C("hfu", "HFU (%)", ".2f", 100),
)  # fmt: skip


def rows_of(
    style: Style, model: str, conv: str, device: str, sequence: int, seed: int, counts: Sequence[int]
) -> tuple[Row, ...]:
    """Consistent rows: an efficiency that falls slowly with the number of devices, and all that follows from it."""
    dice = random.Random(seed)
    shape = named(model)
    tp, pp = dice.choice(((1, 1), (2, 1), (2, 2), (4, 2)))
    mbs, accum, mfu0 = dice.choice((1, 2, 4)), dice.choice((2, 4, 8)), dice.uniform(0.36, 0.52)
    found = []
    for place, devices in enumerate(counts):
        dp = devices // (tp * pp)
        gbs = mbs * accum * counts[-1] // (tp * pp) if style.strong else mbs * accum * dp
        shown = accum if not style.strong else gbs // (mbs * dp)
        ac = "full" if style.checkpointing == "full" or (style.checkpointing == "mixed" and place % 2) else "none"
        mfu = mfu0 * (1 - 0.018 * place) * dice.uniform(0.993, 1.007)
        work = convention(conv).flops_per_token(shape, sequence, tp, ac)
        found.append(
            {
                "model": model, "devices": devices, "nodes": devices // 4, "tp": tp, "pp": pp, "dp": dp, "mbs": mbs, "accum": shown,
                "gbs": gbs, "seq": sequence, "ac": {"full": "Yes", "none": "No"}[ac], "work": work, "peak": PEAKS[device],
                "each": mfu * PEAKS[device] * 1e12 / work, "hardware": 4 / 3 if ac == "full" else 1.0,
            }
        )  # fmt: skip
    return tuple(derive(row, float(found[0]["each"])) for row in found)


def derive(row: Row, base: float | None = None) -> Row:
    """All that follows from tokens/s of a device."""
    from hpcscale.cost.parameters import count

    def value(name: str) -> float:
        return float(row[name])

    each = value("each")
    total, tflops = each * value("devices"), each * value("work") / 1e12
    first = base if base is not None else value("base")
    return {
        **row, "base": first, "total": total, "tflops": tflops, "pflops": tflops * value("devices") / 1000, "mfu": tflops / value("peak"),
        "hfu": tflops * value("hardware") / value("peak"), "seconds": value("gbs") * value("seq") / total,
        "efficiency": each / first, "parameters": float(count(named(str(row["model"])), int(value("seq"))).total),
    }  # fmt: skip


def printed(column: Column, row: Row) -> str:
    value = row[column.quantity]
    if isinstance(value, str):
        return value
    percent = column.form.endswith("%")
    text = format(value * (100 if percent else column.factor), column.form.rstrip("%"))
    if "e" in text:
        text = f"{float(text):.0f}"
    return text + ("%" if percent else "")


def draw(case: Case) -> str:
    """The file."""
    names = list(case.header if case.header is not None else [column.name for column in case.style.columns])
    body = [
        [case.texts.get((index, column.quantity), printed(column, row)) for column in case.style.columns]
        for index, row in enumerate(case.rows)
    ]
    head = f"# {case.style.title}\n\n{case.style.intro}\n\n"
    if case.style.drawn == "csv":
        quoted = [[f'"{cell}"' if "," in cell else cell for cell in line] for line in [names, *body]]
        return f"# {case.style.title}\n# {case.style.intro}\n" + "\n".join(",".join(line) for line in quoted) + "\n"
    if case.style.drawn == "text":
        widths = [max(len(line[i]) if i < len(line) else 0 for line in [names, *body]) for i in range(len(body[0]))]
        lines = ["   ".join(cell.ljust(widths[i]) for i, cell in enumerate(line)) for line in [names, *body]]
        return head + "\n".join(lines) + "\n"
    if case.style.drawn == "html":
        lines = ["<table>", "<tr>" + "".join(f"<th>{name}</th>" for name in names) + "</tr>"]
        lines += ["<tr>" + "".join(f"<td>{cell}</td>" for cell in line) + "</tr>" for line in body]
        return head + "\n".join([*lines, "</table>"]) + "\n"
    lines = ["| " + " | ".join(line) + " |" for line in [names, ["---"] * len(names), *body]]
    return head + "\n".join(lines) + "\n"


def first_line(case: Case) -> int:
    """The file's line of the first row."""
    if case.style.drawn == "csv":
        return 4
    return {"markdown": 7, "text": 6, "html": 7}[case.style.drawn]


STYLES = (
    Style(MEGATRON, "{model} on {device}", "Trained on NVIDIA {device} GPUs with bf16."),
    Style(MEGATRON, "Strong scaling of {model}", "{device} nodes.", strong=True, drawn="text"),
    Style(FOUNDRY, "{device} BF16", "Models of the benchmark."),
    Style(FOUNDRY, "{device} BF16", "Models of the benchmark.", drawn="csv"),
    Style(NODES, "{model}", "Sequence length {seq}, global batch size grows with the number of {device} GPUs."),
    Style(NODES, "{model}", "Sequence length {seq}, {device}.", strong=True, drawn="html"),
    Style(TITAN, "{model}", "Performance on {device} GPUs, sequence length {seq}."),
    Style(HARDWARE, "Utilisation on {device}", "bf16", checkpointing="mixed"),
    Style(HARDWARE, "Utilisation on {device}", "bf16", drawn="csv"),
)  # fmt: skip
MODELS = (
    ("llama2-7b", "palm-full", 4096), ("llama2-13b", "nanotron", 4096), ("llama3-8b", "6N", 8192), ("llama3-70b", "megatron-causal", 8192),
    ("mpt-7b", "6N", 2048), ("gpt-13b", "megatron-causal", 2048), ("gpt-1.3b", "palm-full", 2048), ("llama3-8b", "palm-full", 8192),
    ("gpt-350m", "nanogpt", 1024), ("llama2-70b", "6N", 4096), ("gpt-30b", "eq3-hardware", 2048),
)  # fmt: skip


def clean(style: Style, model: str, conv: str, sequence: int, device: str = "A100", seed: int = 0) -> Case:
    counts = (8, 16, 32, 64, 128, 256) if seed % 2 else (16, 32, 64, 128, 256, 512, 1024)
    words = {"model": model, "device": device, "seq": sequence}
    worded = replace(style, title=style.title.format(**words), intro=style.intro.format(**words))
    return Case(worded, rows_of(worded, model, conv, device, sequence, seed, counts), conv, model)


def _changed(case: Case, index: int, change: Callable[[Row], Row]) -> Case:
    rows = tuple(change(dict(row)) if place == index else row for place, row in enumerate(case.rows))
    return replace(case, rows=rows, hit=case.hit | {index})


def _has(case: Case, *quantities: str) -> bool:
    return set(quantities) <= {column.quantity for column in case.style.columns}


Injection = Callable[[Case, int, random.Random], Case | None]


def _times(quantity: str, factor: float) -> Callable[[Row], Row]:
    return lambda row: {**row, quantity: float(row[quantity]) * factor}


def unit(case: Case, index: int, dice: random.Random) -> Case | None:
    quantity = dice.choice([each for each in ("seconds", "tflops", "total") if _has(case, each)])
    return _changed(case, index, _times(quantity, 1000.0))


def unit_column(case: Case, index: int, dice: random.Random) -> Case | None:
    if not _has(case, "seconds") or not (_has(case, "gbs") and _has(case, "seq")):
        return None
    rows = tuple({**row, "seconds": float(row["seconds"]) * 1000} for row in case.rows)
    return replace(case, rows=rows, hit=frozenset(range(len(rows))))


def layout(case: Case, index: int, dice: random.Random) -> Case | None:
    if not _has(case, "dp", "tp", "pp", "devices"):
        return None
    return _changed(case, index, _times(dice.choice(("dp", "tp", "pp")), 2.0))


def recompute(case: Case, index: int, dice: random.Random) -> Case | None:
    if not (_has(case, "seconds", "gbs") or _has(case, "each")):
        return None
    factor = dice.choice((4 / 3, 3 / 4))

    def change(row: Row) -> Row:
        found = dict(row)
        for quantity in ("tflops", "pflops", "mfu", "hfu"):
            found[quantity] = float(found[quantity]) * factor
        return found

    if float(case.rows[index]["mfu"]) * factor > 0.95 or case.style.columns is HARDWARE:
        return None
    return _changed(case, index, change)


def _other_way(case: Case, index: int, other: str) -> Case | None:
    row = case.rows[index]
    work = convention(other).flops_per_token(named(case.model), int(float(row["seq"])), int(float(row["tp"])))
    ratio = work / float(row["work"])
    if abs(ratio - 1) < 0.012:
        return None  # no printed digit shows it

    def change(row: Row) -> Row:
        found = dict(row)
        for quantity in ("tflops", "pflops", "mfu", "hfu"):
            found[quantity] = float(found[quantity]) * ratio
        return found

    return _changed(case, index, change)


def embedding(case: Case, index: int, dice: random.Random) -> Case | None:
    other = {"palm-full": "6N", "nanotron": "6N", "6N": "palm-full", "nanogpt": "palm-full"}.get(case.conv)
    return _other_way(case, index, other) if other else None


def causal(case: Case, index: int, dice: random.Random) -> Case | None:
    other = {"palm-full": "megatron-causal", "nanotron": "megatron-causal", "megatron-causal": "nanochat"}.get(
        case.conv
    )
    return _other_way(case, index, other) if other else None


def peak(case: Case, index: int, dice: random.Random) -> Case | None:
    return _changed(case, index, _times("mfu", 0.5)) if _has(case, "mfu") else None


def peak_column(case: Case, index: int, dice: random.Random) -> Case | None:
    if not _has(case, "mfu") or _has(case, "hfu"):
        return None
    rows = tuple({**row, "mfu": float(row["mfu"]) / 2} for row in case.rows)
    return replace(case, rows=rows, hit=frozenset(range(len(rows))))


def kilo(case: Case, index: int, dice: random.Random) -> Case | None:
    return _changed(case, index, _times("pflops", 1000 / 1024)) if _has(case, "pflops") else None


def shape(case: Case, index: int, dice: random.Random) -> Case | None:
    if not _has(case, "model"):
        return None
    family = case.model.rpartition("-")[0]
    others = {"llama2": "llama2-13b", "llama3": "llama3-70b", "mpt": "mpt-3b", "gpt": "gpt-124m"}
    other = others[family] if others[family] != case.model else {"llama2": "llama2-7b", "llama3": "llama3-8b"}[family]
    return replace(case, texts={(index, "model"): other}, hit=frozenset({index}))


def columns(case: Case, index: int, dice: random.Random) -> Case | None:
    names = [column.name for column in case.style.columns]
    if case.style.drawn == "text":
        return None
    place = dice.randrange(1, len(names) - 3)
    return replace(case, header=(*names[:place], *names[place + 1 :]), hit=frozenset(range(len(case.rows))))


def columns_swapped(case: Case, index: int, dice: random.Random) -> Case | None:
    names = [column.name for column in case.style.columns]
    measured = [
        i
        for i, column in enumerate(case.style.columns)
        if column.quantity in ("seconds", "tflops", "mfu", "each", "total")
    ]
    pairs = [(a, b) for a, b in itertools.pairwise(measured) if b == a + 1]
    if not pairs:
        return None
    a, b = pairs[0]
    names[a], names[b] = names[b], names[a]
    return replace(case, header=tuple(names), hit=frozenset(range(len(case.rows))))


def batch(case: Case, index: int, dice: random.Random) -> Case | None:
    return _changed(case, index, _times("gbs", dice.choice((2.0, 1.5)))) if _has(case, "gbs", "seq") else None


def duplicate(case: Case, index: int, dice: random.Random) -> Case | None:
    twin = derive({**case.rows[index], "each": float(case.rows[index]["each"]) * dice.choice((0.93, 1.06))})
    rows = (*case.rows[: index + 1], twin, *case.rows[index + 1 :])
    return replace(case, rows=rows, hit=frozenset({index, index + 1}))


def straggler(case: Case, index: int, dice: random.Random) -> Case | None:
    if index == len(case.rows) - 1 or index == 0:
        return None
    if not _has(case, "devices"):
        return None
    return _changed(case, index, lambda row: derive({**row, "each": float(row["each"]) * dice.uniform(0.7, 0.82)}))


def rounding(case: Case, index: int, dice: random.Random) -> Case | None:
    """Tokens/s to two digits, printed with all of them."""
    quantity = next((each for each in ("each", "total") if _has(case, each)), None)
    if quantity is None:
        return None
    value = float(case.rows[index][quantity])
    rough = float(f"{value:.2g}")
    if abs(rough / value - 1) < 0.008:
        return None
    return _changed(case, index, lambda row: {**row, quantity: rough})


INJECTIONS: dict[str, tuple[str, Injection]] = {
    "unit": ("unit", unit), "unit, column": ("unit", unit_column), "layout": ("layout", layout), "recompute": ("recompute", recompute),
    "embedding": ("embedding", embedding), "causal": ("causal", causal), "peak": ("peak", peak), "peak, column": ("peak", peak_column),
    "kilo": ("kilo", kilo), "shape": ("shape", shape), "columns, name lost": ("columns", columns),
    "columns, names exchanged": ("columns", columns_swapped), "batch": ("batch", batch), "duplicate": ("duplicate", duplicate),
    "straggler": ("straggler", straggler), "rounding": ("rounding", rounding),
}  # fmt: skip
