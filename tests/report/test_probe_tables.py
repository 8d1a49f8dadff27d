"""What a probe measured, as people see it."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from hpcscale.record.probe import Beside, Probe
from hpcscale.report.probe import tables


def test_a_collective_beside_a_product_is_shown_with_what_it_adds() -> None:
    line = Beside(
        kind="beside", dtype="fp32", collective="all_gather", bytes=3 * 2**20, ranks=2, span="node", m=512, n=3072, k=256,
        product_seconds=0.010, collective_seconds=0.004, seconds=0.012, seconds_low=0.011, seconds_high=0.013, repeats=9,
    )  # fmt: skip
    (table,) = tables(Probe(Path("record.jsonl"), {"ranks": 2}, (line,)))
    console = Console(file=io.StringIO(), width=140)
    console.print(table)
    said = console.file.getvalue()  # type: ignore[attr-defined]
    assert "beside a layer's products among 2 ranks on one node" in said
    (row,) = [each.split() for each in said.splitlines() if "all_gather" in each]
    assert " ".join(row) == "512, 256 all_gather 3 MiB 10.0 ms 4.00 ms 12.0 ms 2.00 ms"
