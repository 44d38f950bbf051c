"""Runs every stale task that a make target needs, in order."""

import time
from argparse import Namespace
from collections.abc import Sequence
from importlib import import_module
from itertools import product

from tandem.artifacts.paths import Paths
from tandem.config.import_record import may_be_incomplete
from tandem.graph.declared_stages import Graph
from tandem.graph.keys import STACK
from tandem.graph.lock import only_run
from tandem.graph.plan import Step, carry_out
from tandem.runtime.processes import run_in_new_process
from tandem.runtime.progress import print_line
from tandem.sample import NAME as SAMPLE


def bring_up_to_date(
    comp: str, target: str, exps: str | Sequence[str] = "", jobs: int = 1, decoder: str = "", stack: str = STACK
) -> list[str]:
    """Runs all stale tasks of a target for these experiments, or the members of this stack, and those of submissions by
    another `decoder` too; prints a line where there is nothing to do. Returns the names of the target's last tasks."""
    if jobs < 1:
        raise ValueError(f"JOBS={jobs}: expected 1 or more")
    paths, names = Paths(comp), exps.split() if isinstance(exps, str) else list(exps)
    with only_run(paths):
        remove_leftovers(paths)
        graph = open_graph(paths)
        started = time.perf_counter()
        goals = graph.goal(target, names, stack)
        if any(goal.endswith(f" {stack}") for goal in goals) and (line := about_members(graph, stack, names)):
            print_line(line)
        goals += [f"{goal}.{decoder}" for goal in goals if decoder and goal.startswith("submit ")]
        ran = carry_out(graph, goals, names, lambda step: run_step(paths, step), jobs)
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
    return graph.refreshed() if carry_out(graph, ["check"], [], lambda step: run_step(paths, step)) else graph


def run_step(paths: Paths, step: Step) -> None:
    """Runs one task, a heavy one in a new process."""
    print_line(f"{step.task.name}: {step.why}")
    if step.task.heavy:
        run_in_new_process(run_stage, step.task.stage, paths, step)
    else:
        run_stage(step.task.stage, paths, step)


def run_command(stage: str, comp: str, **options: object) -> None:
    """A stage as the command line runs it, with its options by name."""
    import_module(f"tandem.stages.{stage}").main(Namespace(comp=comp, **options))


def run_stage(stage: str, *args: object) -> None:
    import_module(f"tandem.stages.{stage}").run(*args)
