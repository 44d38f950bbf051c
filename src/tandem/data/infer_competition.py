"""Infers `competition.toml` from a folder of tables and images: what is certain, and questions for the rest."""

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from tandem.config.competition import Competition
from tandem.config.questions import Question, as_list, flat, nested, settled
from tandem.data.competition_tables import joined_tables, matched, read_one, rows_in_split
from tandem.data.csv_reader import Table
from tandem.data.infer_images import ANY, ImageFiles, Place, Reading, find_repair, holds, places, read_column, renamed
from tandem.data.infer_labels import HINTS, LabelGuess, guess_labels
from tandem.data.infer_tables import OWN, Found, find_tables, is_counter, is_nameless, split_column
from tandem.data.label_codec import natural_key, split_cell
from tandem.data.submission import submission_columns

WITH_CAPTIONS = ["text_minilm", "text_tfidf", "image_tuned", "fusion", "fusion_lite0"]
IMAGES_ONLY = ["image_lite2", "image_tuned", "image_tuned_lite0"]
TEXT_ONLY = ["text_minilm", "text_tfidf"]
ID_NAME = re.compile(r"(^|[_ -])id$|^id|Id$|ID$")
LABEL_VALUES = ("labels.names", "least", "most")  # depend on what the labels are, and on
ROWS = ("train", "valid", "split", "encoding", "columns")  # which rows there are
FOUND = 0.5  # share of the rows whose images must be found for a column to name images


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
    paths = (Path(here, name) for here, _, names in os.walk(folder) for name in names)
    files = sorted(name for path in paths if (name := path.relative_to(folder).as_posix()) not in OWN)
    found = Found(dict(given or {}))
    roles = find_tables(files, folder, found)
    tables: dict[str, Table] = {}
    try:
        tables = read_tables(folder, roles, found)
        counts = infer_from(roles, tables, ImageFiles(files), found)
    except ValueError as error:
        question = getattr(error, "question", None)  # such as the encoding of a table
        if question is None:
            first = str(folder / roles["train"][0])
            raise error if str(error).startswith(str(folder)) else ValueError(f"{first}: {error}") from error
        found.questions, counts = [question], {}
    questions = settled(found.given, found.questions)
    if not any(question.key in ("images", "image", "image_name") for question in questions):
        read = [file for named in roles.values() for file in named] + [line.partition(":")[0] for line in found.unused]
        found.unused += unused_folders(files, read, (found.values | found.given).get("images"))
    if not questions and "sample_submission" in tables:
        note_sample(found, tables["sample_submission"], roles["sample_submission"][0])
    values = {key: value for key, value in (found.values | found.given).items() if key not in depends_on(questions)}
    return Inference(values, questions, found.notes, found.unused, roles, tables, counts)


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
            table = read_one(folder / file, encoding, columns)
            if header := (tables.get("train") or (parts[0] if parts else None)):
                table, other = matched(table, header.columns)
                if other:
                    spelt = ", ".join(f"{own!r} is {name!r}" for own, name in other.items())
                    found.notes.append(f"{file}: columns as in the training table: {spelt}")
            parts.append(table)
        if parts:
            tables[role] = joined_tables(parts)
    if column := split_column(tables["train"], "test" in tables, found):
        every = tables["train"]
        tables["train"] = rows_in_split(every, column, "train", found.given.get("valid"))
        rest = rows_in_split(every, column, "test", None)
        if rest.rows and "test" not in tables:
            tables["test"] = rest
    if not tables["train"].rows:
        raise ValueError("the table has no rows")
    return tables


def infer_from(
    roles: dict[str, list[str]], tables: dict[str, Table], images: ImageFiles, found: Found
) -> dict[str, int]:
    """Adds values and questions to `found`; {label: number of training rows}."""
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
    image = choose_image(readings, found)
    id = choose_id(train, test, sample, image, found)
    place_images(image, tables, images, found)
    named = [c for c in train.columns if sample and c in sample.columns and c not in (id, image)]
    shared = [c for c in train.columns if test and c in test.columns and any(map(str.strip, test.column(c)))]
    rest = [c for c in train.columns if c not in (id, image, found.values.get("split"))]
    texts = [c for c in rest if c not in named and (not test or c in test.columns)]
    caption = infer_caption(train, texts, bool(test), found)
    rest = [c for c in rest if c not in caption]
    unshared = [c for c in rest if c not in shared]
    hinted = [c for c in rest if c in shared and any(hint in c.lower() for hint in HINTS)]
    guess = infer_labels(train, named or [*unshared, *hinted] or rest, found)
    infer_metric(sample, id, guess, found)
    text_only = not images.files or found.given.get("images") == ""
    if text_only and not caption:
        raise ValueError("there are no image files and no column of captions; expected images, texts or both")
    if text_only:
        found.values["duplicates"] = "off"  # they are found by images
    found.values["experiments"] = TEXT_ONLY if text_only else WITH_CAPTIONS if caption else IMAGES_ONLY
    used = [id, image, *caption, *guess.labels.columns, found.values.get("split")]
    found.unused += unused_columns(train, used, sample, test)
    return guess.counts


def check_given(found: Found, train: Table) -> None:
    """Raises ValueError where an answer names a column that is not there."""
    keys = ["id", "image", "split", "labels.column", *([] if found.given.get("captions") else ["caption"])]
    for key in keys:
        for column in filter(None, as_list(found.given.get(key) or "")):
            if column not in train.columns:
                raise ValueError(f"{key}: no column {column!r}; the columns are {', '.join(train.columns)}")


def find_image_columns(train: Table, test: Table | None, images: ImageFiles, found: Found) -> dict[str, Reading]:
    """{column: reading} of the columns that name image files, best first; row counters only where there is no other."""
    template, readings = found.given.get("image_name", ""), {}
    for column in train.columns:
        if test is None or column in test.columns:
            cells = [renamed(cell, template) for cell in train.column(column)]
            reading = read_column(column, cells, images)
            if reading.n_found and reading.n_found >= FOUND * len(cells):
                readings[column] = reading
    unique = {column for column, reading in readings.items() if reading.is_unique}
    counters = {column for column in readings if is_counter(column, train.column(column))}
    real = {c for c in readings if c not in counters and (c in unique or readings[c].suffix != ANY)}
    if not real:  # a fold or a label may be a number too
        real = {c for c in readings if not (c in counters and is_nameless(c))}

    def rank(column: str) -> tuple[bool, int, bool, int]:
        read = readings[column]
        return column not in unique, -read.n_found, read.suffix == ANY, train.columns.index(column)

    return {column: readings[column] for column in sorted(real or readings, key=rank)}


def choose_image(readings: Mapping[str, Reading], found: Found) -> str | None:
    """The column that names the images; one that is like the best but names other files is a question."""
    if "image" in found.given or not readings:
        return found.given.get("image")
    best, *others = readings.values()
    exact = [r for r in (best, *others) if r.suffix != ANY]
    if exact and exact[0].n_found >= best.n_found:
        best = exact[0]
    rivals = [r for r in others if r is not best and r.found != best.found and r.n_found >= best.n_found]
    if best.suffix != ANY:
        rivals = [r for r in rivals if r.suffix != ANY or r.n_found > best.n_found]
    rivals = [r for r in rivals if r.is_unique or not best.is_unique]
    if exact and best.suffix == ANY and exact[0].is_unique:
        rivals.append(exact[0])
    if rivals:
        examples = {r.column: next(files[0] for files in r.found if files) for r in (best, *rivals)}
        found.questions.append(Question("image", "several columns name image files; the first of each", examples))
    return best.column


def choose_id(train: Table, test: Table | None, sample: Table | None, image: str | None, found: Found) -> str:
    """The column that names a row, as the sample submission has it; else that of the images, or of different values."""
    id = found.given.get("id") or _id_column(train, test, sample, image, found)
    found.values["id"] = id
    if image and image != id:
        found.values["image"] = image
    return id


def _id_column(train: Table, test: Table | None, sample: Table | None, image: str | None, found: Found) -> str:
    columns = [c for c in train.columns if test is None or c in test.columns]
    if not columns:
        both = f"{list(train.columns)} and {list(test.columns if test else ())}"
        expected = "expected the same name for the column of ids"
        raise ValueError(f"no column is in both the training and the test table: {both}; {expected}")
    in_sample = [c for c in columns if sample and c in sample.columns and _is_unique(sample, c)]
    if in_sample and test is not None:
        same = [c for c in in_sample if set(sample.column(c)) == set(test.column(c))] if sample else []
        in_sample = same or in_sample
    if in_sample:
        return image if image in in_sample else in_sample[0]
    unique = [c for c in columns if _is_unique(train, c)]
    if image:
        if image not in unique:
            raise ValueError(
                f"column {image!r} names many images in more than one row; expected one row for each image"
            )
        rivals = [c for c in unique if c != image and ID_NAME.search(c)]
        if rivals and not sample:
            examples = {c: train.column(c)[0] for c in (image, *rivals)}
            found.questions.append(Question("id", "the submission may name a row by several columns", examples))
        return image
    if not unique:
        raise ValueError(f"no column of {columns} has a different value in each row; expected one with ids of images")
    hinted = re.compile("id|image|file|name", re.IGNORECASE)
    return min(unique, key=lambda c: (is_nameless(c), not hinted.search(c), columns.index(c)))


def _is_unique(table: Table, column: str) -> bool:
    return len(set(table.column(column)) - {""}) > 0.9 * len(table.rows)


def place_images(image: str | None, tables: Mapping[str, Table], images: ImageFiles, found: Found) -> None:
    """Folders and suffix of the images of each split."""
    if found.given.get("images") == "" or not images.files:
        return
    column, template = image or found.values["id"], found.given.get("image_name", "")
    options: dict[str, list[Place]] = {}
    for split in ("train", "test"):
        if split not in tables or column not in tables[split].columns:
            continue
        cells = [renamed(cell, template) for cell in tables[split].column(column)]
        reading = read_column(column, cells, images_in(found.given.get("images"), split, images))
        n = len(cells) - reading.n_found
        if split == "train" and n and not template and ask_repair(column, cells, images, found):
            return
        if split == "train" and not reading.n_found:
            about = f"column {column!r}, such as {cells[0]!r}, names none of the {len(images.files):,} image files"
            about += f", such as {images.files[0]}"
            found.questions.append(Question("images", about, {"": "no images: text only"}))
            return
        options[split] = places(reading, cells, split) if reading.n_found else []
        if n:
            found.notes.append(f"{n:,} of {len(cells):,} {split} rows have no image: make check lists them")
    settle_places(options, column, found)


def images_in(given: Any, split: str, images: ImageFiles) -> ImageFiles:
    """The files in the folders that are given for a split; all where none are."""
    setting = given.get(split) or given.get("test") if isinstance(given, Mapping) else given
    folders = as_list(setting or [])
    return ImageFiles(f for f in images.files if any(holds(d, f) for d in folders)) if folders else images


def settle_places(options: Mapping[str, list[Place]], column: str, found: Found) -> None:
    """One setting for the splits, or one for each; a question where two places fit the training rows."""
    best = options["train"][0]
    if len({place.folders for place in options["train"]}) > 1:
        listed = {_both(place, options.get("test", [])): place.pattern(column) for place in options["train"]}
        found.questions.append(Question("images", "several folders hold an image for each row", listed))
        return
    if len(options["train"]) > 1 and "suffix" not in found.given:
        listed = {place.suffix: place.pattern(column) for place in options["train"]}
        found.questions.append(Question("suffix", "files of several suffixes have the same names", listed))
    test = options.get("test") or [best]
    same = next((place for place in test if all(_is_in(best.folders, folder) for folder in place.folders)), None)
    chosen = same or test[0]
    found.values["images"] = best.setting
    if same is None:
        found.values["images"] = {"train": best.setting, "test": chosen.setting}
    found.values["suffix"] = best.suffix if best.suffix == chosen.suffix else ANY


def _both(train: Place, test: Sequence[Place]) -> str:
    """The setting of train and test images together: one folder, or the test folder of the same name."""
    folder = train.folders[0]
    apart = [place.folders[0] for place in test if not any(_is_in(train.folders, f) for f in place.folders)]
    if not apart or len(apart) < len(test):
        return folder
    twin = folder.replace("train", "test")
    return f'{{train = "{folder}", test = "{twin if twin in apart else apart[0]}"}}'


def _is_in(folders: Sequence[str], folder: str) -> bool:
    return folder in folders or any(f.endswith("**") and holds(f, f"{folder}/_") for f in folders)


def ask_repair(column: str, cells: Sequence[str], images: ImageFiles, found: Found) -> bool:
    """Whether a change of the names fits all rows: it is asked for, with what differs."""
    repair = find_repair(cells, images)
    if repair is None:
        return False
    about = f"column {column!r} names no file as it stands: {repair.differs} differs, such as {repair.example}"
    found.questions.append(Question("image_name", about, {repair.template: repair.example}))
    return True


def infer_caption(train: Table, columns: Sequence[str], certain: bool, found: Found) -> list[str]:
    """The columns of captions; none is ""."""
    if "caption" in found.given:
        given = found.given["caption"]
        return [given] if isinstance(given, str) and given else list(given or [])
    if not certain:
        columns = [c for c in columns if not any(hint in c.lower() for hint in HINTS)]
    caption = find_caption(train, columns, found.notes)
    if caption:
        found.values["caption"] = caption
    return [caption] if caption else []


def infer_labels(train: Table, candidates: Sequence[str], found: Found) -> LabelGuess:
    """The labels, of the columns that are given where they are."""
    given = {key.removeprefix("labels."): value for key, value in found.given.items() if key.startswith("labels.")}
    columns = [given["column"]] if given.get("column") else candidates
    if "names" in given and "column" not in given and set(given["names"]) <= set(train.columns):
        columns = given["names"]
    guess = guess_labels(train, columns)
    if given.get("separator", guess.labels.separator) != guess.labels.separator:
        guess = cut_at(train.column(guess.labels.column), guess, given["separator"])
    found.questions += [question for question in guess.questions if isinstance(question, Question)]
    found.notes += [str(text) for text in guess.questions if not isinstance(text, Question)]
    found.values |= flat({"labels": guess.labels.model_dump(exclude_none=True)})
    found.values |= {"least": guess.least, "most": max(guess.most, 1)}
    return guess


def cut_at(cells: Sequence[str], guess: LabelGuess, separator: str) -> LabelGuess:
    """The labels of one column, cut at a given separator."""
    rows = [set(split_cell(cell, separator)) for cell in cells]
    counts = Counter(name for row in rows for name in row)
    names, sizes = sorted(counts, key=natural_key), [len(row) for row in rows]
    labels = guess.labels.model_copy(update={"separator": separator, "names": names})
    return LabelGuess(labels, min(sizes), max(sizes), {name: counts[name] for name in names}, guess.questions)


FRACTION_METRICS = {  # of a sample submission that holds fractions
    "auc_macro": "probabilities; mean ROC AUC of the labels",
    "log_loss": "probabilities; mean log loss of the labels",
    "map_macro": "probabilities; mean average precision of the labels",
    "f1_samples": "0 and 1, though the sample holds fractions",
}


def infer_metric(sample: Table | None, id: str, guess: LabelGuess, found: Found) -> None:
    """f1_samples is assumed, as no file names the metric; a sample with fractions is a question."""
    if "metric" in found.given:
        return
    found.values["metric"] = "f1_samples"
    cells = [] if sample is None else [c for name in sample.columns if name != id for c in sample.column(name)]
    if fractions := [cell for cell in cells if _is_fraction(cell)]:
        about = f"the sample submission holds fractions, such as {fractions[0]}; metrics of labels need 0 and 1"
        found.questions.append(Question("metric", about, FRACTION_METRICS))


def _is_fraction(cell: str) -> bool:
    return bool(re.fullmatch(r"\s*0?\.\d*[1-9]\d*([eE]-?\d+)?\s*", cell))


def unused_columns(train: Table, used: Sequence[str | None], sample: Table | None, test: Table | None) -> list[str]:
    """The columns that nothing reads, with the reason."""
    unused = []
    for column in train.columns:
        if column in used:
            continue
        if is_counter(column, train.column(column)):
            reason = "it counts the rows"
        elif sample and column not in sample.columns:
            reason = "neither a caption nor in the sample submission"
        else:
            reason = "neither a caption nor a label" if test and column in test.columns else "not read as a label"
        unused.append(f"column {column}: {reason}")
    return unused


def unused_folders(files: Sequence[str], tables: Sequence[str], images: Any) -> list[str]:
    """The folders whose files nothing reads; `images` is the setting of that name."""
    settings = images.values() if isinstance(images, Mapping) else [images]
    folders = [folder for setting in settings if setting for folder in as_list(setting)]
    left = Counter(
        PurePosixPath(file).parent.as_posix()
        for file in files
        if file not in tables and not any(holds(folder, file) for folder in folders)
    )
    return [f"{folder}/: {n:,} file{'s' * (n > 1)} that no row names" for folder, n in left.items() if folder != "."]


def find_caption(train: Table, columns: Sequence[str], notes: list[str]) -> str | None:
    """The column with the longest texts, or None where no column has texts of three words on average."""
    lengths = {}  # of all texts together
    for column in columns:
        cells = train.column(column)
        if sum(len(re.findall(r"[^\W\d_]+", cell)) for cell in cells) >= 3 * len(cells):
            lengths[column] = sum(map(len, cells))
    best = max(lengths, key=lengths.__getitem__, default=None)
    if len(lengths) > 1:
        notes.append(f"caption: {best}, the longest texts of {', '.join(lengths)}")
    return best
