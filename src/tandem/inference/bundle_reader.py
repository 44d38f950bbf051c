"""Opens a bundle: unpacks it once, checks every file, and reads nothing outside it."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from tandem.artifacts.atomic_io import read_json
from tandem.artifacts.paths import Paths, bundle_manifest, check_name
from tandem.config.experiments import make_experiment
from tandem.config.own_code import FILE
from tandem.config.trusted_code import require_trusted_bundle
from tandem.features.clip_pair import HUGGING_FACE, OPEN_CLIP
from tandem.graph.experiment_dir import ExperimentDir, Experiments
from tandem.inference.bundle_cache import unpacked
from tandem.inference.bundle_seal import check_manifest

# 1: caption models in half precision; 1 and 2: settings in build/, not in run.json; 1 to 3: one decoder
FORMAT = 4
READABLE = (1, 2, 3, FORMAT)
MAX_MANIFEST = 4 * 2**20
MODULES = "modules.json"  # of a sentence-transformers folder: the classes that it is made of
CLIP_FILES = (OPEN_CLIP, HUGGING_FACE)  # one of them is in the folder of a CLIP-like pair
CLASSES = {"Transformer", "Pooling", "Normalize", "Dense"}  # these import no code named in their files


def open_bundle(path: Path, trust: str = "") -> tuple[Paths, str]:
    """(paths below its folder, name of the experiment that labels) of a zip or an unpacked folder; raises
    FileNotFoundError, or ValueError where it is not a bundle, a file of it was changed, or it has Python code of its
    own whose digest is not `trust`. Runs nothing of it."""
    if path.is_dir():
        check_files(root := path.resolve())
    elif path.is_file():
        root = unpacked(path, whole=check_files)
    else:
        raise FileNotFoundError(f"{path}: no such bundle; run: make bundle COMP=name")
    manifest = read_manifest(root)
    paths = Paths(manifest["competition"], root)
    experiments, code = Experiments(paths), code_of(manifest)
    for name in _names(paths, manifest):
        check_name("experiment", name)
        trained = experiments[name]
        if name in manifest["members"] or (trained.is_trained and "config" in trained.run):
            _check_experiment(paths, trained, manifest["files"], code)
    if code:
        require_trusted_bundle(root, code, trust)
    return paths, check_name("experiment", manifest["experiment"])


def _names(paths: Paths, manifest: Mapping[str, Any]) -> list[str]:
    """All experiments and stacks of a bundle and the members of these, whether its manifest lists them or not."""
    there = [file.parent.name for file in sorted(paths.oof_dir.glob("*/run.json"))]
    members = [member for name in there for member in read_json(paths.run(name)).get("members", ())]
    return list(dict.fromkeys([*manifest["members"], *there, *members]))


def _check_experiment(paths: Paths, trained: ExperimentDir, files: Mapping[str, Any], code: Mapping[str, str]) -> None:
    """Raises ValueError where it would read weights or settings from outside, or run code that is not in the bundle."""
    root, name = paths.root, trained.name
    experiment = make_experiment(trained.run.get("config", {}), paths.run(name))
    if experiment.pixel_network:
        _check_source(root, experiment.pixel_network.model)
    if lacking := [one for one in experiment.own_code if one.partition(":")[0] not in code]:
        raise ValueError(f"{root}: {name} runs {lacking[0]!r}, which is not in the bundle")
    for encoder in experiment.pretrained:
        if encoder.reads == "image":
            _check_source(root, encoder.model)
        weights = encoder.weights_name
        described = CLIP_FILES if encoder.family == "clip" else (MODULES,)
        if {weights, *(f"{weights}/{part}" for part in described)}.isdisjoint(files):
            what = f"the weights of {encoder.model!r} are {weights!r}"
            raise ValueError(f"{root}: {what}, which is not in the bundle")


def code_of(manifest: Mapping[str, Any]) -> dict[str, str]:
    """The user-written Python files of a bundle, with their SHA-256."""
    return {name: about["sha256"] for name, about in manifest["files"].items() if FILE.fullmatch(name)}


def read_manifest(root: Path) -> dict[str, Any]:
    """The content of `bundle.json`; raises ValueError where this version can't read it."""
    file = bundle_manifest(root)
    try:
        if file.stat().st_size > MAX_MANIFEST:
            raise ValueError(f"{file.stat().st_size} bytes, at most {MAX_MANIFEST} are read")
        text = file.read_text(encoding="utf-8")
        manifest = json.loads(text)
        check_manifest(text, manifest)
        if manifest["format"] not in READABLE:
            raise ValueError(f"format {manifest['format']!r}; this version reads {READABLE}")
        kinds = {"competition": str, "experiment": str, "members": list, "files": dict}
        if wrong := [key for key, kind in kinds.items() if not isinstance(manifest[key], kind)]:
            raise ValueError(f"{wrong[0]} is {manifest[wrong[0]]!r:.80}")
        if wrong := [name for name, about in manifest["files"].items() if not isinstance(about["sha256"], str)]:
            raise ValueError(f"files: the sha256 of {wrong[0]!r:.80} is no text")
        if wrong := [name for name in manifest["members"] if not isinstance(name, str)]:
            raise ValueError(f"members: {wrong[0]!r:.80} is no text")
    except FileNotFoundError as error:
        raise ValueError(f"{root}: not a bundle: it has no {file.name}; make one with: make bundle") from error
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise ValueError(f"{file}: not what make bundle writes: {error}") from error
    return manifest


def check_files(root: Path) -> None:
    """Raises ValueError unless exactly the listed files are there, unchanged; Python's compiled files may be added."""
    files = read_manifest(root)["files"]
    there = {file.relative_to(root).as_posix() for file in root.rglob("*") if file.is_symlink() or not file.is_dir()}
    unlisted = there - set(files) - {bundle_manifest(root).name}
    if added := {name for name in unlisted if not _is_compiled(PurePosixPath(name))}:
        raise ValueError(f"{root}: {min(added)!r} does not belong to the bundle; remove it")
    for name, about in files.items():
        place = PurePosixPath(name)
        if place.is_absolute() or ".." in place.parts or "\\" in name:
            raise ValueError(f"{root}: the bundle lists {name!r}, which is outside it")
        file = root / place
        if not file.is_file() or not file.resolve().is_relative_to(root.resolve()):
            raise ValueError(f"{root}: {name!r} is missing; unpack the bundle again")
        if sha256(file) != about["sha256"]:
            raise ValueError(f"{file}: changed since it was packed; get the bundle again, and remove {root}")
        if place.name == MODULES:
            _check_modules(file)
        if place.name == OPEN_CLIP:
            _check_open_clip(file)


def _is_compiled(file: PurePosixPath) -> bool:
    return file.parent.name == "__pycache__" and file.suffix == ".pyc"


def _check_modules(file: Path) -> None:
    """Raises ValueError for a class or folder from elsewhere: sentence_transformers would import and run it."""
    for module in json.loads(file.read_text(encoding="utf-8")):
        kind = str(module.get("type"))
        if not kind.startswith("sentence_transformers.") or kind.split(".")[-1] not in CLASSES:
            expected = ", ".join(sorted(CLASSES))
            raise ValueError(f"{file}: has the class {kind!r}; expected {expected} of sentence_transformers")
        inside = PurePosixPath(str(module.get("path", "")))
        if inside.is_absolute() or ".." in inside.parts:
            raise ValueError(f"{file}: has a part in {str(inside)!r}, which is outside it")


def _check_open_clip(file: Path) -> None:
    """Raises ValueError where a tower would be described elsewhere: open_clip would read that."""
    try:
        settings = json.loads(file.read_text(encoding="utf-8"))["model_cfg"]
        text, image = settings["text_cfg"].get("hf_model_name"), settings["vision_cfg"].get("timm_model_name", "")
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"{file}: not what make bundle writes: {error}") from error
    if text:
        raise ValueError(f"{file}: text tower {text!r} comes from outside the bundle")
    _check_source(file.parent, str(image))


def _check_source(root: Path, network: str) -> None:
    """Raises ValueError for `hf-hub:...` or `local-dir:...`: timm would read the network's description from there."""
    if ":" in network:
        raise ValueError(f"{root}: network {network!r} comes from outside the bundle; expected a name that timm has")


def sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
