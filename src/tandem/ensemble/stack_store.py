"""Reads trained stacks from disk."""

from tandem.artifacts.atomic_io import read_json
from tandem.artifacts.paths import Paths
from tandem.ensemble.stacking import Stack, slim


def read_stack(paths: Paths, name: str) -> tuple[Stack, list[str]]:
    """A trained stack, and those of its members that it needs."""
    return slim(Stack.load(paths.stack(name).parent), list(read_json(paths.run(name))["members"]))


def read_blind_stack(paths: Paths, name: str) -> tuple[Stack, list[str]] | None:
    """What a stack has for rows without a caption, and its members; None where it has nothing for them."""
    if not paths.blind_stack(name).exists():
        return None
    return slim(Stack.load(paths.blind_stack(name).parent), list(read_json(paths.run(name))["members"]))
