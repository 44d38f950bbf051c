"""The dataset of notebooks at Kaggle: bundle, settings, code, wheels and licences, as they need them offline."""

import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from tandem.artifacts.atomic_io import write_json, write_text
from tandem.artifacts.paths import Paths
from tandem.bundling.bundle_writer import licence_text, weight_licences
from tandem.bundling.kaggle_wheels import Image, collect, lacking, licence_of, needs_of, normalised
from tandem.config.competition import Competition
from tandem.config.experiments import Experiment
from tandem.config.sets import SETS
from tandem.config.toml_files import packaged_configs
from tandem.config.trusted_code import RECORD, code_digest
from tandem.data.archive import unpack_zip
from tandem.data.kaggle_folders import ABOUT
from tandem.features.pretrained_weights import SHIPPED
from tandem.inference.bundle_reader import code_of, open_bundle, read_manifest
from tandem.inference.code_competition import BUNDLE
from tandem.training.kaggle_session import PROJECT

PACKAGE = Path(__file__).parents[1]
CODE = "code"  # the folder that goes on the notebook's path
DRAWING = {"qtawesome"}  # of what Tandem needs, only for the sample competition


@dataclass(frozen=True)
class Labelling:
    """What the notebook that labels the test needs: `trust` is the digest of the bundle's own code, None where the
    bundle was made here."""

    bundle: Path
    trust: str | None


@dataclass(frozen=True)
class Training:
    """What the notebook that trains needs: the experiments by name."""

    paths: Paths
    competition: Competition
    experiments: Mapping[str, Experiment]


def write_dataset(
    folder: Path, about: Mapping[str, Any], image: Image, labelling: Labelling | None, training: Training | None
) -> list[str]:
    """Fills the new `folder` with what the notebooks need; the packages whose wheels are in it. Raises ValueError where
    a wheel can't be had, or the bundle is none, or has code that is not trusted."""
    needed, licences = set[str](), ""
    if labelling:
        about = {**about, **add_bundle(folder, labelling)}
        lines = (folder / BUNDLE / "requirements.txt").read_text(encoding="utf-8").split()
        needed |= {line.partition("==")[0] for line in lines}
        licences = (folder / BUNDLE / "LICENSES").read_text(encoding="utf-8")
    if training:
        about = {**about, "experiments": list(training.experiments)}
        for name, file in project_files(training):
            target = folder / PROJECT / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
        needed |= training_packages(training.experiments.values())
        licences = licences or licence_text(weight_licences(list(training.experiments.values())))
    wheels = lacking(sorted(needed), image)
    collect(wheels, folder / "wheels", image)
    copy_code(folder / CODE)
    texts = {wheel: licence_of(wheel.partition("==")[0]) for wheel in wheels}
    parts = [f"{'=' * 100}\nThe package {wheel}: {text}\n" for wheel, text in texts.items()]
    write_text(folder / "LICENSES", "\n".join([licences, *parts]))
    write_json(folder / ABOUT, about)
    return wheels


def add_bundle(folder: Path, labelling: Labelling) -> dict[str, str]:
    """Unpacks the bundle; its experiment, and the digest of its code, which whoever writes the dataset trusts."""
    unpack_zip(labelling.bundle, folder / BUNDLE)
    trust = labelling.trust
    if trust is None:
        code = code_of(read_manifest(folder / BUNDLE))
        trust = code_digest(code) if code else ""
    _, experiment = open_bundle(folder / BUNDLE, trust)
    return {"trust": trust, "experiment": experiment}


def project_files(training: Training) -> Iterator[tuple[str, Path]]:
    """(path in a project, file) of what training needs and Kaggle does not have: settings, folds, the user's code, and
    tables, features and weights that the user added. Raises ValueError where weights lie outside the project."""
    paths, competition, root = training.paths, training.competition, training.paths.root
    added = [*competition.caption_files, *competition.table_files("extra"), *competition.table_files("unlabelled")]
    features = {one.name for experiment in training.experiments.values() for one in experiment.features}
    files = [paths.competition, paths.inferred, paths.input / RECORD, paths.corrections, *paths.input.glob("*.py")]
    files += [paths.input / name for name in added]
    files += [file for name in sorted(features) for file in sorted(paths.added_features(name).iterdir())]
    files += [paths.folds, paths.folds_record, *paths.configs.glob("*.toml"), root / SETS, *root.glob("my_*.py")]
    for place in sorted({place for one in training.experiments.values() for place in local_weights(one)}):
        if place.is_absolute() or ".." in place.parts:
            raise ValueError(f"weights {place}: Kaggle has no such folder; copy them into the project, and name that")
        files += [file for file in sorted((root / place).rglob("*")) if file.is_file()] or [root / place]
    yield from ((file.relative_to(root).as_posix(), file) for file in dict.fromkeys(files) if file.is_file())


def local_weights(experiment: Experiment) -> list[Path]:
    """The files and folders on this machine that pretrained weights are read from."""
    names = (name.removeprefix("local-dir:") for one in networks(experiment) for name in (one.weights_name, one.model))
    return [Path(name) for name in names if name and Path(name).exists()]


def needs_internet(experiment: Experiment) -> bool:
    """Whether weights come from a hub: neither from a package nor from this machine."""
    return any(
        not (Path(name.removeprefix("local-dir:")).exists() or name in SHIPPED)
        for name in (one.weights_name or one.model for one in networks(experiment))
    )


def networks(experiment: Experiment) -> list[Any]:
    """The parts with pretrained weights: (model, weights_name) each."""
    pixels = experiment.pixel_network
    return [*experiment.pretrained, *([pixels] if pixels and pixels not in experiment.pretrained else [])]


def training_packages(experiments: Iterable[Experiment]) -> set[str]:
    """What Tandem needs, of the packages with pretrained weights only those of these experiments."""
    used = {SHIPPED[one.model][0] for experiment in experiments for one in networks(experiment) if one.model in SHIPPED}
    unused = {normalised(package) for package, _ in SHIPPED.values() if package not in used} | DRAWING
    return {name for name in map(normalised, needs_of(distribution("tandem"))) if name not in unused}


def copy_code(folder: Path) -> None:
    """The package as a wheel would install it: with the experiments of configs/ and sets.toml."""
    target = folder / PACKAGE.name
    shutil.copytree(PACKAGE, target, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    if packaged_configs().parent != PACKAGE:  # a checkout
        (target / "default_configs").mkdir()
        for file in packaged_configs().glob("*.toml"):
            shutil.copyfile(file, target / "default_configs" / file.name)
        shutil.copyfile(packaged_configs().parent / SETS, target / SETS)
