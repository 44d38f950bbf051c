"""What the packages in this environment need, from their own metadata."""

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

from supply_chain.lock import ROOT, canonical

SOURCES = ("requirements.txt", "requirements-ray.txt", "requirements-dev.txt")


def declared(*files: str) -> dict[str, Requirement]:
    """{canonical name: requirement} of these files of the project."""
    lines = [line for file in files for line in Path(ROOT / file).read_text(encoding="utf-8").splitlines()]
    found = [Requirement(line) for line in lines if line and line[0] not in "#-"]
    return {canonical(requirement.name): requirement for requirement in found}


def needs(requirement: Requirement) -> list[Requirement]:
    """What an installed package with these extras needs here; none where it is not installed."""
    try:
        lines = distribution(requirement.name).requires or []
    except PackageNotFoundError:
        return []
    extras = ["", *requirement.extras]
    found = map(Requirement, lines)
    return [r for r in found if r.marker is None or any(r.marker.evaluate({"extra": extra}) for extra in extras)]


def closure(requirements: list[Requirement]) -> set[str]:
    """Canonical names of these packages and of all that they need."""
    waiting, seen = list(requirements), set()
    while waiting:
        requirement = waiting.pop()
        key = (canonical(requirement.name), frozenset(requirement.extras))
        if key not in seen:
            seen.add(key)
            waiting += needs(requirement)
    return {name for name, _ in seen}
