"""The issues that `make check` reports: their kinds, the severity of each, and what to do about it."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Severity = Literal["error", "warning", "info"]


@dataclass(frozen=True)
class Issue:
    """One problem; `file` and `line` (from 1, 0 for none) say where in a CSV file."""

    kind: str
    message: str
    file: str = ""
    line: int = 0
    id: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"issue {self.kind!r} is not one of {sorted(KINDS)}")

    @property
    def place(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True)
class IssueKind:
    severity: Severity
    advice: str


KINDS = {  # errors first
    "missing image": IssueKind("error", "add the file, delete the row, or correct images in competition.toml"),
    "unreadable image": IssueKind("error", "replace the file, or delete the row"),
    "truncated image": IssueKind("error", "download the file again, or delete the row"),
    "oversized image": IssueKind("error", "make the image smaller"),
    "unsafe id": IssueKind("error", "use an id that names a file inside the image folder"),
    "ambiguous image": IssueKind("error", "name the image by its path, or correct images in competition.toml"),
    "too few groups": IssueKind("error", "as the message says"),
    "repeated id": IssueKind("error", "keep one of the rows"),
    "id in train and test": IssueKind("error", "delete one of the rows, or give its image another name and id"),
    "caption rows differ": IssueKind("error", "give all rows of an image the same labels"),
    "no rows": IssueKind("error", "add rows below the header"),
    "missing column": IssueKind("error", "correct the name of the column in competition.toml"),
    "sample submission differs": IssueKind("error", "use the file with these labels and test rows, or delete it"),
    "question": IssueKind("error", "answer it in competition.toml"),
    "unknown label": IssueKind("error", "correct the row, or add the label to names in competition.toml"),
    "not 0 or 1": IssueKind("error", "write 0 or 1, or leave the column out of names in competition.toml"),
    "not a list": IssueKind("error", "write the labels as a list, or set format in competition.toml"),
    "blank label": IssueKind("error", 'fill the cells, or set labels.blank = "negative" or "unknown"'),
    "uncertain label": IssueKind("error", 'set labels.uncertain = "negative", "positive" or "unknown"'),
    "label hardly known": IssueKind("error", "add rows where it is known, or leave the label out of names"),
    "too few labels": IssueKind("error", "label the row, or lower least in competition.toml"),
    "too many labels": IssueKind("error", "correct the row, or raise most in competition.toml"),
    "row without a fold": IssueKind("error", "give each training row a fold, or delete the row"),
    "row in two folds": IssueKind("error", "keep one of the lines"),
    "unusable folds": IssueKind("error", "correct file or column under [folds] in competition.toml, or leave both out"),
    "repeated label": IssueKind("warning", "it counts once; delete the other"),
    "empty caption": IssueKind("warning", "add one if you can; text models have no input for this row"),
    "similar labels": IssueKind("warning", "if they mean the same, write one of them everywhere"),
    "label without rows": IssueKind("warning", "it will never be predicted; add examples, or drop the label"),
    "rare label": IssueKind("warning", "some folds have no row with it; add examples, or use fewer folds"),
    "similar id": IssueKind("warning", "where they are one, write them alike"),
    "placeholder image": IssueKind("warning", "where it stands for a missing photo, delete these rows"),
    "empty cell": IssueKind("warning", "judges refuse empty cells: compare with the competition's rules"),
    "test photo in train": IssueKind("warning", "the score on these rows is too optimistic for new images"),
    "group in two folds": IssueKind("warning", "the score on these rows is too optimistic; correct the folds"),
    "near-duplicates in two folds": IssueKind("warning", "the score on these rows is too optimistic"),
    "row without a group": IssueKind("warning", "it counts as a group of its own; fill in the cell if you can"),
    "fold of no row": IssueKind("warning", "nothing, if these rows were left out on purpose"),
    "many near-duplicates": IssueKind("warning", 'where they are unlike, set duplicates = "off" in competition.toml'),
    "extra row like a test row": IssueKind(
        "warning", "nothing: it is left out, as it carries the answer; to train on it all the same, move it to train"
    ),
    "extra rows": IssueKind("info", "nothing; they are trained on and never scored"),
    "extra row like a training row": IssueKind("info", "nothing; it is left out of the training of that row's fold"),
    "repaired row": IssueKind("info", "nothing; quotes or line breaks were repaired while reading"),
    "caption rows": IssueKind("info", "nothing; the captions of an image are joined"),
    "unused captions": IssueKind("info", "nothing, where these images are not of this competition"),
    "other file": IssueKind("info", "nothing, where no image is missing; else save them in a format that is read"),
    "near-duplicates": IssueKind("info", "nothing; they stay in one fold"),
    "near-duplicates differ": IssueKind("info", "verify the labels"),
}


def group_by_kind(issues: Sequence[Issue]) -> dict[str, list[Issue]]:
    """The issues of each kind that occurs, in the order of KINDS: errors first."""
    found = {kind: [issue for issue in issues if issue.kind == kind] for kind in KINDS}
    return {kind: group for kind, group in found.items() if group}


def count_errors(issues: Iterable[Issue]) -> int:
    """Number of errors: training does not start while there are any."""
    return sum(KINDS[issue.kind].severity == "error" for issue in issues)


def check_report(issues: Sequence[Issue], rows: dict[str, int]) -> dict[str, Any]:
    """The content of check.json; `rows` is the number of rows of each split."""
    summary = [
        {"kind": kind, "severity": KINDS[kind].severity, "count": len(group), "advice": KINDS[kind].advice}
        for kind, group in group_by_kind(issues).items()
    ]
    details = [{"severity": KINDS[issue.kind].severity} | asdict(issue) for issue in issues]
    return {"ready": count_errors(issues) == 0, "rows": rows, "problems": summary, "findings": details}
