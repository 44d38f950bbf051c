"""The one module that spells folder and file names; all are relative to the checkout."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

SPLITS = ("train", "test", "unlabelled")  # the last is optional
NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")


def local_path(text: str) -> Path:
    """What a person typed; a shell leaves the ~ of ZIP=~/a.zip as it is."""
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

    def __post_init__(self):
        check_name("competition", self.comp)

    # what the user brings
    @property
    def input(self) -> Path:
        return self.root / "input" / self.comp

    @property
    def competition(self) -> Path:
        return self.input / "competition.toml"

    @property
    def configs(self) -> Path:
        return self.root / "configs"

    # what make compares: small files rewritten only when their content changes
    @property
    def build(self) -> Path:
        return self.root / "build" / self.comp

    @property
    def graph(self) -> Path:
        return self.build / "graph.mk"

    @property
    def folds_config(self) -> Path:
        return self.build / "folds.json"

    @property
    def metric_config(self) -> Path:
        return self.build / "metric.json"

    def experiment_config(self, experiment: str) -> Path:
        return self.build / "experiments" / f"{experiment}.json"

    def encoder_config(self, encoder: str) -> Path:
        return self.build / "encoders" / f"{encoder}.json"

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
        return self.build / "checked"

    # what the stages make
    @property
    def check_report(self) -> Path:
        return self.root / "reports" / self.comp / "check.json"

    @property
    def report(self) -> Path:
        return self.root / "reports" / self.comp / "index.html"

    def ablation(self, suffix: str) -> Path:
        return self.root / "reports" / self.comp / f"ablation{suffix}"

    def explanation(self, image: str) -> Path:
        """An id may be any text: what is no letter, digit, dash or dot becomes _, and a digest keeps two ids apart."""
        safe = re.sub(r"[^A-Za-z0-9.-]", "_", image).lstrip(".")[:60]
        if safe != image:
            safe += "-" + hashlib.sha256(image.encode("utf-8", "surrogatepass")).hexdigest()[:8]
        return self.root / "reports" / self.comp / "explain" / f"{safe}.html"

    @property
    def folds(self) -> Path:
        return self.root / "folds" / f"{self.comp}.csv"

    def features(self, encoder: str, split: str) -> Path:
        return self.root / "features" / self.comp / f"{encoder}.{split}.npy"

    def model(self, experiment: str, fold: int | str, suffix: str) -> Path:
        return self.root / "models" / self.comp / experiment / f"fold{fold}{suffix}"

    def stack(self, experiment: str) -> Path:
        """What only a stack has; its other files lie beside it."""
        return self.model(experiment, 0, "").with_name("stack.json")

    def blind_stack(self, experiment: str) -> Path:
        """What a stack has for rows without a caption, where some of its members do without."""
        return self.stack(experiment).parent / "no_caption" / "stack.json"

    def experiment(self, experiment: str) -> Path:
        return self.root / "oof" / self.comp / experiment

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

    @property
    def manifest(self) -> Path:
        return self.root / "bundle.json"

    def weights(self, name: str) -> Path:
        return self.root / "weights" / name

    @property
    def source(self) -> Path:
        return self.root / "tandem"
