"""`competition.toml`: the columns of a competition, its labels, metric and folds."""

from collections.abc import Container
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import AfterValidator, Field, TypeAdapter, model_validator

from tandem.config.metric_names import METRIC_INFO, Needs, checked_metric
from tandem.config.toml_files import Section, parse_toml, validate

Duplicates = Literal["group", "off"]
if TYPE_CHECKING:
    from tomlkit import TOMLDocument
    from tomlkit.items import Table

Metric = Annotated[str, AfterValidator(checked_metric)]
DecoderName = Literal["auto", "fixed", "global", "per_class", "ascent", "shrunk", "expected", "gfm"]
SubmissionKind = Literal["labels", "flags", "probabilities", "long"]


def _inside(path: str) -> str:
    if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts or "\\" in path:
        raise ValueError(f"{path!r} is outside the competition's folder; expected a path inside it")
    return path


RelativePath = Annotated[str, AfterValidator(_inside)]


class Labels(Section):
    """How the labels of a row are written, and their names in the order of the columns of every label matrix."""

    format: Literal["separated", "columns"] = Field(
        description="separated: one column; columns: one 0/1 column a label"
    )
    column: str = ""  # separated: the column of the labels
    separator: str = " "  # separated: the text between two labels
    names: list[str] = Field(min_length=2)

    @property
    def columns(self) -> list[str]:
        """The columns of the training table that hold labels."""
        return [self.column] if self.format == "separated" else self.names

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if repeated := sorted({n for n in self.names if self.names.count(n) > 1}):
            raise ValueError(f"label names are repeated: {repeated}")
        if self.format == "separated":
            if not self.column:
                raise ValueError("format = 'separated' needs column = '<the column that holds the labels>'")
            if split := [n for n in self.names if self.separator in n]:
                raise ValueError(f"label name {split[0]!r} contains the separator {self.separator!r}")
        return self


class Folds(Section):
    """Number and seed of the folds; a change retrains everything."""

    n: int = Field(5, ge=2, le=50)
    seed: int = 0


class Competition(Section):
    """The content of `competition.toml`; a description is a comment there."""

    id: str = Field(description="the column that names the image")
    caption: str | None = Field(None, description="the column of captions")
    images: RelativePath = Field(description="folder of the images")
    suffix: str = Field("", description="added to an id to name its file")
    metric: Metric = Field("f1_samples", description=f"one of {', '.join(METRIC_INFO)}; or my_metric.py:FUNCTION")
    metric_input: Needs | None = Field(None, description="what my_metric.py:FUNCTION takes: labels or probabilities")
    beta: float = Field(1.0, gt=0, description="1.0 is F1")
    zero_division: Literal[0, 1] = Field(0, description="F of a row or label with neither label nor prediction: 0 or 1")
    least: int = Field(1, ge=0, description="labels on a row, at least")
    most: int = Field(ge=1, description="and at most")
    decoder: DecoderName = Field("auto", description="auto: the best by cross-fitted score; shrunk: thresholds; ...")
    submission: SubmissionKind | None = Field(
        None,
        description="labels, flags (0/1), probabilities, or long (a row a label); not set: as the sample submission",
    )
    duplicates: Duplicates = Field("group", description="near-duplicates share a fold; off: they are not looked for")
    train: RelativePath = "train.csv"
    test: RelativePath = "test.csv"
    unlabelled: RelativePath | None = Field(None, description="more rows, for make pseudo")
    solution: RelativePath = Field("solution.csv", description="the test labels, where they are known")
    sample_submission: RelativePath = Field("sample_submission.csv", description="where there is one")
    experiments: list[str] = Field(min_length=1)
    labels: Labels
    folds: Folds = Folds()

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of its splits: train, test and, if there is one, unlabelled."""
        return ("train", "test", *(["unlabelled"] if self.unlabelled else []))

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.least <= self.most <= len(self.labels.names):
            expected = f"expected least <= most <= {len(self.labels.names)} labels"
            raise ValueError(f"least = {self.least}, most = {self.most}: {expected}")
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


def load_competition(path: Path) -> Competition:
    """Raises FileNotFoundError, or ValueError that names the invalid key."""
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; run: make import ZIP=<file.zip> COMP={path.parent.name}")
    return validate(TypeAdapter(Competition), parse_toml(path), path)


def _add(table: "TOMLDocument | Table", section: Section, skip: Container[str] = ()) -> None:
    """The keys of a section without those of its sections, and without optional ones that are not set."""
    import tomlkit

    for key, field in type(section).model_fields.items():
        value = getattr(section, key)
        if key in skip or isinstance(value, Section) or (field.default is None and not value):
            continue
        item = tomlkit.item(value)
        table.add(key, item.comment(field.description) if field.description else item)


def to_toml(competition: Competition) -> str:
    """TOML with comments that `load_competition` reads back to an equal object."""
    import tomlkit  # only where a file is written

    document, labels, folds = tomlkit.document(), tomlkit.table(), tomlkit.table()
    _add(document, competition, ("experiments",))
    document.add(tomlkit.comment("what `make submit` trains and stacks: names of files in configs/"))
    document.add("experiments", tomlkit.item(competition.experiments))
    _add(labels, competition.labels, () if competition.labels.format == "separated" else ("column", "separator"))
    _add(folds, competition.folds)
    document.add("labels", labels)
    document.add("folds", folds.comment("a change here retrains everything"))
    return tomlkit.dumps(document)
