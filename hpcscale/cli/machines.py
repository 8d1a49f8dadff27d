"""``hpcscale machines``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hpcscale.cli import options
from hpcscale.cli.tables import gigabytes, print_facts, print_table
from hpcscale.spec import locate, machine
from hpcscale.spec.machine import Machine
from hpcscale.spec.units import format_seconds


@click.group(cls=options.ListByDefault)
def command() -> None:
    """List machine profiles; `machines show NAME` shows one."""


@command.command("list")
@options.json_option
def list_(as_json: bool) -> None:
    """List machine profiles."""
    profiles = [(machine.read(path), path) for path in locate.available("machines").values()]
    if as_json:
        options.print_json([{**_document(profile), "path": str(path)} for profile, path in profiles])
        return
    rows = [
        (
            m.name,
            m.scheduler,
            f"{m.nodes:,}",
            m.node.devices,
            m.device_facts.name,
            "yes" if m.verified else "no",
            m.title,
        )
        for m, _ in profiles
    ]
    print_table(("name", "scheduler", "nodes", "devices/node", "device", "verified", "title"), rows, right=(2, 3))


@command.command()
@click.argument("name")
@options.json_option
def show(name: str, as_json: bool) -> None:
    """Show one machine profile."""
    path = locate.find(name, "machines", "machine")
    profile = machine.read(path)
    if as_json:
        options.print_json({**_document(profile), "path": str(path)})
        return
    _print(profile, path)


def _document(profile: Machine) -> dict[str, Any]:
    document = profile.model_dump(mode="json")
    document["device"] = profile.device_facts.model_dump(mode="json")
    return document


def _print(profile: Machine, path: Path) -> None:
    node, device, network = profile.node, profile.device_facts, profile.network
    peaks = device.peak_tflops
    for mode in device.modes:
        if all(profile.default_resources().get(key) == value for key, value in mode.when.items()):
            peaks = mode.peak_tflops
    print_facts(
        [
            ("name", profile.name),
            ("title", profile.title),
            ("file", path),
            ("source", profile.source),
            ("verified", "yes" if profile.verified else "no: no official page confirms all of it"),
            ("scheduler", profile.scheduler),
            ("nodes", f"{profile.nodes:,}"),
            ("node", f"{node.cores} cores, {gigabytes(node.memory)}"
             + (f" of which a job gets {gigabytes(node.usable_memory)}" if node.usable_memory else "")),
            ("devices", f"{node.devices} x {device.name} ({device.title}), {gigabytes(device.memory)} each" if device.memory else f"{node.devices} x {device.name}"),
            ("peak", ", ".join(f"{precision} {value:g}" for precision, value in peaks.items()) + " TFLOP/s a device" if peaks else "not known: no MFU"),
            ("network", f"{network.name}, {gigabytes(network.bandwidth_per_node)}/s a node and direction" if network.bandwidth_per_node else network.name),
            ("ranks per node", profile.launch.ranks_per_node or node.devices),
            ("communication", profile.launch.communication),
            ("required settings", ", ".join(profile.requires)),
        ]
    )  # fmt: skip
    for name, resource in profile.resources.items():
        valid = (
            ", ".join(map(str, resource.choices)) if resource.choices else f"{resource.minimum} to {resource.maximum}"
        )
        click.echo(f"resource {name}: {valid} (default {resource.default})")
    if profile.queues:
        click.echo()
        print_table(
            ("queue", "nodes", "longest", "default", "verified", "note"),
            [
                (q.name, f"{q.nodes[0]}-{q.nodes[1]}", format_seconds(q.time.max),
                 format_seconds(q.time.default) if q.time.default else "", "yes" if q.verified else "no",
                 "; ".join(filter(None, ["on request" if q.on_request else "", q.note])))
                for q in profile.queues
            ],
        )  # fmt: skip
