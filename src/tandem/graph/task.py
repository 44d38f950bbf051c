"""A task: what one call of a stage makes, and what it needs; a step: a task that must run."""

from dataclasses import dataclass, field
from typing import Any

from tandem.artifacts.made_files import MadeFiles
from tandem.graph.keys import NEW, Artifact


@dataclass(frozen=True)
class Task:
    """What one call of a stage makes.

    name     such as "train concat"
    stage    the module of tandem.stages whose `run` makes it
    subject  the experiment or encoder; "" where there is none
    needs    names of the tasks that come first
    config   settings of the subject
    heavy    loads torch or LightGBM: runs in a process of its own
    made     the files of all tasks as they were made
    """

    name: str
    stage: str
    artifacts: tuple[Artifact, ...]
    needs: tuple[str, ...] = ()
    subject: str = ""
    config: Any = field(default=None, compare=False)
    heavy: bool = False
    made: MadeFiles | None = field(default=None, compare=False, repr=False)

    def stale(self) -> list[tuple[Artifact, str]]:
        """Each artifact that must be made, and why."""
        reasons = {artifact.name: self._stale_reason(artifact) for artifact in self.artifacts}
        if any(why != NEW for why in reasons.values()):  # made before: a missing record was deleted
            lost = {a.name: f"{a.record} is missing" for a in self.artifacts if reasons[a.name] == NEW}
            reasons |= lost
        return [(artifact, why) for artifact in self.artifacts if (why := reasons[artifact.name])]

    def _stale_reason(self, artifact: Artifact) -> str:
        why = artifact.stale_reason()
        changed = self.made.why_changed(artifact.name) if self.made and why in ("", NEW) else ""
        return changed or why

    def keep(self) -> None:
        """Records the files of what is current now, but for folds, which people may change."""
        if self.made and self.stage != "folds":
            folds = {name for name in self.made.artifacts if name.startswith(f"{self.subject} fold ")}
            for name in folds - {artifact.name for artifact in self.artifacts} if self.stage == "train" else ():
                self.made.forget(name)  # of another number of folds or seeds
            for artifact in self.artifacts:
                if not artifact.stale_reason():
                    self.made.keep(artifact.name, artifact.every_file)
            self.made.save()


@dataclass(frozen=True)
class Step:
    """A task that must run: its stale artifacts, and why the first of them is stale."""

    task: Task
    stale: tuple[Artifact, ...]
    why: str

    def forget(self) -> None:
        """Called as it begins: removes the digests of what is made from something else now."""
        if made := self.task.made:
            for artifact in self.stale:
                if artifact.stale_reason():
                    made.forget(artifact.name)
            made.save()

    @property
    def title(self) -> str:
        """The name in a plan: without the word train."""
        return self.task.name.removeprefix("train ")


def step_of(task: Task) -> Step | None:
    """None where the task's artifacts are all current."""
    stale = task.stale()
    return Step(task, tuple(artifact for artifact, _ in stale), stale[0][1]) if stale else None
