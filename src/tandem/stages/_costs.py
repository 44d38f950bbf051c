"""What a run will cost, and which experiments fit into a budget."""

import math
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from tandem.artifacts.paths import Paths
from tandem.config.questions import as_list
from tandem.graph.costs import (
    Costs,
    Planned,
    chosen_for,
    keep_rates,
    known_rates,
    planned,
    simulate,
    sizes_of,
    without_start,
)
from tandem.graph.declared_stages import Graph
from tandem.graph.keys import NEW
from tandem.graph.plan import Step, steps
from tandem.graph.units import Unit
from tandem.runtime.duration import Budget, as_budget, clock, in_words
from tandem.runtime.processes import run_in_new_process
from tandem.runtime.resources import has_gpu, threads, units_in_memory
from tandem.runtime.wrong_values import WrongValue

WIDTH = 32  # of the column of names, at least
PROBE, LAST = 20.0, 4.0  # seconds of a probe, at most; those of its last part
WORTH_A_PROBE = 60.0  # seconds of a run
SETS = ("quick", "", "best")  # that a budget is filled with, smallest first; "" is the competition's own list
LATE = 1.05  # of the budget: an experiment is dropped where a run would take longer
PRIOR = 0.1  # weight of the expected time beside the observed one, as a share of the run


def costs_of(graph: Graph, found: Sequence[Step], probe: bool = False) -> Costs:
    """What is known about the cost of these steps; with `probe` their unknown part is measured, where it is long."""
    names = [step.task.subject for step in found if step.task.stage == "train"]
    sizes = sizes_of(graph)
    costs = Costs(sizes, known_rates(graph, sizes, names))
    unknown = [
        unit.threads * seconds
        for one in planned(found, costs)
        for unit, seconds in one.units
        if one.step.task.stage in ("features", "train") and costs.work(unit, one.step).key not in costs.rates
    ]
    if probe and sum(unknown) > WORTH_A_PROBE * threads() and graph.paths.labels.exists():
        measured = run_in_new_process(_probe, graph.paths, names, sorted(costs.rates), time.monotonic() + PROBE - LAST)
        keep_rates(graph.paths, measured)
        costs = Costs(sizes, {**costs.rates, **measured})
    return costs


def _probe(paths: Paths, names: Sequence[str], known: Sequence[str], until: float) -> dict[str, float]:
    from tandem.training.probe import probe  # imports torch

    return probe(paths, names, known, until)


def total(every: Sequence[Planned]) -> float:
    """Seconds with the cores that there are."""
    return simulate(every, threads(), units_in_memory(), has_gpu())


def plan_lines(every: Sequence[Planned]) -> list[str]:
    """Of each step that would run: why, and its minutes."""
    width = max([WIDTH, *(len(one.step.title) for one in every)])
    return [f"{one.step.title:{width}} {_why(one)} ({total([one]) / 60:.1f} min)" for one in every]


def _why(one: Planned) -> str:
    return "new" if one.step.why == NEW else f"stale: {one.step.why}"


def about(every: Sequence[Planned]) -> str:
    """The expected time, and when it ends."""
    cores = threads()
    seconds = total(every)
    return f"{in_words(seconds)} on {cores} core{'s' * (cores > 1)}, until {clock(seconds)}"


def fitting(
    graph: Graph, target: str, names: Sequence[str], stack: str, budget: Budget, spent: float = 0.0
) -> list[str]:
    """The experiments, of these or of the sets and the competition's own, that a run with this budget trains.

    spent  seconds of it that are gone

    Raises WrongValue where not even one fits.
    """
    started = time.monotonic()
    candidates = [list(graph.chosen(names))] if names else _sets(graph)
    every = list(dict.fromkeys(name for one in candidates for name in one))
    costs = costs_of(graph, steps(graph, graph.goal(target, every, stack), every), probe=True)
    spent += time.monotonic() - started  # by the probe

    def seconds(these: Sequence[str]) -> float:
        return total(planned(steps(graph, graph.goal(target, these, stack), these), costs))

    if found := chosen_for(budget.seconds - spent, candidates, seconds):
        return found
    least, name = min((seconds([name]), name) for name in every)
    needed = as_budget(1.1 * (least + spent))
    message = f"too short: the least that there is, {name} alone, needs {needed}"
    raise WrongValue(f"BUDGET={budget.text}: {message}", {"BUDGET": needed})


def _sets(graph: Graph) -> list[list[str]]:
    """Those of SETS of which the competition can run something."""
    found = []
    for name in SETS:
        own = as_list(graph.competition.experiments)
        members = graph.sets[name].experiments if name in graph.sets else graph.chosen(own) if not name else []
        if fit := [one for one in members if one in graph.experiments]:
            found.append(fit)
    return found


class OutOfTime(Exception):
    """An experiment no longer fits into the budget of a run."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class Watch:
    """What is done and left of a run, and whether it still fits into its budget."""

    def __init__(self, every: Sequence[Planned], members: Sequence[str], seconds: float) -> None:
        """`members` in the order of their worth; `seconds` are what the run may take."""
        self.every, self.members, self.seconds = list(every), list(members), seconds
        self.expected = {unit.name: seconds for one in every for unit, seconds in one.units}
        self.started = time.monotonic()
        self.running: dict[str, tuple[Unit, float]] = {}  # by name: since when
        self.spent: dict[str, float] = defaultdict(float)  # by unit of the plan that is not done: of its shards
        self.took: dict[str, float] = {}  # by unit of the plan that is done

    def begin(self, unit: Unit) -> None:
        self.running.setdefault(unit.name, (unit, time.monotonic()))

    def end(self, unit: Unit) -> None:
        """Raises OutOfTime where the run takes too long and something can be left out."""
        now = time.monotonic()
        _, begun = self.running.pop(unit.name, (unit, now))
        for name, seconds in self._of_plan(unit, now - begun):
            self.spent[name] += seconds
        if not unit.of:
            self.took[unit.name] = self.spent.pop(unit.name)
        if math.isinf(self.seconds):
            return
        room = LATE * self.seconds - (now - self.started)
        if self.left() > room and (name := self._dropped(room)):
            raise OutOfTime(name)

    def share(self) -> float:
        """Of the work of all cores, what is done; of units that are running by the time that they are expected to
        take."""
        whole = sum(one.core_seconds for one in self.every)
        left = sum(unit.threads * seconds for one in self._rest() for unit, seconds in one.units) / self.factor
        return 1 - left / whole if whole else 1.0

    def left(self, without: str = "") -> float:
        """Expected seconds, without one of the members, by what those units took that are done."""
        return total([one for one in self._rest() if not without or one.step.task.subject != without])

    def _rest(self) -> list[Planned]:
        """The units that are not done, with the seconds that are left of each."""
        factor, spent = self.factor, self.spent.copy()
        for unit, begun in list(self.running.values()):  # another thread may add to them
            for name, seconds in self._of_plan(unit, time.monotonic() - begun):
                spent[name] += seconds
        rest = [
            Planned(
                one.step,
                tuple((u, max(0.0, factor * s - spent[u.name])) for u, s in one.units if u.name not in self.took),
            )
            for one in self.every
        ]
        return [one for one in rest if one.units]

    @property
    def factor(self) -> float:
        """By which units that are done took longer than was expected."""
        known = [(expected, self.took[name]) for name, expected in self.expected.items() if name in self.took]
        prior = PRIOR * sum(self.expected.values())
        return (prior + sum(took for _, took in known)) / (prior + sum(expected for expected, _ in known) or 1.0) or 1.0

    def _of_plan(self, unit: Unit, seconds: float) -> Iterator[tuple[str, float]]:
        """What seconds of a unit are of units of the plan, in which the features of an encoder are one unit on all
        cores: of a shard, which is made in one pass for several, each has its part."""
        if not unit.of:
            yield unit.name, seconds
        together = sum(self.expected.get(one.name, 0.0) for one in unit.of) or 1.0
        for one in unit.of:
            yield one.name, seconds * unit.threads / threads() * self.expected.get(one.name, 0.0) / together

    def _dropped(self, room: float) -> str:
        """The last of the members that are not trained without which the rest fits into so many seconds, else the one
        that takes longest; "" where none can be left out."""
        untrained = [
            one.step.task.subject
            for one in self.every
            if one.step.task.stage == "train" and any(unit.name not in self.took for unit, _ in one.units)
        ]
        left = [name for name in reversed(self.members) if name in untrained]
        if not left or len(self.members) < 2:
            return ""
        rest = {name: self.left(name) for name in left}
        return next((name for name in left if rest[name] <= room), min(rest, key=lambda name: rest[name]))


def measured_rates(every: Sequence[Planned], costs: Costs, took: Mapping[str, float]) -> dict[str, float]:
    """{key: seconds of one core} of the units that ran, by what each took; features and folds have records of their
    own."""
    found = {}
    for one in every:
        for unit, _ in one.units:
            work = costs.work(unit, one.step)
            recorded = one.step.task.stage == "features" or unit.function.endswith(":fit_fold")
            if unit.name in took and work.amount and not recorded:
                seconds = without_start(took[unit.name]) if one.step.task.heavy else took[unit.name]
                found[work.key] = seconds * unit.threads / work.amount
    return found
