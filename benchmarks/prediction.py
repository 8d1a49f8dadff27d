"""How well do predictions hold on published rows? Prints the error of seconds per step by system, and of memory.

    python benchmarks/prediction.py            # the table
    python benchmarks/prediction.py --json     # the same as numbers
    python benchmarks/prediction.py --ranking  # only the ranking of layouts
    python benchmarks/prediction.py --fit      # writes hpcscale/cost/fitted.yaml from all rows

Rows: benchmarks/data/published_rows.csv, whose `source` names the document of each. Protocols:

    left out   constants from the priors and the other systems' rows; nothing of the system. Siblings are left out together.
    pilot      the same, then a fit on the system's first two rows; the rest is predicted
    half       the same, then a fit on a random half of its rows; the other half is predicted, both ways round

Layout ranking: rows of Jean Zay that were measured together (one model, one heading of its chronicle, equally many devices and
sequences) and differ only in their layout, three of them or more. Spearman's rank correlation of predicted and measured seconds,
and the regret: how much longer the layout that is predicted to be the fastest takes than the one that is. Two protocols: left out as
above, and after a fit on the site's rows outside the group, which is what a search on a calibrated machine has.

The figure of a protocol is the mean over systems of the system's median absolute relative error.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from hpcscale.cost import cases as cases_of
from hpcscale.cost import tables
from hpcscale.cost.calibration import fit_class
from hpcscale.cost.constants import FITTED, Fitted
from hpcscale.cost.of_rows import described

ROWS = Path(__file__).with_name("data") / "published_rows.csv"
# Systems of one owner or site: leaving one out means leaving out all.
SIBLINGS = {
    "mosaicml_a100_40gb": "mosaicml", "mosaicml_a100_80gb": "mosaicml", "mosaicml_h100_80gb": "mosaicml",
    "nanotron_a100x4": "a100x4", "nemo_a100x4": "a100x4",
}  # fmt: skip
RANKED = "jeanzay_a100_80gb"  # the only system whose tables compare layouts
TARGETS = {"left out": (0.14, 0.45), "pilot": (0.08, 0.28), "half": (0.06, 0.18)}
Row = dict[str, Any]  # column -> cell


def read() -> list[Row]:
    with ROWS.open(encoding="utf-8") as file:
        return [{str(name): cell for name, cell in row.items()} for row in csv.DictReader(file)]


def group(row: Row) -> str:
    system = str(row["system"])
    return SIBLINGS.get(system, system)


def measured(rows: list[Row]) -> list[Row]:
    """Rows with a time: also the one of Fugaku that ran, and ended for want of memory after an epoch."""
    return [row for row in rows if row["sec_per_iter"]]


def learned_from(rows: list[Row]) -> Fitted:
    """Constants of classes from these rows."""
    found = [(described(row), row) for row in measured(rows)]
    able = [(each, row) for each, row in found if each.values is not None]
    cases = cases_of.made([each.values or {} for each, _ in able])
    seconds = np.array([float(row["sec_per_iter"]) for _, row in able])
    return fit_class(cases, [each.kind for each, _ in able], seconds, [group(row) for _, row in able])


def halves(rows: list[Row]) -> Iterator[tuple[list[Row], list[Row]]]:
    order = np.random.default_rng(1).permutation(len(rows))
    first, second = ([rows[i] for i in part] for part in np.array_split(order, 2))
    if first and second:
        yield first, second
        yield second, first


def pilots(rows: list[Row]) -> Iterator[tuple[list[Row], list[Row]]]:
    if len(rows) > 2:
        yield rows[:2], rows[2:]


def predicted(known: list[Row], rest: list[Row], learned: Fitted) -> list[tuple[float, bool]]:
    """(signed relative error, inside the interval) of ``rest``, after a fit on ``known``."""
    plain: list[Row] = [{**row, "oom": None} for row in (*known, *rest)]
    found = tables.predict_rows(plain, pilot=len(known), learned=learned, use_calibrations=False)[len(known) :]
    results = []
    for each, row in zip(found, rest, strict=True):
        if each.seconds is None or each.low is None or each.high is None:
            raise SystemExit(f"{row['system']} {row['model']}: {each.reason}")
        seconds = float(row["sec_per_iter"])
        results.append((each.seconds / seconds - 1, each.low <= seconds <= each.high))
    return results


def evaluate(rows: list[Row]) -> dict[str, Any]:
    usable = measured(rows)
    by_system = {
        name: [row for row in usable if row["system"] == name]
        for name in dict.fromkeys(row["system"] for row in usable)
    }
    learned = {
        each: learned_from([row for row in usable if group(row) != each]) for each in {group(row) for row in usable}
    }
    protocols: dict[str, Any] = {}
    for protocol in TARGETS:
        table, everything = {}, []
        for system, own in by_system.items():
            splits = [([], own)] if protocol == "left out" else pilots(own) if protocol == "pilot" else halves(own)
            found = [one for known, rest in splits for one in predicted(known, rest, learned[group(own[0])])]
            if not found:
                continue
            errors = np.array([abs(error) for error, _ in found])
            table[system] = {
                "n": len(errors), "median": float(np.median(errors)), "p90": float(np.quantile(errors, 0.9)),
                "bias": float(np.median([error for error, _ in found])), "coverage": float(np.mean([inside for _, inside in found])),
            }  # fmt: skip
            everything += found
        errors = np.array([abs(error) for error, _ in everything])
        protocols[protocol] = {
            "systems": table, "mean_of_medians": float(np.mean([each["median"] for each in table.values()])),
            "p90": float(np.quantile(errors, 0.9)), "coverage": float(np.mean([inside for _, inside in everything])),
        }  # fmt: skip
    return protocols


def memory(rows: list[Row]) -> dict[str, Any]:
    """Calibrated on a random half of a system's rows with a memory figure; verdicts of every row, calibrated on all."""
    errors, verdicts = [], []
    for system in dict.fromkeys(row["system"] for row in rows if row["mem_gib"] or row["oom"] == "yes"):
        own = [row for row in rows if row["system"] == system]
        known = [row for row in own if row["mem_gib"] and row["sec_per_iter"]]
        for first, second in halves(known):
            for each, row in zip(tables.predict_rows(first + second, len(first))[len(first) :], second, strict=True):
                errors.append(abs((each.memory or np.nan) / (float(row["mem_gib"]) * tables.GIB) - 1))
        judged = [row for row in own if row["mem_gib"] or row["oom"] == "yes"]
        ordered = known + [row for row in judged if row not in known]
        for each, row in zip(tables.predict_rows(ordered, len(known)), ordered, strict=True):
            verdicts.append((each.verdict, row["oom"] == "yes"))
    ooms = [verdict for verdict, real in verdicts if real]
    fits = [verdict for verdict, real in verdicts if not real]
    return {
        "n": len(errors), "median": float(np.median(errors)), "p90": float(np.quantile(errors, 0.9)), "oom_rows": len(ooms),
        "oom_missed": sum(verdict != "OOM" for verdict in ooms), "oom_called_fits": sum(verdict == "fits" for verdict in ooms),
        "other_rows": len(fits), "false_alarms": sum(verdict == "OOM" for verdict in fits),
    }  # fmt: skip


def layout_groups(rows: list[Row]) -> list[list[Row]]:
    """Rows measured together that differ in nothing but their layout, three layouts or more."""
    found: dict[tuple[str, ...], list[Row]] = {}
    for row in measured(rows):
        heading = ";".join(row["notes"].split(";")[:2])
        key = (*(row[name] for name in ("system", "model", "layers", "hidden", "heads", "gpus", "gbs")), heading)
        found.setdefault(key, []).append(row)
    axes = ("dp", "tp", "pp", "cp", "vpp", "mbs", "sharding")
    return [each for each in found.values() if len({tuple(row[name] for name in axes) for row in each}) >= 3]


def ranking(rows: list[Row]) -> dict[str, Any]:
    """By protocol: Spearman's correlation and the regret, mean and median over the groups."""
    from scipy.stats import spearmanr

    own = [row for row in rows if row["system"] == RANKED]
    learned = learned_from([row for row in rows if group(row) != RANKED])
    results: dict[str, Any] = {}
    for protocol in ("left out", "other groups"):
        correlations, regrets = [], []
        for together in layout_groups(own):
            known = [] if protocol == "left out" else [row for row in measured(own) if row not in together]
            real = np.array([float(row["sec_per_iter"]) for row in together])
            seconds = real * (1 + np.array([error for error, _ in predicted(known, together, learned)]))
            correlations.append(float(spearmanr(seconds, real)[0]))  # type: ignore[arg-type]
            regrets.append(float(real[np.argmin(seconds)] / real.min() - 1))
        results[protocol] = {
            "groups": len(correlations), "spearman": float(np.mean(correlations)), "spearman_median": float(np.median(correlations)),
            "regret": float(np.mean(regrets)), "regret_median": float(np.median(regrets)),
        }  # fmt: skip
    return results


def show_ranking(results: dict[str, Any]) -> None:
    for protocol, each in results.items():
        print(
            f"ranking, {protocol}: Spearman {each['spearman']:.2f} (median {each['spearman_median']:.2f}, target 0.7), regret of "
            f"the top choice {100 * each['regret']:.1f} % (median {100 * each['regret_median']:.1f} %, target 5 %), "
            f"{each['groups']} groups of {RANKED}"
        )


def fit(rows: list[Row]) -> None:
    found = learned_from(rows)
    lines = [
        "# Constants of classes and generations after a fit on the published rows: python benchmarks/prediction.py --fit",
        f"# {len(measured(rows))} rows of benchmarks/data/published_rows.csv; what is not here stays at its prior.",
        "constants:",
    ]
    for name, values in found.items():
        inside = ", ".join(f"{owner}: {float(f'{value:.4g}')}" for owner, value in values.items())
        lines.append(f"  {name}: {{{inside}}}")
    FITTED.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{FITTED.name}: {len(found)} constants")


def show(protocols: dict[str, Any], memories: dict[str, Any]) -> None:
    print(f"{'system':22} {'n':>4} " + " ".join(f"{name + ' median':>16} {'p90':>6} {'bias':>6}" for name in TARGETS))
    systems = protocols["left out"]["systems"]
    for system in systems:
        cells = []
        for name in TARGETS:
            each = protocols[name]["systems"].get(system)
            cells.append(
                f"{100 * each['median']:15.1f}% {100 * each['p90']:5.1f}% {100 * each['bias']:+5.1f}%"
                if each
                else " " * 30
            )
        print(f"{system:22} {systems[system]['n']:4} " + " ".join(cells))
    for name, (median, p90) in TARGETS.items():
        each = protocols[name]
        print(
            f"{name}: mean of medians {100 * each['mean_of_medians']:.1f} % (target {100 * median:.0f} %), "
            f"90th percentile {100 * each['p90']:.1f} % (target {100 * p90:.0f} %), 80 % intervals cover {100 * each['coverage']:.0f} %"
        )
    m = memories
    print(
        f"memory: median error {100 * m['median']:.1f} %, 90th percentile {100 * m['p90']:.1f} % of {m['n']} rows; "
        f"of {m['oom_rows']} OOM rows {m['oom_missed']} missed, {m['false_alarms']} false alarms in {m['other_rows']}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--fit", action="store_true")
    parser.add_argument("--ranking", action="store_true", help="only the ranking of layouts")
    arguments = parser.parse_args()
    rows = read()
    if arguments.fit:
        return fit(rows)
    if arguments.ranking:
        return show_ranking(ranking(rows))
    protocols, memories, layouts = evaluate(rows), memory(rows), ranking(rows)
    if arguments.json:
        print(json.dumps({"time": protocols, "memory": memories, "ranking": layouts}, indent=1))
    else:
        show(protocols, memories)
        show_ranking(layouts)
    return None


if __name__ == "__main__":
    main()
