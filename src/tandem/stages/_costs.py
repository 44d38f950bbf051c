"""What a run will cost, and which experiments fit into a budget."""

import math
import time
from collections.abc import Mapping, Sequence

from tandem.artifacts.paths import Paths
from tandem.config.questions import as_list
from tandem.graph.costs import Costs, Planned, chosen_for, keep_rates, known_rates, planned, simulate, sizes_of
from tandem.graph.declared_stages import Graph
from tandem.graph.keys import NEW
from tandem.graph.plan import Step, steps
from tandem.graph.units import Unit
from tandem.runtime.duration import Budget, as_budget, clock, in_words
from tandem.runtime.processes import run_in_new_process
from tandem.runtime.resources import has_gpu, threads, units_in_memory
from tandem.runtime.wrong_values import WrongValue

WIDTH = 32  # of the column of names
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
        measured = run_in_new_process(_probe, graph.paths, names, sorted(costs.rates), time.time() + PROBE - LAST)
        keep_rates(graph.paths, measured)
        costs = Costs(sizes, {**costs.rates, **measured})
    return costs


def _probe(paths: Paths, names: Sequence[str], known: Sequence[str], until: float) -> dict[str, float]:
    from tandem.training.probe import probe  # imports torch

    return probe(paths, names, known, until)


def total(every: Sequence[Planned]) -> float:
    """Seconds with the cores that there are."""
    return simulate(every, threads(), units_in_memory(), has_gpu())


def plan_line(one: Planned) -> str:
    """A step that would run: why, and its minutes."""
    why = "new" if one.step.why == NEW else f"stale: {one.step.why}"
    return f"{one.step.title:{WIDTH}} {why} ({total([one]) / 60:.1f} min)"


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
    candidates = [list(graph.chosen(names))] if names else _sets(graph)
    every = list(dict.fromkeys(name for one in candidates for name in one))
    costs = costs_of(graph, steps(graph, graph.goal(target, every, stack), every), probe=True)
    left = budget.seconds - spent - (PROBE if not costs.rates else 0)

    def seconds(these: Sequence[str]) -> float:
        return total(planned(steps(graph, graph.goal(target, these, stack), these), costs))

    if found := chosen_for(left, candidates, seconds):
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
    """What is left of a run, and whether it still fits into its budget."""

    def __init__(self, every: Sequence[Planned], members: Sequence[str], seconds: float) -> None:
        """`members` in the order of their worth; `seconds` are what the run may take."""
        self.every, self.members, self.seconds = list(every), list(members), seconds
        self.started = time.monotonic()
        self.begun: dict[str, float] = {}
        self.shares: dict[str, float] = {}  # of units that are made in one go: of its time
        self.took: dict[str, float] = {}  # by unit that is done

    def begin(self, unit: Unit) -> None:
        expected = {one.name: seconds for each in self.every for one, seconds in each.units}
        together = sum(expected.get(one.name, 0.0) for one in unit.of)
        for one in (unit, *unit.of):
            self.begun.setdefault(one.name, time.monotonic())
        self.shares |= {one.name: expected.get(one.name, 0.0) / (together or 1.0) for one in unit.of}

    def end(self, unit: Unit) -> None:
        """Raises OutOfTime where the run takes too long and something can be left out."""
        now = time.monotonic()
        self.took[unit.name] = (now - self.begun.get(unit.name, now)) * self.shares.get(unit.name, 1.0)
        if math.isinf(self.seconds):
            return
        room = LATE * self.seconds - (now - self.started)
        if self.left() > room and (name := self._dropped(room)):
            raise OutOfTime(name)

    def left(self, without: str = "") -> float:
        """Expected seconds, without one of the members, by what those units took that are done."""
        seconds = {unit.name: expected for one in self.every for unit, expected in one.units}
        known = [(expected, self.took[name]) for name, expected in seconds.items() if name in self.took]
        prior = PRIOR * sum(seconds.values())
        factor = (prior + sum(took for _, took in known)) / (prior + sum(expected for expected, _ in known) or 1.0)
        rest = [
            Planned(one.step, tuple((unit, factor * s) for unit, s in one.units if unit.name not in self.took))
            for one in self.every
            if not without or one.step.task.subject != without
        ]
        running = [time.monotonic() - begun for name, begun in self.begun.items() if name not in self.took]
        return max(0.0, total([one for one in rest if one.units]) - max(running, default=0.0))

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
                found[work.key] = took[unit.name] * unit.threads / work.amount
    return found
