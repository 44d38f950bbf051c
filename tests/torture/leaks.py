"""Labels that say nothing, through every kind of experiment, score chance; what carries a label is named.

Each kind is trained for real on drawn photos with captions: on true labels, where it must score far above chance, or
no leak could be seen, and on shuffled ones. Chance is measured apart from the product: scikit-learn's ROC AUC of the
same predictions on labels that are permuted again.
"""

import contextlib
import io
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import drawn_competition
import numpy as np
import toy
from checked import run_tasks, train, write_experiment
from pictures import COPIES, scene
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from tandem.__main__ import main
from tandem.artifacts.atomic_io import csv_text, read_json, write_text
from tandem.artifacts.paths import Paths
from tandem.artifacts.predictions import Predictions
from tandem.config.experiments import FinetuneExperiment, FusionExperiment
from tandem.config.training import FinetuneTraining
from tandem.data.folds import read_fold_map
from tandem.runtime.processes import end_idle_processes
from torture import kill, page
from torture._limits import TooLong, at_most, children, still_running, temporary_files_in, within
from torture.campaign import Outcome, Task

QUICK, LONG = 6, 66
N, TEST, FOLDS = 90, 8, 3
IDS = [f"{i}.jpg" for i in range(N)]
TEST_IDS = [f"t{i}.jpg" for i in range(TEST)]
FAR_ABOVE = 0.85  # ROC AUC on true labels
STANDARD_ERRORS = 4.5  # above the mean of permuted labels; one honest try in 300,000 is higher
SECONDS = 120.0  # of the processor, for one try
MEMORY = 4000 * 2**20  # bytes, beyond what the process has before; 1,800 MB are used with one thread
PATIENCE = 15.0  # seconds in which what was started may end
TEMPORARY = Path("scratch")
STACKED = ["words", "looks", "join"]
OF_TRAINED = ("words", "looks", "join", "finetune", "student", "mine", "added", "external", "stack")


@dataclass
class Ground:
    """A competition in the working folder, and its true labels (n, c)."""

    paths: Paths
    y: np.ndarray

    def label(self, y: np.ndarray) -> None:
        """Writes a table of these labels; images and captions stay."""
        self.paths.made_files.unlink(missing_ok=True)  # of a whole command; tasks that run alone do not record files
        drawn_competition.write_text(self.paths.input / "train.csv", table(self.y, y))
        run_tasks(self.paths, "check", "folds")


def table(said: np.ndarray, y: np.ndarray) -> str:
    """train.csv: captions of the labels `said`, cells of the labels y."""
    cells = ["|".join(name for name, there in zip(toy.NAMES, row, strict=True) if there) for row in y.tolist()]
    rows = (
        [id, "a cat" if cat else "a dog", cell] for id, (cat, _), cell in zip(IDS, said.tolist(), cells, strict=True)
    )
    return csv_text(["id", "caption", "labels"], *rows)


def build() -> Ground:
    """Every kind of experiment, none trained yet."""
    paths = drawn_competition.build(N, TEST, folds={"n": FOLDS}, experiments=STACKED)
    y = drawn_competition.labels(N + TEST)
    made = toy.experiments(paths.root)
    join, network = made["join"], {"model": "test_efficientnet", "weights": str(paths.root / "tiny.safetensors")}
    made["student"] = FusionExperiment.model_validate(join.model_dump() | {"pseudo": {"teacher": "join"}}, strict=False)
    made["finetune"] = FinetuneExperiment(
        kind="finetune", **network, size=32, train=FinetuneTraining(epochs=6, batch=16, lr=3e-3, min_steps=0)
    )
    for name, experiment in made.items():
        write_experiment(paths, name, experiment)
    main(["new-model", paths.comp, "NAME=mine"])
    head = 'kind = "head"\nfeatures = ["numbers"]\nhead = {hidden = 0, bags = 1, input_dropout = 0.0}\n'
    write_text(paths.configs / "added.toml", head + "train = {epochs = 30, lr = 0.05}\n")
    x = np.random.default_rng(0).normal(size=(N + TEST, 20))
    x[:, :2] += 4 * y
    write_text(paths.root / "numbers.csv", numbers(x))
    main(["add-features", paths.comp, "FILE=numbers.csv", "NAME=numbers"])
    return Ground(paths, y[:N])


def numbers(x: np.ndarray) -> str:
    """A table of features of all rows."""
    names = [f"f{j}" for j in range(x.shape[1])]
    return csv_text(["id", *names], *([id, *row] for id, row in zip(IDS + TEST_IDS, x.tolist(), strict=True)))


def add_external(ground: Ground, y: np.ndarray, name: str = "external") -> None:
    """What a notebook would add: a regression on the same numbers, by scikit-learn, on our folds."""
    x = np.loadtxt(ground.paths.root / "numbers.csv", delimiter=",", skiprows=1, usecols=range(1, 21))
    ids, fold, _ = read_fold_map(ground.paths.folds)
    fold_of = dict(zip(ids, fold, strict=True))
    fold = np.array([fold_of[id] for id in IDS])
    proba, test = np.zeros((N, 2)), np.zeros((TEST, 2))
    for j in range(2):
        for k in range(FOLDS):
            model = LogisticRegression().fit(x[:N][fold != k], y[fold != k, j])
            proba[fold == k, j] = model.predict_proba(x[:N][fold == k])[:, 1]
            test[:, j] += model.predict_proba(x[N:])[:, 1] / FOLDS
    for file, rows, values in (("oof.csv", IDS, proba), ("test.csv", TEST_IDS, test)):
        lines = ([id, *row] for id, row in zip(rows, values.tolist(), strict=True))
        write_text(ground.paths.root / file, csv_text(["id", *toy.NAMES], *lines))
    write_text(ground.paths.root / "folds.csv", csv_text(["id", "fold"], *zip(IDS, fold.tolist(), strict=True)))
    files = ["OOF=oof.csv", "TEST=test.csv", "FOLDS=folds.csv", "KIND=probabilities", "AGAIN=1"]
    if main(["add-predictions", ground.paths.comp, f"NAME={name}", *files]):
        raise RuntimeError("add-predictions refused honest predictions")


def trained(ground: Ground, kind: str, y: np.ndarray) -> np.ndarray:
    """(n, c) out of fold, of an experiment of this kind that is trained on labels y, in the order of IDS."""
    ground.label(y)
    if kind == "external":
        add_external(ground, y)
        run_tasks(ground.paths, "train external", "decode external")
    elif kind == "stack":
        train(ground.paths, *STACKED)
        run_tasks(ground.paths, "stack", "decode stack")
    else:
        train(ground.paths, *(["join"] if kind == "student" else []), kind)
    return Predictions.read(ground.paths.oof(kind)).aligned_to(IDS)


def auc(y: np.ndarray, proba: np.ndarray) -> float:
    """Of the label that is known best: captions say one of them, photos the other."""
    return max(float(roc_auc_score(y[:, j], proba[:, j])) for j in range(y.shape[1]))


def chance(y: np.ndarray, proba: np.ndarray, rng: np.random.Generator) -> float:
    """The highest ROC AUC that predictions without information may have."""
    found = [auc(rng.permutation(y), proba) for _ in range(60)]
    return float(np.mean(found) + STANDARD_ERRORS * np.std(found))


def constant_score(y: np.ndarray) -> float:
    """The highest mean F1 of one label set for all rows, and 4 standard errors of it."""
    best = 0.0
    for pred in ((0, 0), (0, 1), (1, 0), (1, 1)):
        overlap, size = (y * pred).sum(1), y.sum(1) + sum(pred)
        best = max(best, float(np.where(size == 0, 1.0, 2 * overlap / np.maximum(size, 1)).mean()))
    return best + 4 * 0.5 / np.sqrt(len(y))


def labels_of(ground: Ground, kind: str, shuffled: bool, rng: np.random.Generator) -> str:
    """A fault of one kind on true or shuffled labels; "" where there is none."""
    y = rng.permutation(ground.y) if shuffled else ground.y
    proba = trained(ground, kind, y)
    found, bound = auc(y, proba), chance(y, proba, rng)
    score = read_json(ground.paths.scores(kind))["score"]
    if not shuffled:
        return "" if found > FAR_ABOVE else f"{kind} on true labels: ROC AUC {found:.3f}, expected {FAR_ABOVE}"
    if found > bound:
        return f"{kind} on shuffled labels: ROC AUC {found:.3f} out of fold, expected at most {bound:.3f}"
    if score > constant_score(y):
        return f"{kind} on shuffled labels: score {score:.3f}, expected at most {constant_score(y):.3f}"
    return ""


PLANTED: tuple[Callable[[np.ndarray, np.random.Generator], np.ndarray], ...] = (
    lambda label, rng: label,
    lambda label, rng: 1 - label,
    lambda label, rng: rng.normal() + 1e-3 * label,
    lambda label, rng: -5 * label + rng.normal(size=len(label)) / 2,
    lambda label, rng: np.exp(3 * label) + rng.random(len(label)),
    lambda label, rng: 2 * rng.integers(0, 3, len(label)) + label,
)


def planted_copy(ground: Ground, rng: np.random.Generator) -> str:
    """A function of a label in one of 20 columns is named, and no other column; noise alone is not."""
    ground.label(ground.y)
    j, column, how = int(rng.integers(2)), int(rng.integers(20)), int(rng.integers(len(PLANTED)))
    for planted in (False, True):
        x = rng.normal(size=(N + TEST, 20))
        if planted:
            x[:, column] = PLANTED[how](drawn_competition.labels(N + TEST)[:, j].astype(float), rng)
        write_text(ground.paths.root / "planted.csv", numbers(x))
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            status = main(["add-features", ground.paths.comp, "FILE=planted.csv", "NAME=planted", "AGAIN=1"])
        named = [line.split(" (")[0] for line in said.getvalue().splitlines() if "nearly equals label" in line]
        expected = [f"warning: column f{column} nearly equals label {toy.NAMES[j]!r}"] if planted else []
        if status or named != expected:
            return f"copy {how} of {toy.NAMES[j]!r} in f{column}: status {status}, said {named}, expected {expected}"
    return ""


def near_duplicates(ground: Ground, rng: np.random.Generator) -> str:
    """Changed copies of training images among the test images are counted, no more and no fewer."""
    paths, planted = Paths("pairs"), int(rng.integers(0, 5))
    drawn = [scene(np.random.default_rng([int(rng.integers(2**31)), 1])) for _ in range(18)]
    how = list(COPIES)[int(rng.integers(len(COPIES)))]
    test = [COPIES[how](im) for im in drawn[:planted]] + drawn[12:]
    (paths.input / "data").mkdir(parents=True, exist_ok=True)
    for split, images in (("a", drawn[:12]), ("b", test)):
        for i, im in enumerate(images):
            im.convert("RGB").save(paths.input / "data" / f"{split}{i}.jpg", quality=92)
    drawn_competition.write_competition(paths, toy.NAMES, least=0, caption="", experiments=["looks"])
    rows = ([f"a{i}.jpg", "cat" if i % 2 else "sky"] for i in range(12))
    write_text(paths.input / "train.csv", csv_text(["id", "labels"], *rows))
    write_text(paths.input / "test.csv", csv_text(["id"], *([f"b{i}.jpg"] for i in range(len(test)))))
    with contextlib.redirect_stdout(io.StringIO()):
        main(["check", paths.comp])
    counts = {problem["kind"]: problem["count"] for problem in read_json(paths.check_report)["problems"]}
    counted = counts.get("test photo in train", 0)
    return "" if counted == planted else f"{planted} test images are {how} copies, check counts {counted}"


def swapped_folds(ground: Ground, rng: np.random.Generator) -> str:
    """Predictions of one fold map are not stacked under another."""
    ground.label(ground.y)
    train(ground.paths, "words", "looks")
    run_tasks(ground.paths, "stack", members=("words", "looks"))  # control: the same map
    before = ground.paths.folds.read_text(encoding="utf-8")
    lines = [line.split(",") for line in before.splitlines()]
    moved = rng.permutation([row[1] for row in lines[1:]]).tolist()
    rows = [[id, fold, group] for (id, _, group), fold in zip(lines[1:], moved, strict=True)]
    write_text(ground.paths.folds, csv_text(lines[0], *rows))
    try:
        run_tasks(ground.paths, "stack", members=("words", "looks"))
    except ValueError as error:
        return "" if "fold map" in str(error) else f"a swapped fold map: {error}"
    finally:
        write_text(ground.paths.folds, before)
    return "a swapped fold map was stacked"


def external_of_other_folds(ground: Ground, rng: np.random.Generator) -> str:
    """Predictions that were made on other folds are marked, those on ours are not."""
    ground.label(ground.y)
    add_external(ground, ground.y)
    if read_json(ground.paths.run("external"))["own_folds"] != "same":
        return "predictions on our folds are not known as such"
    folds = csv_text(["id", "fold"], *zip(IDS, rng.integers(0, FOLDS, N).tolist(), strict=True))
    write_text(ground.paths.root / "folds.csv", folds)
    files = ["OOF=oof.csv", "TEST=test.csv", "FOLDS=folds.csv", "KIND=probabilities", "AGAIN=1"]
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        main(["add-predictions", ground.paths.comp, "NAME=external", *files])
    own = read_json(ground.paths.run("external"))["own_folds"]
    return "" if own == "other" and "warning" in said.getvalue() else f"other folds: marked {own!r}: {said.getvalue()}"


def tries() -> list[tuple[str, Callable[[Ground, np.random.Generator], str]]]:
    """A round: the quick ones first."""
    shuffled = {kind: lambda g, rng, kind=kind: labels_of(g, kind, True, rng) for kind in OF_TRAINED}
    true = {f"{kind}, true": lambda g, rng, kind=kind: labels_of(g, kind, False, rng) for kind in OF_TRAINED}
    other = {f.__name__: f for f in (planted_copy, swapped_folds, near_duplicates)}
    first = {"words": shuffled["words"], "words, true": true["words, true"], "looks": shuffled["looks"]}
    rest = {**shuffled, **true, "external_of_other_folds": external_of_other_folds}
    return [*(first | other | rest).items()]


def run(task: Task) -> Outcome:
    """In the task's folder."""
    outcome, round_, before = Outcome(), tries(), children()
    with contextlib.chdir(task.folder), temporary_files_in(TEMPORARY), at_most(MEMORY):
        outcome.faults += control()
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            ground = build()
        for number in task.numbers():
            name, attempt = round_[number % len(round_)]
            rng = np.random.default_rng([task.seed, number])
            fault = tried(lambda attempt=attempt, rng=rng: attempt(ground, rng))
            outcome.tries += 1
            outcome.faults += [f"try {number}, {name}: {fault}"] if fault else []
        end_idle_processes()
        outcome.faults += [f"still runs: {process}" for process in still_running(before, PATIENCE)]
    return outcome


def tried(attempt: Callable[[], str], seconds: float = SECONDS) -> str:
    """What is wrong with a try, and the files that it left; "" where nothing is."""
    before = left()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as errors:
        try:
            with within(seconds):
                fault = attempt()
        except TooLong:
            fault = f"more than {seconds:g} s"
        except Exception as error:  # a traceback is a fault of its try, the others go on
            fault = f"{type(error).__name__}: {error} {errors.getvalue()[-300:]}"
    more = sorted(left() - before)
    return "; ".join([fault] * bool(fault) + [f"left over: {', '.join(more[:5])}"] * bool(more))


def left() -> set[str]:
    """Temporary files and folders."""
    return {*kill.leftovers(Path()), *page.leftovers(TEMPORARY)}


def control() -> list[str]:
    """Limits and leftovers that are not seen."""

    def leave(file: Path) -> str:
        file.touch()
        return ""

    def work() -> str:
        while True:
            pass

    files, before = (Path("half.partial"), TEMPORARY / "photo.jpg"), children()
    planted: dict[str, Callable[[], str]] = {f"left over: {file.name}": partial(leave, file) for file in files}
    planted |= {"MemoryError": lambda: str(np.empty(2 * MEMORY, np.uint8).size), "more than": work}
    found = {expected: tried(attempt, 0.2) for expected, attempt in planted.items()}
    for file in files:
        file.unlink()
    with subprocess.Popen(["sleep", "60"]) as process:
        found["sleep"] = str(still_running(before, 0))
        process.kill()
    return [
        f"control: expected {expected!r}, found {came!r}" for expected, came in found.items() if expected not in came
    ]
