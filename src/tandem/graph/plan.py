"""Which tasks are stale and why, and in which order and how many at a time they run."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from graphlib import TopologicalSorter

from tandem.graph.declared_stages import Graph
from tandem.graph.keys import Artifact
from tandem.graph.task import Task
from tandem.runtime.processes import stop_processes


@dataclass(frozen=True)
class Step:
    """A task that must run: its stale artifacts, and why the first of them is stale."""

    task: Task
    stale: tuple[Artifact, ...]
    why: str

    @property
    def title(self) -> str:
        """The name in a plan: without the word train."""
        return self.task.name.removeprefix("train ")


def step_of(task: Task) -> Step | None:
    """None where the task's artifacts are all current."""
    stale = task.stale()
    return Step(task, tuple(artifact for artifact, _ in stale), stale[0][1]) if stale else None


def steps(graph: Graph, goals: Sequence[str], members: Sequence[str] = ()) -> list[Step]:
    """All that would run for these goals, dependencies first, as if each step before had run."""
    return [step for task in graph.tasks(goals, members).values() if (step := step_of(task))]


def carry_out(
    graph: Graph, goals: Sequence[str], members: Sequence[str], run: Callable[[Step], None], jobs: int = 1
) -> int:
    """Runs every stale task once all that it needs is current, at most `jobs` at a time; returns how many ran.

    The first error stops what has not begun.
    """
    tasks = graph.tasks(goals, members)
    sorter = TopologicalSorter({name: task.needs for name, task in tasks.items()})
    sorter.prepare()
    ran, running = 0, dict[Future[None], str]()
    with ThreadPoolExecutor(jobs) as pool:
        try:
            while sorter.is_active():
                for name in _ready(sorter):
                    step = step_of(graph.task(name, tuple(members)))
                    if step is None:
                        sorter.done(name)
                    else:
                        running[pool.submit(run, step)] = name
                        ran += 1
                if not running:
                    break
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    future.result()
                    sorter.done(running.pop(future))
                graph = graph.refreshed()  # keys of what follows depend on what was made
        except BaseException as error:
            pool.shutdown(wait=False, cancel_futures=True)
            if isinstance(error, KeyboardInterrupt):  # also where the signal reached this process alone
                stop_processes()
            raise
    graph.sources.cache.save()
    return ran


def _ready(sorter: "TopologicalSorter[str]") -> Iterator[str]:
    """Tasks whose needs are done, until there are no more; `done` may be called in between."""
    while names := sorter.get_ready():
        yield from names
