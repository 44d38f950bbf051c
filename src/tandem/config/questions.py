"""Questions: keys of `competition.toml` that cannot be inferred with certainty, and the answers given to them."""

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

OPEN = "?"  # the value of a key with an open question
_ANSWER = re.compile(r"(?:^|\s)([a-z_]+(?:\.[a-z_]+)*)=")


@dataclass(frozen=True)
class Question:
    """A key whose value the user must give, because more than one reading fits the files."""

    key: str  # such as "labels.column"
    about: str  # what was seen, in one sentence
    candidates: Mapping[str, str]  # {value: an example of what it gives}

    @property
    def comment(self) -> str:
        """The candidates on one line, such as `one of: tags ("cat dog"), label_group ("3")`."""
        shown = (f"{written(value)} ({example})" if example else written(value) for value, example in self.listed)
        return one_line("one of: " + ", ".join(shown))

    @property
    def listed(self) -> list[tuple[str, str]]:
        return list(self.candidates.items())


class OpenQuestions(ValueError):
    """Keys of `competition.toml` are not answered yet; the text starts with "question: "."""

    def __init__(self, file: Path, comments: Mapping[str, str]) -> None:
        """`comments` is {key: its candidates}."""
        n, first = len(comments), next(iter(comments))
        keys = [f"  {key}: {comment}" if comment else f"  {key}" for key, comment in comments.items()]
        again = f'make import COMP={file.parent.name} SET="{first}=ANSWER"'
        asked = f"question: {file}: {n} key{'s are' if n > 1 else ' is'} not answered"
        super().__init__("\n".join([asked, *keys, f"to answer, edit the file, or run: {again}"]))


def one_line(text: str) -> str:
    """Without characters that a TOML comment can't hold."""
    return "".join(c if c.isprintable() else " " for c in text)


def written(value: str) -> str:
    """A candidate as it is shown: an empty one as "", one with outer spaces in quotation marks."""
    return f'"{value}"' if value != value.strip() or not value else value


def flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Keys of sections with dots.

    >>> flat({"id": "a", "labels": {"column": "tags"}, "images": {"train": "a", "test": "b"}})
    {'id': 'a', 'labels.column': 'tags', 'images': {'train': 'a', 'test': 'b'}}
    """
    out: dict[str, Any] = {}
    for key, value in values.items():
        if key in ("labels", "folds") and isinstance(value, Mapping):
            out |= {f"{key}.{inner}": v for inner, v in value.items()}
        else:
            out[key] = value
    return out


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """The reverse of `flat`."""
    out: dict[str, Any] = {}
    for key, value in values.items():
        section, _, inner = key.partition(".")
        if inner:
            out.setdefault(section, {})[inner] = value
        else:
            out[key] = value
    return out


def open_keys(values: Mapping[str, Any]) -> list[str]:
    """The keys of `values`, with dots, that hold an open question."""
    return [key for key, value in flat(values).items() if value == OPEN]


def parse_answer(text: str) -> Any:
    """A TOML value; any other text is a string.

    >>> parse_answer('["a", "b"]'), parse_answer("tags"), parse_answer('" & "'), parse_answer("2")
    (['a', 'b'], 'tags', ' & ', 2)
    """
    try:
        return tomllib.loads(f"value = {text}")["value"] if "\n" not in text else text
    except tomllib.TOMLDecodeError:
        return text.strip()


def parse_answers(text: str) -> dict[str, Any]:
    """{key: value} of SET; raises ValueError where it does not start with a key.

    >>> parse_answers('labels.column=Finding Labels id=x folds.n=3')
    {'labels.column': 'Finding Labels', 'id': 'x', 'folds.n': 3}
    """
    found = list(_ANSWER.finditer(text))
    if not found or text[: found[0].start()].strip():
        raise ValueError(f'SET={text!r}: expected KEY=VALUE, such as SET="labels.column=tags folds.n=3"')
    ends = [match.start() for match in found[1:]] + [len(text)]
    return {match[1]: parse_answer(text[match.end() : end]) for match, end in zip(found, ends, strict=True)}


def answer_of(question: Question, typed: str) -> Any:
    """The value for what was typed: the number of a candidate, from 1, or the value itself."""
    values = list(question.candidates)
    if typed.isdecimal() and typed not in values and 1 <= int(typed) <= len(values):
        return parse_candidate(values[int(typed) - 1])
    return parse_candidate(typed) if typed in values else parse_answer(typed)


def parse_candidate(text: str) -> Any:
    """A list or inline table as TOML; any other candidate is a string as it stands, such as `2` or ` & `."""
    return parse_answer(text) if text.startswith(("[", "{")) else text


def settled(given: Mapping[str, Any], questions: Iterable[Question]) -> list[Question]:
    """The questions that `given` does not answer, one for each key."""
    first: dict[str, Question] = {}
    for question in questions:
        first.setdefault(question.key, question)
    return [question for key, question in first.items() if given.get(key, OPEN) == OPEN]


def as_list(value: str | Sequence[str]) -> list[str]:
    return [value] if isinstance(value, str) else list(value)
