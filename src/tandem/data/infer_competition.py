"""Infers `competition.toml` from a folder of tables and images: what is certain, and questions for the rest."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tandem.config.competition import Competition
from tandem.config.metric_names import METRIC_INFO
from tandem.config.questions import OPEN, Question, as_list, flat, nested, settled
from tandem.data.caption_files import image_names
from tandem.data.competition_tables import joined_tables, matched, names_of_test, read_one, rows_in_split
from tandem.data.csv_reader import Table
from tandem.data.image_names import ImageFiles, list_files, may_be_image, passed_over
from tandem.data.infer_captions import find_caption, find_caption_files, join_several_rows
from tandem.data.infer_folds import infer_folds
from tandem.data.infer_ids import choose_id
from tandem.data.infer_images import read_column
from tandem.data.infer_labels import LabelGuess, guess_labels
from tandem.data.infer_long_labels import guess_long
from tandem.data.infer_tables import OWN, Found, find_tables, split_column
from tandem.data.infer_unused import unused_columns, unused_folders
from tandem.data.label_readings import HINTS
from tandem.data.long_labels import one_row_an_id, widen
from tandem.data.place_images import choose_image, find_image_columns, place_images
from tandem.data.submission import submission_columns
from tandem.data.submission_form import fractions_question
from tandem.data.table_header import looks_headerless

PHOTO_MODEL = "image_tuned"  # beside the default set where captions are missing
MISSING_CAPTIONS = 0.1  # share of the training rows
LABEL_VALUES = ("labels.names", "least", "most")  # depend on what the labels are, and on
ROWS = ("train", "valid", "split", "encoding", "columns")  # which rows there are


@dataclass(frozen=True)
class Inference:
    """An inferred competition; the roles of tables are train, test, sample_submission and solution."""

    values: dict[str, Any]  # {key of competition.toml: value} of all that is certain or was given
    questions: list[Question]  # what is not
    notes: list[str]  # what was inferred
    unused: list[str]  # columns, files and folders that nothing reads, with the reason
    roles: dict[str, list[str]]  # {role: files}
    tables: dict[str, Table]  # {role: table} of all but the solution
    counts: dict[str, int]  # {label: number of training rows}

    @property
    def competition(self) -> Competition:
        """Raises ValueError where a question is open."""
        return Competition.model_validate(nested(self.values))


def infer_competition(folder: Path, given: Mapping[str, Any] | None = None) -> Inference:
    """`given` {key: value} are answers, taken as they are; raises ValueError where nothing can be inferred."""
    files = [name for name in list_files(folder, ["."]) if name not in OWN]
    found = Found(dict(given or {}))
    roles = find_tables(files, folder, found)
    tables: dict[str, Table] = {}
    try:
        tables = read_tables(folder, roles, found)
        others = [file for file in files if not any(file in named for named in roles.values())]
        counts = infer_from(roles, tables, ImageFiles(files), found, CaptionSource(folder, others))
    except ValueError as error:
        question = getattr(error, "question", None)  # such as the encoding of a table
        if question is None:
            first = str(folder / roles["train"][0])
            raise error if str(error).startswith(str(folder)) else ValueError(f"{first}: {error}") from error
        found.questions, counts = [question], {}
    questions = settled(found.given, found.questions)
    if not any(question.key in ("images", "image", "image_name") for question in questions):
        read = [file for named in roles.values() for file in named] + [line.partition(":")[0] for line in found.unused]
        read += as_list(found.values.get("captions") or found.given.get("captions") or [])
        if note := passed_over(filter(may_be_image, files)):
            found.unused.append(f"files: {note}")
        found.unused += unused_folders(files, read, (found.values | found.given).get("images"))
    if not questions and "sample_submission" in tables:
        note_sample(found, tables["sample_submission"], roles["sample_submission"][0])
    values = {key: value for key, value in (found.values | found.given).items() if key not in depends_on(questions)}
    return Inference(values, questions, found.notes, found.unused, roles, tables, counts)


@dataclass(frozen=True)
class CaptionSource:
    """Files that may hold captions."""

    folder: Path
    files: Sequence[str]


def note_sample(found: Found, sample: Table, file: str) -> None:
    """A sample submission of another form than the labels is noted; `make check` refuses it."""
    try:
        submission_columns(Competition.model_validate(nested(found.values | found.given)), sample.columns)
    except ValueError as error:
        found.notes.append(f"{file}: {error}")


def depends_on(questions: Sequence[Question]) -> set[str]:
    """The keys whose values depend on open questions, and these."""
    keys = {question.key for question in questions}
    if keys & {"image", "image_name"}:
        keys |= {"images", "suffix"}
    if any(key.startswith("labels.") or key in ROWS for key in keys):
        keys |= set(LABEL_VALUES)
    return keys


def read_tables(folder: Path, roles: dict[str, list[str]], found: Found) -> dict[str, Table]:
    """{role: table} of all but the solution, with the spelling of the training table's columns."""
    encoding, columns = found.given.get("encoding"), found.given.get("columns")
    tables: dict[str, Table] = {}
    for role in ("train", "test", "sample_submission"):
        parts: list[Table] = []
        for file in roles.get(role, ()):
            given = columns if role == "train" or not columns else names_of_test(columns, labels_given(found, columns))
            table = read_one(folder / file, encoding, None if role == "sample_submission" else given)
            if header := (tables.get("train") or (parts[0] if parts else None)):
                table, other = matched(table, header.columns)
                if other:
                    spelt = ", ".join(f"{own!r} is {name!r}" for own, name in other.items())
                    found.notes.append(f"{file}: columns as in the training table: {spelt}")
            parts.append(table)
        if parts:
            tables[role] = joined_tables(parts)
    train, sample = tables["train"], tables.get("sample_submission")
    if not columns and (question := looks_headerless(train.columns, train.rows, sample.columns if sample else ())):
        raise NoHeader(question)
    if column := split_column(tables["train"], "test" in tables, found):
        every = tables["train"]
        tables["train"] = rows_in_split(every, column, "train", found.given.get("valid"))
        rest = rows_in_split(every, column, "test", None)
        if rest.rows and "test" not in tables:
            tables["test"] = rest
    if not tables["train"].rows:
        raise ValueError("the table has no rows")
    return tables


class NoHeader(ValueError):
    """A training table whose first line looks like a row."""

    def __init__(self, question: Question) -> None:
        super().__init__(question.about)
        self.question = question


def labels_given(found: Found, columns: Sequence[str]) -> list[str]:
    """Those of the given names of columns that hold labels, which test tables lack."""
    named = as_list(found.given.get("labels.column") or found.given.get("labels.columns") or [])
    named = named or [c for c in as_list(found.given.get("labels.names") or []) if c in columns]
    return named or [column for column in columns if HINTS.search(column)]


def infer_from(
    roles: dict[str, list[str]], tables: dict[str, Table], images: ImageFiles, found: Found, source: CaptionSource
) -> dict[str, int]:
    """Adds values and questions to `found`; {label: number of training rows}."""
    long = long_labels(tables, images, found)
    train, sample = tables["train"], tables.get("sample_submission")
    for role, files in roles.items():
        found.values[role] = files[0] if len(files) == 1 else files
    if "test" not in tables and sample and sample.columns[0] in train.columns:
        tables["test"], found.values["test"] = sample, roles["sample_submission"][0]
        found.notes.append(f"no test table: the test ids are those of {found.values['test']}")
    elif "test" not in tables:
        found.values["test"] = ""
        found.notes.append(
            "no test table: train and score now, label new images with make predict; or add test.csv and run make "
            "import again"
        )
    elif "test" not in roles:
        found.values["test"] = ""  # rows of the training table
    test = tables.get("test")
    check_given(found, train)
    readings = find_image_columns(train, test, images, found)
    joined, several = join_several_rows(tables, {c: read.n_found for c, read in readings.items()}, found.notes)
    if several:
        tables.update(joined)
        train, test = tables["train"], tables.get("test")
        readings = find_image_columns(train, test, images, found)
    image = choose_image(readings, found)
    id = choose_id(train, test, sample, image, found)
    place_images(image, tables, images, found)
    named = [c for c in train.columns if sample and c in sample.columns and c not in (id, image)]
    shared = [c for c in train.columns if test and c in test.columns and any(map(str.strip, test.column(c)))]
    infer_folds(train, id, named, source.folder, source.files, found)
    folds = [(found.values | found.given).get(key) for key in ("folds.column", "folds.group")]
    rest = [c for c in train.columns if c not in (id, image, found.values.get("split"), *train.row_numbers, *folds)]
    texts = [c for c in rest if c not in named and (not test or c in test.columns)]
    caption = infer_caption(train, texts, bool(test), found)
    if not caption and "caption" not in found.given:
        caption = caption_files(source, tables, image or id, found)
    rest = [c for c in rest if c not in caption]
    unshared = [c for c in rest if c not in shared]
    hinted = [c for c in rest if c in shared and HINTS.search(c)]
    guess = long or infer_labels(train, [*unshared, *hinted] or rest, named, found)
    infer_metric(sample, id, guess, found)
    text_only = not images.files or found.given.get("images") == ""
    if text_only and not caption:
        raise ValueError("there are no image files and no column of captions; expected images, texts or both")
    found.values["experiments"] = experiments_for(train, caption, text_only)
    used = [id, image, *folds, *caption, *guess.labels.table_columns, found.values.get("split")]
    found.unused += unused_columns(train, used, sample, test)
    return guess.counts


def experiments_for(train: Table, caption: Sequence[str], text_only: bool) -> str | list[str]:
    """The sets of sets.toml, and experiments, for the rows of this training table; `caption` are its columns."""
    if text_only or not caption:
        return "captions" if text_only else "photos"
    cells = [train.column(name) for name in caption if name in train.columns]
    missing = sum(not any(map(str.strip, row)) for row in zip(*cells, strict=True))
    return ["default", PHOTO_MODEL] if missing > MISSING_CAPTIONS * len(train.rows) else "default"


def check_given(found: Found, train: Table) -> None:
    """Raises ValueError where an answer names a column that is not there."""
    keys = ["id", "image", "split", "labels.column", *([] if found.given.get("captions") else ["caption"])]
    for key in keys:
        for column in filter(None, as_list(found.given.get(key) or "")):
            if column not in train.columns:
                raise ValueError(f"{key}: no column {column!r}; the columns are {', '.join(train.columns)}")


def infer_caption(train: Table, columns: Sequence[str], certain: bool, found: Found) -> list[str]:
    """The columns of captions, or those that a question names."""
    if "caption" in found.given:
        given = found.given["caption"]
        return [given] if isinstance(given, str) and given else list(given or [])
    caption = find_caption(train, columns, certain)
    if isinstance(caption, Question):
        found.questions.append(caption)
        return [column for column in caption.candidates if column]
    if caption:
        found.values["caption"] = caption
    return as_list(caption or [])


def caption_files(source: CaptionSource, tables: Mapping[str, Table], image: str, found: Found) -> list[str]:
    """The columns of captions in files beside the tables, where there are such files."""
    ids = {
        role: image_names(t, image) for role, t in tables.items() if role in ("train", "test") and image in t.columns
    }
    captions = find_caption_files(source.folder, source.files, ids)
    found.notes += captions.notes
    if not captions.files:
        return []
    found.unused = [line for line in found.unused if line.partition(":")[0] not in captions.files]
    found.values["captions"] = captions.files[0] if len(captions.files) == 1 else captions.files
    if isinstance(captions.caption, Question):
        found.questions.append(captions.caption)
    else:
        found.values["caption"] = captions.caption
    return ["caption"]  # no column of the training table


def given_labels(found: Found) -> dict[str, Any]:
    """The answers in the section of the labels, by name of the key."""
    return {key.removeprefix("labels."): value for key, value in found.given.items() if key.startswith("labels.")}


def long_labels(tables: dict[str, Table], images: ImageFiles, found: Found) -> LabelGuess | None:
    """The labels of a training table with a row for each id and label, which becomes one with a row for each id."""

    def name_images(cells: Sequence[str]) -> bool:
        return bool(read_column("", list(dict.fromkeys(cells)), images).n_found)

    long = guess_long(tables["train"], name_images, given_labels(found))
    if long is None:
        return None
    id, guess = long
    tables["train"] = widen(tables["train"], id, guess.labels)[0]
    for role in ("test", "sample_submission"):  # may have a row for each id and label too
        if role in tables and id in tables[role].columns:
            tables[role] = one_row_an_id(tables[role], id, guess.labels)
    add_labels(guess, found)
    found.notes.append(f"labels: the training table has a row for each {id!r} and label")
    return guess


def infer_labels(train: Table, candidates: Sequence[str], named: Sequence[str], found: Found) -> LabelGuess:
    """The labels, of the columns that are given where they are."""
    guess = guess_labels(train, candidates, given_labels(found), named)
    add_labels(guess, found)
    return guess


def add_labels(guess: LabelGuess, found: Found) -> None:
    found.questions += guess.questions
    found.notes += guess.notes
    found.values |= flat({"labels": guess.labels.model_dump(exclude_none=True)})
    found.values |= {"least": guess.least, "most": max(guess.most, 1)}


def infer_metric(sample: Table | None, id: str, guess: LabelGuess, found: Found) -> None:
    """f1_samples is assumed, as no file names the metric; a sample with fractions is a question."""
    cells = [] if sample is None else [c for name in sample.columns if name != id for c in sample.column(name)]
    fractions = [cell for cell in cells if _is_fraction(cell)]
    metric = found.given.get("metric")
    if metric == OPEN and not fractions:
        about = "the competition's page names one that is none of these, or names none"
        found.questions.append(Question("metric", about, {name: info.title for name, info in METRIC_INFO.items()}))
    elif metric in (None, OPEN):
        found.values["metric"] = "f1_samples"
        if fractions:
            question = fractions_question("f1_samples", fractions[0])
            flags = {"f1_samples": "0 and 1 are written, though the sample holds fractions"}
            found.questions.append(replace(question, candidates={**question.candidates, **flags}))
    elif fractions and metric in METRIC_INFO and METRIC_INFO[metric].needs == "labels":
        found.values.setdefault("submission", "flags")
        found.notes.append(f"the sample submission holds fractions, but {metric} scores 0 and 1: these are written")


def _is_fraction(cell: str) -> bool:
    return bool(re.fullmatch(r"\s*0?\.\d*[1-9]\d*([eE]-?\d+)?\s*", cell))
