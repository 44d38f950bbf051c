"""Packing a bundle: a slim checkout with all that labelling needs, code and pretrained weights too, in one zip."""

import shutil
import zipfile
from collections.abc import Iterable, Sequence
from importlib.metadata import distribution, version
from pathlib import Path

from tandem import __version__
from tandem.artifacts.atomic_io import digest, file_digest, read_json, write_json, write_text, write_with
from tandem.artifacts.paths import Paths
from tandem.config.encoders import Encoder
from tandem.config.experiments import Experiment, read_resolved
from tandem.ensemble.stack_store import read_blind_stack, read_stack
from tandem.features.extract import used_tensors
from tandem.features.pretrained_weights import (
    SHIPPED_BACKBONES,
    SHIPPED_SENTENCES,
    licence,
    save_backbone,
    save_sentences,
)
from tandem.inference.bundle_reader import FORMAT, sha256
from tandem.runtime.resources import versions

# what labelling imports
REQUIRED = ("torch", "torchvision", "timm", "sentence-transformers", "numpy", "scipy", "scikit-learn", "lightgbm",
            "pyarrow", "safetensors", "pillow", "pydantic", "tqdm")  # fmt: skip
DATE = (1980, 1, 1, 0, 0, 0)  # of every file in the zip, so that the same files make the same zip


def fill(paths: Paths, name: str, folds: int, root: Path, blind: str = "") -> dict:
    """Fills the new folder `root` with what labelling by the trained experiment `name` needs; returns the manifest.

    `folds`: only the first so many models of each member; 0 is all. `blind`: the experiment that labels images without
    a caption, where no member can.
    """
    out = Paths(paths.comp, root)
    stacked = paths.stack(name).exists()
    members = read_stack(paths, name)[1] if stacked else [name]
    _copy(paths.competition, out.competition)
    packed = [*members, blind] if blind else members
    experiments = {member: read_resolved(paths.experiment_config(member)) for member in packed}
    encoders = [encoder for experiment in experiments.values() for encoder in experiment.pretrained]
    sharing: dict[str, list[Encoder]] = {}
    for encoder in encoders:
        sharing.setdefault(weights_name(encoder), []).append(encoder)
    for file, readers in sharing.items():
        _save_weights(readers, out.weights(file))
    for member, experiment in experiments.items():
        _copy_member(paths, member, experiment, folds, out)
    if stacked:
        for file in sorted(paths.stack(name).parent.glob("*")):
            if file.suffix in (".json", ".safetensors", ".txt"):
                _copy(file, out.stack(name).with_name(file.name))
        together = read_blind_stack(paths, name)
        if together and set(together[1]) <= set(packed):
            for file in sorted(paths.blind_stack(name).parent.glob("*")):
                _copy(file, out.blind_stack(name).with_name(file.name))
        _copy_scores(paths, name, out, {"members": dict.fromkeys(read_json(paths.run(name))["members"], "")})
    package = Path(__file__).parents[1]
    shutil.copytree(package, out.source, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    scores, licences = read_json(paths.scores(name)), _licences(_sources(experiments.values(), encoders))
    manifest = {
        "format": FORMAT,
        "tandem": __version__,
        "competition": paths.comp,
        "experiment": name,
        "members": packed,
        "folds": folds or "all",
        "labels": read_json(paths.thresholds(name))["labels"],
        "score": {"metric": scores["metric"], "cross_fitted": scores["score"]},
        "versions": versions(),
        "licences": {model: text.splitlines()[0] for model, text in licences.items()},
    }
    pinned = [
        f"{package}=={version(package).split('+')[0]}" for package in REQUIRED
    ]  # 2.13.0+cpu is on no index
    write_text(root / "requirements.txt", "\n".join([*pinned, ""]))
    write_text(root / "LICENSES", _licence_text(licences))
    write_text(root / "README.md", readme(manifest))
    manifest["files"] = listed(root)
    write_json(out.manifest, manifest)
    return manifest


def listed(root: Path) -> dict[str, dict]:
    """Every file below `root`, with its digest and size."""
    files = sorted(file for file in root.rglob("*") if file.is_file())
    return {
        file.relative_to(root).as_posix(): {"sha256": sha256(file), "bytes": file.stat().st_size}
        for file in files
    }


def _copy_member(paths: Paths, name: str, experiment: Experiment, folds: int, out: Paths) -> None:
    """Settings, scores and models of one experiment."""
    write_json(
        out.experiment_config(name), experiment.with_pretrained(lambda e: _carried(e, out)).model_dump()
    )
    models = len(read_json(paths.run(name))["seconds_per_fold"][: folds or None])
    for k in range(models):
        _copy(paths.model(name, k, ".safetensors"), out.model(name, k, ".safetensors"))
    _copy_scores(paths, name, out, {"seconds_per_fold": [0] * models})


def write_zip(root: Path, path: Path) -> None:
    """All files below `root`; the same files give the same bytes."""

    def write(partial: Path) -> None:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in sorted(file for file in root.rglob("*") if file.is_file()):
                about = zipfile.ZipInfo(file.relative_to(root).as_posix(), DATE)
                about.compress_type, about.external_attr = zipfile.ZIP_DEFLATED, 0o100644 << 16
                archive.writestr(about, file.read_bytes())

    write_with(path, write)


def weights_name(encoder: Encoder) -> str:
    """Of the file or folder of weights that encoders of the same model share."""
    own = file_digest(Path(encoder.weights_name)) if encoder.reads == "image" and encoder.weights_name else ""
    name = "".join(c if c.isalnum() else "-" for c in encoder.model.lower().rsplit("/", 1)[-1])
    return f"{name}-{digest([encoder.model, own])[:8]}" + (".safetensors" if encoder.reads == "image" else "")


def _save_weights(encoders: Sequence[Encoder], path: Path) -> None:
    """Of one pretrained model, what any of these takes of it; what is behind all their cuts, every fold brings."""
    first, read = encoders[0], {name for encoder in encoders for name in used_tensors(encoder)}
    path.parent.mkdir(exist_ok=True)
    if first.reads == "image":
        save_backbone(first.model, first.weights_name, path, read)
    else:
        save_sentences(first.model, path, read)


def _carried(encoder: Encoder, out: Paths) -> Encoder:
    """The encoder as the bundle has it."""
    path = out.weights(weights_name(encoder))
    return encoder.with_weights(path.relative_to(out.root).as_posix())


def _copy_scores(paths: Paths, name: str, out: Paths, run: dict) -> None:
    """The decoder, and of scores and run what labelling reads."""
    _copy(paths.thresholds(name), out.thresholds(name))
    scores = read_json(paths.scores(name))
    write_json(
        out.scores(name), {key: scores[key] for key in ("metric", "score", "without") if key in scores}
    )
    write_json(out.run(name), {"experiment": name} | run)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _sources(experiments: Iterable[Experiment], encoders: Sequence[Encoder]) -> dict[str, str]:
    """What each pretrained model reads that anything here was made from; one that was trained whole is no encoder."""
    whole = {e.pixel_network.model: "image" for e in experiments if e.pixel_network}
    return {encoder.model: encoder.reads for encoder in encoders} | whole


def _licences(kinds: dict[str, str]) -> dict[str, str]:
    """The licence of each pretrained model: its name, then what the package that brought it says."""
    found = {}
    for model, reads in kinds.items():
        shipped = SHIPPED_BACKBONES.get(model) or SHIPPED_SENTENCES.get(model, ("",))[0]
        text = licence(model, reads)
        if shipped:
            about = distribution(shipped.replace("_", "-"))
            text += f", from the package {about.name} {about.version}"
            texts = [f for f in about.files or () if f.name.upper().startswith("LICEN")]
            text += "".join(f"\n\n{f.read_text()}" for f in texts)
        found[model] = text
    return found


def _licence_text(licences: dict[str, str]) -> str:
    own = Path(__file__).parents[3] / "LICENSE"
    parts = {"Tandem's code": own.read_text(encoding="utf-8") if own.is_file() else "Apache-2.0"}
    parts |= {f"The weights of {model}": text for model, text in licences.items()}
    return "\n".join(f"{'=' * 100}\n{what}: {text}\n" for what, text in parts.items())


def readme(manifest: dict) -> str:
    """Ten lines."""
    score, folds = manifest["score"], manifest["folds"]
    return f"""# {manifest["competition"]}: which of {len(manifest["labels"])} labels are on a photo
{manifest["experiment"]} of {", ".join(manifest["members"])}; folds: {folds}; made by Tandem {manifest["tandem"]}.
Cross-fitted {score["metric"]} of its training rows: {score["cross_fitted"]:.4f}. All it needs is here:

    pip install -r requirements.txt
    python -m tandem predict --bundle . --images PHOTOS [--captions captions.csv] --out labels.csv

In Python: `from tandem import Labeler; Labeler.load(".").label(["a.jpg"], captions=["a cat"])`.
`bundle.json` says what it is made of, with the digest of every file; nothing in it is pickled.
Licences of the code and of the pretrained weights: `LICENSES`.
"""
