"""The site's access control and habits: ``site.yaml`` in the emulator's home, kept as JSON beside it.

The commands run without PyYAML's folder on their path; only the first after a change asks an interpreter that has it.
"""

from __future__ import annotations

import json
import os

READ_YAML = "import json, sys, yaml; json.dump(yaml.safe_load(sys.stdin), sys.stdout)"


def load(home: str) -> dict:
    source = os.path.join(home, "site.yaml")
    try:
        with open(os.path.join(home, "site.json"), encoding="utf-8") as file:
            kept = json.load(file)
        if kept["stamp"] == stamp(source):
            return kept["site"]
    except (OSError, ValueError, KeyError):
        pass
    return convert(home)


def stamp(path: str) -> list[int]:
    status = os.stat(path)
    return [status.st_mtime_ns, status.st_size]


def convert(home: str) -> dict:
    import subprocess
    import sys

    with open(os.path.join(home, "site.yaml"), "rb") as file:
        done = subprocess.run([sys.executable, "-c", READ_YAML], stdin=file, stdout=subprocess.PIPE, check=True)
    site = json.loads(done.stdout)
    keep(home, site)
    return site


def keep(home: str, site: dict) -> None:
    """Writes the JSON beside the YAML of the same content."""
    kept = {"stamp": stamp(os.path.join(home, "site.yaml")), "site": site}
    own = os.path.join(home, f"site.json.{os.getpid()}")
    with open(own, "w", encoding="utf-8") as file:
        json.dump(kept, file)
    os.replace(own, os.path.join(home, "site.json"))


def default_unit(site: dict) -> str | None:
    return next((name for name, unit in site["rscunit"].items() if unit.get("default")), None)


def default_group(site: dict) -> str | None:
    return next((name for name, group in site["rscgrp"].items() if group.get("default")), None)


def cores(site: dict, unit: str) -> int:
    return site["rscunit"][unit].get("cores", 48)
