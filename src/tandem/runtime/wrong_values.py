"""Values on the command line that can't be used: what came, what there is, and the command with a value that can."""

import math
import re
import shlex
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher

LISTED = 40  # names


class WrongValue(ValueError):
    """A value of the command line that can't be used.

    changed  {name as make spells it: value} of what makes the command work, "" leaves one out; empty: not known
    """

    def __init__(self, message: str, changed: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.changed = dict(changed or {})


class WrongOption(Exception):
    """A `WrongValue` that argparse lets pass: it replaces the text of any ValueError of a type."""

    def __init__(self, wrong: WrongValue) -> None:
        super().__init__(str(wrong))
        self.wrong = wrong


class Number:
    """The type of an option that is a number within limits; `instead` is a value that works, "" none."""

    def __init__(
        self, name: str, least: float, most: float = math.inf, instead: str = "", kind: type[int | float] = int
    ) -> None:
        self.name, self.least, self.most, self.instead, self.kind = name, least, most, instead, kind

    def __call__(self, text: str) -> float:
        try:
            value = self.kind(text)
            require_within(self.name, value, self.least, self.most, self.instead)
        except WrongValue as error:
            raise WrongOption(error) from error
        except ValueError as error:
            number = "a whole number" if self.kind is int else "a number"
            why = f"expected {number}, {_limits(self.least, self.most)}"
            raise WrongOption(WrongValue(f"{self.name}={text}: {why}", {self.name: self.instead})) from error
        return value


def require_within(name: str, value: float, least: float, most: float = math.inf, instead: str | None = None) -> None:
    """Raises WrongValue where a number is outside of its limits."""
    if not least <= value <= most:
        nearest = least if value < least else most
        instead = f"{nearest:g}" if instead is None else instead
        raise WrongValue(f"{name}={value:g}: expected {_limits(least, most)}", {name: instead})


def _limits(least: float, most: float) -> str:
    """The limits in words.

    >>> _limits(1, math.inf), _limits(0, 5)
    ('1 or more', '0 to 5')
    """
    return f"{least:g} or more" if math.isinf(most) else f"{least:g} to {most:g}"


def nearest_first(word: str, names: Sequence[str]) -> list[str]:
    """The names, those that are spelled most like the word first.

    >>> nearest_first("fusoin", ["concat", "fusion", "stack"])
    ['fusion', 'concat', 'stack']
    """
    alike = {name: SequenceMatcher(None, word.lower(), name.lower()).ratio() for name in names}
    near = sorted((name for name in names if alike[name] >= 0.5), key=lambda name: -alike[name])
    return [*near, *(name for name in names if name not in near)]


def require_one_of(name: str, value: str, choices: Sequence[str], why: str = "") -> None:
    """Raises WrongValue where a value is none of the choices."""
    if value not in choices:
        message = f"{name}={value}: {why}expected one of {', '.join(choices)}"
        raise WrongValue(message, {name: nearest_first(value, choices)[0]})


def unknown(name: str, value: str, why: str, there: Sequence[str]) -> WrongValue:
    """The error about a value that is none of those `there`, which are listed nearest first."""
    names = nearest_first(value, there)
    return WrongValue(f"{name}={value}: {why}; {listed(names)}", {name: names[0]} if names else {})


def listed(names: Sequence[str]) -> str:
    """What there is, as messages list it.

    >>> listed(["fusion", "stack"]), listed([])
    ('there are: fusion stack', 'there are none')
    """
    rest = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return f"there are: {' '.join(names[:LISTED])}{rest}" if names else "there are none"


def command_with(stage: str, words: Mapping[str, str], changed: Mapping[str, str]) -> str:
    """The make command of these words, with some changed; "" leaves one out.

    >>> command_with("train", {"COMP": "x", "EXPS": "a,b"}, {"EXPS": "a b"})
    'make train COMP=x EXPS="a b"'
    """
    every = {**words, **changed}
    return " ".join(["make", stage, *(f"{name}={_quoted(value)}" for name, value in every.items() if value != "")])


def _quoted(value: str) -> str:
    if re.fullmatch(r"[\w@%+=:,./~-]+", value):
        return value
    return shlex.quote(value) if re.search(r'["$`\\!]', value) else f'"{value}"'
