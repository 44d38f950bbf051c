"""What the preflight check can find: kinds of problems, how bad each is, and what to do about it."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

Severity = Literal["error", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")


@dataclass(frozen=True)
class Issue:
    """One problem at one place; `file` and `line` point into a CSV where there is a row to blame."""

    kind: str
    message: str
    file: str = ""
    line: int = 0
    id: str = ""

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(f"finding {self.kind!r} is not one of {sorted(KINDS)}")

    @property
    def place(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True)
class IssueKind:
    severity: Severity
    advice: str


KINDS = {
    "missing image": IssueKind(
        "error", "put it there, delete the row, or correct images in competition.toml"
    ),
    "unreadable image": IssueKind("error", "replace the file, or delete the row"),
    "truncated image": IssueKind("error", "download the file again, or delete the row"),
    "oversized image": IssueKind("error", "make the image smaller"),
    "unsafe id": IssueKind("error", "name a file inside the image folder"),
    "repeated id": IssueKind("error", "keep one of the rows"),
    "id in train and test": IssueKind(
        "error", "delete one of the rows, or give its image another name and id"
    ),
    "no rows": IssueKind("error", "add rows below the header"),
    "missing column": IssueKind("error", "name the right column in competition.toml"),
    "sample submission differs": IssueKind(
        "error", "take the one of these labels and test rows, or delete it"
    ),
    "unknown label": IssueKind("error", "correct the row, or add the label to names in competition.toml"),
    "not 0 or 1": IssueKind("error", "write 0 or 1"),
    "too few labels": IssueKind("error", "label the row, or lower least in competition.toml"),
    "too many labels": IssueKind("error", "correct the row, or raise most in competition.toml"),
    "repeated label": IssueKind("warning", "it counts once; delete the other"),
    "empty caption": IssueKind("warning", "write one if you can; the text models see nothing here"),
    "label without rows": IssueKind(
        "warning", "it will never be predicted; find examples, or drop the label"
    ),
    "rare label": IssueKind("warning", "some folds hold none; find examples, or use fewer folds"),
    "test photo in train": IssueKind("warning", "the score on these says little about new photos"),
    "repaired row": IssueKind("info", "nothing; quote marks or line breaks were put right while reading"),
    "near-duplicates": IssueKind("info", "nothing; they stay in one fold"),
    "near-duplicates differ": IssueKind("info", "look whether the labels are right"),
}


@dataclass(frozen=True)
class IssueGroup:
    """All findings of one kind."""

    kind: str
    severity: Severity
    count: int
    advice: str
    first: Issue


def group_by_kind(findings: Iterable[Issue]) -> list[IssueGroup]:
    """One for each kind found, errors first, then in the order of KINDS."""
    by_kind: dict[str, list[Issue]] = {}
    for finding in findings:
        by_kind.setdefault(finding.kind, []).append(finding)
    found = [
        IssueGroup(name, kind.severity, len(by_kind[name]), kind.advice, by_kind[name][0])
        for name, kind in KINDS.items()
        if name in by_kind
    ]
    return sorted(found, key=lambda p: SEVERITIES.index(p.severity))


def count_errors(findings: Iterable[Issue]) -> int:
    """How many findings would make training wrong."""
    return sum(KINDS[f.kind].severity == "error" for f in findings)


def check_report(findings: Sequence[Issue], rows: dict[str, int]) -> dict:
    """The content of check.json."""
    summary = [
        {"kind": p.kind, "severity": p.severity, "count": p.count, "advice": p.advice}
        for p in group_by_kind(findings)
    ]
    details = [{"severity": KINDS[f.kind].severity} | asdict(f) for f in findings]
    return {"ready": count_errors(findings) == 0, "rows": rows, "problems": summary, "findings": details}
