"""Which Python files may be run: the user's own, none that came with the data, a bundle's if it is trusted."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from tandem.artifacts.atomic_io import digest, read_json, write_json

RECORD = ".import.json"  # in the competition's folder, so that it outlives `make clean`
TRUST = "TRUST"  # an environment variable: 1 runs any


def record_untrusted(folder: Path, files: Iterable[str]) -> None:
    """Notes, as the last step of unpacking data into `folder`, the names of the Python files that came with it."""
    write_json(folder / RECORD, {"untrusted": sorted({*(_untrusted(folder) or ()), *files})})


def require_trusted(file: Path) -> None:
    """Raises ValueError unless the user put the file there, after `make import`, or has set TRUST=1."""
    untrusted = _untrusted(file.parent)
    if os.environ.get(TRUST) == "1" or (untrusted is not None and file.name not in untrusted):
        return
    origin = "it came with the data" if untrusted else f"{file.parent} was not made by make import: it may be another's"
    raise ValueError(f"{file} is not run: {origin}; read it, then add TRUST=1 to the command")


def code_digest(files: Mapping[str, str]) -> str:
    """What TRUST= names: the digest of the names of a bundle's Python files and of their SHA-256."""
    return digest(dict(files))


def require_trusted_bundle(root: Path, files: Mapping[str, str], trust: str) -> None:
    """Raises ValueError unless `trust` is the `code_digest` of the user-written files of the bundle in `root`."""
    wanted = code_digest(files)
    if trust == wanted:
        return
    given = f" (TRUST={trust} is not its digest)" if trust else ""
    where = ", ".join(str(root / name) for name in sorted(files))
    raise ValueError(
        f"this bundle has Python code of its own, which is not run{given}: {where}. The digests in a bundle show "
        "damage, not intent: read the code first, and open the bundle only if you trust whoever made it, with "
        f'TRUST={wanted} (make predict, make serve) or Labeler.load(path, trust="{wanted}")'
    )


def _untrusted(folder: Path) -> list[str] | None:
    try:
        return list(read_json(folder / RECORD)["untrusted"])
    except (FileNotFoundError, KeyError, TypeError, ValueError):
        return None
