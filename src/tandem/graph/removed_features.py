"""Features that `make clean-cache` removed: results stay current, and only what must be trained has them made again."""

from collections.abc import Collection, Iterable, Mapping

from tandem.graph.keys import OUT_OF_FOLD, Artifact, features_of
from tandem.graph.task import Step, Task, step_of


def needed_step(task: Task, tasks: Iterable[Task], goals: Collection[str]) -> Step | None:
    """As `step_of`, without features that were removed and that no stale artifact of `tasks` reads.

    goals  names of tasks that are wanted themselves: nothing of these is left out
    """
    step = step_of(task)
    if step is None or task.stage != "features" or task.name in goals:
        return step
    read = {name for other in tasks if other.stage == "train" for name in _read(other)}
    stale = tuple(one for one in step.stale if not one.is_removed or _name(task, one) in read)
    return Step(task, stale, step.why) if stale else None


def _read(task: Task) -> set[str]:
    """Names of what the stale artifacts of a training task read."""
    stale = [one for one, _ in task.stale()]
    found = {name for one in stale for name in one.inputs}
    if task.config.has_terms and not task.config.explains and any(one.name.endswith(OUT_OF_FOLD) for one in stale):
        found |= {features_of(encoder.slug, "train") for encoder in task.config.encoders}  # terms of a head
    return found


def decided_after(tasks: Mapping[str, Task], goals: Collection[str]) -> dict[str, set[str]]:
    """{task of removed features: tasks that must be done first}, so that it is known what is stale of those that read
    the features."""
    found = {}
    for name, task in tasks.items():
        step = None if task.stage != "features" or name in goals else step_of(task)
        if step and any(one.is_removed for one in step.stale):
            names = {_name(task, one) for one in task.artifacts}
            readers = [other for other in tasks.values() if any(names & one.inputs.keys() for one in other.artifacts)]
            needs = {need for reader in readers for need in reader.needs if tasks[need].stage != "features"}
            found[name] = {need for need in needs if name not in _all_needs(need, tasks)}
    return found


def _all_needs(name: str, tasks: Mapping[str, Task]) -> set[str]:
    needs = set(tasks[name].needs)
    return needs.union(*(_all_needs(need, tasks) for need in needs))


def _name(task: Task, artifact: Artifact) -> str:
    return features_of(task.subject, artifact.name.removeprefix(f"{task.subject} "))
