"""pjsub's options (CmdRef p.74-90, EUG 2.3) as a table, and the reader of a command line or directive against it."""

from __future__ import annotations

from .messages import refused

# canonical name: (spellings, kind). Kinds: flag; value (the last one wins); keys (`a=b,c`, merged key by key).
OPTIONS = {
    "rsc-list": (("-L", "--rsc-list"), "keys"),
    "mpi": (("--mpi",), "keys"),
    "llio": (("--llio",), "keys"),
    "x": (("-x",), "keys"),
    "sparam": (("--sparam",), "value"),
    "gname": (("-g", "--gname"), "value"),
    "gid": (("--gid",), "value"),
    "X": (("-X",), "flag"),
    "name": (("-N", "--name"), "value"),
    "out": (("-o", "--out"), "value"),
    "err": (("-e", "--err"), "value"),
    "spath": (("--spath",), "value"),
    "join": (("-j",), "flag"),
    "stats": (("-s", "--stats"), "flag"),
    "STATS": (("-S", "--STATS"), "flag"),
    "mail": (("-m",), "value"),
    "mail-list": (("--mail-list",), "value"),
    "priority": (("-p",), "value"),
    "at": (("--at",), "value"),
    "restart": (("--restart",), "flag"),
    "norestart": (("--norestart",), "flag"),
    "bulk": (("--bulk",), "flag"),
    "step": (("--step",), "flag"),
    "interact": (("--interact",), "flag"),
    "mswk": (("--mswk",), "flag"),
    "comment": (("--comment",), "value"),
    "appname": (("--appname",), "value"),
    "fs": (("--fs",), "value"),
    "net-route": (("--net-route",), "value"),
    "verbose": (("--verbose",), "flag"),
    "vset": (("--vset",), "value"),
    "P": (("-P",), "value"),
    "script-delimiter": (("--script-delimiter",), "value"),
    "w": (("-w",), "value"),
    "z": (("-z",), "value"),
    "dir-prefix": (("-C", "--dir-prefix"), "value"),
    "help": (("--help",), "flag"),
    # Only where the site lists them:
    "no-check-directory": (("--no-check-directory",), "flag"),  # Fugaku
    "no-check-gfscache": (("--no-check-gfscache",), "flag"),  # Fugaku
    "all-mount-gfscache": (("--all-mount-gfscache",), "flag"),  # Fugaku
    "omp": (("--omp",), "value"),  # Wisteria
}
SITE_OPTIONS = {"no-check-directory", "no-check-gfscache", "all-mount-gfscache", "omp"}
COMMAND_LINE_ONLY = {"dir-prefix", "help"}
# Of these the one given last counts.
LAST_WINS = ({"restart", "norestart"},)
# Pairs that exclude each other.
EXCLUSIVE = (("stats", "STATS"), ("bulk", "step"), ("bulk", "interact"), ("bulk", "mswk"), ("step", "interact"))

# Options that take one of some words.
CHOICES = {"net-route": ("dynamic", "static"), "w": ("nowait", "jobchk"), "z": ("jid",)}

SPELLINGS = {spelling: name for name, (spellings, _) in OPTIONS.items() for spelling in spellings}


class Settings:
    """Options as merged so far. ``given`` maps a canonical name to True, a value or a mapping of keys."""

    def __init__(self) -> None:
        self.given: dict = {}
        self.spelled: dict[str, str] = {}

    def add(self, name: str, spelling: str, value: str | None) -> None:
        kind = OPTIONS[name][1]
        if kind == "flag":
            for group in LAST_WINS:
                for other in group - {name} if name in group else ():
                    self.given.pop(other, None)
            self.given[name] = True
        elif kind == "value":
            self.given[name] = value
        else:
            self.given.setdefault(name, {}).update(keys_of(value or ""))
        self.spelled[name] = spelling

    def over(self, below: Settings) -> Settings:
        """These options (the command line's) over those of the script."""
        merged = Settings()
        for source in (below, self):
            for name, value in source.given.items():
                if OPTIONS[name][1] == "keys":
                    merged.given.setdefault(name, {}).update(value)
                else:
                    for group in LAST_WINS:
                        for other in group - {name} if name in group else ():
                            merged.given.pop(other, None)
                    merged.given[name] = value
                merged.spelled[name] = source.spelled[name]
        return merged

    def __getitem__(self, name: str):
        return self.given.get(name)


def keys_of(text: str) -> dict[str, str | None]:
    """``a=b, c`` as a mapping; a key without ``=`` has no value. ``key:value`` stays one word for its own check."""
    found: dict[str, str | None] = {}
    for part in text.split(","):
        key, equals, value = part.strip(" \t").partition("=")
        found[key] = value if equals else None
    return found


def read(words: list[str], settings: Settings, allowed: set[str], in_script: bool = False) -> list[str]:
    """Adds the options of ``words`` to ``settings``; what is no option comes back. ``allowed``: the site's own options."""
    rest: list[str] = []
    queue = list(words)
    while queue:
        word = queue.pop(0)
        if not word.startswith("-") or word == "-":
            rest.append(word)
            continue
        spelling, value = split(word)
        name = SPELLINGS.get(spelling)
        if name is None or (in_script and name in COMMAND_LINE_ONLY):
            raise refused("pjsub", 1, option=spelling)
        if name in SITE_OPTIONS and spelling not in allowed:
            raise refused("pjsub", 1, option=spelling)
        if OPTIONS[name][1] == "flag":
            if value is not None and word.startswith("--"):
                raise refused("pjsub", 1, option=word)
            if value is not None:  # -jS
                queue.insert(0, "-" + value)
            value = None
        elif value is None:
            if not queue:
                raise refused("pjsub", 1, option=spelling)
            value = queue.pop(0)
        settings.add(name, spelling, value)
    return rest


def split(word: str) -> tuple[str, str | None]:
    """``--long=value`` and ``-Lvalue`` as getopt reads them."""
    if word.startswith("--"):
        spelling, equals, value = word.partition("=")
        return spelling, value if equals else None
    return word[:2], word[2:] or None


def check_combinations(settings: Settings) -> None:
    for first, second in EXCLUSIVE:
        if settings[first] and settings[second]:
            raise refused("pjsub", 2, detail=f"{settings.spelled[first]} and {settings.spelled[second]}")
    if settings["bulk"] and settings["sparam"] is None:
        raise refused("pjsub", 2, detail="--bulk without --sparam")
    if settings["sparam"] is not None and not (settings["bulk"] or settings["step"]):
        raise refused("pjsub", 2, detail="--sparam without --bulk or --step")


def check_values(settings: Settings) -> None:
    """The options that hold one value."""
    name = settings["name"]
    if name is not None and not (
        name[:1].isascii() and name[:1].isalpha() and len(name.encode()) <= 63 and "/" not in name
    ):
        raise invalid(settings, "name")
    if len((settings["comment"] or "").encode()) > 255:
        raise invalid(settings, "comment")
    if set((settings["mail"] or "").replace(",", "")) - set("bersS"):
        raise invalid(settings, "mail")
    priority = settings["priority"]
    if priority is not None:
        if not priority.lstrip("-").isdigit():
            raise invalid(settings, "priority")
        if not 0 <= int(priority) <= 255:
            raise refused("pjsub", 46, option=settings.spelled["priority"], argument=priority)
    for option, choices in CHOICES.items():
        if settings[option] is not None and settings[option] not in choices:
            raise invalid(settings, option)
    if settings["omp"] is not None and not valid_omp(str(settings["omp"])):
        raise invalid(settings, "omp")


def valid_omp(text: str) -> bool:
    key, _, value = text.partition("=")
    return key == "thread" and value.isdigit() and int(value) > 0


def invalid(settings: Settings, name: str):
    return refused("pjsub", 4, option=settings.spelled[name], argument=settings[name])
