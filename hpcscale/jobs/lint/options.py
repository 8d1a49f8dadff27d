"""Directive lines as options: what getopt would make of their words, and what each value is worth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from hpcscale.jobs.lint import values, words
from hpcscale.jobs.lint.finding import Remark, error, warning
from hpcscale.jobs.lint.grammar import Grammar, Option
from hpcscale.spec.problems import suggestion


@dataclass(frozen=True)
class Given:
    """An option that the script gives: ``--nodes`` with its value, or ``-L node`` for a key of a list."""

    line: int
    name: str
    value: str | None
    component: int = 0  # of a heterogeneous job


@dataclass
class Reading:
    """All that a script's directives say, and what is wrong with them."""

    given: list[Given] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)

    def of(self, name: str) -> Given | None:
        """The last one given by this name: the one that counts."""
        return next((each for each in reversed(self.given) if each.name == name), None)

    def value(self, name: str) -> str | None:
        found = self.of(name)
        return found.value if found else None

    def has(self, name: str) -> bool:
        """Whether the option, or a key of it, is given."""
        return any(each.name == name or each.name.startswith(name + " ") for each in self.given)


def read(directives: list[tuple[int, str]], grammar: Grammar) -> Reading:
    """The options in ``directives``: (line number, what follows the prefix)."""
    reader = _Reader(grammar)
    for line, text in directives:
        reader.line_of(line, text)
    return reader.reading


class _Reader:
    def __init__(self, grammar: Grammar):
        self.grammar, self.reading = grammar, Reading()
        self.line, self.component = 0, 0
        self.after_unknown = False  # the next word may be the argument of an option that is not known

    def line_of(self, line: int, text: str) -> None:
        self.line = line
        longest = self.grammar.base.longest_line
        if longest and len(self.grammar.prefix + text) > longest:
            self._error(f"the line is longer than {longest} characters; spread its options over several lines")
        try:
            found = words.split(text, self.grammar.base.quoting)
        except words.UnbalancedQuote as quote:
            self._error(f"the quote {quote} is not closed; close it on this line")
            return
        if len(found) == 1 and found[0] in self.grammar.base.separators:
            self.component += 1
            return
        self.after_unknown = False
        queue = iter(found)
        for word in queue:
            self._word(word, queue)

    def _word(self, word: str, rest: Iterator[str]) -> None:
        argument_of_unknown, self.after_unknown = self.after_unknown, False
        if word.startswith("--") and len(word) > 2:
            self._long(word, rest)
        elif word.startswith("-") and len(word) > 1 and word != "--":
            self._short(word, rest)
        elif not argument_of_unknown:
            self._error(f"'{word}' is no option: quote a value that has blanks, and start options with '-'")

    def _long(self, word: str, rest: Iterator[str]) -> None:
        name, equals, attached = word.partition("=")
        option = self.grammar.options.get(name) or self._abbreviated(name)
        if option is None:
            return
        if option.rule.takes == "nothing":
            if equals:
                self._error(f"{name} takes no argument; remove '={attached}'")
            self._give(option, None)
        elif equals:
            self._give(option, attached)
        elif option.rule.takes == "optional":
            self._give(option, None)
        else:
            self._next_word(option, name, rest)

    def _short(self, word: str, rest: Iterator[str]) -> None:
        known = self.grammar.options
        while word:
            letter, attached = word[:2], word[2:]
            option = known.get(letter)
            if option is None:
                self._unknown(letter if not attached else word)
                return
            whole = "-" + word.partition("=")[0]
            if attached and whole in known and len(whole) > 3:
                self._error(f"'{word}' has one dash, so it is read as {letter} with '{attached}'; write -{word}")
                return
            if option.rule.takes == "nothing":
                self._give(option, None)
                word = "-" + attached if attached else ""
                continue
            if attached or option.rule.takes == "optional":
                self._give(option, attached or None)
            else:
                self._next_word(option, letter, rest)
            return

    def _next_word(self, option: Option, spelled: str, rest: Iterator[str]) -> None:
        value = next(rest, None)
        if value is not None and value.partition("=")[0] in self.grammar.options:
            self._error(f"{spelled} needs an argument, and '{value}' follows; write the argument behind {spelled}")
            self._word(value, rest)
        elif value is None:
            self._error(f"{spelled} needs an argument; write it behind {spelled}")
        else:
            self._give(option, value)

    def _abbreviated(self, name: str) -> Option | None:
        known = self.grammar.options
        candidates = [each for each in known if each.startswith(name)] if self.grammar.base.abbreviations else []
        if len({known[each].name for each in candidates}) == 1 and len(name) > 2:
            whole = known[candidates[0]].name
            self._warning(f"{name} is short for {whole} only as long as no other option starts so; write {whole}")
            return known[candidates[0]]
        self._unknown(name, candidates)
        return None

    def _unknown(self, name: str, candidates: list[str] | None = None) -> None:
        self.after_unknown = True
        where = self._elsewhere(name)
        if where and not self.grammar.site:
            self._warning(f"the option {name} is known only at {where}; name the machine with --machine")
            return
        valid = candidates or [each for each in self.grammar.options if len(each) > 2 or len(name) <= 2]
        command = "sbatch" if self.grammar.base.scheduler == "slurm" else "pjsub"
        site = f" at {self.grammar.site}" if where else ""
        self._error(f"{command} knows no option {name}{site}{suggestion(name, valid)}")

    def _elsewhere(self, name: str) -> str:
        """The other sites that know the option or key."""
        return " and ".join(site for known, site in self.grammar.elsewhere if known == name)

    def _give(self, option: Option, value: str | None) -> None:
        rule = option.rule
        if not rule.in_script:
            self._error(f"{option.name} is for the command line and does no good in a script; remove it")
        if option.name in self.grammar.refused:
            self._error(f"{option.name} is not permitted at {self.grammar.site}; remove it")
        if value is not None and values.holds_variable(value):
            self._variable(option.name, value)
            if not rule.keys:
                self._record(option.name, None)
            return
        if option.name in self.grammar.keys and value is not None:
            for part in value.split(","):
                self._key(option, part.strip())
            return
        if value is not None:
            self._check(option, value)
        if rule.assignments and value is not None:
            for part in value.split(","):
                name, _, assigned = part.strip().partition("=")
                self._record(f"{option.name} {name}", assigned)
            return
        self._record(option.name, value)

    def _key(self, option: Option, part: str) -> None:
        known = self.grammar.keys[option.name]
        name, equals, value = part.partition("=")
        if not equals and ":" in part and (found := known.get(part.partition(":")[0])) and found.rule.also == ":":
            name, equals, value = part.partition(":")
        name = name.strip()
        if not part:
            self._error(f"{option.name} has a comma too many; remove it")
            return
        key = known.get(name)
        if key is None:
            self._unknown_key(option.name, name, known)
            return
        if key.rule.site_only and not self.grammar.site:
            self._warning(f"{key.name} works only at sites that share nodes; name the machine with --machine")
        elif key.rule.site_only:
            self._error(f"{key.name} is not known at {self.grammar.site}; remove it")
        if not equals and key.rule.takes == "value":
            self._error(f"{name} of {option.name} needs a value; write {name}=<value>")
            return
        if equals and key.rule.takes == "nothing":
            self._error(f"{name} of {option.name} takes no value; remove '={value}'")
        elif equals:
            self._check(key, value.strip())
        self._record(key.name, value.strip() if equals else None)

    def _unknown_key(self, option: str, name: str, known: dict[str, Option]) -> None:
        where = self._elsewhere(f"{option} {name}")
        hint = suggestion(name, known)
        if not self.grammar.site and (where or "did you mean" not in hint):
            who = f"is known only at {where}" if where else "is none that PJM itself knows"
            self._warning(f"the key {name} of {option} {who}; name the machine with --machine")
        else:
            self._error(f"{option} knows no key {name}{hint}")

    def _check(self, option: Option, value: str) -> None:
        base = self.grammar.base
        reason = values.wrong(option.rule, base.kinds, value, base.fold_case)
        if reason:
            self._error(f"{option.name}: {reason}")

    def _variable(self, name: str, value: str) -> None:
        who = "sbatch" if self.grammar.base.scheduler == "slurm" else "pjsub"
        self._error(
            f"{name}: '{value}' holds a shell variable, which is never expanded in a directive; write its value, "
            f"or give {name} on {who}'s command line"
        )

    def _record(self, name: str, value: str | None) -> None:
        self.reading.given.append(Given(self.line, name, value, self.component))

    def _error(self, message: str) -> None:
        self.reading.remarks.append(error(self.line, message))

    def _warning(self, message: str) -> None:
        self.reading.remarks.append(warning(self.line, message))
