"""Resolve: configs/*.toml, input/C/competition.toml -> build/C/{graph.mk, experiments/*.json, encoders/*.json, …}.

What make compares: every experiment and encoder with all defaults spelled out, each file rewritten only when a value in
it changed, so that a comment retrains nothing. `graph.mk` says which experiment needs which features.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

from tandem.artifacts.atomic_io import write_json_if_changed, write_text
from tandem.artifacts.paths import SPLITS, Paths
from tandem.config.competition import Competition, load_competition
from tandem.config.experiments import Experiment, load_experiment

CHECKED = ("train", "test", "unlabelled", "images", "sample_submission")


def graph(paths: Paths, competition: Competition, experiments: Mapping[str, Experiment]) -> str:
    """The text of graph.mk: the default experiments and one line of prerequisites for every file."""
    lines = [
        "# written by `python -m tandem resolve`",
        f"DEFAULT_EXPS := {' '.join(competition.experiments)}",
        f"KNOWN_EXPS := {' '.join(experiments)}",
        f"ENCODERS := {' '.join(sorted({e.slug for x in experiments.values() for e in x.encoders}))}",
        *_inputs("CHECK_INPUTS", paths, competition, CHECKED),
        *_inputs("SUBMIT_INPUTS", paths, competition, ("sample_submission", "solution")),
    ]
    fusions = [name for name in competition.experiments if experiments[name].explains]
    lines.append(f"ABLATED_EXP := {next(iter(fusions), 'fusion')}")
    pseudo = [name for name, experiment in experiments.items() if experiment.teacher]
    lines.append(f"PSEUDO_EXPS := {' '.join(pseudo)}")
    for name, experiment in experiments.items():
        oof, test = paths.oof(name), paths.test(name)
        features = [paths.features(e.slug, split) for e in experiment.encoders for split in SPLITS[:2]]
        lines.append(f"{name}_FEATURES := {' '.join(map(str, features))}")
        teacher = experiment.teacher
        if teacher:
            needs = [
                _needs(paths, e, split)
                for e in (experiment, experiments[teacher])
                for split in competition.splits[1:]
            ]
            lines.append(f"{oof}: {paths.oof(teacher)} {' '.join(dict.fromkeys(sum(needs, [])))}")
        for split, target in zip(SPLITS, (oof, test), strict=False):
            needs = _needs(paths, experiment, split)
            if split == "test":  # wanted by the same job, but a new test set must not retrain
                lines.append(f"{oof}: | {' '.join(needs)}")
            lines.append(f"{target}: {' '.join(needs)}")
    for encoder in {e.slug: e for x in experiments.values() for e in x.encoders}.values():
        for split in competition.splits:
            lines.append(f"{paths.features(encoder.slug, split)}: {_rows(paths, encoder.reads, split)}")
    return "\n".join(lines) + "\n"


def _needs(paths: Paths, experiment: Experiment, split: str) -> list[str]:
    """What the experiment reads of one split."""
    needs = [paths.features(e.slug, split) for e in experiment.encoders]
    return [str(f) for f in (*needs, *(_rows(paths, kind, split) for kind in sorted(experiment.reads_rows)))]


def _rows(paths: Paths, kind: str, split: str) -> Path:
    return paths.images(split) if kind == "image" else paths.captions(split)


def _inputs(variable: str, paths: Paths, competition: Competition, keys: Iterable[str]) -> list[str]:
    """Lines that set the variable to those files that are there when make runs; a name may hold spaces."""
    files = [paths.input / name for key in keys if (name := getattr(competition, key))]
    lines = [f"{variable}_{i} := {_escaped(file)}" for i, file in enumerate(files)]
    there = [f"$(if $(wildcard $({variable}_{i})),$({variable}_{i}))" for i in range(len(files))]
    for i, file in enumerate(files):
        if set(file.name) & set("*?["):  # which wildcard takes for a pattern
            there[i] = f"$({variable}_{i})" * file.exists()
    return [*lines, f"{variable} := {' '.join(there)}"]


def _escaped(path: Path) -> str:
    """As make reads a file's name."""
    return str(path).replace("$", "$$").replace("#", "\\#").replace(" ", "\\ ")


def _sees_images_alone(experiment: Experiment, experiments: Mapping[str, Experiment]) -> bool:
    """Whether neither it nor any teacher before it reads captions."""
    teacher = experiment.teacher
    return experiment.reads == {"image"} and (
        not teacher or _sees_images_alone(experiments[teacher], experiments)
    )


def check_teachers(experiments: Mapping[str, Experiment]) -> None:
    """Raises ValueError where an experiment learns from one that is not there, or in the end from itself."""
    for name in experiments:
        seen = [name]
        while teacher := experiments[seen[-1]].teacher:
            if teacher not in experiments:
                raise ValueError(
                    f"configs/{seen[-1]}.toml: pseudo.teacher: there is no configs/{teacher}.toml"
                )
            if teacher in seen:
                raise ValueError(f"configs/{name}.toml: pseudo.teacher: {' <- '.join([*seen, teacher])}")
            seen.append(teacher)


def add_arguments(parser) -> None:
    del parser  # --comp says it all


def main(args) -> None:
    paths = Paths(args.comp)
    competition = load_competition(paths.competition)
    experiments = {path.stem: load_experiment(path) for path in sorted(paths.configs.glob("*.toml"))}
    check_teachers(experiments)
    unknown = [name for name in competition.experiments if name not in experiments]
    if unknown:
        raise ValueError(
            f"{paths.competition}: experiments: {unknown} have no file in configs/; there are {sorted(experiments)}"
        )
    if not competition.caption:
        blind = [e for e in competition.experiments if "caption" in experiments[e].reads]
        if blind:
            raise ValueError(
                f"{paths.competition}: experiments {blind} read captions; no caption column is named"
            )
        experiments = {name: e for name, e in experiments.items() if _sees_images_alone(e, experiments)}
    for name, experiment in experiments.items():
        write_json_if_changed(paths.experiment_config(name), experiment.model_dump())
        for encoder in experiment.encoders:
            write_json_if_changed(paths.encoder_config(encoder.slug), encoder.model_dump())
    write_json_if_changed(paths.folds_config, competition.folds.model_dump())
    write_json_if_changed(
        paths.metric_config, competition.model_dump(include={"metric", "beta", "least", "most"})
    )
    write_text(paths.graph, graph(paths, competition, experiments))
