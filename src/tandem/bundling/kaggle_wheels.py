"""Wheels of the packages that Kaggle's image lacks, for a notebook without internet.

What the image has is not replaced, whatever its version.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from tandem.artifacts.atomic_io import read_json
from tandem.artifacts.user_files import is_there

IMAGE = "kaggle_image.json"  # in configs/: a newer list than the package's, as `pip list --format json` prints it
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
RENEW = f"a newer list: !pip list --format json > {IMAGE} in a notebook at Kaggle, saved as configs/{IMAGE}"


@dataclass(frozen=True)
class Image:
    """The Python packages of Kaggle's image."""

    packages: frozenset[str]  # their normalised names
    python: str  # such as 3.12
    about: str  # where the list comes from, and its date


def normalised(name: str) -> str:
    """The name of a package in the form in which equal ones are equal.

    >>> normalised("Open_CLIP.torch")
    'open-clip-torch'
    """
    return re.sub(r"[-_.]+", "-", name).lower()


def read_image(configs: Path, packaged: Path) -> Image:
    """The list in `configs`, else the package's own; raises ValueError where it is neither form."""
    known, own = read_json(packaged), configs / IMAGE
    if not is_there(own):
        return Image(frozenset(map(normalised, known["packages"])), known["python"], f"of {known['date']}")
    try:
        found: Any = read_json(own)
        names = frozenset(normalised(package["name"]) for package in found)
    except (ValueError, KeyError, TypeError) as error:
        form = '[{"name": "numpy", "version": "2.0.2"}, ...], as pip list --format json prints it'
        raise ValueError(f"{own}: not a list of packages ({error!r:.100}); expected {form}") from error
    return Image(names, known["python"], str(own))


def lacking(needed: Iterable[str], image: Image) -> list[str]:
    """Of the packages `needed`, and of those that these need, all that the image lacks, as NAME==VERSION."""
    left, found = list(needed), dict[str, str]()
    while left:
        name = normalised(left.pop())
        if name in image.packages or name in found:
            continue
        try:
            about = distribution(name)
        except PackageNotFoundError:  # needed on other systems only
            continue
        found[name] = f"{name}=={about.version.split('+')[0]}"
        left += needs_of(about)
    return [found[name] for name in sorted(found)]


def needs_of(about: Distribution) -> list[str]:
    """The names of the packages that it needs, without those of its extras."""
    named = (re.match(r"[A-Za-z0-9._-]+", line) for line in about.requires or () if "extra ==" not in line)
    return [match[0] for match in named if match]


def collect(pinned: Sequence[str], folder: Path, image: Image) -> list[Path]:
    """Downloads these wheels for the image's Python, from pip's index or its cache; raises ValueError that names them
    where that fails."""
    if not pinned:
        return []
    folder.mkdir(parents=True, exist_ok=True)
    platforms = [word for platform in PLATFORMS for word in ("--platform", platform)]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", *platforms]
    command += ["--python-version", image.python, "--dest", str(folder), *pinned]
    run = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    )
    if run.returncode:
        last = [line for line in run.stderr.splitlines() if line.startswith("ERROR")][-1:]
        raise ValueError(
            f"the image at Kaggle ({image.about}) lacks {', '.join(pinned)}, and pip can't get their wheels "
            f"({' '.join(last) or 'it gives no reason'}); look at the connection, or set PIP_FIND_LINKS to a folder "
            f"that has them; {RENEW}"
        )
    return sorted(folder.glob("*.whl"))


def licence_of(name: str) -> str:
    """The licence that an installed package declares, and the texts that come with it."""
    about = distribution(name)
    fields = [text for key in ("License-Expression", "License") for text in about.metadata.get_all(key) or ()]
    declared = next(iter(fields), "")
    classes = [
        line.rpartition(" :: ")[2] for line in about.metadata.get_all("Classifier") or () if "License ::" in line
    ]
    texts = [file.read_text() for file in about.files or () if file.name.upper().startswith(("LICEN", "COPYING"))]
    first = declared.splitlines()[0] if declared.strip() else ", ".join(classes) or "not declared"
    return "\n\n".join([first, *texts])
