"""Which tasks are stale and why, and in which order their units run."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from graphlib import TopologicalSorter
from typing import Any

from tandem.graph.declared_stages import Graph
from tandem.graph.removed_features import decided_after, needed_step
from tandem.graph.task import Step, Task, step_of
from tandem.graph.unit_files import with_files
from tandem.graph.units import Unit, feature_units, preparation, units
from tandem.runtime.executor import Executor

__all__ = ["Step", "carry_out", "step_of", "steps"]


def steps(graph: Graph, goals: Sequence[str], members: Sequence[str] = ()) -> list[Step]:
    """All that would run for these goals, dependencies first, as if each step before had run."""
    tasks = graph.tasks(goals, members).values()
    return [step for task in tasks if (step := needed_step(task, tasks, goals))]


def carry_out(
    graph: Graph,
    goals: Sequence[str],
    members: Sequence[str],
    executor: Executor,
    ended: Callable[[Step], object] = lambda step: None,
    unit_ended: Callable[[Unit], object] = lambda unit: None,
) -> int:
    """Runs every stale task once all that it needs is current, its units as soon as the executor has room for them;
    returns how many ran, and calls `unit_ended` and `ended` with each unit and step that is done. The first error stops
    all.
    """
    schedule = _Schedule(graph, goals, tuple(members), executor)
    schedule.begin()
    for unit in executor.results():
        unit_ended(unit)
        if (step := schedule.end(unit)) is not None:
            ended(step)
        schedule.begin()
    schedule.graph.sources.cache.save()
    schedule.graph.sources.made.save()
    return schedule.ran


class _Schedule:
    """The tasks of one run, and the units of those that have begun."""

    def __init__(self, graph: Graph, goals: Sequence[str], members: tuple[str, ...], executor: Executor) -> None:
        self.graph, self.goals, self.members, self.executor = graph, goals, members, executor
        tasks = graph.tasks(goals, members)
        self.rank, later = {name: i for i, name in enumerate(tasks)}, decided_after(tasks, goals)
        needs = {name: {*task.needs, *_copied(task, tasks), *later.get(name, ())} for name, task in tasks.items()}
        self.sorter = TopologicalSorter(needs)
        self.sorter.prepare()
        self.ready: list[str] = []
        self.begun: dict[str, Step] = {}
        self.prepared: dict[str, bool] = {}  # by task: False while it is being prepared
        self.left: dict[str, list[Unit]] = {}  # by task: units that are not done
        self.submitted: set[str] = set()

    @property
    def ran(self) -> int:
        return len(self.prepared)

    def begin(self) -> None:
        """Submits what can begin of every task whose needs are done."""
        while self.sorter.is_active():
            self.ready += self.sorter.get_ready()
            if not self.ready:
                return
            features: dict[str, list[Step]] = {}  # by what the encoders take of each row
            for name in sorted(self.ready, key=self.rank.__getitem__):
                step = self._step(name)
                if step is None:
                    self.sorter.done(name)
                    continue
                step.forget()
                if step.task.stage == "features" and self._is_prepared(step):
                    features.setdefault(step.task.config.items, []).append(step)
                else:
                    self._split(name, step)
            self.ready = []
            for these in features.values():
                for name, split in feature_units(self.graph.paths, these, self.executor.width).items():
                    self.prepared[name], self.left[name] = True, split
                self.begun |= {step.task.name: step for step in these}
            self._submit()

    def _step(self, name: str) -> Step | None:
        tasks = (self.graph.task(other, self.members) for other in self.rank)
        return needed_step(self.graph.task(name, self.members), tasks, self.goals)

    def _is_prepared(self, step: Step) -> bool:
        return step.task.name in self.prepared or preparation(step) is None

    def _split(self, name: str, step: Step) -> None:
        first = None if self._is_prepared(step) else preparation(step)
        self.prepared[name], self.begun[name] = first is None, step
        self.left[name] = units(step) if first is None else [first]

    def _submit(self) -> None:
        """The units that need none that is left."""
        every = [unit for of_task in self.left.values() for unit in of_task]
        left = {unit.name for unit in every}
        for unit in every:
            if unit.name not in self.submitted and not left & set(unit.needs):
                self.submitted.add(unit.name)
                ranked = replace(unit, rank=self.rank[unit.task])
                sent = with_files(self.graph, ranked, self.begun[unit.task]) if self.executor.sends else ranked
                self.executor.submit(sent)

    def end(self, unit: Unit) -> Step | None:
        """The step that is done with this unit; None where more is left of it."""
        name = unit.task
        for one in (unit, *unit.of):
            self.begun[one.task].task.keep()
        self.left[name] = [other for other in self.left[name] if other.name != unit.name]
        self._submit()
        if self.left[name]:
            return None
        step = self.begun.pop(name)
        self.graph = self.graph.refreshed()  # keys of what follows depend on what was made
        if not self.prepared[name]:
            self.ready.append(name)
            return None
        self.sorter.done(name)
        return step


def _copied(task: Task, tasks: Mapping[str, Task]) -> list[str]:
    """The tasks that train models which this one, of several seeds, can copy."""
    if task.stage != "train" or task.config.seeds == 1:
        return []
    own, found = _each_seed(task), []
    for name, other in tasks.items():
        if name == task.name:
            break
        if other.stage == "train" and any(one in own for one in _each_seed(other)):
            found.append(name)
    return found


def _each_seed(task: Task) -> list[Any]:
    return [task.config.of_seed(seed) for seed in range(task.config.seeds)]
