"""The one module that spells folder and file names; all are relative to the checkout."""

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

SPLITS = ("train", "test", "unlabelled", "extra")  # the last two are optional
LABELLED = ("train", "extra")
CORRECTIONS = "corrections.csv"  # in a competition's folder
NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
MADE_IN = ("oof", "models", "features", "build", "submissions")  # folders of what the graph makes


def local_path(text: str) -> Path:
    """A path as typed: a shell leaves the ~ of ZIP=~/a.zip as it is."""
    return Path(text).expanduser()


def check_name(kind: str, name: str) -> str:
    """Returns `name` if it can safely be a folder name; raises ValueError otherwise."""
    if not NAME.fullmatch(name):
        form = "lower-case letters, digits, '_' and '-', starting with a letter or digit"
        raise ValueError(f"{kind} {name!r}: expected {form}")
    return name


@dataclass(frozen=True)
class _Place:
    """A path of a competition, as an attribute."""

    pattern: str

    def __get__(self, paths: "Paths", owner: type) -> Path:
        return paths.root / self.pattern.format(comp=paths.comp)


@dataclass(frozen=True)
class _Places:
    """The paths of experiments or splits by name, as a method."""

    pattern: str

    def __get__(self, paths: "Paths", owner: type) -> Callable[[str], Path]:
        return lambda name: paths.root / self.pattern.format(comp=paths.comp, name=name)


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
    input = _Place("input/{comp}")
    competition = _Place("input/{comp}/competition.toml")
    corrections = _Place("input/{comp}/corrections.csv")  # of `make review`: labels that a person looked at again
    inferred = _Place("input/{comp}/inferred.json")  # what import wrote to it: other values are the user's
    configs = _Place("configs")
    added_features = _Places("input/{comp}/features/{name}")  # of `make add-features`, a folder each
    external_dir = _Place("input/{comp}/external")  # one folder per experiment whose predictions were made elsewhere
    external_oof = _Places("input/{comp}/external/{name}/oof.parquet")
    external_test = _Places("input/{comp}/external/{name}/test.parquet")
    external_folds = _Places("input/{comp}/external/{name}/folds.parquet")  # where its folds are known

    # what `check` and the graph keep: safe to delete
    build = _Place("build/{comp}")
    lock = _Place("build/.{comp}.lock")  # beside it: a run that is going on keeps its lock when `build` is removed
    progress = _Place("build/{comp}/.progress.partial")  # events of the run; one that was killed leaves it to the next
    costs = _Place("build/{comp}/costs.json")  # seconds on this machine of what was probed and of what ran
    digests = _Place("build/{comp}/digests.json")
    made_files = _Place("build/{comp}/made_files.json")  # digests of what the graph made
    precision = _Place("build/{comp}/precision.json")
    scan_cache = _Place("build/{comp}/scan.parquet")
    images = _Places("build/{comp}/{name}.images.parquet")  # of a split
    captions = _Places("build/{comp}/{name}.captions.parquet")
    labels = _Place("build/{comp}/train.labels.parquet")
    given_labels = _Place("build/{comp}/given.labels.parquet")  # before corrections, where these are applied
    extra_labels = _Place("build/{comp}/extra.labels.parquet")
    extra_links = _Place("build/{comp}/extra.links.parquet")  # which training and test rows an extra row is like
    own_folds = _Place("build/{comp}/train.folds.parquet")  # only where the user gives folds or groups
    checked = _Place("build/{comp}/checked.json")  # the record of the check, written last
    decoded = _Places("build/{comp}/decoded/{name}.parquet")
    pixels = _Places("build/{comp}/pixels/{name}.npy")  # resized images: made again when they are needed
    unfinished = _Places("build/{comp}/unfinished/{name}")  # parts of what takes long to fit, by its content key

    # what the stages write
    check_report = _Place("reports/{comp}/check.json")
    report = _Place("reports/{comp}/index.html")
    ablation = _Places("reports/{comp}/ablation{name}")
    folds = _Place("folds/{comp}.csv")
    folds_record = _Place("folds/{comp}.json")
    oof_dir = _Place("oof/{comp}")  # one folder per experiment
    experiment = _Places("oof/{comp}/{name}")
    oof = _Places("oof/{comp}/{name}/oof.parquet")
    test = _Places("oof/{comp}/{name}/test.parquet")
    run = _Places("oof/{comp}/{name}/run.json")
    thresholds = _Places("oof/{comp}/{name}/thresholds.json")
    scores = _Places("oof/{comp}/{name}/scores.json")
    before_corrections = _Places("oof/{comp}/{name}/before_corrections.parquet")  # cross-fitted, of uncorrected labels
    leak_test = _Places("oof/{comp}/{name}/leak_test.json")  # of predictions that were made elsewhere
    contributions = _Places("oof/{comp}/{name}/contributions.parquet")
    models_dir = _Places("models/{comp}/{name}")
    stack = _Places("models/{comp}/{name}/stack.json")  # only a stack has it; its other files lie beside it
    no_caption_stack = _Places("models/{comp}/{name}/no_caption/stack.json")  # of the members that need no caption
    no_external_stack = _Places("models/{comp}/{name}/no_external/stack.json")  # of the members that label new images
    study = _Places("models/{comp}/{name}/tune.sqlite")
    tuning = _Places("reports/{comp}/tune_{name}.json")
    submission = _Places("submissions/{comp}/{name}.csv")
    downloaded = _Place("build/{comp}/download.zip")  # of `make download`
    history = _Place("history/{comp}")  # `make clean` never removes it
    journal = _Place("history/{comp}/journal.csv")
    journal_record = _Places("history/{comp}/records/{name}.json")  # what the file of a row was made from
    kept = _Places("history/{comp}/kept/{name}")  # predictions and submissions of old rows, by digest

    kernel = _Place("kernels/{comp}")  # of `make kernel`: notebooks for Kaggle and their dataset

    # a bundle: the same layout in a zip, and these at its top
    bundle = _Place("bundles/{comp}.zip")
    weights = _Places("weights/{name}")
    source = _Place("tandem")
    training_photos = _Place("training.safetensors")  # digests of the training photos, and their folds

    def explanation(self, image: str, experiment: str) -> Path:
        """ID.EXP.html; characters of the id other than letters, digits, - and . become _, and a digest is added."""
        safe = re.sub(r"[^A-Za-z0-9.-]", "_", image).lstrip(".")[:60]
        if safe != image:
            safe += "-" + hashlib.sha256(image.encode("utf-8", "surrogatepass")).hexdigest()[:8]
        return self.root / "reports" / self.comp / "explain" / f"{safe}.{experiment}.html"

    def comparison(self, a: str, b: str) -> Path:
        """compare-A-B.html; characters other than letters, digits, - and . become _."""
        safe = (re.sub(r"[^A-Za-z0-9.-]", "_", name)[:60] for name in (a, b))
        return self.root / "reports" / self.comp / f"compare-{'-'.join(safe)}.html"

    def features(self, encoder: str, split: str) -> Path:
        return self.root / "features" / self.comp / f"{encoder}.{split}.npy"

    def model(self, experiment: str, fold: int, suffix: str, seed: int = 0) -> Path:
        """A file of the model of one fold; `seed` is the number of the seed, where an experiment has several.

        >>> Paths("sample").model("fusion_seeds3", 0, ".json", seed=1).name
        'fold0-seed1.json'
        """
        return self.models_dir(experiment) / f"fold{fold}{f'-seed{seed}' if seed else ''}{suffix}"


def owners(file: Path) -> Iterator[Paths]:
    """The competitions that a file can belong to by its folders, the most likely first.

    >>> [(paths.comp, paths.root.name) for paths in owners(Path("here/oof/birds/stack/oof.parquet"))]
    [('birds', 'here')]
    """
    for folder in file.parents:
        if folder.parent.name in MADE_IN and NAME.fullmatch(folder.name):
            yield Paths(folder.name, folder.parent.parent)


def inputs_dir(root: Path) -> Path:
    """The folder of all competitions' data, which comes from others."""
    return root / "input"


def tracking_dir(root: Path) -> Path:
    """What experiment trackers keep on this machine, of all competitions; no competition can have this name."""
    return root / "history" / "_tracking"


def bundle_manifest(root: Path) -> Path:
    """The list of a bundle's files, at its top."""
    return root / "bundle.json"


def bug_reports(root: Path) -> Path:
    """The folder of the files about errors that no code expected."""
    return root / "build"
