"""Runs every stale task that a make target needs, in order."""

import time
from argparse import Namespace
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from itertools import product

from tandem.artifacts.paths import Paths
from tandem.config.competition import require_competition
from tandem.config.import_record import may_be_incomplete
from tandem.graph.declared_stages import Graph
from tandem.graph.keys import NEW, STACK
from tandem.graph.lock import only_run
from tandem.graph.plan import Step, carry_out, steps
from tandem.runtime.executor import LocalPool
from tandem.runtime.processes import run_in_new_process
from tandem.runtime.progress import UnfinishedRun, print_line
from tandem.runtime.run_progress import RunProgress, RunTask
from tandem.runtime.wrong_values import require_within
from tandem.sample import NAME as SAMPLE

# rough relative costs, for the time left: seconds on two cores, 800 rows
COSTS = {"features": 8.0, "stack": 8.0}
SILENT = ("features", "train")  # stages that print nothing
COST_OF_FOLD = {"head": 2.0, "tfidf": 0.5, "finetune": 8.0, "fusion": 5.0}


def bring_up_to_date(
    comp: str, target: str, exps: str | Sequence[str] = "", jobs: int = 1, decoder: str = "", stack: str = STACK
) -> list[str]:
    """Runs all stale tasks of a target for these experiments, or the members of this stack, and those of submissions by
    another `decoder` too; prints a line where there is nothing to do. Returns the names of the target's last tasks.

    `jobs` changes nothing: tasks run side by side as long as there are cores and memory for them."""
    require_within("JOBS", jobs, 1)
    require_competition(comp)
    paths, names = Paths(comp), exps.split() if isinstance(exps, str) else list(exps)
    with only_run(paths):
        remove_leftovers(paths)
        graph = open_graph(paths)
        started = time.perf_counter()
        goals = graph.goal(target, names, stack)
        for line in graph.about_sets(names):
            print_line(line)
        if any(goal.endswith(f" {stack}") for goal in goals) and (line := about_members(graph, stack, names)):
            print_line(line)
        goals += [f"{goal}.{decoder}" for goal in goals if decoder and goal.startswith("submit ")]
        ran = make_current(graph, goals, names)
    if ran:
        print_line(f"{target}: {ran} task{'s' * (ran > 1)}, {time.perf_counter() - started:.0f} s")
    else:
        print(f"Nothing to be done for {target!r}: all results are current.")
    return goals


def about_members(graph: Graph, stack: str, names: Sequence[str]) -> str:
    """A line where a stack gets other members than it was fitted on, or none were named for a new one; else ""."""
    before, now = graph.fitted_members(stack), graph.members(stack, names)
    if names and before and set(before) != set(now):
        change = f"{stack} was fitted on {', '.join(before)}, now on {', '.join(now)}"
        return f"{change}; with STACK=NAME, a name of your own, both are kept"
    if stack != STACK and not names and not before:
        return f"STACK={stack}: a new stack, of the competition's own experiments: {', '.join(now)}"
    return ""


def remove_leftovers(paths: Paths) -> None:
    """Deletes half-written files of killed runs; this run holds the lock, so no other run is writing them."""
    folders = (paths.build, paths.oof_dir, paths.models_dir("."), paths.submission("_").parent)
    for folder, pattern in product(folders, (".*.partial", ".*.new", "*.unchecked.csv")):
        for file in folder.rglob(pattern):
            file.unlink(missing_ok=True)


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


def make_current(graph: Graph, goals: Sequence[str], names: Sequence[str] = ()) -> int:
    """Runs every stale task of these goals and shows the progress of the run in one line; returns how many ran."""
    with (
        RunProgress([run_task(step) for step in steps(graph, goals, names)], graph.paths.progress) as run,
        LocalPool(graph.paths, lambda unit: run.begin(unit.task), run_in_new_process) as executor,
    ):
        try:
            return carry_out(graph, goals, names, executor, partial(show_end, run))
        except BrokenPipeError as error:
            raise UnfinishedRun from error


def show_end(run: RunProgress, step: Step) -> None:
    """Features and training print no line of their own."""
    done = run.end(step.task.name)
    if step.task.stage in SILENT:
        made = f"{len(step.stale)} files" if not done.subject else f"{done.left} fold{'s' * (done.left != 1)}"
        if f1 := done.held_out:
            made += f", held-out F1 {min(f1):.3f} to {max(f1):.3f}"
        why = "" if step.why == NEW else f" ({step.why})"
        print_line(f"{step.task.name}: {made}, {done.seconds:.0f} s{why}")


def run_task(step: Step) -> RunTask:
    """A step as the progress line counts it."""
    task = step.task
    if task.stage != "train":
        return RunTask(task.name, COSTS.get(task.stage, 1.0))
    folds = sum("fold" in artifact.inputs for artifact in task.artifacts)
    left = sum("fold" in artifact.inputs for artifact in step.stale)
    cost = 1.0 + left * COST_OF_FOLD.get(task.config.kind, 3.0)
    return RunTask(task.name, cost, task.subject, (folds - left, folds))


def run_command(stage: str, comp: str, **options: object) -> None:
    """A stage as the command line runs it, with its options by name."""
    import_module(f"tandem.stages.{stage}").main(Namespace(comp=comp, **options))


def run_stage(stage: str, *args: object) -> None:
    import_module(f"tandem.stages.{stage}").run(*args)
