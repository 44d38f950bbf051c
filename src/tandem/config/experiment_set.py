"""All experiments that a competition can train: the files of `configs/`, checked together."""

from collections.abc import Mapping
from pathlib import Path

from tandem.config.competition import Competition
from tandem.config.experiments import Experiment, load_experiment
from tandem.config.toml_files import config_files


def load_experiments(configs: Path, competition: Competition, source: Path) -> dict[str, Experiment]:
    """By name, those that fit the competition: without a caption column, only those that need none.

    `source` is the competition's file, for messages. Raises ValueError where an experiment learns from one that is
    not there or from itself, or where a default experiment has no file or needs captions that are not there.
    """
    experiments = {name: load_experiment(file) for name, file in config_files(configs).items()}
    check_teachers(experiments)
    unknown = [name for name in competition.experiments if name not in experiments]
    if unknown:
        raise ValueError(f"{source}: experiments: {unknown} have no file in configs/; there are {sorted(experiments)}")
    if competition.caption:
        return experiments
    need = [name for name in competition.experiments if "caption" in experiments[name].reads]
    if need:
        raise ValueError(f"{source}: experiments {need} read captions; no caption column is named")
    return {name: e for name, e in experiments.items() if _images_alone(e, experiments)}


def check_teachers(experiments: Mapping[str, Experiment]) -> None:
    """Raises ValueError where an experiment learns from one that is not there, or in the end from itself."""
    for name in experiments:
        chain = [name]
        while teacher := experiments[chain[-1]].teacher:
            if teacher not in experiments:
                raise ValueError(f"configs/{chain[-1]}.toml: pseudo.teacher: there is no configs/{teacher}.toml")
            if teacher in chain:
                raise ValueError(f"configs/{name}.toml: pseudo.teacher: {' <- '.join([*chain, teacher])}")
            chain.append(teacher)


def _images_alone(experiment: Experiment, experiments: Mapping[str, Experiment]) -> bool:
    """Whether neither it nor any teacher before it reads captions."""
    teacher = experiment.teacher
    return experiment.reads == {"image"} and (not teacher or _images_alone(experiments[teacher], experiments))
