"""Runs every stale task that a make target needs, in order."""

import time
from collections.abc import Sequence
from importlib import import_module
from itertools import product

from tandem.artifacts.paths import Paths
from tandem.config.import_record import may_be_incomplete
from tandem.graph.declared_stages import Graph
from tandem.graph.lock import only_run
from tandem.graph.plan import Step, carry_out
from tandem.runtime.processes import run_in_new_process
from tandem.runtime.progress import print_line
from tandem.sample import NAME as SAMPLE


def bring_up_to_date(
    comp: str, target: str, exps: str | Sequence[str] = "", jobs: int = 1, decoder: str = ""
) -> list[str]:
    """Runs all stale tasks of a target for these experiments, and those of submissions by another `decoder` too; prints
    a line where there is nothing to do. Returns the names of the target's last tasks."""
    if jobs < 1:
        raise ValueError(f"JOBS={jobs}: expected 1 or more")
    paths, names = Paths(comp), exps.split() if isinstance(exps, str) else list(exps)
    with only_run(paths):
        remove_leftovers(paths)
        graph = open_graph(paths)
        started = time.perf_counter()
        goals = graph.goal(target, names)
        goals += [f"{goal}.{decoder}" for goal in goals if decoder and goal.startswith("submit ")]
        ran = carry_out(graph, goals, names, lambda step: run_step(paths, step), jobs)
    if ran:
        print_line(f"{target}: {ran} task{'s' * (ran > 1)}, {time.perf_counter() - started:.0f} s")
    else:
        print(f"Nothing to be done for {target!r}: all results are current.")
    return goals


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


def run_step(paths: Paths, step: Step) -> None:
    """Runs one task, a heavy one in a new process."""
    print_line(f"{step.task.name}: {step.why}")
    if step.task.heavy:
        run_in_new_process(run_stage, step.task.stage, paths, step)
    else:
        run_stage(step.task.stage, paths, step)


def run_stage(stage: str, *args: object) -> None:
    import_module(f"tandem.stages.{stage}").run(*args)
