"""The dataset of a code competition: bundle, code, wheels and licences, as a notebook without internet needs them."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tandem.artifacts.atomic_io import write_json, write_text
from tandem.bundling.kaggle_wheels import Image, collect, lacking, licence_of
from tandem.config.toml_files import packaged_configs
from tandem.config.trusted_code import code_digest
from tandem.data.archive import unpack_zip
from tandem.inference.bundle_reader import code_of, open_bundle, read_manifest
from tandem.inference.code_competition import ABOUT, BUNDLE

PACKAGE = Path(__file__).parents[1]
CODE = "code"  # the folder that goes on the notebook's path


def write_dataset(folder: Path, bundle: Path, trust: str | None, about: Mapping[str, Any], image: Image) -> list[str]:
    """Fills the new `folder`; the packages whose wheels are in it. Raises ValueError where a wheel can't be had, or the
    bundle is none, or has code that `trust` does not name (None: it was made here)."""
    unpack_zip(bundle, folder / BUNDLE)
    if trust is None:
        code = code_of(read_manifest(folder / BUNDLE))
        trust = code_digest(code) if code else ""
    _, experiment = open_bundle(folder / BUNDLE, trust)
    needed = (folder / BUNDLE / "requirements.txt").read_text(encoding="utf-8").split()
    wheels = lacking((line.partition("==")[0] for line in needed), image)
    collect(wheels, folder / "wheels", image)
    copy_code(folder / CODE)
    licences = {wheel: licence_of(wheel.partition("==")[0]) for wheel in wheels}
    parts = [f"{'=' * 100}\nThe package {wheel}: {text}\n" for wheel, text in licences.items()]
    write_text(folder / "LICENSES", "\n".join([(folder / BUNDLE / "LICENSES").read_text(encoding="utf-8"), *parts]))
    write_json(folder / ABOUT, {**about, "trust": trust, "experiment": experiment})
    return wheels


def copy_code(folder: Path) -> None:
    """The package as a wheel would install it: with the experiments of configs/ and sets.toml."""
    target = folder / PACKAGE.name
    shutil.copytree(PACKAGE, target, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    if packaged_configs().parent != PACKAGE:  # a checkout
        (target / "default_configs").mkdir()
        for file in packaged_configs().glob("*.toml"):
            shutil.copyfile(file, target / "default_configs" / file.name)
        shutil.copyfile(packaged_configs().parent / "sets.toml", target / "sets.toml")
