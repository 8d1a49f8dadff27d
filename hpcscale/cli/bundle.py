"""``hpcscale bundle``."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from hpcscale.cli import options


@click.command()
@click.argument("study", metavar="STUDY")
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Default: <study>.tar.gz here."
)
@options.runs_option
def command(study: str, output: Path | None, runs: Path) -> None:
    """Archive a study: specs, scripts, records, its report and versions, with a hash of each file.

    Accounts, groups, user and host names and personal folders are replaced by placeholders, in scripts and records too; the
    manifest counts them. The same runs give the same bytes. hpcscale verify reports again from the records inside.
    """
    from hpcscale.report.bundle.archive import pack
    from hpcscale.report.bundle.collect import records_in, stage
    from hpcscale.report.bundle.manifest import MANIFEST, entry
    from hpcscale.spec import study as studies
    from hpcscale.spec.problems import InputError

    if output is not None and not output.name.endswith((".tar.gz", ".tgz")):
        raise InputError(f"--output {output}: an archive's name ends in .tar.gz")
    target = (output or Path(f"{studies.read(study).name}.tar.gz")).absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    # beside the archive, where there is room for it
    with tempfile.TemporaryDirectory(prefix=".hpcscale-bundle-", dir=target.parent) as temporary:
        folder = Path(temporary)
        manifest = stage(study, runs, folder)
        (folder / MANIFEST).write_text(manifest.text(), encoding="utf-8")
        pack(folder, [MANIFEST, *sorted(manifest.files)], target)
    made = entry(target)
    click.echo(
        f"{output or target.name}: {len(manifest.files)} files, {records_in(manifest)} records, {made.bytes / 1e6:.3g} MB, "
        f"sha256 {made.sha256}"
    )
    for placeholder, each in manifest.replaced.items():
        click.echo(
            f"replaced {each['times']} times: {each['what'] or placeholder}"
            + (f" by {placeholder}" if "<" in placeholder else "")
        )
    click.echo(f"left out: {'; '.join(manifest.left_out)}")
