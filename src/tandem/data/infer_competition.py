"""Infers `competition.toml` from a folder of CSV files and images, with questions for the user."""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, cast

from tandem.config.competition import Competition
from tandem.config.questions import Question
from tandem.data.caption_files import image_names, is_image_name
from tandem.data.csv_reader import Table, read_table
from tandem.data.image_io import SUFFIXES
from tandem.data.infer_captions import Caption, find_caption, find_caption_files, is_caption_name, join_several_rows
from tandem.data.infer_labels import guess_labels
from tandem.data.submission import preview, submission_columns

WITH_CAPTIONS = ["text_minilm", "text_tfidf", "image_tuned", "fusion", "fusion_lite0"]
ROLES: tuple[str, ...] = ("train", "test")
TEXT_ONLY = ["text_minilm", "text_tfidf"]
IMAGES_ONLY = ["image_lite2", "image_tuned", "image_tuned_lite0"]


@dataclass(frozen=True)
class Inference:
    """An inferred competition; the roles of files are train, test, sample_submission and solution."""

    competition: Competition
    notes: list[str]  # what was inferred
    questions: list[str]  # what is uncertain, and the key of competition.toml to edit
    roles: dict[str, str]  # {role: file}
    tables: dict[str, Table]  # {role: table} of all but the solution
    counts: dict[str, int]  # {label: number of training rows}


class ImageIndex:
    """The image files of a folder, searchable by id.

    >>> ImageIndex(["data/7.jpg", "data/8.jpg"]).count_places(["7", "8", "9"])
    Counter({('data', '.jpg'): 2})
    """

    def __init__(self, files: Iterable[str]) -> None:
        self.files = [file for file in files if PurePosixPath(file).suffix.lower() in SUFFIXES]
        self._by_name: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for file in self.files:
            path = PurePosixPath(file)
            self._by_name[path.name].append((file, ""))
            self._by_name[path.stem].append((file, path.suffix))

    def count_places(self, ids: Sequence[str]) -> Counter[tuple[str, str]]:
        """Number of ids that name a file in each (folder, suffix)."""
        places: Counter[tuple[str, str]] = Counter()
        for id in ids:
            for file, suffix in self._by_name.get(id.rsplit("/", 1)[-1], ()):
                if f"/{file}".endswith(f"/{id}{suffix}"):
                    places[file[: len(file) - len(id + suffix)].rstrip("/") or ".", suffix] += 1
        return places


def best_place(places: Counter[tuple[str, str]]) -> tuple[str, str]:
    """The (folder, suffix) of most ids; of equals, the one with the shortest folder name."""
    return min(places, key=lambda place: (-places[place], len(place[0]), place))


def infer_competition(folder: Path) -> Inference:
    """The most likely competition; raises ValueError where none can be inferred."""
    found = (Path(here, name) for here, _, names in os.walk(folder) for name in names)
    files = sorted(path.relative_to(folder).as_posix() for path in found)
    questions: list[str] = []
    roles = find_tables(files, folder, questions)
    tables = {role: read_table(folder / name) for role, name in roles.items() if role != "solution"}
    try:
        inference = infer_from(roles, tables, ImageIndex(files), questions)
    except ValueError as error:
        raise ValueError(f"{folder / roles['train']}: {error}") from error
    return inference if inference.competition.caption else with_caption_files(inference, folder, files)


def with_caption_files(found: Inference, folder: Path, files: Sequence[str]) -> Inference:
    """The inference with files of captions beside the tables, where there are some."""
    id = found.competition.id
    tables = {role: found.tables[role] for role in ROLES if role in found.tables}
    ids = {role: image_names(table, id) for role, table in tables.items()}
    others = [file for file in files if file not in found.roles.values()]
    captions = find_caption_files(folder, others, ids)
    notes, questions = found.notes + captions.notes, list(found.questions)
    if not captions.files:
        return replace(found, notes=notes)
    if isinstance(captions.caption, Question):
        questions.append(f"{captions.caption.about}: edit caption")
    caption = first_candidate(captions.caption)
    names = captions.files[0] if len(captions.files) == 1 else captions.files
    experiments = WITH_CAPTIONS if found.competition.images else TEXT_ONLY
    changes = {"caption": caption, "captions": names, "experiments": experiments}
    return replace(found, competition=found.competition.model_copy(update=changes), notes=notes, questions=questions)


def first_candidate(caption: Caption | Question | None) -> Caption | None:
    return next(iter(caption.candidates)) if isinstance(caption, Question) else caption


def infer_from(roles: dict[str, str], tables: dict[str, Table], images: ImageIndex, questions: list[str]) -> Inference:
    """`roles` is {role: file}; new questions are added to `questions`."""
    train, test, sample = tables["train"], tables.get("test"), tables.get("sample_submission")
    if not train.rows:
        raise ValueError("the table has no rows")
    notes: list[str] = []
    if sample and not test:
        roles, tables = roles | {"test": roles["sample_submission"]}, tables | {"test": sample}
        notes.append(f"no test table: the test ids are those of {roles['test']}")
    elif not test:
        questions.append("there is no test table: add test.csv with the ids to label, or edit test")
    counts = {c: max(images.count_places(train.column(c)).values(), default=0) for c in train.columns}
    tables, id = join_several_rows(tables, counts, notes)
    train, test = tables["train"], tables.get("test") if test else None
    texts = [c for c in train.columns if not images.files and is_caption_name(c)]  # they name no rows
    id = id or find_id(without(train, texts), test, sample, images)
    named = [c for c in train.columns if sample and c in sample.columns and c != id]
    shared = [c for c in train.columns if test and c in test.columns and c not in (id, *named)]
    own = [] if test or sample else [c for c in train.columns if c != id]
    found = find_caption(train, shared or own, certain=test is not None)
    if isinstance(found, Question):
        questions.append(f"{found.about}: edit caption")
    caption = first_candidate(found)
    captions = [caption] if isinstance(caption, str) else caption or []
    images_at, suffix = None, ""
    if images.files or not caption or names_images(train.column(id)):
        places = {"train": train, "test": tables.get("test")}
        images_at, suffix = find_images(id, places, images, questions)
    rest = [c for c in train.columns if c not in (id, *captions)]
    guess = guess_labels(train, named or [c for c in rest if c not in shared] or rest)
    questions += guess.questions
    if unused := [c for c in rest if c not in guess.labels.columns]:
        notes.append(f"not used: {preview(unused)}")
    competition = Competition(
        id=id,
        caption=caption,
        images=images_at,
        suffix=suffix,
        labels=guess.labels,
        least=guess.least,
        most=max(guess.most, 1),
        experiments=IMAGES_ONLY if not caption else WITH_CAPTIONS if images_at else TEXT_ONLY,
        **cast(dict[str, Any], roles),
    )
    if sample:
        try:
            submission_columns(competition, sample.columns)
        except ValueError as error:
            questions.append(f"{roles['sample_submission']}: {error}: rename columns, or remove the file")
    return Inference(competition, notes, questions, roles, tables, guess.counts)


def without(table: Table, columns: Sequence[str]) -> Table:
    """The table as if these columns were not in it."""
    kept = [j for j, column in enumerate(table.columns) if column not in columns]
    if not kept:
        raise ValueError(f"no column names the rows: add a column id to {list(columns)}, different in each row")
    rows = [tuple(row[j] for j in kept) for row in table.rows]
    return replace(table, columns=tuple(table.columns[j] for j in kept), rows=rows)


def names_images(cells: Sequence[str]) -> bool:
    """Whether the cells look like names of image files."""
    return any(map(is_image_name, cells))


def find_tables(files: Sequence[str], folder: Path, questions: list[str]) -> dict[str, str]:
    """{role: file} of train, and of test, sample_submission and solution where they exist."""
    tables = [file for file in files if file.lower().endswith(".csv")]
    if not tables:
        archives = [file for file in files if file.lower().endswith((".zip", ".7z", ".tar", ".gz"))]
        inner = f"; unpack {archives[0]} first" if archives else ""
        raise ValueError(f"{folder} contains no CSV file; expected train.csv and test.csv{inner}")
    roles: dict[str, str] = {}

    def assign(role: str, fits: Callable[[str], bool]) -> None:
        free = (table for table in tables if table not in roles.values())
        if fitting := [table for table in free if fits(PurePosixPath(table).stem.lower())]:
            roles[role] = min(fitting, key=lambda t: (t.count("/"), len(PurePosixPath(t).name), t))

    assign("solution", lambda stem: "solution" in stem and "sample" not in stem)
    assign("sample_submission", lambda stem: "submission" in stem or ("sample" in stem and "sub" in stem))
    assign("train", lambda stem: "train" in stem)
    assign("test", lambda stem: "test" in stem)
    if "train" not in roles:
        assign("train", lambda stem: "label" in stem)
        if "train" not in roles:
            assign("train", lambda stem: True)
        if "train" not in roles:
            raise ValueError(f"{folder} contains no table of labelled rows; expected train.csv besides {tables}")
        questions.append(f"no table is named train: {roles['train']} is used: edit train")
    return roles


def find_id(train: Table, test: Table | None, sample: Table | None, images: ImageIndex) -> str:
    """The column whose values name images; without images, the first with (nearly) unique values."""
    columns = [c for c in train.columns if test is None or c in test.columns]
    if sample and not test:
        columns = [c for c in columns if c in sample.columns] or columns
    if test and not columns:
        both = f"{list(train.columns)} and {list(test.columns)}; expected the same name for the column of ids"
        raise ValueError(f"no column is in both the training and the test table: {both}")
    n_images = {c: max(images.count_places(train.column(c)).values(), default=0) for c in columns}
    distinct = {c: len(set(train.column(c)) - {""}) / len(train.rows) for c in columns}
    named = [c for c in columns if n_images[c]]
    unique = [c for c in columns if distinct[c] > 0.9]
    if named and not set(named) & set(unique):
        raise ValueError(f"column {named[0]!r} names many images in more than one row; expected one row for each image")
    if not unique:
        raise ValueError(f"no column of {columns} has a different value in each row; expected one with ids of images")
    hinted = re.compile("id|image|file|name", re.IGNORECASE)
    return min(unique, key=lambda c: (-n_images[c], not hinted.search(c), columns.index(c)))


def find_images(id: str, tables: dict[str, Table | None], images: ImageIndex, questions: list[str]) -> tuple[str, str]:
    """(folder, suffix) that give the most images of the training rows."""
    ids = {split: table.column(id) for split, table in tables.items() if table and id in table.columns}
    places = {split: images.count_places(values) for split, values in ids.items()}
    if not places["train"]:
        column, n = f"column {id!r} (such as {ids['train'][0]!r})", len(images.files)
        questions.append(f"{column} names none of the {n:,} image files: add the images, or edit images and suffix")
        folders = Counter(PurePosixPath(file).parent.as_posix() for file in images.files)
        return max(folders, key=folders.__getitem__, default="."), ""
    place = best_place(places["train"])
    pattern = file_pattern(place, id)
    for split, values in ids.items():
        if split != "train" and (common := set(values) & set(ids["train"])):
            shared = f"{len(common):,} {split} ids are also ids of train rows, such as {min(common)!r}"
            advice = f"each image needs its own id; give the {split} images and ids other names"
            questions.append(f"{shared}: {advice}")
            continue
        n = places[split][place]
        if places[split] and not n:
            where = f"train images are {pattern}, {split} images {file_pattern(best_place(places[split]), id)}"
            questions.append(f"{where}: move all images to one folder and edit images and suffix")
        elif n < len(values):
            rows = f"{len(values) - n:,} of {len(values):,} {split} rows"
            questions.append(f"{rows} have no image at {pattern}: make check lists them")
    return place


def file_pattern(place: tuple[str, str], id: str) -> str:
    """Such as data/<id>.jpg."""
    return f"{place[0]}/<{id}>{place[1]}"
