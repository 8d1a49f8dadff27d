"""From a study and its runs to a folder that holds all of an archive, told to nobody's harm."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hpcscale.ingest.records import DESCRIPTION, holds_runs
from hpcscale.jobs import ledger
from hpcscale.record import energy, outcome
from hpcscale.record.attempt import RECORD, attempts
from hpcscale.report.bundle.archive import settle
from hpcscale.report.bundle.manifest import Manifest, entry, versions
from hpcscale.report.bundle.reports import write_reports
from hpcscale.report.bundle.scrub import STEP, Scrubber, of_this_person
from hpcscale.spec import locate, study
from hpcscale.spec.job import merge_settings, read_settings
from hpcscale.spec.problems import InputError
from hpcscale.spec.study import Study

SCRIPT = "job.sh"
# What a point's folder may hold beside its attempts and belongs to what was run: files that foreign workloads read.
_WORKLOAD_FILES = (".json", ".yaml", ".yml", ".toml", ".py", ".sh")
LEFT_OUT = (
    "checkpoints and traces", "what ranks and jobs printed", "the ledger (who submitted what)", "settings, and all that they name"
)  # fmt: skip
# What a placeholder stands for, as the manifest says it.
_MEANINGS = {
    "<account>": "account that jobs are charged to", "<group>": "group or project", "<project>": "project",
    "<user>": "user name", "<name>": "user, group or account in the environment", "<mail>": "mail address",
    "<reservation>": "reservation", "<home>": "home folder", "<folder>": "folder of the runs", "<path>": "place of a person's software",
    "<volume>": "storage volume", "node names": "host names, as node1, node2, ...", "<mail_user>": "mail address",
}  # fmt: skip


@dataclass(frozen=True)
class _Source:
    """A file on its way: where it is, and its name in the archive."""

    path: Path
    name: str


def stage(argument: str, runs: Path, folder: Path) -> Manifest:
    """Fill ``folder`` with everything that belongs into the archive but the manifest. Raises InputError."""
    asked = study.read(argument)
    home = runs / asked.name
    if not home.is_dir() or not holds_runs(home):
        raise InputError(
            f"{home} holds no run of {asked.name}, so there is nothing to bundle; run or submit the study first"
        )
    points = sorted(path.parent for path in home.glob(f"*/{DESCRIPTION}"))
    scrubber = _scrubber(asked, runs, points)
    for source in [*_specs(asked), *_point_files(points, asked.name)]:
        _copy(source, folder, scrubber)
    # Its runs and tables, not the study: a profile that looks at the computer (local) would have other points elsewhere.
    arguments = (f"runs/{asked.name}", *(f"studies/published/{table}.csv" for table in _compared(asked)))
    write_reports(folder, arguments)
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    replaced = {
        placeholder: {"what": _MEANINGS.get(placeholder, ""), "times": count}
        for placeholder, count in sorted(scrubber.counts.items())
    }
    return Manifest(
        asked.name, arguments, versions(), {each: entry(folder / each) for each in files}, replaced, LEFT_OUT
    )


def _scrubber(asked: Study, runs: Path, points: Sequence[Path]) -> Scrubber:
    """That knows all that must go before the first file is copied."""
    found = of_this_person()
    found.learn_path(str(runs.resolve().parent), "<folder>")
    file = read_settings()
    for machine in asked.file.machines:
        found.learn_settings(merge_settings(file, machine, {}))
    for user in ledger.read(runs / asked.name).users():
        found.learn_word(user, "<user>")
    for point in points:
        if (point / SCRIPT).is_file():
            found.learn_script((point / SCRIPT).read_text(encoding="utf-8", errors="replace"))
        for attempt in attempts(point):
            with (attempt / RECORD).open("rb") as lines:
                # the last line too: a host or a person may be named in another file that is copied before it
                for _ in found.record(line for line in lines if not line.startswith(STEP)):
                    pass
    found.counts.clear()
    return found


def _specs(asked: Study) -> Iterator[_Source]:
    """The study, the profiles of its machines and the tables that it compares with, where hpcscale finds them again."""
    yield _Source(asked.path, f"studies/{asked.path.stem}.yaml")
    for machine in sorted(asked.file.machines):
        yield _Source(locate.find(machine, "machines", "machine"), f"machines/{machine}.yaml")
    for table in _compared(asked):
        if "/" in table or table.endswith(".csv"):
            raise InputError(
                f"{asked.path}: compare names the file {table}; put it into studies/published/ and name it without .csv, "
                "so that it is found again in the archive"
            )
        yield _Source(
            locate.find(table, "studies/published", "published table", ".csv"), f"studies/published/{table}.csv"
        )


def _compared(asked: Study) -> list[str]:
    compare = asked.file.compare
    return [compare] if isinstance(compare, str) else compare


def _point_files(points: Sequence[Path], study_name: str) -> Iterator[_Source]:
    for point in points:
        start = f"runs/{study_name}/{point.name}"
        for path in sorted(point.iterdir()):
            if path.is_file() and path.suffix in _WORKLOAD_FILES:
                yield _Source(path, f"{start}/{path.name}")
        for attempt in attempts(point):
            for name in (RECORD, outcome.OUTCOME, energy.FILE):
                if (attempt / name).is_file():
                    yield _Source(attempt / name, f"{start}/attempts/{attempt.name}/{name}")


def _copy(source: _Source, folder: Path, scrubber: Scrubber) -> None:
    """Records stream, whatever their size; all else is small."""
    target = folder / source.name
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.path.name == RECORD:
        with source.path.open("rb") as lines, target.open("wb") as written:
            written.writelines(scrubber.record(lines))
    else:
        target.write_text(_scrubbed(source, scrubber), encoding="utf-8")
    settle(target)


def _scrubbed(source: _Source, scrubber: Scrubber) -> str:
    text = source.path.read_text(encoding="utf-8", errors="replace")
    if source.name.startswith(("studies/", "machines/")) and source.path.suffix == ".yaml":
        return scrubber.yaml(text)
    if source.path.name == SCRIPT:
        return scrubber.script(text)
    if source.path.name == DESCRIPTION:
        return scrubber.places(text)
    return text if source.path.suffix == ".csv" else scrubber.text(text)


def records_in(manifest: Manifest) -> int:
    """How many records the archive has."""
    return sum(name.endswith("/" + RECORD) for name in manifest.files)
