"""Writes a bundle: a slim checkout with all that labelling needs, code and pretrained weights too, in one zip."""

import shutil
import zipfile
from collections.abc import Mapping, Sequence
from importlib.metadata import distribution, packages_distributions, version
from pathlib import Path
from typing import Any

from tandem import __version__
from tandem.artifacts.atomic_io import digest, file_digest, write_json, write_text, write_with
from tandem.artifacts.paths import Paths, bundle_manifest
from tandem.config.competition import load_competition
from tandem.config.encoders import Encoder
from tandem.config.experiments import Experiment
from tandem.config.own_code import code_files, imported_modules
from tandem.config.trusted_code import code_digest
from tandem.ensemble.stacking import load_no_caption_stack, load_stack
from tandem.features import pretrained_weights as pretrained
from tandem.features.extract import save_weights, used_tensors
from tandem.features.weight_files import weights_file
from tandem.graph.experiment_dir import ExperimentDir
from tandem.inference.bundle_reader import FORMAT, sha256
from tandem.inference.bundle_seal import seal_zip, sealed
from tandem.inference.training_photos import TrainingPhotos
from tandem.runtime.resources import versions

# what labelling imports
REQUIRED = ("torch", "torchvision", "timm", "sentence-transformers", "numpy", "scipy", "scikit-learn", "lightgbm",
            "pyarrow", "safetensors", "pillow", "pydantic", "tqdm")  # fmt: skip
DATE = (1980, 1, 1, 0, 0, 0)  # of every file in the zip, so that the same files make the same zip
SCORES = ("metric", "greater_is_better", "score", "without")  # fields that labelling reads
SUFFIXES = (".json", ".safetensors", ".txt")  # of a stack's files
RECORD = ("key", "inputs")  # not copied: what is in a bundle is never stale


def write_bundle(
    trained: ExperimentDir,
    folds: int,
    root: Path,
    fallback: ExperimentDir | None = None,
    chosen_from: int = 1,
    bits: int = 8,
) -> dict[str, Any]:
    """Fills the new folder `root` with what labelling by an experiment needs, the first `folds` models of each member
    or all (0), and the `fallback` for images without a caption if every member needs captions; returns the manifest.

    chosen_from  number of ensembles that it is the best of, by their scores on the training rows
    bits         of a number of the pretrained weights, see `save_weights`
    """
    out = Paths(trained.paths.comp, root)
    trained.require_models()
    _copy(trained.paths.competition, out.competition)
    used = load_stack(trained.paths, trained.name)[1] if trained.is_stack else [trained.name]
    members = [trained.sibling(name) for name in used] + ([fallback] if fallback else [])
    _write_weights([encoder for member in members for encoder in member.config.pretrained], out, bits)
    for member in members:
        _write_experiment(member, folds, out)
    if trained.is_stack:
        _write_stack(trained, {member.name for member in members}, out)
    if not bundle_manifest(trained.paths.root).is_file() and (photos := TrainingPhotos.of(trained.paths)).files:
        photos.write(out.training_photos)
    code = _write_code(members, out)
    package = Path(__file__).parents[1]
    shutil.copytree(package, out.source, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    licences = weight_licences([member.config for member in members])
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "tandem": __version__,
        "competition": out.comp,
        "experiment": trained.name,
        "members": [member.name for member in members],
        "folds": folds or "all",
        "labels": list(trained.labels),
        "reads": sorted(load_competition(out.competition).reads),
        "score": {
            "metric": trained.scores["metric"],
            "cross_fitted": trained.new_image_scores["score"],
            "chosen_from": chosen_from,
        },
        "versions": versions(),
        "licences": {model: text.splitlines()[0] for model, text in licences.items()},
    }
    # without the local part of a version: 2.13.0+cpu is on no index
    clip = any(encoder.family == "clip" for member in members for encoder in member.config.pretrained)
    needed = dict.fromkeys([*REQUIRED, *(["open_clip_torch"] if clip else []), *imported_packages(root, code)])
    pinned = [f"{name}=={version(name).split('+')[0]}" for name in needed]
    write_text(root / "requirements.txt", "\n".join([*pinned, ""]))
    write_text(root / "LICENSES", licence_text(licences))
    if code:
        manifest["code"] = {name: sha256(root / name) for name in code}
    write_text(root / "README.md", readme(manifest))
    manifest["files"] = {
        name: {"sha256": sha256(file), "bytes": file.stat().st_size} for name, file in _files(root).items()
    }
    write_text(bundle_manifest(root), sealed(manifest))
    return manifest


def _write_code(members: Sequence[ExperimentDir], out: Paths) -> list[str]:
    """Copies the user's files `my_*.py` that labelling runs; returns their names."""
    found: set[str] = set()
    for member in members:
        own, root = member.config.for_labelling().own_code, member.paths.root
        if unwritten := [one for one in own if ":" not in one]:
            raise ValueError(
                f"{member.name} is the class {unwritten[0]} of a session: write it to a file my_*.py first"
            )
        names = code_files(root, own)
        for name in names:
            _copy(root / name, out.root / name)
        found |= set(names)
    return sorted(found)


def imported_packages(root: Path, code: Sequence[str]) -> list[str]:
    """The installed packages, in lower case, that these files import."""
    packages = packages_distributions()
    found = {name for module in imported_modules(root, code) for name in packages.get(module, ())}
    return sorted(name.lower() for name in found - {"tandem"})


def _files(root: Path) -> dict[str, Path]:
    return {file.relative_to(root).as_posix(): file for file in sorted(root.rglob("*")) if file.is_file()}


def write_zip(root: Path, path: Path) -> None:
    """All files below `root`; the same files give the same bytes."""

    def write(partial: Path) -> None:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, file in _files(root).items():
                about = zipfile.ZipInfo(name, DATE)
                about.compress_type, about.external_attr = zipfile.ZIP_DEFLATED, 0o100644 << 16
                archive.writestr(about, file.read_bytes())
        seal_zip(partial)

    write_with(path, write)


def bundled_weights(encoder: Encoder) -> str:
    """Name of the file or folder of weights that encoders of the same model share in a bundle."""
    one_file = encoder.weights_field == "weights"
    own = file_digest(weights_file(encoder.weights_name)) if one_file and encoder.weights_name else ""
    name = "".join(c if c.isalnum() else "-" for c in encoder.model.lower().rsplit("/", 1)[-1])
    return f"{name}-{digest([encoder.model, own])[:8]}" + (".safetensors" if one_file else "")


def _write_weights(encoders: Sequence[Encoder], out: Paths, bits: int) -> None:
    """The tensors that the frozen parts of the encoders use, once for each pretrained model."""
    sharing: dict[str, list[Encoder]] = {}
    for encoder in encoders:
        sharing.setdefault(bundled_weights(encoder), []).append(encoder)
    for file, users in sharing.items():
        first, path = users[0], out.weights(file)
        used = {name for encoder in users for name in used_tensors(encoder)}
        path.parent.mkdir(exist_ok=True)
        save_weights(first, path, used, bits)


def _write_experiment(member: ExperimentDir, folds: int, out: Paths) -> None:
    def bundled(encoder: Encoder) -> Encoder:
        placed = encoder.with_weights(out.weights(bundled_weights(encoder)).relative_to(out.root).as_posix())
        return placed if encoder.weights_field == "model" else named(placed)

    def named(network: Any) -> Any:  # nothing outside the bundle describes its networks
        return network.model_copy(update={"model": pretrained.architecture(network.model)})

    for file in member.models(folds):
        _copy(file, out.models_dir(member.name) / file.name)
    config = member.config.for_labelling().with_pretrained(bundled)
    config = named(config) if config.pixel_network is config else config
    _write_records(member, out, {"config": config.model_dump(), "folds": member.folds[: folds or None]})


def _write_stack(stack: ExperimentDir, packed: set[str], out: Paths) -> None:
    labels_new = stack.paths.no_external_stack(stack.name) if stack.unable else stack.paths.stack(stack.name)
    files = [file for file in labels_new.parent.glob("*") if file.suffix in SUFFIXES]
    no_caption = load_no_caption_stack(stack.paths, stack.name)
    if no_caption and set(no_caption[1]) <= packed:
        files += [file for file in stack.paths.no_caption_stack(stack.name).parent.glob("*") if file.suffix in SUFFIXES]
    for file in files:
        _copy(file, out.root / file.relative_to(stack.paths.root))
    _write_records(stack, out, {"members": dict.fromkeys(stack.members, ""), "external": stack.unable})


def _write_records(trained: ExperimentDir, out: Paths, run: Mapping[str, Any]) -> None:
    """Decoder, scores and run: the fields that labelling reads."""
    name, scores = trained.name, trained.scores
    write_json(out.thresholds(name), {key: value for key, value in trained.thresholds.items() if key not in RECORD})
    write_json(out.scores(name), {key: scores[key] for key in SCORES if key in scores})
    write_json(out.run(name), {"experiment": name, **run})


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def weight_licences(experiments: Sequence[Experiment]) -> dict[str, str]:
    """By pretrained model: the name of its licence, then the texts in the package that it came with."""
    found = {}
    for model, family in pretrained_models(experiments).items():
        text = pretrained.licence(model, family)
        if model in pretrained.SHIPPED:
            about = distribution(pretrained.SHIPPED[model][0].replace("_", "-"))
            text += f", from the package {about.name} {about.version}"
            texts = [f for f in about.files or () if f.name.upper().startswith("LICEN")]
            text += "".join(f"\n\n{f.read_text()}" for f in texts)
        found[model] = text
    return found


def pretrained_models(experiments: Sequence[Experiment]) -> dict[str, str]:
    """Pretrained model -> its family (image, text, clip); also networks whose weights were all trained further."""
    found: dict[str, str] = {encoder.model: encoder.family for e in experiments for encoder in e.pretrained}
    return found | {e.pixel_network.model: "image" for e in experiments if e.pixel_network}


def licence_text(licences: dict[str, str]) -> str:
    own = Path(__file__).parents[3] / "LICENSE"
    parts = {"Tandem's code": own.read_text(encoding="utf-8") if own.is_file() else "Apache-2.0"}
    parts |= {f"The weights of {model}": text for model, text in licences.items()}
    return "\n".join(f"{'=' * 100}\n{what}: {text}\n" for what, text in parts.items())


def readme(manifest: Mapping[str, Any]) -> str:
    """The bundle's README.md."""
    score, folds, n = manifest["score"], manifest["folds"], manifest["score"]["chosen_from"]
    where = "its training rows" + (f" (slightly optimistic: chosen on these rows, the best of {n})" if n > 1 else "")
    images, code = "image" in manifest["reads"], manifest.get("code", {})
    trust = code_digest(code)
    own = f"\nIts own code, {', '.join(code)}, is run: read it first. Its digest is {trust}." if code else ""
    what = f"{len(manifest['labels'])} labels {'an image' if images else 'a text'} has"
    options = "--images PHOTOS [--captions captions.csv]" if images else "--captions captions.csv"
    call = '.label(["a.jpg"], captions=["a cat"])' if images else '.label(None, captions=["a cat"])'
    return f"""# {manifest["competition"]}: which of {what}
{manifest["experiment"]} of {", ".join(manifest["members"])}; folds: {folds}; made by Tandem {manifest["tandem"]}.
Cross-fitted {score["metric"]} on {where}: {score["cross_fitted"]:.4f}. Everything it needs is in this folder:

    pip install -r requirements.txt
    python -m tandem predict --bundle . {options} --out labels.csv{f" --trust {trust}" if code else ""}

In Python: `from tandem import Labeler; Labeler.load("."{f', trust="{trust}"' if code else ""}){call}`.{own}
`bundle.json` lists its parts, and the digest of every file; no file is pickled.
Licences of the code and of the pretrained weights: `LICENSES`.
"""
