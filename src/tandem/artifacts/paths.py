"""The one module that spells folder and file names; all are relative to the checkout."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

SPLITS = ("train", "test", "unlabelled")  # the last is optional
NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")


def local_path(text: str) -> Path:
    """A path as typed: a shell leaves the ~ of ZIP=~/a.zip as it is."""
    return Path(text).expanduser()


def check_name(kind: str, name: str) -> str:
    """Returns `name` if it can safely be a folder name; raises ValueError otherwise."""
    if not NAME.fullmatch(name):
        raise ValueError(
            f"{kind} {name!r}: expected lower-case letters, digits, '_' and '-', starting with a letter or digit"
        )
    return name


@dataclass(frozen=True)
class Paths:
    """Every file of one competition; `root` is the checkout.

    >>> Paths("sample").oof("stack").as_posix()
    'oof/sample/stack/oof.parquet'
    """

    comp: str
    root: Path = Path()

    def __post_init__(self) -> None:
        check_name("competition", self.comp)

    # what the user provides
    @property
    def input(self) -> Path:
        return self.root / "input" / self.comp

    @property
    def competition(self) -> Path:
        return self.input / "competition.toml"

    @property
    def configs(self) -> Path:
        return self.root / "configs"

    # what `check` and the graph keep: safe to delete
    @property
    def build(self) -> Path:
        return self.root / "build" / self.comp

    @property
    def lock(self) -> Path:
        return self.build / "lock"

    @property
    def digests(self) -> Path:
        return self.build / "digests.json"

    @property
    def precision(self) -> Path:
        return self.build / "precision.json"

    def images(self, split: str) -> Path:
        return self.build / f"{split}.images.parquet"

    def captions(self, split: str) -> Path:
        return self.build / f"{split}.captions.parquet"

    def decoded(self, experiment: str) -> Path:
        return self.build / "decoded" / f"{experiment}.parquet"

    @property
    def labels(self) -> Path:
        return self.build / "train.labels.parquet"

    @property
    def scan_cache(self) -> Path:
        return self.build / "scan.parquet"

    @property
    def checked(self) -> Path:
        """The record of the check, written last."""
        return self.build / "checked.json"

    @property
    def folds_record(self) -> Path:
        return self.folds.with_suffix(".json")

    # what the stages write
    @property
    def reports_dir(self) -> Path:
        return self.root / "reports" / self.comp

    @property
    def check_report(self) -> Path:
        return self.reports_dir / "check.json"

    @property
    def report(self) -> Path:
        return self.reports_dir / "index.html"

    def ablation(self, suffix: str) -> Path:
        return self.reports_dir / f"ablation{suffix}"

    def explanation(self, image: str) -> Path:
        """An id may be any text: other characters than letters, digits, - and . become _, and a digest is added."""
        safe = re.sub(r"[^A-Za-z0-9.-]", "_", image).lstrip(".")[:60]
        if safe != image:
            safe += "-" + hashlib.sha256(image.encode("utf-8", "surrogatepass")).hexdigest()[:8]
        return self.reports_dir / "explain" / f"{safe}.html"

    @property
    def folds(self) -> Path:
        return self.root / "folds" / f"{self.comp}.csv"

    @property
    def features_dir(self) -> Path:
        return self.root / "features" / self.comp

    def features(self, encoder: str, split: str) -> Path:
        return self.features_dir / f"{encoder}.{split}.npy"

    def models_dir(self, experiment: str) -> Path:
        return self.root / "models" / self.comp / experiment

    def model(self, experiment: str, fold: int, suffix: str) -> Path:
        return self.models_dir(experiment) / f"fold{fold}{suffix}"

    def stack(self, experiment: str) -> Path:
        """Only a stack has it; its other files lie beside it."""
        return self.models_dir(experiment) / "stack.json"

    def no_caption_stack(self, experiment: str) -> Path:
        """The stack for rows without a caption, of the members that need none."""
        return self.models_dir(experiment) / "no_caption" / "stack.json"

    @property
    def oof_dir(self) -> Path:
        """One folder an experiment."""
        return self.root / "oof" / self.comp

    def experiment(self, experiment: str) -> Path:
        return self.oof_dir / experiment

    def oof(self, experiment: str) -> Path:
        return self.experiment(experiment) / "oof.parquet"

    def test(self, experiment: str) -> Path:
        return self.experiment(experiment) / "test.parquet"

    def run(self, experiment: str) -> Path:
        return self.experiment(experiment) / "run.json"

    def thresholds(self, experiment: str) -> Path:
        return self.experiment(experiment) / "thresholds.json"

    def scores(self, experiment: str) -> Path:
        return self.experiment(experiment) / "scores.json"

    def contributions(self, experiment: str) -> Path:
        return self.experiment(experiment) / "contributions.parquet"

    def submission(self, experiment: str) -> Path:
        return self.root / "submissions" / self.comp / f"{experiment}.csv"

    # a bundle: the same layout in a zip, and these at its top
    @property
    def bundle(self) -> Path:
        return self.root / "bundles" / f"{self.comp}.zip"

    def weights(self, name: str) -> Path:
        return self.root / "weights" / name

    @property
    def source(self) -> Path:
        return self.root / "tandem"


def bundle_manifest(root: Path) -> Path:
    """The list of a bundle's files, at its top."""
    return root / "bundle.json"
