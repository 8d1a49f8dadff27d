"""The lines of a machine profile that depend on the job: how ranks start, and PJM options with numbers in them."""

from __future__ import annotations

import jinja2

from hpcscale.spec.machine import Machine
from hpcscale.spec.point import Point
from hpcscale.spec.problems import InputError

_NUMBERS = ("ranks", "ranks_per_node", "nodes", "threads_per_rank")


class ProfileLines:
    """A profile's Jinja texts, compiled once; each is rendered once for all points of one size."""

    def __init__(self, machine: Machine, templates: jinja2.Environment, exported: tuple[str, ...]):
        self._machine, self._templates, self._exported = machine, templates, exported
        self._launch = self._compiled(machine.launch.command, "the launch command")
        self._directives = (
            [self._compiled(text, "pjm.directives") for text in machine.pjm.directives if text] if machine.pjm else []
        )
        self._rendered: dict[tuple[object, ...], str] = {}

    def launch(self, point: Point, python: str) -> str:
        """What stands before the training command."""
        return self._line(self._launch, point, python)

    def directives(self, point: Point) -> list[str]:
        """The site's own PJM options."""
        return [self._line(each, point, "") for each in self._directives]

    def _compiled(self, text: str, what: str) -> jinja2.Template:
        try:
            return self._templates.from_string(text)
        except jinja2.TemplateSyntaxError as error:
            raise InputError(f"{what} of {self._machine.name}, line {error.lineno}: {error.message}") from None

    def _line(self, template: jinja2.Template, point: Point, python: str) -> str:
        numbers = (point.ranks, min(point.ranks_per_node, point.ranks), point.nodes, point.threads_per_rank)
        key = (template, *numbers, python)
        if key not in self._rendered:
            values = dict(zip(_NUMBERS, numbers, strict=True))
            text = template.render(values, python=python, exported=self._exported)
            self._rendered[key] = " ".join(text.split())
        return self._rendered[key]
