"""The units of work that a stale task is split into: one for each fold and seed that must be trained, and one that
pools their predictions; every other task is one unit.
"""

from tandem.features.weights_identity import UNRESOLVED
from tandem.graph.keys import Artifact, model_name
from tandem.graph.task import Step
from tandem.runtime.resources import fold_threads, threads
from tandem.runtime.unit import Unit

__all__ = ["Unit", "preparation", "units"]
NO_NETWORK = ("tfidf",)  # kinds of experiments that a GPU does nothing for


def preparation(step: Step) -> Unit | None:
    """What must be done before it is known which units a step has: weights that are not here yet are downloaded, and
    models that another experiment has trained already are copied. None where nothing must."""
    task = step.task
    unresolved = any(str(value).endswith(UNRESOLVED) for one in step.stale for value in one.inputs.values())
    if task.stage == "train" and (unresolved or task.config.seeds > 1):
        return Unit(f"{task.subject} preparation", task.name, "tandem.stages.train:prepare", (step,))
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
