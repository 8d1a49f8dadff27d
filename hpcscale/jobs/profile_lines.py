"""The lines of a machine profile that depend on the job: how ranks start, and PJM options with numbers in them."""

from __future__ import annotations

import jinja2

from hpcscale.spec.machine import Machine
from hpcscale.spec.point import Point
from hpcscale.spec.problems import InputError


class ProfileLines:
    """A profile's Jinja texts, compiled once; each is rendered once for all points of one size."""

    def __init__(self, machine: Machine, templates: jinja2.Environment, exported: tuple[str, ...]):
        self._machine, self._templates, self._exported = machine, templates, exported
        self._launch = self._compiled(machine.launch.command, "the launch command")
        self._directives = (
            [self._compiled(text, "pjm.directives") for text in machine.pjm.directives if text] if machine.pjm else []
        )
        self._on_each_node = self._compiled(machine.launch.on_each_node, "launch.on_each_node")
        self._rendered: dict[tuple[object, ...], str] = {}

    def launch(self, point: Point, python: str, started: dict[str, int]) -> str:
        """What stands before the training command. ``started``: what it starts, which may be one launcher a node."""
        return self._line(self._launch, point, python, started=started)

    def on_each_node(self, point: Point, output: str) -> str:
        """What starts one process on each node of the job; ``output`` is a shell word that names its output's place."""
        if self._machine.scheduler == "slurm":
            return 'srun --ntasks="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1'
        line = self._line(self._on_each_node, point, "", output)
        if not line and self._machine.scheduler == "pjm":
            message = (
                f"environment.archive needs a process on each node, but the profile of {self._machine.name} has no "
            )
            raise InputError(message + "launch.on_each_node that says how one starts; add it")
        return line

    def directives(self, point: Point) -> list[str]:
        """The site's own PJM options."""
        return [self._line(each, point, "") for each in self._directives]

    def _compiled(self, text: str, what: str) -> jinja2.Template:
        try:
            return self._templates.from_string(text)
        except jinja2.TemplateSyntaxError as error:
            raise InputError(f"{what} of {self._machine.name}, line {error.lineno}: {error.message}") from None

    def _line(
        self,
        template: jinja2.Template,
        point: Point,
        python: str,
        output: str = "",
        started: dict[str, int] | None = None,
    ) -> str:
        numbers = started or {
            "ranks": point.ranks,
            "ranks_per_node": min(point.ranks_per_node, point.ranks),
            "threads_per_rank": point.threads_per_rank,
        }
        key = (template, point.nodes, *numbers.values(), python, output)
        if key not in self._rendered:
            text = template.render(numbers, nodes=point.nodes, python=python, exported=self._exported, output=output)
            self._rendered[key] = " ".join(text.split())
        return self._rendered[key]
