"""`competition.toml`: the columns of a competition, its labels, metric and folds."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter, model_validator
from pydantic.fields import FieldInfo

from tandem.artifacts.paths import NAME, Paths
from tandem.config.device import DeviceName
from tandem.config.labels import PLACE, Labels
from tandem.config.metric_names import METRIC_INFO, Needs, checked_metric
from tandem.config.questions import OPEN, OpenQuestions, Question, as_list, flat, open_keys
from tandem.config.toml_files import Section, parse_document, parse_toml, validate
from tandem.runtime.wrong_values import listed, nearest_first, unknown
from tandem.sample import NAME as SAMPLE

Duplicates = Literal["group", "off"]
if TYPE_CHECKING:
    from tomlkit import TOMLDocument
    from tomlkit.items import Item

Metric = Annotated[str, AfterValidator(checked_metric)]
DecoderName = Literal["auto", "fixed", "global", "per_class", "ascent", "shrunk", "expected", "gfm"]
SubmissionKind = Literal["labels", "flags", "probabilities", "long"]


def _inside(path: str) -> str:
    if not path.strip():
        raise ValueError("an empty path; expected one inside the competition's folder")
    if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts or "\\" in path:
        raise ValueError(f"{path!r} is outside the competition's folder; expected a path inside it")
    return path


RelativePath = Annotated[str, AfterValidator(_inside)]
OptionalPath = Annotated[RelativePath | None, BeforeValidator(lambda path: path or None)]  # "" in the file: none


MOST_FOLDS = 50  # a model of each is trained


class Folds(Section):
    """How the rows are split, by Tandem or by the user; a change retrains everything."""

    n: int = Field(5, ge=2, le=MOST_FOLDS)
    seed: int = Field(0, ge=0, lt=2**31)
    file: RelativePath | None = Field(None, description="CSV file of your own folds, by id")
    column: str | None = Field(None, description="column of your own folds, in that file or in the training table")
    group: str | None = Field(None, description="column of the training table: rows with equal cells share a fold")

    @property
    def columns(self) -> list[str]:
        """The columns of the training table that the folds are made from."""
        return [name for name in (None if self.file else self.column, self.group) if name]


EXTRA_WEIGHT = 0.5  # of the labels of extra rows, where it is not set


def _unset(value: object) -> bool:
    """Keys of settings that many competitions lack are left out, so that their content keys stay as they are."""
    return value is None


class SplitFolders(Section):
    """Separate folders of train and test images."""

    train: RelativePath | list[RelativePath]
    test: RelativePath | list[RelativePath]
    unlabelled: RelativePath | list[RelativePath] | None = None  # as test
    extra: RelativePath | list[RelativePath] | None = Field(None, exclude_if=_unset)  # as train


class Competition(Section):
    """The content of `competition.toml`; a description is a comment there."""

    slug: str | None = Field(
        None, description="the last part of the competition's address at Kaggle", exclude_if=_unset
    )
    id: str = Field(description="the column that names the row, also in the submission")
    image: str | None = Field(None, description="the column that names the image")
    caption: str | list[str] | None = Field(None, description="the column of captions, or a list of columns")
    captions: RelativePath | list[RelativePath] | None = Field(
        None, description="file(s) beside the tables that hold them: CSV, or JSON as MS-COCO writes it"
    )
    images: Annotated[
        RelativePath | list[RelativePath] | SplitFolders | None, BeforeValidator(lambda folders: folders or None)
    ] = Field(None, description='folder of the images; "a/**": a and all folders in it')
    suffix: str = Field("", description='added to the name of an image; ".*": any suffix')
    image_name: str = Field("", description='the name of an image file, such as "img_{id:04}.jpg"')
    split: str | None = Field(None, description="the column of the train table that says train, valid or test")
    valid: Literal["train", "out"] | None = Field(None, description="rows that `split` calls valid: train, or out")
    metric: Metric = Field("f1_samples", description=f"one of {', '.join(METRIC_INFO)}; or my_metric.py:FUNCTION")
    metric_input: Needs | None = Field(None, description="what my_metric.py:FUNCTION takes: labels or probabilities")
    beta: float = Field(1.0, gt=0, le=1000, description="1.0 is F1")
    zero_division: Literal[0, 1] = Field(0, description="F of a row or label with neither label nor prediction: 0 or 1")
    least: int = Field(1, ge=0, description="labels on a row, at least")
    most: int = Field(ge=1, description="and at most")
    decoder: DecoderName = Field("auto", description="auto: the best by cross-fitted score; shrunk: thresholds; ...")
    submission: SubmissionKind | None = Field(
        None,
        description="labels, flags (0/1), probabilities, or long (a row a label); not set: as the sample submission",
    )
    duplicates: Duplicates = Field("group", description="near-duplicates share a fold; off: they are not looked for")
    train: RelativePath | Annotated[list[RelativePath], Field(min_length=1)] = "train.csv"
    test: OptionalPath = Field(
        "test.csv", description='"": no test table; train and score now, label with make predict'
    )
    encoding: str | None = Field(None, description="of the tables, where it is not UTF-8")
    columns: list[str] | None = Field(None, description="of tables without a header line")
    unlabelled: RelativePath | None = Field(None, description="more rows, for make pseudo")
    extra: RelativePath | list[RelativePath] | None = Field(
        None, description="more labelled rows, trained on and never scored", exclude_if=_unset
    )
    extra_weight: float | None = Field(
        None, gt=0, le=1, description=f"of their labels in training; not set: {EXTRA_WEIGHT}", exclude_if=_unset
    )
    corrections: bool | None = Field(
        None, description="true: apply corrections.csv, the labels corrected in make review", exclude_if=_unset
    )
    solution: RelativePath = Field("solution.csv", description="the test labels, where they are known")
    sample_submission: RelativePath = Field("sample_submission.csv", description="where there is one")
    device: DeviceName | None = Field(
        None, description='auto, cpu, cuda, "cuda:0" or mps; no result is named by it', exclude_if=_unset
    )
    tracking: Literal["mlflow", "wandb"] | None = Field(
        None, description="log experiments into MLflow or Weights & Biases", exclude_if=_unset
    )
    experiments: str | Annotated[list[str], Field(min_length=1)]
    labels: Labels
    folds: Folds = Folds()

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of its splits: train and, where there are such rows, test, unlabelled and extra."""
        there = {"test": self.has_test, "unlabelled": self.unlabelled, "extra": self.extra}
        return ("train", *(split for split, found in there.items() if found))

    @property
    def has_test(self) -> bool:
        """Whether there are test rows: a table of their own, or a column that names them."""
        return bool(self.test or self.split)

    @property
    def image_column(self) -> str:
        return self.image or self.id

    def table_files(self, split: str) -> list[str]:
        """The files of a split's rows, relative to the competition's folder."""
        named: str | list[str] | None = getattr(self, split)
        return as_list(named or (self.train if split == "test" and self.split else []))

    def image_folders(self, split: str) -> list[str]:
        """The folders that hold a split's images; empty where there are no images."""
        folders: Any = self.images
        if isinstance(folders, SplitFolders):
            folders = getattr(folders, split) or (folders.train if split == "extra" else folders.test)
        return as_list(folders or [])

    @property
    def caption_columns(self) -> list[str]:
        """The columns of captions, of the tables or of `caption_files`."""
        return [self.caption] if isinstance(self.caption, str) and self.caption else list(self.caption or ())

    @property
    def caption_files(self) -> list[str]:
        """Files that hold the captions; none where they are in the tables."""
        return [self.captions] if isinstance(self.captions, str) else list(self.captions or ())

    @property
    def reads(self) -> set[str]:
        """Which of `image` and `caption` its rows have."""
        return {kind for kind, found in (("image", self.images), ("caption", self.caption)) if found}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.captions and not self.caption:
            raise ValueError(f"captions = {self.captions!r} needs caption = '<the column of that file>'")
        if not self.reads:
            raise ValueError("there are neither images nor captions; set images, or caption, or both")
        if not self.least <= self.most <= len(self.labels.names):
            expected = f"expected least <= most <= {len(self.labels.names)} labels"
            raise ValueError(f"least = {self.least}, most = {self.most}: {expected}")
        if self.image_name and "{id" not in self.image_name:
            raise ValueError(f"image_name = {self.image_name!r}: expected a name with {{id}} in it")
        if self.metric not in METRIC_INFO and self.metric_input is None:
            raise ValueError(
                f"question: does {self.metric} take label sets of 0 and 1, or probabilities? "
                'Set metric_input = "labels" or "probabilities"'
            )
        return self

    @property
    def metric_needs(self) -> Needs:
        """What the metric scores: label sets or probabilities."""
        return METRIC_INFO[self.metric].needs if self.metric in METRIC_INFO else self.metric_input or "labels"


def how_to_add(path: Path) -> str:
    """What to run where a competition.toml does not exist."""
    comp = path.parent.name
    if comp == SAMPLE:
        return f"the sample is drawn by: make check COMP={comp}"
    return f"run: make import ZIP={comp}.zip COMP={comp}"


def require_competition(comp: str) -> None:
    """Raises WrongValue, with the names of those there are, or FileNotFoundError where it is not imported yet."""
    sample = Paths(SAMPLE).competition
    there = sorted({SAMPLE, *(one.parent.name for one in sample.parent.parent.glob(f"*/{sample.name}"))})
    if comp in there:
        return
    if not NAME.fullmatch(comp):
        raise unknown("COMP", comp, "expected lower-case letters, digits, '_' and '-'", there)
    file = Paths(comp).competition
    if file.parent.is_dir():
        how = f"there is no {file}, it is not imported yet; run: make import COMP={comp}"
        raise FileNotFoundError(f"COMP={comp}: {how}; {listed(nearest_first(comp, there))}")
    raise unknown("COMP", comp, "there is no such competition in input/ (make import adds one)", there)


def load_competition(path: Path) -> Competition:
    """Raises FileNotFoundError, OpenQuestions, or ValueError that names the invalid key."""
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; {how_to_add(path)}")
    values = parse_toml(path)
    if asked := open_keys(values):
        raise OpenQuestions(path, {key: _comment(path, key) for key in asked})
    return validate(TypeAdapter(Competition), values, path)


def _comment(path: Path, key: str) -> str:
    """The comment behind a key: its candidates."""
    item: Any = parse_document(path)
    for part in key.split("."):
        item = item[part]
    return item.trivia.comment.removeprefix("#").strip()


def to_toml(competition: Competition | Mapping[str, Any], questions: Sequence[Question] = ()) -> str:
    """TOML with comments; without `questions`, `load_competition` reads it back to an equal object.

    Values may be given by key, such as "labels.column", where a competition can't be made before its questions are
    answered; the key of a question gets the value "?".
    """
    import tomlkit  # only where a file is written

    values = flat(competition.model_dump()) if isinstance(competition, Competition) else dict(competition)
    for key, field in _fields():
        if not key.startswith("labels.") and key != "suffix" and not field.is_required():
            values.setdefault(key, field.get_default(call_default_factory=True))
    values["test"] = values["test"] or ""
    return tomlkit.dumps(updated(tomlkit.document(), values, questions))


def updated(document: "TOMLDocument", values: Mapping[str, Any], questions: Sequence[Question] = ()) -> "TOMLDocument":
    """The document with these values by key, such as "labels.column"; what is equal keeps its form and its comment."""
    import tomlkit

    asked = {question.key: question for question in questions}
    place = PLACE.get(values.get("labels.format", ""), set().union(*PLACE.values()))
    for key, field in _fields():
        section, _, name = key.rpartition(".")
        if key not in asked and (key not in values or _is_unset(key, values[key])):
            continue
        if section == "labels" and name in set().union(*PLACE.values()) - place and key not in asked:
            continue  # another format needs it
        if section and section not in document:
            made = tomlkit.table()
            document.add(section, made.comment("a change here retrains everything") if section == "folds" else made)
        table: Any = document[section] if section else document
        value = OPEN if key in asked else values[key]
        comment = asked[key].comment if key in asked else field.description
        if name in table and table[name].unwrap() == value and key not in asked:
            continue
        if key == "experiments" and name not in table:
            about = "a set of sets.toml, or a list of sets and of names of files in configs/"
            table.add(tomlkit.comment(f"what `make submit` trains and stacks: {about}"))
        item = _item(value)
        table[name] = item.comment(comment) if comment else item
    return document


def _fields() -> Iterator[tuple[str, FieldInfo]]:
    """Each key of the file with its field, in the order of the file."""
    top = Competition.model_fields
    yield from ((key, field) for key, field in top.items() if key not in ("experiments", "labels", "folds"))
    yield "experiments", top["experiments"]
    for name, section in (("labels", Labels), ("folds", Folds)):
        yield from ((f"{name}.{key}", field) for key, field in section.model_fields.items())


def known_keys() -> list[str]:
    """All keys of the file, such as "labels.column"."""
    return [key for key, _ in _fields()]


def required_keys() -> list[str]:
    return [key for key, field in _fields() if field.is_required()]


def _is_unset(key: str, value: object) -> bool:
    return value is None or (value in ("", []) and key not in ("suffix", "test", "images", "caption"))


def _item(value: object) -> "Item":
    """As tomlkit makes it, but with a mapping on one line."""
    import tomlkit

    if not isinstance(value, Mapping):
        return tomlkit.item(value)
    table = tomlkit.inline_table()
    table.update({key: inner for key, inner in value.items() if inner is not None})
    return table
