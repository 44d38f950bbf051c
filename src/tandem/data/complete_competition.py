"""Completes `competition.toml`: infers what it lacks, with the values of the user as given answers."""

from collections.abc import Iterable, Mapping
from typing import Any

import tomlkit
from pydantic import TypeAdapter

from tandem.artifacts.atomic_io import write_json, write_text
from tandem.artifacts.paths import Paths
from tandem.artifacts.user_files import read_text
from tandem.config.competition import Competition, known_keys, required_keys, to_toml, updated
from tandem.config.import_record import read_inferred
from tandem.config.questions import OPEN, flat, nested
from tandem.config.toml_files import parse_document, parse_toml, require_types, validate
from tandem.data.infer_competition import LABEL_VALUES, ROWS, Inference, infer_competition
from tandem.data.infer_tables import has_test_table


def complete(paths: Paths, answers: Mapping[str, Any] | None = None) -> Inference:
    """Infers and writes what is missing or was inferred before; a given answer replaces what is in the file.

    Raises ValueError, and writes nothing, where an answer is no key or does not fit.
    """
    answers = dict(answers or {})
    if unknown := [key for key in answers if key not in known_keys()]:
        raise ValueError(f"{unknown[0]!r} is no key of competition.toml; there are {', '.join(known_keys())}")
    before = flat(parse_toml(paths.competition)) if paths.competition.exists() else {}
    if before.get("metric") == OPEN:
        answers.setdefault("metric", OPEN)  # no file says it: the question stays
    inferred, _ = read_inferred(paths)
    own = {key for key, value in before.items() if key in inferred and value == inferred[key]}
    changed = {key for key, value in answers.items() if before.get(key, value) != value}
    own |= labels_of(changed) - set(answers)
    given = {key: value for key, value in before.items() if key not in own and value != OPEN} | answers
    answered = {key: value for key, value in given.items() if value != OPEN}
    require_types(TypeAdapter(Competition), nested(answered), paths.competition)
    found = infer_competition(paths.input, given)
    text = to_toml(found.values, found.questions)
    if before:
        fresh = flat(tomlkit.parse(text).unwrap())
        document = parse_document(paths.competition)
        for key in before:
            if key not in given and key not in fresh:
                _remove(document, key)
        text = tomlkit.dumps(updated(document, found.values, found.questions))
    written = flat(tomlkit.parse(text).unwrap())
    if not found.questions:
        validate(TypeAdapter(Competition), nested(written), paths.competition)
    if not paths.competition.exists() or text != read_text(paths.competition):
        write_text(paths.competition, text)
    record = {key: value for key, value in written.items() if key not in given and value != OPEN}
    write_json(paths.inferred, {"values": record, "open": [question.key for question in found.questions]})
    return found


def _remove(document: tomlkit.TOMLDocument, key: str) -> None:
    section, _, name = key.rpartition(".")
    table: Any = document[section] if section else document
    table.remove(name)


def labels_of(keys: Iterable[str]) -> set[str]:
    """The keys of label names and numbers, where one of `keys` changes which cells are labels."""
    return set(LABEL_VALUES) if any(key.startswith("labels.") or key in ROWS for key in keys) else set()


def settle(paths: Paths) -> None:
    """Completes a file that lacks values, once its questions are answered, or where a test table is new."""
    if not paths.competition.exists():
        return
    values = flat(parse_toml(paths.competition))
    inferred, asked = read_inferred(paths)
    missing = [key for key in required_keys() if key not in values]
    new_test = values.get("test") == "" == inferred.get("test") and has_test_table(paths.input)
    if (asked or missing or new_test or OPEN in values.values()) and not complete(paths).questions:
        after = flat(parse_toml(paths.competition))
        changed = [key for key in after if after[key] != values.get(key)]
        print(f"{paths.competition}: inferred {', '.join(changed) or 'nothing new'}")
