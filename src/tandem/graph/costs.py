"""What the units of a run will cost: seconds by records of earlier runs on this machine, by a probe, or roughly.

A unit is an amount of work, such as images, or rows times epochs, and a rate: the seconds of one core for one of them.
Rates that were measured are kept by key: an encoder, an experiment with its settings, or a stage.
"""

import math
import os
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import NamedTuple

from tandem.artifacts.atomic_io import digest, write_json
from tandem.artifacts.paths import Paths
from tandem.config import method_versions as version
from tandem.config.encoders import Encoder
from tandem.config.experiments import Experiment, FusionExperiment, HeadExperiment
from tandem.data.split_tables import read_ids
from tandem.features.feature_store import CHUNK, Parts
from tandem.graph.declared_stages import Graph
from tandem.graph.keys import Artifact, read_record
from tandem.graph.task import Step
from tandem.graph.units import Unit, units
from tandem.runtime.executor import first_that_fits

START = 1.5  # seconds in which a process loads packages and inputs
# rough seconds of one core: of an image of 224 pixels a side, a caption of 64 tokens; of a row in an epoch of training;
# of a label of a row, in the stack for each member; of an image that is checked
IMAGE, CAPTION, PIXELS = 0.01, 0.005, 224 * 224
EPOCH = {"head": 7e-5, "frozen": 3.5e-4, "maps": 2.6e-3, "pixels": 0.03, "tfidf": 8e-5, "zeroshot": 1e-5}
OTHER_EPOCH = 1e-3
DECODED = 4e-3  # of an image that is decoded in each epoch
STAGES = {"check": 2e-3, "folds": 2e-5, "stack": 5e-5, "decode": 3e-5, "submit": 1e-5}
PREDICTION = 0.4  # rate of prediction, relative to that of training
SPEED = "speed"  # key of the factor of rough rates on this machine


class Work(NamedTuple):
    """What a unit does; `rough`: seconds of one core for one of the amount, where no rate is known."""

    key: str
    amount: float
    rough: float


@dataclass(frozen=True)
class Sizes:
    """Of a competition: rows of each split, labels, folds."""

    rows: Mapping[str, int]
    labels: int
    folds: int

    @property
    def training(self) -> int:
        """Rows that the model of one fold is trained on."""
        return self.rows["train"] * (self.folds - 1) // self.folds


@dataclass
class Costs:
    """Expected seconds of units by the known `rates` {key: seconds of one core}."""

    sizes: Sizes
    rates: Mapping[str, float]

    def of(self, unit: Unit, step: Step) -> float:
        """Seconds of a unit of a step."""
        work = self.work(unit, step)
        return (START if step.task.heavy else 0) + work.amount * self.rate(work) / unit.threads

    def rate(self, work: Work) -> float:
        return self.rates.get(work.key, work.rough * self.rates.get(SPEED, 1.0))

    def work(self, unit: Unit, step: Step) -> Work:
        task, rows = step.task, self.sizes.rows
        if task.stage == "features":
            return encoded(task.config, sum(map(self._missing, step.stale)))
        if task.stage == "train":
            trained = trained_fold(task.subject, task.config.as_trained(rows["train"]), self.sizes)
            if unit.function.endswith(":fit_fold"):
                return trained
            per_epoch = self.rate(trained) * (self.sizes.labels if task.config.kind == "tfidf" else 1)
            amount = rows.get("test", 0) * self.sizes.folds * task.config.seeds
            return Work(f"predictions of {trained.key}", amount, PREDICTION * per_epoch)
        members = len(task.config) if task.stage == "stack" else 1
        amount = sum(rows.values()) if task.stage == "check" else rows["train"] * self.sizes.labels * members
        return Work(task.stage, amount, STAGES.get(task.stage, 0.0))

    def _missing(self, features: Artifact) -> int:
        """The rows of one split that no earlier run has computed."""
        rows = self.sizes.rows.get(features.name.rpartition(" ")[2], 0)
        missing = Parts(features.files[0], rows, features.key).missing()
        return sum(min(CHUNK, rows - first) for first in missing)


def encoded(encoder: Encoder, rows: int) -> Work:
    """The features of so many rows."""
    views = 2 if getattr(encoder, "mirror", False) else 1
    size = encoder.image_size
    side = size if isinstance(size, int) else getattr(size, "side", 224)
    tokens = min(getattr(encoder, "max_tokens", 64), 64) / 64
    rough = views * IMAGE * side**2 / PIXELS if encoder.reads == "image" else CAPTION * tokens
    return Work(encoder.slug, rows, rough)


def trained_fold(name: str, experiment: Experiment, sizes: Sizes) -> Work:
    """The model of one fold and one seed: rows times epochs, of TF-IDF rows times labels."""
    if experiment.external:
        return Work(name, 0, 0.0)
    settings = experiment.of_seed(0).model_copy(update={"seed": 0}).model_dump(mode="json")
    key, kind, rows = f"{name} {digest(settings)[:8]}", experiment.kind, sizes.training
    if kind == "tfidf":
        return Work(key, rows * sizes.labels, EPOCH[kind])
    rough, network = EPOCH.get(kind, OTHER_EPOCH), experiment.pixel_network
    if isinstance(experiment, HeadExperiment):
        rough *= experiment.head.bags
    elif network:
        rough = EPOCH["pixels"] + DECODED * PIXELS / network.size**2
    elif isinstance(experiment, FusionExperiment):
        network = experiment.cached_trunk if experiment.train.backbone_lr or experiment.train.caption_lr else None
        rough = EPOCH["maps" if network else "frozen"]
    scale = network.size**2 / PIXELS if network else 1
    return Work(key, rows * epochs(experiment, rows), rough * scale)


def epochs(experiment: Experiment, rows: int) -> int:
    """With few rows more than are set, until there are `min_steps` batches."""
    train = getattr(experiment, "train", None)
    if train is None:
        return 1
    return max(train.epochs, math.ceil(train.min_steps / max(1, math.ceil(rows / train.batch))))


# ---- where rates come from


def this_machine() -> str:
    """Names the machine and the methods that kept rates belong to."""
    return digest([platform.node(), os.cpu_count(), platform.machine(), version.ENCODER, version.TRAINER])


def known_rates(graph: Graph, sizes: Sizes, names: Iterable[str]) -> dict[str, float]:
    """{key: seconds of one core} by what was kept, and by records of features and folds of these experiments."""
    kept = read_record(graph.paths.costs)
    rates: dict[str, float] = dict(kept.get("rates", {})) if kept.get("key") == this_machine() else {}
    for name in names:
        experiment = graph.experiments[name]
        for encoder in experiment.encoders:
            rates |= _of(encoder.slug, _feature_rates(graph.paths, encoder.slug))
        work = trained_fold(name, experiment.as_trained(sizes.rows["train"]), sizes)
        rates |= _of(work.key, _fold_rates(graph.paths, name, experiment, work, sizes))
    return rates


def keep_rates(paths: Paths, rates: Mapping[str, float]) -> None:
    """Adds rates to those that are kept for this machine."""
    kept = read_record(paths.costs)
    before = kept.get("rates", {}) if kept.get("key") == this_machine() else {}
    write_json(paths.costs, {"key": this_machine(), "rates": before | dict(rates)})


def _of(key: str, rates: Sequence[float]) -> dict[str, float]:
    return {key: median(rates)} if rates else {}


def _feature_rates(paths: Paths, slug: str) -> list[float]:
    """Of every competition here."""
    files = paths.features(slug, "train").parent.parent.glob(f"*/{slug}.*.meta.json")
    records = [read_record(file) for file in files]
    return [record["seconds"] / record["rows"] for record in records if record.get("seconds") and record.get("rows")]


def _fold_rates(paths: Paths, name: str, experiment: Experiment, work: Work, sizes: Sizes) -> list[float]:
    """Of every competition here, of models with the same settings; `seconds` are of all `threads`, with the start."""
    found = []
    for file in paths.models_dir(name).parent.parent.glob(f"*/{name}/fold*.json"):
        record = read_record(file)
        settings = record.get("inputs", {}).get(f"configs/{name}.toml", {})
        same = experiment.of_seed(0).as_trained(sizes.rows["train"]).model_dump(mode="json")
        rows = record.get("rows") or (sizes.training if file.parent == paths.models_dir(name) else 0)
        if rows and settings | {"seed": 0} == same | {"seed": 0}:
            amount = work.amount * rows / max(1, sizes.training)
            found.append(without_start(record["seconds"]) * record.get("threads", 1) / amount)
    return found


def without_start(seconds: float) -> float:
    """Those of a process after it has loaded packages and inputs."""
    return max(seconds - START, 0.1 * seconds)


def sizes_of(graph: Graph) -> Sizes:
    """Of the checked tables; where nothing is checked yet, by the lines of the tables."""
    paths, competition = graph.paths, graph.competition
    rows = {}
    for split in competition.splits:
        file = paths.images(split)
        tables = [paths.input / name for name in competition.table_files(split)]
        rows[split] = len(read_ids(file)) if file.exists() else sum(map(_lines, tables))
    if paths.labels.exists():
        rows["train"] = graph.sources.labelled_rows or rows["train"]
    return Sizes({"train": 0} | rows, len(competition.labels.names), len(graph.fold_numbers))


def _lines(file: Path) -> int:
    if not file.exists():
        return 0
    with file.open("rb") as opened:
        return sum(1 for _ in opened) - 1


# ---- the schedule


@dataclass(frozen=True)
class Planned:
    """A step that would run: the seconds of each of its units."""

    step: Step
    units: tuple[tuple[Unit, float], ...]

    @property
    def core_seconds(self) -> float:
        return sum(unit.threads * seconds for unit, seconds in self.units)


def planned(found: Sequence[Step], costs: Costs) -> list[Planned]:
    return [Planned(step, tuple((unit, costs.of(unit, step)) for unit in units(step))) for step in found]


def simulate(every: Sequence[Planned], cores: int, most: int, gpu: bool = False) -> float:
    """Seconds until all units are done, begun in the order in which the executor begins them.

    cores  of the machine
    most   processes at a time that its memory has room for
    gpu    whether the machine computes on a GPU
    """
    tasks = {one.step.task.name: one for one in every}
    before = {  # of each task: units of the tasks that it needs
        name: {unit.name for need in one.step.task.needs if need in tasks for unit, _ in tasks[need].units}
        for name, one in tasks.items()
    }
    needs = {unit.name: {*unit.needs, *before[name]} for name, one in tasks.items() for unit, _ in one.units}
    needs = {name: those & needs.keys() for name, those in needs.items()}  # others are done
    waiting = [replace(unit, rank=i) for i, one in enumerate(every) for unit, _ in one.units]
    seconds = {unit.name: took for one in every for unit, took in one.units}
    running: list[tuple[float, Unit]] = []
    now, done = 0.0, set[str]()
    while waiting or running:
        ready = [unit for unit in waiting if needs[unit.name] <= done]
        if unit := first_that_fits(ready, [unit for _, unit in running], cores, most, gpu):
            waiting.remove(unit)
            running.append((now + seconds[unit.name], unit))
            continue
        if not running:
            raise ValueError(f"units that wait for each other: {[unit.name for unit in waiting]}")
        running.sort(key=lambda one: one[0])
        now, ended = running.pop(0)
        done.add(ended.name)
    return now


# ---- what fits into a budget


def chosen_for(budget: float, sets: Sequence[Sequence[str]], total: Callable[[list[str]], float]) -> list[str]:
    """The experiments that fit into so many seconds: the largest of the sets, smallest first, that fits whole, and then
    in order those of the next larger ones that fit beside them; of the smallest set in order those that fit.

    total  seconds of a run with these experiments

    >>> minutes = {"words": 1, "fast": 2, "fusion": 20, "fusion_lite0": 18}
    >>> sets = [["words", "fast"], ["words", "fusion", "fusion_lite0"]]
    >>> total = lambda names: 60 * sum(minutes[name] for name in names)
    >>> chosen_for(30 * 60, sets, total), chosen_for(60, sets, total), chosen_for(20, sets, total)
    (['words', 'fast', 'fusion'], ['words'], [])
    >>> chosen_for(3600, sets, total)
    ['words', 'fusion', 'fusion_lite0']
    """
    whole = max((i for i, one in enumerate(sets) if total(list(one)) <= budget), default=-1)
    found = list(sets[whole]) if whole >= 0 else []
    for name in (name for one in sets[whole + 1 :] for name in one):
        if name not in found and total([*found, name]) <= budget:
            found.append(name)
    return found
