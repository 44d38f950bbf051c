"""The experiments of a competition: the files in `configs/`, and the predictions that were added to it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tandem.artifacts.paths import check_name
from tandem.config.clip import require_prompts, with_label_prompts
from tandem.config.competition import Competition
from tandem.config.custom import KIND as CUSTOM
from tandem.config.custom import with_declared
from tandem.config.encoders import Joint
from tandem.config.experiments import Experiment, make_experiment
from tandem.config.external import ExternalExperiment
from tandem.config.questions import as_list
from tandem.config.sets import load_sets
from tandem.config.toml_files import SHOWN, config_files, read_toml
from tandem.config.tuning import SearchSpace
from tandem.runtime.wrong_values import nearest_first


def load_experiment(path: Path) -> Experiment:
    """Reads a file of `configs/`, on top of the file that its `base` names; errors as `make_experiment`."""
    check_name(f"{path}: experiment", path.stem)
    values = read_experiment(path)
    if "tune" in values:
        SearchSpace.of(values, path, make_experiment)  # for its errors
    experiment = make_experiment({key: value for key, value in values.items() if key != "tune"}, path)
    if experiment.external:
        raise ValueError(
            f"{path}: kind: predictions from elsewhere have no file in configs/; run: make add-predictions"
        )
    return experiment


def read_experiment(path: Path) -> dict[str, Any]:
    """The values of a file of `configs/`, on top of those of its `base` and of what a class of the user's declares."""
    values = read_toml(path)
    return with_declared(values, path.parent.parent, path) if values.get("kind") == CUSTOM else values


def search_space(path: Path) -> SearchSpace:
    """What [tune] of a file of `configs/` lets `make tune` try."""
    return SearchSpace.of(read_experiment(path), path, make_experiment)


def load_experiments(
    configs: Path,
    competition: Competition,
    source: Path,
    added: Mapping[str, Joint] | None = None,
    external: Mapping[str, ExternalExperiment] | None = None,
) -> dict[str, Experiment]:
    """{name: experiment} of those that fit the competition: those that read no captions, or images, that it lacks, and
    the `external` ones of the competition.

    `source` is the competition's file, for messages; `added` are the features that the user added, and what they were
    computed from. Which experiments of a set fit is decided where it is used. Raises ValueError where an experiment
    learns from one that is not there or from itself, or where a default experiment has no file, or needs captions,
    images or label prompts that are not there.
    """
    files = config_files(configs).items()
    experiments: dict[str, Experiment] = {
        name: _with_added(load_experiment(file), competition, added) for name, file in files
    }
    external = external or {}
    if both := sorted(external.keys() & experiments.keys()):
        raise ValueError(
            f"{both[0]!r} is an experiment in configs/ and in {source.parent}/external; rename one of them"
        )
    experiments |= external
    chains = {name: _with_teachers(name, experiments) for name in experiments}
    sets = load_sets(configs, experiments)
    own = [name for name in as_list(competition.experiments) if name not in sets]
    if unknown := [name for name in own if name not in experiments]:
        there = f"there are {nearest_first(unknown[0], sorted(experiments))}"
        there += f" and the sets {nearest_first(unknown[0], list(sets))}" if sets else ""
        raise ValueError(f"{source}: experiments: {unknown[:SHOWN]} have no file in configs/; {there}")
    lacking = {"image", "caption"} - competition.reads
    for kind, unnamed in (("caption", "no caption column"), ("image", "no folder of images")):
        need = [name for name in own if kind in _read(experiments[name]) & lacking]
        if need:
            raise ValueError(f"{source}: experiments {need} read {kind}s; {unnamed} is named")
    for name in own:
        require_prompts(name, experiments[name], competition.labels, source)
    fitting = [name for name, chain in chains.items() if not any(_read(experiments[e]) & lacking for e in chain)]
    return {name: with_label_prompts(experiments[name], competition.labels) for name in fitting}


def for_competition(
    experiment: Experiment, competition: Competition, added: Mapping[str, Joint] | None = None
) -> Experiment:
    """What `load_experiments` makes of the experiment of one file."""
    return with_label_prompts(_with_added(experiment, competition, added), competition.labels)


def _with_added(experiment: Experiment, competition: Competition, added: Mapping[str, Joint] | None) -> Experiment:
    alone = next(iter(competition.reads)) if len(competition.reads) == 1 else None
    return experiment.with_added(added or {}, alone)


def why_unfit(name: str, configs: Path, competition: Competition) -> str:
    """What an experiment reads that the competition lacks, in words; "" where it lacks nothing or there is no file.

    Such experiments are not among those of `load_experiments`.
    """
    file = config_files(configs).get(name)
    lacking = sorted(load_experiment(file).reads - competition.reads) if file else []
    return f"{name!r} reads {' and '.join(f'{kind}s' for kind in lacking)}, which this competition lacks" * bool(
        lacking
    )


def _read(experiment: Experiment) -> set[str]:
    """Which of `image` and `caption` the competition must have for it."""
    return set() if experiment.external else experiment.reads


def _with_teachers(name: str, experiments: Mapping[str, Experiment]) -> list[str]:
    """It, its teacher, the teacher's teacher, ...; raises ValueError where one is not there, or comes back."""
    chain = [name]
    while teacher := experiments[chain[-1]].teacher:
        if teacher not in experiments or experiments[teacher].external:
            raise ValueError(f"configs/{chain[-1]}.toml: pseudo.teacher: there is no configs/{teacher}.toml")
        if teacher in chain:
            raise ValueError(f"configs/{name}.toml: pseudo.teacher: {' <- '.join([*chain, teacher])}")
        chain.append(teacher)
    return chain
