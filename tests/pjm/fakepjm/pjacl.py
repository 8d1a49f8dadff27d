"""pjacl: what this user may ask for, in the shape of FUG 5.1.3 (abridged)."""

from __future__ import annotations

import sys

from . import site as sites
from .commands import home
from .identity import user


def main(_command: str, _arguments: list[str]) -> int:
    site = sites.load(home())
    lines = [f"USER: {user()}", f"GROUP: {','.join(map(str, site.get('groups', [])))}"]
    for unit in site["rscunit"]:
        lines += ["-" * 64, f"RSCUNIT: {unit}"]
        for name, group in site["rscgrp"].items():
            lines.append(f"  RSCGRP: {name}")
            low, high = group.get("node", [1, None])
            lines.append(f"    node                                  {low} {high if high is not None else 'unlimited'}")
            low, high = group.get("elapse", [1, None])
            lines.append(f"    elapse                                {clock(low)} {clock(high)}")
            lines.append(
                f"    execute pjsub                         {'disable' if group.get('interactive_only') else 'enable'}"
            )
            lines.append(
                f"    execute pjsub --interact              {'enable' if group.get('interactive_only') else 'disable'}"
            )
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def clock(seconds: int | None) -> str:
    if seconds is None:
        return "unlimited"
    return f"{seconds // 3600:02d}:{seconds % 3600 // 60:02d}:{seconds % 60:02d}"
