"""What an archive must not tell: accounts, groups, people, hosts and where a person's files lie.

Known values are replaced by placeholders wherever they stand as whole words or paths: those of the settings file, those that
scripts ask the scheduler with, the person's name and home, the ledger's names. Numbers of a record are never touched.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpcscale.spec.job import Settings

# What a scheduler is asked with, in scripts: placeholder -> patterns with the value as their group.
_DIRECTIVES: Mapping[str, tuple[str, ...]] = {
    "<account>": (r"^#SBATCH\s+(?:--account[= ]|-A\s*)(\S+)",),
    "<group>": (r"^#PJM\s+(?:-g\s*|--group[= ])(\S+)", r"^#SBATCH\s+(?:--gid[= ])(\S+)"),
    "<mail>": (r"^#SBATCH\s+--mail-user[= ](\S+)", r"^#PJM\s+--mail-list[= ](\S+)"),
    "<reservation>": (r"^#SBATCH\s+--reservation[= ](\S+)",),
}
_MAIL = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}")
# Keys of a study's or profile's YAML whose values are a person's.
_YAML = re.compile(
    r"(?P<key>\b(?:account|group|project|mail_user|reservation))(?P<colon>[ \t]*:[ \t]+)"
    r"""(?P<value>"[^"\n]*"|'[^'\n]*'|[^\s,{}\[\]#"'][^\n,{}#]*?(?=[ \t]*(?:[\n,{}#]|\Z)))"""
)
# Anybody's home, also of a machine that the archive is not made on.
_HOMES = re.compile(r"(?<![A-Za-z0-9_.<>-])/(?:p/)?(?:home|users|Users)(?:/jusers)?/[A-Za-z0-9_.-]+")
# What a path may be followed by.
_PATH_ENDS = r"(?![A-Za-z0-9_-])"
# Everybody's: replaced, they would garble scripts and say nothing.
_COMMON = frozenset(
    ("root", "user", "users", "home", "work", "scratch", "project", "none", "default", "tmp", "local", "all")
)
_SHORTEST = 3
# Of a run's line: what is no person's, and must stay what was run.
_KEPT = frozenset(("point", "versions", "schema", "version", "git_commit"))
STEP = b'{"schema": "step"'  # how its lines begin: numbers only
_ENVIRONMENT_IDENTITIES = re.compile(r"ACCOUNT|USER|GROUP|_UID|_GID|MAIL|PROJECT")


@dataclass
class Scrubber:
    """``paths`` and ``words``: what is replaced by which placeholder. Counts what it did."""

    paths: dict[str, str] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    _hosts: dict[str, str] = field(default_factory=dict)
    _pattern: re.Pattern[str] | None = None

    def learn_settings(self, settings: Settings) -> None:
        """What a person wrote once for a machine."""
        for name in ("account", "group", "project"):
            self.learn_word(getattr(settings, name), f"<{name}>")
        environment = settings.environment
        places = [environment.venv, environment.archive, environment.container, settings.python]
        for places_of in settings.workloads.values():
            places += [places_of.path, places_of.data, places_of.tokenizer, places_of.weights]
        for place in places:
            # a command's bare name (python3) is no place
            self.learn_path(place if place and place.startswith("/") else None, "<path>")
        for volume in settings.volumes:
            self.learn_path(volume if volume.startswith("/") else None, "<volume>")
            self.learn_word(volume, "<volume>")

    def learn_script(self, text: str) -> None:
        for placeholder, patterns in _DIRECTIVES.items():
            for pattern in patterns:
                for found in re.finditer(pattern, text, re.MULTILINE):
                    self.learn_word(found[1].strip("\"'"), placeholder)

    def learn_word(self, value: str | None, placeholder: str) -> None:
        if value and _is_telling(value) and value not in self.words:
            self.words[value] = placeholder
            self._pattern = None

    def learn_path(self, value: str | None, placeholder: str) -> None:
        if value and len(value.rstrip("/")) > 1:
            self.paths.setdefault(value.rstrip("/"), placeholder)
            self._pattern = None

    def learn_hosts(self, hosts: Iterable[Any]) -> None:
        """Distinct hosts stay distinct; one with a domain is the same without it."""
        for host in hosts:
            if isinstance(host, str) and host and host not in self._hosts:
                node = f"node{len(set(self._hosts.values())) + 1}"
                bare = host.partition(".")[0]
                names = (host, bare) if _is_telling(bare) and not bare.isdigit() else (host,)
                for name in names:
                    self._hosts.setdefault(name, node)
                self._pattern = None

    def text(self, text: str) -> str:
        """Known values as whole words, and mail addresses."""
        text = _MAIL.sub(lambda _: self._put("<mail>"), text)
        text = self._compiled.sub(self._replacement, text) if self._known else text
        return _HOMES.sub(lambda _: self._put("<home>"), text)

    def script(self, text: str) -> str:
        """A job script: also values too short or too common to be looked for elsewhere."""
        for placeholder, patterns in _DIRECTIVES.items():
            for pattern in patterns:
                text = re.sub(
                    pattern, lambda found, new=placeholder: self._in_place(found, new), text, flags=re.MULTILINE
                )
        return self.text(text)

    def yaml(self, text: str) -> str:
        def replaced(found: re.Match[str]) -> str:
            if found["value"] in ("null", "~", '""', "''"):
                return found[0]
            placeholder = self._put(f"<{found['key']}>")
            return f'{found["key"]}{found["colon"]}"{placeholder}"'

        return self.text(_YAML.sub(replaced, text))

    def record(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        """A record's lines, one after another: steps hold numbers only and pass as they are."""
        for raw in lines:
            if raw.startswith(STEP):
                yield raw
                continue
            try:
                line = json.loads(raw)
            except (ValueError, RecursionError):
                yield self.text(raw.decode("utf-8", "replace")).encode()
                continue
            yield (json.dumps(self._line(line), ensure_ascii=False) + "\n").encode() if isinstance(line, dict) else raw

    def _line(self, line: dict[str, Any]) -> dict[str, Any]:
        self.learn_hosts(line["hosts"] if isinstance(line.get("hosts"), list) else [])
        self.learn_hosts([line.get("host")])
        environment = line.get("environment")
        if isinstance(environment, dict):
            for name, value in environment.items():
                if isinstance(value, str) and not value.isdigit() and _ENVIRONMENT_IDENTITIES.search(name):
                    self.learn_word(value, "<name>")
            line["environment"] = {name: self._variable(name, value) for name, value in environment.items()}
        return {key: self._paths_only(value) if key in _KEPT else self._value(value) for key, value in line.items()}

    def _variable(self, name: str, value: Any) -> Any:
        return self._put("<name>") if isinstance(value, str) and _ENVIRONMENT_IDENTITIES.search(name) else value

    def _value(self, value: Any) -> Any:
        return _mapped(value, self.text)

    def _paths_only(self, value: Any) -> Any:
        """What was run is not changed: a model may be called as an account is. Where its data lay is nobody's business."""
        return _mapped(value, self.places)

    def places(self, text: str) -> str:
        for path, placeholder in sorted(self.paths.items(), key=lambda item: -len(item[0])):
            text = re.sub(re.escape(path) + _PATH_ENDS, lambda _, new=placeholder: self._put(new), text)
        return _HOMES.sub(lambda _: self._put("<home>"), text)

    @property
    def _known(self) -> bool:
        return bool(self.paths or self.words or self._hosts)

    @property
    def _compiled(self) -> re.Pattern[str]:
        if self._pattern is None:
            words = sorted([*self.words, *self._hosts], key=len, reverse=True)
            paths = sorted(self.paths, key=len, reverse=True)
            parts = [re.escape(each) + _PATH_ENDS for each in paths]
            parts += [rf"(?<![A-Za-z0-9_]){re.escape(each)}(?![A-Za-z0-9_])" for each in words]
            self._pattern = re.compile("|".join(parts))
        return self._pattern

    def _replacement(self, found: re.Match[str]) -> str:
        value = found[0]
        return self._put(self.paths.get(value) or self.words.get(value) or self._hosts[value])

    def _in_place(self, found: re.Match[str], placeholder: str) -> str:
        start, end = found.start(1) - found.start(), found.end(1) - found.start()
        if found[1] == placeholder:
            return found[0]
        return found[0][:start] + self._put(placeholder) + found[0][end:]

    def _put(self, placeholder: str) -> str:
        self.counts["node names" if placeholder.startswith("node") else placeholder] += 1
        return placeholder


def _is_telling(word: str) -> bool:
    return len(word) >= _SHORTEST and word.lower() not in _COMMON


def _mapped(value: Any, change: Any) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {_mapped(key, change): _mapped(each, change) for key, each in value.items()}
    return [_mapped(each, change) for each in value] if isinstance(value, list) else value


def of_this_person() -> Scrubber:
    """With the person's name and home, and the folder that everything lies in."""
    found = Scrubber()
    found.learn_path(str(Path.cwd()), "<folder>")
    with contextlib.suppress(RuntimeError):
        found.learn_path(str(Path.home()), "<home>")
    for variable in ("USER", "LOGNAME"):
        found.learn_word(os.environ.get(variable), "<user>")
    with contextlib.suppress(KeyError, OSError):  # a container without a user database
        found.learn_word(getpass.getuser(), "<user>")
    return found
