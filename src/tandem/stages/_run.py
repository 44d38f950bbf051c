"""Runs every stale task that a make target needs, in order."""

import math
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from functools import partial
from importlib import import_module

from tandem.artifacts.paths import Paths
from tandem.config.competition import require_competition
from tandem.config.import_record import may_be_incomplete
from tandem.graph.costs import keep_rates, planned
from tandem.graph.declared_stages import Graph
from tandem.graph.keys import NEW, STACK
from tandem.graph.lock import only_run
from tandem.graph.plan import Step, carry_out, steps
from tandem.graph.units import Unit
from tandem.runtime.duration import Budget
from tandem.runtime.engines import chosen_engine
from tandem.runtime.processes import run_in_new_process
from tandem.runtime.progress import UnfinishedRun, print_line
from tandem.runtime.run_progress import RunProgress, RunTask
from tandem.sample import NAME as SAMPLE
from tandem.stages._costs import OutOfTime, Watch, about, costs_of, fitting, measured_rates, plan_lines, total

LONG = ("check", "features", "train", "stack")  # stages after which a line says what is left
SILENT = ("features", "train")  # stages that print nothing
LINES_FROM = 60.0  # seconds of a run: in shorter ones no line says what is left


def bring_up_to_date(
    comp: str,
    target: str,
    exps: str | Sequence[str] = "",
    decoder: str = "",
    stack: str = STACK,
    budget: Budget | None = None,
) -> list[str]:
    """Runs all stale tasks of a target for these experiments, or the members of this stack, and those of submissions by
    another `decoder` too; prints a line where there is nothing to do. Returns the names of the target's last tasks.

    budget  the run trains what fits into this time, and prints the plan first
    """
    require_competition(comp)
    paths, names = Paths(comp), exps.split() if isinstance(exps, str) else list(exps)
    with only_run(paths):
        graph = open_graph(paths)
        started = time.perf_counter()
        for line in graph.about_sets(names):
            print_line(line)
        if budget:
            graph.goal(target, names, stack)  # for its errors
            make_current(graph, ["folds"])
            graph = graph.refreshed()
            names = fitting(graph, target, names, stack, budget, time.perf_counter() - started)
            print_plan(graph, target, names, stack)
        goals = graph.goal(target, names, stack)
        if any(goal.endswith(f" {stack}") for goal in goals) and (line := about_members(graph, stack, names)):
            print_line(line)
        goals, ran = _run_within(graph, target, names, stack, decoder, budget, started)
    if ran:
        print_line(f"{target}: {ran} task{'s' * (ran > 1)}, {time.perf_counter() - started:.0f} s")
    else:
        print(f"Nothing to be done for {target!r}: all results are current.")
    return goals


def _run_within(
    graph: Graph, target: str, names: list[str], stack: str, decoder: str, budget: Budget | None, started: float
) -> tuple[list[str], int]:
    """(names of the target's last tasks, number of tasks that ran); of a run with a budget, what no longer fits into it
    is left out."""
    while True:
        goals = graph.goal(target, names, stack)
        goals += [f"{goal}.{decoder}" for goal in goals if decoder and goal.startswith("submit ")]
        left = budget.seconds - (time.perf_counter() - started) if budget else math.inf
        try:
            return goals, make_current(graph, goals, names, left)
        except OutOfTime as late:
            names, graph = [name for name in names if name != late.name], graph.refreshed()
            more = f"make train EXPS={late.name} COMP={graph.paths.comp} continues its training"
            print_line(f"{late.name} no longer fits into BUDGET={budget.text if budget else ''}: left out; {more}")


def print_plan(graph: Graph, target: str, names: Sequence[str], stack: str) -> None:
    """A line for each task that will run, with its expected time, and the whole."""
    found = steps(graph, graph.goal(target, names, stack), names)
    every = planned(found, costs_of(graph, found))
    for line in plan_lines(every):
        print_line(line)
    print_line(f"{target} of {graph.paths.comp} with {' '.join(names)}: {about(every)}")


def about_members(graph: Graph, stack: str, names: Sequence[str]) -> str:
    """A line where a stack gets other members than it was fitted on, or none were named for a new one; else ""."""
    before, now = graph.fitted_members(stack), graph.members(stack, names)
    if names and before and set(before) != set(now):
        change = f"{stack} was fitted on {', '.join(before)}, now on {', '.join(now)}"
        return f"{change}; with STACK=NAME, a name of your own, both are kept"
    if stack != STACK and not names and not before:
        return f"STACK={stack}: a new stack, of the competition's own experiments: {', '.join(now)}"
    return ""


def open_graph(paths: Paths) -> Graph:
    """The graph of a competition: the sample is drawn where it does not exist yet, answers to questions are used."""
    if paths.comp == SAMPLE and not paths.competition.exists():
        run_stage("sample", paths)
    if may_be_incomplete(paths):
        from tandem.data.complete_competition import settle  # slow to import

        settle(paths)
    return Graph.open(paths)


def checked_graph(paths: Paths) -> Graph:
    """The graph after the check, which runs where it is stale; the lock must be held."""
    graph = open_graph(paths)
    return graph.refreshed() if make_current(graph, ["check"]) else graph


def make_current(graph: Graph, goals: Sequence[str], names: Sequence[str] = (), seconds: float = math.inf) -> int:
    """Runs every stale task of these goals and shows the progress of the run in one line; returns how many ran.

    Raises OutOfTime where it would take more than so many seconds and one of the experiments `names` can be left out.
    """
    found = steps(graph, goals, names)
    costs = costs_of(graph, found)
    every = planned(found, costs)
    watch = Watch(every, names, seconds)
    expected = total(every) if costs.rates else None
    with RunProgress([run_task(step) for step in found], graph.paths.progress, expected) as run:

        def begun(unit: Unit, node: str) -> None:
            watch.begin(unit)
            for one in (unit, *unit.of):
                run.begin(one.task)
            run.at(unit.name, node)

        def unit_ended(unit: Unit) -> None:
            run.at(unit.name, "")
            watch.end(unit)
            run.advance(watch.share())

        with chosen_engine()(graph.paths, begun, run_in_new_process) as executor:
            try:
                return carry_out(graph, goals, names, executor, partial(show_end, run), unit_ended)
            except BrokenPipeError as error:
                raise UnfinishedRun from error
            finally:
                if rates := measured_rates(every, costs, watch.took):
                    keep_rates(graph.paths, rates)


def show_end(run: RunProgress, step: Step) -> None:
    """Features and training print no line of their own."""
    done = run.end(step.task.name)
    if step.task.stage in SILENT:
        made = f"{len(step.stale)} files" if not done.subject else f"{done.left} fold{'s' * (done.left != 1)}"
        if f1 := done.held_out:
            made += f", held-out F1 {min(f1):.3f} to {max(f1):.3f}"
        why = "" if step.why == NEW else f" ({step.why})"
        print_line(f"{step.task.name}: {made}, {done.seconds:.0f} s{why}")
    if step.task.stage in LONG and (line := run.what_is_left(LINES_FROM)):
        print_line(line)


def run_task(step: Step) -> RunTask:
    """A step as the progress line counts it."""
    task = step.task
    if task.stage != "train":
        return RunTask(task.name)
    folds = sum("fold" in artifact.inputs for artifact in task.artifacts)
    left = sum("fold" in artifact.inputs for artifact in step.stale)
    return RunTask(task.name, task.subject, (folds - left, folds))


def run_command(stage: str, comp: str, **options: object) -> None:
    """A stage as the command line runs it, with its options by name; the others have their defaults."""
    module, parser = import_module(f"tandem.stages.{stage}"), ArgumentParser(add_help=False)
    module.add_arguments(parser)
    known = {action.dest: action.default for action in parser._actions}
    module.main(Namespace(**known | options, comp=comp))


def run_stage(stage: str, *args: object) -> None:
    import_module(f"tandem.stages.{stage}").run(*args)
