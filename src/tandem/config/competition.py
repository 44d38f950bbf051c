"""`competition.toml`: the columns of a competition, its labels, metric and folds."""

import tomllib
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, ValidationError, model_validator

from tandem.config.toml_files import Section, explain

METRICS = ("f1_samples", "f1_micro", "f1_macro")


def _inside(path: str) -> str:
    if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts or "\\" in path:
        raise ValueError(f"{path!r} is outside the competition's folder; expected a path inside it")
    return path


RelativePath = Annotated[str, AfterValidator(_inside)]


class Labels(Section):
    """How the labels of a row are written, and their names in the order of the columns of every label matrix."""

    format: Literal["separated", "columns"]
    column: str = ""  # separated: the column of the labels
    separator: str = " "  # separated: the text between two labels
    names: list[str] = Field(min_length=2)

    @property
    def columns(self) -> list[str]:
        """The columns of the training table that hold labels."""
        return [self.column] if self.format == "separated" else self.names

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        repeated = {n for n in self.names if self.names.count(n) > 1}
        if repeated:
            raise ValueError(f"label names are repeated: {sorted(repeated)}")
        if self.format == "separated":
            if not self.column:
                raise ValueError("format = 'separated' needs column = '<the column that holds the labels>'")
            split = [n for n in self.names if self.separator in n]
            if split:
                raise ValueError(f"label name {split[0]!r} contains the separator {self.separator!r}")
        return self


class Folds(Section):
    """Number and seed of the folds; a change retrains everything."""

    n: int = Field(5, ge=2, le=50)
    seed: int = 0


class Competition(Section):
    """The content of `competition.toml`."""

    id: str  # the column of image ids
    caption: str | None = None  # the column of captions, if any
    images: RelativePath  # folder of the images, inside the competition's folder
    suffix: str = ""  # added to an id to get its file name; "" where ids include it
    labels: Labels
    metric: Literal["f1_samples", "f1_micro", "f1_macro"] = "f1_samples"
    beta: float = Field(1.0, gt=0)
    least: int = Field(1, ge=0)  # fewest labels of a row
    most: int = Field(ge=1)  # most labels of a row
    train: RelativePath = "train.csv"
    test: RelativePath = "test.csv"
    unlabelled: RelativePath | None = None  # more rows, without labels, for `make pseudo`
    solution: RelativePath = "solution.csv"  # the test labels, if known
    sample_submission: RelativePath = "sample_submission.csv"
    experiments: list[str] = Field(min_length=1)  # what `make submit` trains and stacks
    folds: Folds = Folds()

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of its splits: train, test and, if there is one, unlabelled."""
        return ("train", "test", *(["unlabelled"] if self.unlabelled else []))

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.least <= self.most <= len(self.labels.names):
            raise ValueError(
                f"least = {self.least}, most = {self.most}: expected least <= most <= {len(self.labels.names)} labels"
            )
        return self


def load_competition(path: Path) -> Competition:
    """Raises FileNotFoundError, or ValueError that names the invalid key."""
    if not path.exists():
        name = path.parent.name
        raise FileNotFoundError(f"{path} does not exist; run: make import ZIP=<file.zip> COMP={name}")
    try:
        return Competition.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path}: not valid TOML: {error}") from error
    except ValidationError as error:
        raise explain(path, error) from error


def _string(text: str) -> str:
    escapes = {c: f"\\u{ord(c):04x}" for c in (*map(chr, range(32)), "\x7f")}
    escapes |= {"\\": "\\\\", '"': '\\"', "\t": "\\t", "\n": "\\n", "\r": "\\r"}
    return '"' + "".join(escapes.get(c, c) for c in text) + '"'


def to_toml(competition: Competition) -> str:
    """TOML with comments that `load_competition` reads back to an equal object."""
    c, labels = competition, competition.labels
    lines = [
        f"id = {_string(c.id)}  # the column that names the image",
        *([f"caption = {_string(c.caption)}  # the column of captions"] if c.caption else []),
        f"images = {_string(c.images)}  # folder of the images",
        f"suffix = {_string(c.suffix)}  # added to an id to name its file",
        f"metric = {_string(c.metric)}  # one of {', '.join(METRICS)}",
        f"beta = {c.beta}  # 1.0 is F1",
        f"least = {c.least}  # labels on a row, at least",
        f"most = {c.most}  # and at most",
        f"train = {_string(c.train)}",
        f"test = {_string(c.test)}",
        *([f"unlabelled = {_string(c.unlabelled)}  # more rows, for make pseudo"] if c.unlabelled else []),
        f"solution = {_string(c.solution)}  # the test labels, where they are known",
        f"sample_submission = {_string(c.sample_submission)}  # where there is one",
        "# what `make submit` trains and stacks: names of files in configs/",
        "experiments = [" + ", ".join(_string(e) for e in c.experiments) + "]",
        "",
        "[labels]",
        f"format = {_string(labels.format)}  # separated: one column; columns: one 0/1 column a label",
        *(
            [f"column = {_string(labels.column)}", f"separator = {_string(labels.separator)}"]
            if labels.format == "separated"
            else []
        ),
        "names = [" + ", ".join(_string(n) for n in labels.names) + "]",
        "",
        "[folds]  # a change here retrains everything",
        f"n = {c.folds.n}",
        f"seed = {c.folds.seed}",
    ]
    return "\n".join(lines) + "\n"
