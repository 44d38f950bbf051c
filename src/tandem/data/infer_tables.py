"""Which files of a competition are its tables, and which rows are train and test."""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from tandem.artifacts.atomic_io import csv_text, write_text
from tandem.artifacts.user_files import first_line, read_start
from tandem.config.questions import Question, as_list
from tandem.data.archive import SETTINGS
from tandem.data.competition_tables import SPLIT_OF, split_word
from tandem.data.csv_reader import Table
from tandem.data.image_names import ImageFiles

TABLES = (".csv", ".tsv", ".psv", ".jsonl", ".json")  # the first where two are named alike
ARCHIVES = (".zip", ".7z", ".tar", ".gz")
OWN = (SETTINGS, "inferred.json")  # what import writes itself
FOLDER_LABELS = "folder_labels.csv"  # written by import where the folders are the labels
SPLIT_NAMES = re.compile(r"split|fold|set|subset|partition|usage|phase", re.IGNORECASE)


@dataclass
class Found:
    """What an import found out so far."""

    given: dict[str, Any]  # answers of the user, {key: value}
    values: dict[str, Any] = field(default_factory=dict)  # {key: value} that are certain
    questions: list[Question] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # what was inferred
    unused: list[str] = field(default_factory=list)  # columns, files and folders, with the reason


def find_tables(files: Sequence[str], folder: Path, found: Found) -> dict[str, list[str]]:
    """{role: files} of train, and of test, sample_submission and solution where they exist."""
    tables = [file for file in files if _is_table(folder, file)]
    if not tables or (FOLDER_LABELS in tables and "train" not in found.given):
        tables = list(dict.fromkeys([*tables, *label_folders(folder, files, found)]))
    if not tables:
        archives = [file for file in files if file.lower().endswith(ARCHIVES)]
        inner = f"; unpack {archives[0]} first" if archives else ""
        raise ValueError(f"{folder} contains no CSV file; expected train.csv and test.csv{inner}")
    roles = {role: as_list(found.given[role]) for role in ROLES if found.given.get(role)}
    for role in list(roles):
        if missing := [file for file in roles[role] if file not in files]:
            if role in ("train", "test"):
                raise ValueError(f"{folder / missing[0]} does not exist; add it, or correct {role}")
            del roles[role]  # there need not be one
    taken = {file for named in roles.values() for file in named}
    taken |= {file for key in ("unlabelled", "captions") for file in as_list(found.given.get(key) or [])}
    for role in ROLES:
        if role not in roles and role not in found.given and (name := _best(tables, role, taken)):
            if role == "train":
                ask_train([t for t in tables if t not in taken and ROLES["train"](_stem(t))], name, folder, found)
            roles[role] = [name]
            taken.add(name)
    if "train" not in roles:
        roles["train"] = [_only_table(folder, tables, taken, found)]
        taken.add(roles["train"][0])
    if (valid := _best(tables, "valid", taken)) and "train" not in found.given:
        both = f'["{roles["train"][0]}", "{valid}"]'
        options = {both: "rows of both are trained on", roles["train"][0]: f"{valid} is left out"}
        found.questions.append(Question("train", f"{valid} holds more rows", options))
        taken.add(valid)
    found.unused += [f"{file}: no train, test, sample submission or solution" for file in tables if file not in taken]
    return roles


def has_test_table(folder: Path) -> bool:
    """Whether there is a table of test rows by its name."""
    files = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return _best([file for file in files if _is_table(folder, file)], "test", set()) is not None


def _stem(file: str) -> str:
    return PurePosixPath(file).stem.lower()


ROLES = {
    "solution": lambda stem: "solution" in stem and "sample" not in stem,
    "sample_submission": lambda stem: "submission" in stem or ("sample" in stem and "sub" in stem),
    "train": lambda stem: "train" in stem,
    "test": lambda stem: "test" in stem,
}
_FITS = {**ROLES, "valid": lambda stem: re.match(r"(val|valid|validation|dev)([^a-z]|$)", stem)}


def _best(tables: Sequence[str], role: str, taken: set[str]) -> str | None:
    """The free table whose name fits a role: the least deep, then the shortest."""
    fitting = [table for table in tables if table not in taken and _FITS[role](_stem(table))]

    def rank(table: str) -> tuple[int, bool, bool, int, int, str]:
        stem, kind = _stem(table), TABLES.index(PurePosixPath(table).suffix.lower())
        return table.count("/"), stem != role, "label" not in stem, len(stem), kind, table

    return min(fitting, key=rank, default=None)


def ask_train(named: Sequence[str], best: str, folder: Path, found: Found) -> None:
    """A question where several tables are named train, and none just train, nor alone speaks of labels."""
    rivals = [table for table in named if "caption" not in _stem(table) and table.count("/") == best.count("/")]
    labels = [table for table in rivals if "label" in _stem(table)]
    if len(rivals) > 1 and _stem(best) != "train" and labels != [best]:
        lines = {table: _first_line(folder / table) for table in rivals}
        every = "[" + ", ".join(f'"{table}"' for table in rivals) + "]"
        found.questions.append(Question("train", "several tables are named train", lines | {every: "rows of all"}))


def _only_table(folder: Path, tables: Sequence[str], taken: set[str], found: Found) -> str:
    """The table of labelled rows where none is named train; several are a question."""
    free = [table for table in tables if table not in taken and not re.search("caption|unlabel", _stem(table))]
    free = free or [table for table in tables if table not in taken]
    named = [table for table in free if "label" in _stem(table)] or free
    if not named:
        raise ValueError(f"{folder} contains no table of labelled rows; expected train.csv besides {list(tables)}")
    if FOLDER_LABELS in named:
        return FOLDER_LABELS
    if len(named) > 1 and "train" not in found.given:
        lines = {table: _first_line(folder / table) for table in named}
        found.questions.append(Question("train", "no table is named train", lines))
    else:
        found.notes.append(f"no table is named train: {named[0]} is read as the training table")
    return named[0]


def _first_line(file: Path) -> str:
    return first_line(file).strip()[:60]


def _is_table(folder: Path, file: str) -> bool:
    """By its name; a JSON file only where it is a list, such as of rows."""
    if file in OWN or not file.lower().endswith(TABLES):
        return False
    if not file.lower().endswith(".json"):
        return True
    return read_start(folder / file, 64).decode("utf-8", "replace").lstrip("\ufeff \n\r\t").startswith("[")


def label_folders(folder: Path, files: Sequence[str], found: Found) -> list[str]:
    """Writes the tables of a competition whose folders are the labels, with a question; their names."""
    images = ImageFiles(files).files
    by_folder: dict[str, list[str]] = defaultdict(list)
    for file in images:
        by_folder[PurePosixPath(file).parent.as_posix()].append(file)
    test = {name for name in by_folder if split_word(PurePosixPath(name).name) == "test"}
    labels = {name: PurePosixPath(name).name for name in by_folder if name not in test and name != "."}
    if len(set(labels.values())) < 2:
        return []
    rows = [(file, label) for name, label in sorted(labels.items()) for file in sorted(by_folder[name])]
    write_text(folder / FOLDER_LABELS, csv_text(("image", "labels"), *rows))
    if test:
        listed = sorted(file for name in test for file in by_folder[name])
        write_text(folder / "test.csv", csv_text(("image",), *((file,) for file in listed)))
    example = f"{rows[0][0]} is labelled {rows[0][1]!r}"
    counts = ", ".join(f"{label} {n}" for label, n in Counter(label for _, label in rows).items())
    about = f"there is no table of labels; the folders hold images: {counts}"
    found.questions.append(Question("train", about, {FOLDER_LABELS: example}))
    return [FOLDER_LABELS, *(["test.csv"] if test else [])]


def split_column(table: Table, has_test: bool, found: Found) -> str | None:
    """The column whose cells say train, valid or test, where there is one."""
    if "split" in found.given:
        return found.given["split"] or None
    for name in table.columns:
        words = Counter(cell.strip().casefold() for cell in table.column(name))
        splits = {SPLIT_OF.get(word) for word in words}
        if None in splits or "train" not in splits or len(splits) < 2 or not SPLIT_NAMES.search(name):
            continue
        rows = ", ".join(f"{n:,} {word}" for word, n in words.items())
        found.values["split"] = name
        left = " (left out: there is a test table)" if "test" in splits and has_test else ""
        found.notes.append(f"split: column {name!r} says {rows}; test rows are never trained on{left}")
        if "valid" in splits and "valid" not in found.given:
            about = f"column {name!r} calls rows valid; folds of the training rows do the validation here"
            found.questions.append(
                Question("valid", about, {"train": "they are trained on", "out": "they are left out"})
            )
        return name
    return None
