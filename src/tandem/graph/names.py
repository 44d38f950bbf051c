"""What users name: experiments, stacks and make targets, and the tasks that these stand for."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, wraps
from typing import Any, TypeVar

from tandem.artifacts.paths import NAME, Paths, check_name
from tandem.config.clip import require_prompts
from tandem.config.competition import Competition
from tandem.config.experiments import Experiment
from tandem.config.load_experiments import why_unfit
from tandem.config.questions import as_list
from tandem.config.sets import Expanded, Sets, expand, load_sets
from tandem.config.toml_files import config_files
from tandem.data.added_features import read_records
from tandem.graph.keys import STACK, read_record
from tandem.runtime.wrong_values import WrongValue, listed, nearest_first, unknown

R = TypeVar("R")


def by_decoder(subject: str) -> tuple[str, str]:
    """(experiment, decoder) of a submission; "" is the decoder in use.

    >>> by_decoder("stack.shrunk"), by_decoder("stack")
    (('stack', 'shrunk'), ('stack', ''))
    """
    name, _, decoder = subject.partition(".")  # the name of an experiment has no dot
    return name, decoder


def stack_task(stack: str) -> str:
    """The name of the task that fits a stack.

    >>> stack_task("stack"), stack_task("two")
    ('stack', 'stack two')
    """
    return STACK if stack == STACK else f"{STACK} {stack}"


def cached(method: Callable[..., R]) -> Callable[..., R]:
    """Keeps each result of the method in `graph.results`."""

    @wraps(method)
    def once(graph: "Names", *args: Any) -> R:
        key = (method.__name__, *args)
        if key not in graph.results:
            graph.results[key] = method(graph, *args)
        return graph.results[key]

    return once


class Names:
    """The experiments and stacks of a competition, by the names that users give.

    Raises ValueError where an experiment has the name of the stack.
    """

    def __init__(self, paths: Paths, competition: Competition, experiments: Mapping[str, Experiment]) -> None:
        if STACK in experiments:
            raise ValueError(f"configs/{STACK}.toml: {STACK} is the name of the stack; rename the file")
        self.paths, self.competition, self.experiments = paths, competition, dict(experiments)
        self.results: dict[tuple, Any] = {}

    @cached_property
    def sets(self) -> Sets:
        """The sets of sets.toml; raises ValueError where one has the name of an experiment or of the stack."""
        return load_sets(self.paths.configs, {*config_files(self.paths.configs), *self.experiments, STACK})

    def chosen(self, names: Sequence[str] = (), said: str = "EXPS") -> list[str]:
        """The experiments of these names of experiments and sets, or the competition's own; raises ValueError where one
        is unknown; `said` is where the names come from."""
        wanted = self._expanded(names).names
        for name in set(wanted) & set(self.experiments):
            require_prompts(name, self.experiments[name], self.competition.labels, self.paths.competition)
        missing = [name for name in wanted if name not in self.experiments]
        if stacks := [name for name in missing if NAME.fullmatch(name) and self.fitted_members(name)]:
            message = f"{said}: {' '.join(stacks)} is a stack, not an experiment; expected STACK={stacks[0]}"
            raise WrongValue(message, {"EXPS": "", "STACK": stacks[0]} if said == "EXPS" else None)
        if missing:
            raise self._unknown_experiments(said, wanted, missing)
        self._require_added(wanted)
        return wanted

    def about_sets(self, names: Sequence[str]) -> list[str]:
        """A line for each set among these names, or the competition's own, of which some experiments are left out."""
        return [
            f"the set {name} without {' '.join(out)}: this competition has no {self._lacking()}"
            for name, out in self._expanded(names).left_out.items()
        ]

    def _expanded(self, names: Sequence[str]) -> Expanded:
        given = [name for name in names if name != STACK] or as_list(self.competition.experiments)
        return expand(given, self.sets, self.experiments, config_files(self.paths.configs))

    def _lacking(self) -> str:
        return " and no ".join(f"{kind}s" for kind in sorted({"image", "caption"} - self.competition.reads))

    def _unknown_experiments(self, said: str, wanted: Sequence[str], missing: Sequence[str]) -> WrongValue:
        """The error about names that no experiment has; the nearest there is stands in the command for each."""
        there, apart = sorted([*self.experiments, *self.sets]), " ".join(wanted).replace(",", " ").split()
        near = " ".join(
            dict.fromkeys(name if name in there else (nearest_first(name, there) or [""])[0] for name in apart)
        )
        changed = {said: near} if said.isupper() else {}
        if "," in "".join(wanted):
            why = f'expected names with spaces between them, such as {said}="{near}"'
            return WrongValue(f"{said}={' '.join(wanted)}: {why}; {listed(there)}", changed)
        reasons = [why for name in missing if (why := why_unfit(name, self.paths.configs, self.competition))]
        why = f"{' '.join(missing)} has no file in configs/ that fits this competition"
        there = nearest_first(missing[0], there)
        return WrongValue("; ".join([f"{said}: {why}", listed(there), *reasons]), changed)

    def trainable(self, name: str) -> Experiment:
        """The one experiment of this name; raises ValueError where there is none, or it was made elsewhere."""
        if name == STACK or name in self.sets:
            raise unknown("EXP", name, "expected one experiment", sorted(self.experiments))
        experiment = self.experiments[self.chosen([name], "EXP")[0]]
        if experiment.external:
            raise ValueError(f"EXP={name}: it is external, only its predictions are known; expected one with models")
        return experiment

    def _require_added(self, names: Sequence[str]) -> None:
        """Raises ValueError where one of these experiments reads features that were not added."""
        there = sorted(read_records(self.paths)) if any(self.experiments[name].features for name in names) else []
        for name in names:
            if missing := [one.name for one in self.experiments[name].features if one.name not in there]:
                raise ValueError(
                    f"configs/{name}.toml: features: {self.paths.comp} has no features {missing[0]!r}, only {there}; "
                    f"run: make add-features COMP={self.paths.comp} FILE={missing[0]}.parquet NAME={missing[0]}"
                )

    def is_stack(self, name: str) -> bool:
        """Whether a task of this name has members: every name that is no experiment's."""
        return name not in self.experiments

    def members(self, stack: str, names: Sequence[str] = ()) -> list[str]:
        """The members of a stack: those of these names, else those that it was last fitted on, else the competition's
        own; the default stack never keeps its last ones. Raises ValueError where the name can't be a stack's."""
        if stack == STACK:
            return self.chosen(names)
        check_name("STACK:", stack)
        if not self.is_stack(stack):
            raise ValueError(f"STACK={stack}: this is the name of an experiment, configs/{stack}.toml; choose another")
        if self.paths.run(stack).exists() and not self.fitted_members(stack):
            raise ValueError(f"STACK={stack}: {self.paths.experiment(stack)} is an experiment; choose another name")
        return self.chosen(names) if names else self.chosen(self.fitted_members(stack), f"members of STACK={stack}")

    @cached
    def fitted_members(self, stack: str) -> list[str]:
        """The members that a stack was last fitted on; empty where there is none of this name."""
        return list(read_record(self.paths.run(stack)).get("members", {}))

    def goal(self, target: str, names: Sequence[str] = (), stack: str = STACK) -> list[str]:
        """Names of the tasks that a make target needs last; `names` are the members of the stack."""
        chosen = self.members(stack, names)
        scored = [f"decode {name}" for name in chosen]
        trained = [f"train {name}" for name in chosen]
        alone = stack == STACK and len(chosen) == 1 and bool([name for name in names if name != STACK])
        submitted = chosen[0] if alone else stack
        goals = {
            "check": ["check"],
            "folds": ["folds"],
            "features": [f"features {e.slug}" for name in chosen for e in self.experiments[name].encoders],
            "train": [*trained, *scored],
            "decode": [*trained, *scored],
            "stack": [*scored, stack_task(stack), f"decode {stack}"],
            "submit": [*scored, *([f"submit {submitted}"] if self.competition.has_test else [f"decode {submitted}"])],
        }
        if target not in goals:
            raise unknown("TARGET", target, "not a target that can be planned", list(goals))
        return list(dict.fromkeys(goals[target]))
