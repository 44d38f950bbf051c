"""What the preflight check can find: kinds of problems, how bad each is, and what to do about it."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

Severity = Literal["error", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")


@dataclass(frozen=True)
class Finding:
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
class Kind:
    severity: Severity
    advice: str


KINDS = {
    "missing image": Kind("error", "put it there, delete the row, or correct images in competition.toml"),
    "unreadable image": Kind("error", "replace the file, or delete the row"),
    "truncated image": Kind("error", "download the file again, or delete the row"),
    "oversized image": Kind("error", "make the image smaller"),
    "unsafe id": Kind("error", "name a file inside the image folder"),
    "repeated id": Kind("error", "keep one of the rows"),
    "id in train and test": Kind("error", "delete one of the rows, or give its image another name and id"),
    "no rows": Kind("error", "add rows below the header"),
    "missing column": Kind("error", "name the right column in competition.toml"),
    "sample submission differs": Kind("error", "take the one of these labels and test rows, or delete it"),
    "unknown label": Kind("error", "correct the row, or add the label to names in competition.toml"),
    "not 0 or 1": Kind("error", "write 0 or 1"),
    "too few labels": Kind("error", "label the row, or lower least in competition.toml"),
    "too many labels": Kind("error", "correct the row, or raise most in competition.toml"),
    "repeated label": Kind("warning", "it counts once; delete the other"),
    "empty caption": Kind("warning", "write one if you can; the text models see nothing here"),
    "label without rows": Kind("warning", "it will never be predicted; find examples, or drop the label"),
    "rare label": Kind("warning", "some folds hold none; find examples, or use fewer folds"),
    "test photo in train": Kind("warning", "the score on these says little about new photos"),
    "repaired row": Kind("info", "nothing; quote marks or line breaks were put right while reading"),
    "near-duplicates": Kind("info", "nothing; they stay in one fold"),
    "near-duplicates differ": Kind("info", "look whether the labels are right"),
}


@dataclass(frozen=True)
class Problem:
    """All findings of one kind."""

    kind: str
    severity: Severity
    count: int
    advice: str
    first: Finding


def problems(findings: Iterable[Finding]) -> list[Problem]:
    """One for each kind found, errors first, then in the order of KINDS."""
    by_kind: dict[str, list[Finding]] = {}
    for finding in findings:
        by_kind.setdefault(finding.kind, []).append(finding)
    found = [
        Problem(name, kind.severity, len(by_kind[name]), kind.advice, by_kind[name][0])
        for name, kind in KINDS.items()
        if name in by_kind
    ]
    return sorted(found, key=lambda p: SEVERITIES.index(p.severity))


def blocking(findings: Iterable[Finding]) -> int:
    """How many findings would make training wrong."""
    return sum(KINDS[f.kind].severity == "error" for f in findings)


def report(findings: Sequence[Finding], rows: dict[str, int]) -> dict:
    """The content of check.json."""
    summary = [
        {"kind": p.kind, "severity": p.severity, "count": p.count, "advice": p.advice}
        for p in problems(findings)
    ]
    details = [{"severity": KINDS[f.kind].severity} | asdict(f) for f in findings]
    return {"ready": blocking(findings) == 0, "rows": rows, "problems": summary, "findings": details}
