"""Consistent tables raise nothing; one error of each kind, put into one row or a column, is found by its code."""

from __future__ import annotations

import random

import pytest
import synthetic
from synthetic import Case

from hpcscale.audit.examine import RowVerdict, audit

# A fixed grid: every style with every third model, so that each error meets each style and convention.
GRID = [
    (style, model)
    for style in range(len(synthetic.STYLES))
    for model in range(len(synthetic.MODELS))
    if (style + 2 * model) % 5 == 0
    # HFU says the same as such a convention's MFU: no table prints both
    and not (synthetic.STYLES[style].columns is synthetic.HARDWARE and synthetic.MODELS[model][1] == "eq3-hardware")
]


def case(style: int, model: int) -> Case:
    name, conv, sequence = synthetic.MODELS[model]
    device = ("A100", "H100")[model % 2]
    return synthetic.clean(synthetic.STYLES[style], name, conv, sequence, device, seed=style * 11 + model)


def judged(drawn: Case) -> list[RowVerdict]:
    found = audit(synthetic.draw(drawn), "," if drawn.style.drawn == "csv" else None)
    return [row for table in found for row in table.rows]


@pytest.mark.parametrize(("style", "model"), GRID)
def test_a_consistent_table_reproduces_throughout(style: int, model: int) -> None:
    drawn = case(style, model)
    found = judged(drawn)
    assert [(row.verdict, [cause.sentence for cause in row.causes]) for row in found] == [("reproduces", [])] * len(
        drawn.rows
    )
    assert [row.line for row in found] == [synthetic.first_line(drawn) + index for index in range(len(found))]


# Share of the rows with an error that must be called by its code, and of called rows that must have it.
@pytest.mark.parametrize("name", synthetic.INJECTIONS)
def test_seeded_errors_are_found_by_their_code(name: str) -> None:
    code, inject = synthetic.INJECTIONS[name]
    hit = called = right = 0
    log = []
    for style, model in GRID:
        dice = random.Random(100 * style + model)
        clean = case(style, model)
        wrong = inject(clean, dice.randrange(len(clean.rows)), dice)
        if wrong is None:
            continue
        for index, row in enumerate(judged(wrong)):
            found = {cause.code for cause in row.causes}
            hit += index in wrong.hit
            called += row.verdict == "inconsistent"
            right += index in wrong.hit and code in found
            if (index in wrong.hit) != (code in found):
                log.append((style, clean.model, row.line, row.verdict, [cause.sentence for cause in row.causes]))
    print(f"{name}: {hit} rows with the error, recall {right / hit:.3f}, precision {right / max(called, 1):.3f}")
    assert hit
    assert right >= 0.85 * hit, log
    assert right >= 0.85 * called, log
