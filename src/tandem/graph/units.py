"""The units of work that a stale task is split into: one for each fold and seed that must be trained, and one that
pools their predictions; every other task is one unit.
"""

from collections.abc import Sequence

from tandem.artifacts.paths import Paths
from tandem.features.extract import encoded_ids
from tandem.features.shards import SHARD_ROWS, Wanted, split_work
from tandem.features.weights_identity import UNRESOLVED
from tandem.graph.keys import Artifact, model_name
from tandem.graph.task import Step
from tandem.runtime.resources import fold_threads, share, threads, units_in_memory
from tandem.runtime.unit import Unit

__all__ = ["Unit", "feature_units", "preparation", "units", "wanted_by"]
NO_NETWORK = ("tfidf",)  # kinds of experiments that a GPU does nothing for


def preparation(step: Step) -> Unit | None:
    """What must be done before it is known which units a step has: weights that are not here yet are downloaded, and
    models that another experiment has trained already are copied. None where nothing must."""
    task = step.task
    unresolved = any(str(value).endswith(UNRESOLVED) for one in step.stale for value in one.inputs.values())
    if task.stage in ("features", "train") and (unresolved or (task.stage == "train" and task.config.seeds > 1)):
        return Unit(f"{task.subject} preparation", task.name, f"tandem.stages.{task.stage}:prepare", (step,))
    return None


def units(step: Step) -> list[Unit]:
    """In the order in which they may begin."""
    task = step.task
    if task.stage == "train":
        return _train(step)
    gpus = int(task.stage == "features")
    wide = threads() if task.heavy else 1
    run = f"tandem.stages.{task.stage}:run"
    return [Unit(step.title, task.name, run, (step,), wide, gpus, here=not task.heavy)]


def feature_units(paths: Paths, steps: Sequence[Step], width: int) -> dict[str, list[Unit]]:
    """By task, of steps whose encoders have the same `items`: shards of rows, each of which decodes its images once for
    all encoders, `width` of them where there are enough rows; then each task puts its features together."""
    wanted = {step.task.name: wanted_by(paths, step) for step in steps}
    every = [one for found in wanted.values() for one in found]
    splits = {one.split: one.rows for one in every}
    number = max(1, min(width, sum(splits.values()) // SHARD_ROWS))
    shards = split_work(paths, every, number)
    # processes of one thread are 1.2 to 2 times as fast as one of as many threads, most of all on a busy machine
    name, n = steps[0].task.name, share(number, threads(), units_in_memory())
    names = tuple(f"{name} shard {i + 1} of {len(shards)}" for i in range(len(shards)))
    together = "tandem.features.shards:put_together"  # copies files: it waits for no core
    last = [
        Unit(step.title, step.task.name, together, (wanted[step.task.name],), 0, needs=names, here=True)
        for step in steps
    ]
    compute = "tandem.stages.features:compute_shard"
    computed = [
        Unit(unit, name, compute, (shard,), n, gpus=1, of=tuple(last))
        for unit, shard in zip(names, shards, strict=True)
    ]
    found = {unit.task: [unit] for unit in last}
    return {**found, name: [*computed, *found[name]]}


def wanted_by(paths: Paths, step: Step) -> list[Wanted]:
    """The features that a step makes."""
    encoder, found = step.task.config, []
    for artifact in step.stale:
        split = artifact.name.rpartition(" ")[2]
        found.append(Wanted(encoder, split, len(encoded_ids(paths, encoder, split)), artifact.made_from))
    return found


def _train(step: Step) -> list[Unit]:
    task = step.task
    folds = folds_of(step)
    numbers = list(dict.fromkeys(k for k, _, _ in folds))
    gpus = int(task.config.kind not in NO_NETWORK)
    n = fold_threads(len(numbers), None if gpus else False)
    each = [
        Unit(
            f"{task.subject} {model_name(k, seed)}",
            task.name,
            "tandem.stages.train:fit_fold",
            (task.subject, task.config, k, seed, artifact.made_from, numbers),
            n,
            gpus,
        )
        for k, seed, artifact in folds
        if artifact in step.stale
    ]
    names = tuple(unit.name for unit in each)
    pooled = Unit(f"{task.subject} predictions", task.name, "tandem.stages.train:run", (step,), n, gpus, names)
    return [*each, pooled]


def folds_of(step: Step) -> list[tuple[int, int, Artifact]]:
    """(fold, number of its seed, its artifact) of every model of an experiment, all folds of the first seed first."""
    found, seeds = [], dict[int, int]()
    for artifact in step.task.artifacts:
        if "fold" in artifact.inputs:
            k = artifact.inputs["fold"]
            seeds[k] = seeds.get(k, -1) + 1
            found.append((k, seeds[k], artifact))
    return found
