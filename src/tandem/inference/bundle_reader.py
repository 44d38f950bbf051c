"""Opening a bundle: a slim checkout in a zip, unpacked once, every file of it checked, nothing outside it read."""

import hashlib
import json
import os
import shutil
from pathlib import Path, PurePosixPath

from tandem.artifacts.atomic_io import file_digest
from tandem.artifacts.paths import Paths, check_name
from tandem.config.encoders import Encoder
from tandem.config.experiments import read_resolved
from tandem.data.archive import unpack

FORMAT = 2  # 1: caption models in half precision
READ = (1, FORMAT)
MAX_MANIFEST = 4 * 2**20
MODULES = "modules.json"  # of a sentence-transformers folder: the classes that it is made of
CLASSES = {"Transformer", "Pooling", "Normalize", "Dense"}  # that run nothing which their own files name


def open_bundle(path: Path) -> tuple[Paths, str]:
    """(where its files lie, the experiment that labels) of a zip or an unpacked folder.

    Raises FileNotFoundError, or ValueError where it is no bundle, or not as it was packed.
    """
    if path.is_dir():
        root = path.resolve()
    elif path.is_file():
        root = _cache() / file_digest(path)
        if not root.exists():
            _unpack_as(path, root)
    else:
        raise FileNotFoundError(f"{path}: no such bundle; run: make bundle COMP=name")
    manifest = read_manifest(root)
    paths = Paths(manifest["competition"], root)
    _check_files(root, manifest["files"])
    for name in manifest["members"]:
        check_name("experiment", name)
        experiment = read_resolved(paths.experiment_config(name))
        if experiment.pixel_network:
            _check_source(paths, experiment.pixel_network.model)
        for encoder in experiment.pretrained:
            _check_inside(encoder, paths, manifest["files"])
    return paths, check_name("experiment", manifest["experiment"])


def _unpack_as(path: Path, root: Path) -> None:
    """As the folder `root`, whole or not at all, whoever else unpacks the same just now."""
    own = root.with_name(f"{root.name}.{os.getpid()}")
    unpack(path, own)
    try:
        os.replace(own, root)
    except OSError:
        shutil.rmtree(own)
        if not root.exists():  # then it was not another's that came first
            raise


def read_manifest(root: Path) -> dict:
    """What the bundle says of itself; raises ValueError where that is not what this version reads."""
    file = Paths("any", root).manifest
    try:
        if file.stat().st_size > MAX_MANIFEST:
            raise ValueError(f"{file.stat().st_size} bytes, at most {MAX_MANIFEST} are read")
        manifest = json.loads(file.read_text(encoding="utf-8"))
        if manifest["format"] not in READ:
            raise ValueError(f"format {manifest['format']!r}; this version reads {READ}")
        kinds = {"competition": str, "experiment": str, "members": list, "files": dict}
        wrong = [key for key, kind in kinds.items() if not isinstance(manifest[key], kind)]
        if wrong:
            raise ValueError(f"{wrong[0]} is {manifest[wrong[0]]!r:.80}")
    except FileNotFoundError as error:
        raise ValueError(
            f"{root}: not a bundle: it has no {file.name}; make one with: make bundle"
        ) from error
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{file}: not what make bundle writes: {error}") from error
    return manifest


def _cache() -> Path:
    """Where bundles are unpacked, each under its digest: a folder of this user's own."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tandem"


def _check_files(root: Path, files: dict[str, dict]) -> None:
    """Every file listed is there as it was packed, and no other, but what Python compiles."""
    there = {
        file.relative_to(root).as_posix()
        for file in root.rglob("*")
        if file.is_symlink() or not file.is_dir()
    }
    added = {n for n in there - set(files) if "__pycache__" not in n} - {Paths("any", root).manifest.name}
    if added:
        raise ValueError(f"{root}: {min(added)!r} does not belong to the bundle; remove it")
    for name, about in files.items():
        place = PurePosixPath(name)
        if place.is_absolute() or ".." in place.parts or "\\" in name:
            raise ValueError(f"{root}: the bundle lists {name!r}, which is outside it")
        file = root / place
        if not file.is_file() or not file.resolve().is_relative_to(root.resolve()):
            raise ValueError(f"{root}: {name!r} is missing; unpack the bundle again")
        if sha256(file) != about["sha256"]:
            raise ValueError(f"{file}: not as it was packed; fetch the bundle again, and remove {root}")
        if place.name == MODULES:
            _check_modules(file)


def _check_modules(file: Path) -> None:
    """A class of another package would be imported and run, and some of sentence_transformers import what they name."""
    for module in json.loads(file.read_text(encoding="utf-8")):
        kind = str(module.get("type"))
        if not kind.startswith("sentence_transformers.") or kind.split(".")[-1] not in CLASSES:
            expected = f"{', '.join(sorted(CLASSES))} of sentence_transformers"
            raise ValueError(f"{file}: is made of {kind!r}; expected {expected}")
        inside = PurePosixPath(str(module.get("path", "")))
        if inside.is_absolute() or ".." in inside.parts:
            raise ValueError(f"{file}: takes a part from {str(inside)!r}, which is outside it")


def _check_source(paths: Paths, network: str) -> None:
    """timm asks the hub, or another folder, how a network called `hf-hub:...` or `local-dir:...` is built."""
    if ":" in network:
        raise ValueError(
            f"{paths.root}: network {network!r} comes from outside the bundle; expected a name that timm has"
        )


def _check_inside(encoder: Encoder, paths: Paths, files: dict) -> None:
    if encoder.reads == "image":
        _check_source(paths, encoder.model)
    name = encoder.weights_name
    if name not in files and f"{name}/{MODULES}" not in files:
        raise ValueError(
            f"{paths.root}: {encoder.model!r} takes its weights from {name!r}, which is not in the bundle"
        )


def sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
