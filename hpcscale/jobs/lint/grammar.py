"""The grammars of directives: data in grammar/*.yaml, one file a scheduler and one a site that adds to it."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import Field

from hpcscale.spec.machine import Machine, Resource
from hpcscale.spec.typed import Strict, validate
from hpcscale.spec.yaml12 import load

FOLDER = Path(__file__).parent / "grammar"


class Kind(Strict):
    """A kind of value: a pattern for the whole of it, and in words what it must be."""

    pattern: str
    what: str
    after_at: tuple[int, int] | None = None  # the range of a number behind '@'


class Rule(Strict):
    """What an option, or a key of one, takes."""

    takes: Literal["value", "optional", "nothing"] = "value"
    kind: str | None = None
    choices: tuple[str, ...] = ()
    pattern: str | None = None
    what: str = ""
    range: tuple[int, int] | None = None
    list: str = ""  # what separates several values
    keys: dict[str, Rule] = Field(default_factory=dict)
    also: str = ""  # what may stand for '=' behind a key
    assignments: bool = False  # VAR[=value][,VAR[=value]]
    in_script: bool = True
    since: str = ""  # the first release that knows it, where that is newer than the one read
    site_only: bool = False


class Exclusive(Strict):
    options: tuple[str, ...]
    why: str


class SchedulerFile(Strict):
    """One scheduler's grammar."""

    scheduler: Literal["slurm", "pjm"]
    prefix: str
    prefix_ends_in_blank: bool
    quoting: Literal["sbatch", "shell"]
    needs_shebang: bool
    abbreviations: bool = False
    fold_case: bool = False
    longest_line: int | None = None
    separators: tuple[str, ...] = ()
    kinds: dict[str, Kind]
    options: dict[str, Rule]  # by spellings, blanks between them
    exclusive: tuple[Exclusive, ...] = ()
    exports: str
    inherits: str = ""
    variables: str
    own_variables: str
    conditional: dict[str, tuple[str, ...]] = Field(default_factory=dict)


class SiteFile(Strict):
    """What one site adds to a scheduler's grammar, and how it is recognised."""

    extends: Literal["slurm", "pjm"]
    site: str
    machines: tuple[str, ...] = ()
    resource_units: tuple[str, ...] = ()
    resource_groups: tuple[str, ...] = ()  # patterns, as the units
    options: dict[str, Rule] = Field(default_factory=dict)
    keys: dict[str, dict[str, Rule]] = Field(default_factory=dict)
    refused: tuple[str, ...] = ()


class ShellFile(Strict):
    """Variables that a job finds without setting them, and commands that may set any."""

    bash: str
    login: str
    modules: str
    site: str
    may_define: tuple[str, ...]


@dataclass(frozen=True)
class Option:
    """One option or key: its name in messages (``--nodes``, ``-L node``) and its rule."""

    name: str
    rule: Rule


@dataclass(frozen=True)
class Grammar:
    """A scheduler's grammar with one site's additions."""

    base: SchedulerFile
    options: dict[str, Option]  # by spelling
    keys: dict[str, dict[str, Option]]  # by option name, then by spelling
    site: str = ""
    refused: tuple[str, ...] = ()
    elsewhere: tuple[tuple[str, str], ...] = ()  # (name, site) of what only other sites know

    @property
    def prefix(self) -> str:
        return self.base.prefix


def grammar(scheduler: str, machine: Machine | None, words: frozenset[str] = frozenset()) -> Grammar:
    """The grammar for a scheduler at a machine, or at the site that ``words`` (resource units and groups) name."""
    base = schedulers()[scheduler]
    sites = [each for each in site_files() if each.extends == scheduler]
    here = [each for each in sites if _is_here(each, machine, words)]
    options = _options(base.options)
    keys = {option.name: _keys(option) for option in options.values() if option.rule.keys}
    for site in here:
        added = _options(site.options)
        options |= added
        keys |= {option.name: _keys(option) for option in added.values() if option.rule.keys}
        for name, rules in site.keys.items():
            keys[name] = keys[name] | _spelled(rules, name + " ")
    if machine is not None and scheduler == "pjm":
        keys["-L"] = keys["-L"] | _spelled({n: _chosen(r) for n, r in machine.resources.items()}, "-L ")
    return Grammar(
        base,
        options,
        keys,
        site=here[0].site if here else "",
        refused=tuple(name for site in here for name in site.refused),
        elsewhere=tuple(pair for site in sites if site not in here for pair in _names(site)),
    )


def _chosen(resource: Resource) -> Rule:
    """A value that a job may choose, by the machine's profile."""
    if resource.choices is not None:
        return Rule(choices=tuple(map(str, resource.choices)))
    low, high = resource.minimum, resource.maximum
    return Rule(kind="number", range=(low or 0, high) if high is not None else None)


def _is_here(site: SiteFile, machine: Machine | None, words: frozenset[str]) -> bool:
    if machine is not None and machine.name in site.machines:
        return True
    return any(
        fnmatchcase(word, pattern) for word in words for pattern in (*site.resource_units, *site.resource_groups)
    )


def _names(site: SiteFile) -> list[tuple[str, str]]:
    names = [option.name for option in _options(site.options).values()]
    names += [f"{option} {key}" for option, rules in site.keys.items() for key in rules]
    return [(name, site.site) for name in names]


def _options(rules: dict[str, Rule]) -> dict[str, Option]:
    return _spelled(rules, "")


def _keys(option: Option) -> dict[str, Option]:
    return _spelled(option.rule.keys, option.name + " ")


def _spelled(rules: dict[str, Rule], before: str) -> dict[str, Option]:
    return {
        spelling: Option(before + spellings.split()[0], rule)
        for spellings, rule in rules.items()
        for spelling in spellings.split()
    }


@lru_cache(maxsize=1)
def schedulers() -> dict[str, SchedulerFile]:
    found = (validate(SchedulerFile, load(FOLDER / f"{name}.yaml")) for name in ("slurm", "pjm"))
    return {each.scheduler: each for each in found}


@lru_cache(maxsize=1)
def site_files() -> tuple[SiteFile, ...]:
    paths = (path for path in sorted(FOLDER.glob("*.yaml")) if path.stem not in ("slurm", "pjm", "shell"))
    return tuple(validate(SiteFile, load(path)) for path in paths)


@lru_cache(maxsize=1)
def shell_file() -> ShellFile:
    return validate(ShellFile, load(FOLDER / "shell.yaml"))
