"""How long the page of a report takes to make, and how soon it answers in Chromium.

    python benchmarks/page.py [--points 5000] [--steps 100] [--repeat 15]

Writes runs of that many points, makes their page, opens it and takes the time from an input (a click on a title, a typed
letter, an opened row) to the next painted frame; charts that are redrawn afterwards are the longest task that follows.
Targets: 100 ms an interaction, plotly.js and 10 MB a file.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from hpcscale.report.build import build
from hpcscale.report.page.save import page as page_of
from hpcscale.spec.model import named

# What a person does, as the page's own elements: the function does it for the i-th time. Filters are set back in between.
INTERACTIONS = {
    "sort by numbers": "(i) => [...document.querySelectorAll('th button')].find((b) => b.textContent.startsWith('tokens/s')).click()",
    "sort by text": "(i) => [...document.querySelectorAll('th button')].find((b) => b.textContent.startsWith('Layout')).click()",
    "type into the filter": "(i) => { const w = document.getElementById('words'); w.value = ['dp1', 'dp16', 'dp16 tp', ''][i % 4]; w.dispatchEvent(new Event('input')); }",
    "compare in the filter": "(i) => { const w = document.getElementById('words'); w.value = i % 2 ? 'mfu>10' : 'mfu>30 devices>=8'; w.dispatchEvent(new Event('input')); }",
    "choose in the filter": "(i) => { const s = document.querySelector('#filters select'); s.selectedIndex = i % 2; s.dispatchEvent(new Event('change')); }",
    "next page": "(i) => document.querySelector('[aria-label=\"Next page\"]').click()",
    "open a row": "(i) => { document.getElementById('detail').close(); document.querySelectorAll('tbody button')[i].click(); }",
    "light and dark": "(i) => { document.getElementById('detail').close(); document.getElementById('theme').click(); }",
}
# From the input until the frame with its result is painted, and the longest task in the second after it (charts).
MEASURE = """async ([act, i]) => {
  const painted = () => new Promise((done) => requestAnimationFrame(() => { const c = new MessageChannel(); c.port1.onmessage = done; c.port2.postMessage(0); }));
  let longest = 0;
  const watch = new PerformanceObserver((list) => { for (const each of list.getEntries()) longest = Math.max(longest, each.duration); });
  await painted();
  const start = performance.now();
  act(i);
  await painted();
  const taken = performance.now() - start;
  watch.observe({ type: 'longtask' });
  await new Promise((done) => setTimeout(done, 1000));
  watch.disconnect();
  return [taken, longest];
}"""
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync")  # fmt: skip


def write_runs(folder: Path, points: int, steps: int) -> None:
    """Points of a sweep over layouts, batches and sizes, each with a record."""
    model = named("llama2-7b").model_dump(mode="json")
    for number in range(points):
        tp, pp, dp = 2 ** (number % 4), 2 ** (number // 4 % 3), 2 ** (number // 12 % 8)
        batch = 256 * (1 + number // 96)
        devices = tp * pp * dp
        seconds = (
            batch * 4096 * 4.1e10 / (devices * 312e12 * (0.5 - 0.02 * tp - 0.015 * pp - 0.01 * (number // 12 % 8)))
        )
        point: dict[str, Any] = {
            "schema": 1, "study": "big", "point": f"dp{dp}-tp{tp}-pp{pp}-gbs{batch}-{number:08x}", "hash": f"{number:08x}",
            "scaling": "strong", "repeat": 1, "machine": ("juwels-booster", "leonardo-booster")[number % 2],
            "nodes": max(1, devices // 4), "ranks": devices, "devices": devices, "resources": {},
            "device": {"name": "a100-40gb", "kind": "gpu", "peak_tflops": 312.0, "memory_bytes": 40 * 2**30}, "model": model,
            "layout": {"dp": dp, "tp": tp, "pp": pp, "cp": 1, "sharding": "fsdp"},
            "training": {"sequence_length": 4096, "global_batch_size": batch, "micro_batch_size": 1, "precision": "bf16", "activation_checkpointing": "full"},
            "protocol": {"warmup_steps": 2, "measured_steps": steps - 2, "repeats": 1},
        }  # fmt: skip
        lines: list[dict[str, Any]] = [{"schema": "run", "version": 1, "time": 1.0, "point": point, "versions": {}, "hosts": [], "ranks": devices, "device": "a", "backend": "nccl"}]  # fmt: skip
        lines += [
            {"schema": "step", "version": 1, "step": i, "step_seconds": seconds * (1 + (i * 7919 % 13) / 500), "loss": 11 / (1 + i / 20), "tokens": 1, "peak_memory_bytes": 2**34 + number}
            for i in range(1, steps + 1)
        ]  # fmt: skip
        lines.append({"schema": "summary", "version": 1, "time": 9, "steps": steps, "wall_seconds": 1, "peak_memory_bytes": 2**34 + number})  # fmt: skip
        record = folder / "big" / point["point"] / "attempts" / "1.0" / "record.jsonl"
        record.parent.mkdir(parents=True)
        record.write_text("".join(json.dumps(line) + "\n" for line in lines))
        (record.parent.parent.parent / "point.json").write_text(json.dumps(point))


def make(folder: Path) -> Path:
    """The page of the runs; says how long it took."""
    start = time.process_time()
    report = build([str(folder / "big")], folder)
    built = time.process_time()
    text = page_of(report, [str(folder / "big")], folder)
    made = time.process_time()
    path = folder / "page.html"
    path.write_text(text)
    print(
        f"{len(report.rows)} rows: report {built - start:.1f} CPU s, page {made - built:.1f} CPU s more, {len(text) / 1e6:.1f} MB"
    )
    return path


def answers(path: Path, repeat: int) -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=list(FLAGS))
        page = browser.new_page(
            viewport={"width": 1440, "height": 900}, bypass_csp=True
        )  # evaluating text is not allowed in it
        start = time.perf_counter()
        page.goto(path.as_uri())
        page.wait_for_selector("html[data-ready]", state="attached")
        print(f"opened in {time.perf_counter() - start:.1f} s")
        page.locator("#charts").scroll_into_view_if_needed()
        page.wait_for_timeout(3000)  # the charts near what is seen are drawn
        print(f"{'interaction':24} {'median ms':>9} {'slowest':>8} {'longest task after it':>22}")
        for name, act in INTERACTIONS.items():
            page.evaluate("document.getElementById('clear').click()")
            page.wait_for_timeout(1500)
            found = [page.evaluate(f"([i]) => ({MEASURE})([{act}, i])", [i]) for i in range(repeat)]
            taken, after = [each[0] for each in found], [each[1] for each in found]
            print(
                f"{name:24} {statistics.median(taken):9.0f} {max(taken):8.0f} {statistics.median(after):22.0f}",
                flush=True,
            )
        browser.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--points", type=int, default=5000)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--repeat", type=int, default=15)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_runs(folder, arguments.points, arguments.steps)
        answers(make(folder), arguments.repeat)


if __name__ == "__main__":
    main()
