"""Digests of what the digests of a bundle's files do not cover: its manifest, and its zip around the files.

They detect damage, not tampering: whoever changes a file can change them too. Older bundles have none.
"""

import hashlib
import json
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SEAL = "sha256"  # the last key of the manifest
DIGEST = re.compile("[0-9a-f]{64}")
NOTE = b"sha256:"  # the comment of the zip: this, and the digest of all bytes before it
LENGTH = len(NOTE) + 64
CURE = "get the bundle again"


def sealed(manifest: Mapping[str, Any]) -> str:
    """The text of bundle.json, with the digest of its content."""
    content = {key: value for key, value in manifest.items() if key != SEAL}
    return _as_text(content | {SEAL: hashlib.sha256(_as_text(content).encode()).hexdigest()})


def _as_text(manifest: Mapping[str, Any]) -> str:
    return json.dumps(manifest, indent=1, ensure_ascii=False) + "\n"


def check_manifest(text: str, manifest: Mapping[str, Any]) -> None:
    """Raises ValueError where the text of bundle.json is not as it was written."""
    last = str([*manifest.values()][-1]) if manifest else ""  # of a key whose name was changed too
    if (SEAL in manifest or DIGEST.fullmatch(last)) and text != sealed(manifest):
        raise ValueError(f"changed since it was packed; {CURE}")


def seal_zip(path: Path) -> None:
    """Writes the digest of a zip into its comment."""
    with zipfile.ZipFile(path, "a") as opened:
        opened.comment = bytes(LENGTH)
    note = NOTE + _digest_before(path, LENGTH).encode()
    with path.open("r+b") as file:
        file.seek(-LENGTH, 2)
        file.write(note)


def check_zip(path: Path) -> None:
    """Raises ValueError where a byte beside the files' contents was changed, such as a date."""
    with zipfile.ZipFile(path) as opened:
        note = opened.comment
    if note and note != NOTE + _digest_before(path, len(note)).encode():
        raise ValueError(f"the list of files in the zip was changed since it was packed; {CURE}")


def _digest_before(path: Path, end: int) -> str:
    found, left = hashlib.sha256(), path.stat().st_size - end
    with path.open("rb") as file:
        while block := file.read(min(2**20, left)):
            left -= len(block)
            found.update(block)
    return found.hexdigest()
