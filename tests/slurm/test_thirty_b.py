"""30b_scaling scaled down, from the study to the table, on a real Slurm with JUWELS Booster's partitions."""

from __future__ import annotations

import json

from hpcscale.record.reader import read

from .conftest import Site


def test_a_scaled_down_30b_study_is_rendered_submitted_trained_across_nodes_and_reported(site: Site) -> None:
    dry = site.call("submit", "30b_tiny", "--dry-run").stdout
    assert dry == "30b_tiny: 2 jobs, at most 1 node-hours, up to 4 nodes, longest wall time 00:10:00\n"
    assert not (site.folder / "runs").exists()
    submitted = site.call("submit", "30b_tiny", "--yes").stdout
    jobs = {line.split()[1]: line.split()[0] for line in submitted.splitlines()[1:3]}
    assert len(jobs) == 2
    for point, job in jobs.items():
        site.cluster.run("scontrol", "write", "batch_script", job, site.folder / "held.sh")
        script = site.folder / "runs/30b_tiny" / point / "job.sh"
        assert (site.folder / "held.sh").read_bytes() == script.read_bytes(), "what Slurm holds is job.sh"
    site.call("status", "30b_tiny", "--watch", "--every", "1")
    states = site.states()
    assert {each["state"] for each in states.values()} == {"completed"}
    accounts = site.cluster.run(
        "sacct", "-n", "-X", "-P", "-j", ",".join(jobs.values()), "-o", "JobID,State,NNodes,Partition"
    )
    assert sorted(accounts.split()) == sorted(
        f"{states[point]['job']}|COMPLETED|{states[point]['nodes']}|booster" for point in jobs
    )
    for point, job in jobs.items():
        record = read(site.folder / f"runs/30b_tiny/{point}/attempts/{job}.0/record.jsonl")
        assert record.status == "completed"
        assert record.run["nodes"] == states[point]["nodes"]
        assert len(record.steps) == 7
    rows = json.loads(site.call("report", "30b_tiny", "--format", "json").stdout)["rows"]
    assert [row["nodes"] for row in rows] == [2, 4]
    assert [row["status"] for row in rows] == ["completed", "completed"]
    assert site.call("submit", "30b_tiny", "--yes").stdout == "30b_tiny: nothing to submit\n"
    first = next(iter(jobs))
    assert "step 7" in site.call("logs", first, "--rank", "0").stdout
    assert site.call("logs", first, "--rank", "1").stdout == ""


def test_smoke_runs_two_steps_of_the_smallest_point_on_the_debug_queue(site: Site) -> None:
    done = site.call("submit", "30b_tiny", "--smoke", "--yes")
    assert "2 steps on develbooster, 1 job, at most 0.3333 node-hours, up to 2 nodes" in done.stderr
    assert "the smoke test completed: 2 steps, the second took" in done.stdout
    assert not (site.folder / "runs/30b_tiny").exists(), "the study itself is untouched"
