"""Seeds: configs/E.toml -> configs/E_seedsN.toml, E with N seeds as one experiment, trained and scored.

What it gains over the first seed alone is printed, and kept in oof/C/E_seedsN/run.json as `seeds`.
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from typing import Any

import numpy as np

from tandem.artifacts.atomic_io import write_json, write_text
from tandem.artifacts.paths import Paths
from tandem.config.base_experiment import MOST_SEEDS
from tandem.config.experiments import Experiment
from tandem.config.load_experiments import load_experiment
from tandem.decoding import NestedCV, Rule
from tandem.graph.declared_stages import Graph
from tandem.graph.experiment_dir import ExperimentDir, Experiments
from tandem.metrics import log_loss_rows, paired_mean
from tandem.runtime.resources import threads
from tandem.runtime.wrong_values import Number, require_within
from tandem.stages._run import bring_up_to_date, open_graph
from tandem.training.fold_job import FoldJob


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--exp", default="", help="the experiment that is trained with further seeds")
    parser.add_argument(
        "--n", type=Number("N", 2, MOST_SEEDS, "3"), default=3, help=f"number of seeds, 2 to {MOST_SEEDS}"
    )


def main(args: Namespace) -> None:
    paths = Paths(args.comp)
    experiment, name = check(open_graph(paths), args.exp, args.n), f"{args.exp}_seeds{args.n}"
    write_config(paths, args.exp, experiment.model_copy(update={"seeds": args.n}))
    bring_up_to_date(args.comp, "train", [name])
    experiments = Experiments(paths)
    trained, rule = experiments[name], Rule.of(experiments.competition, paths.input)
    gain = measure_gain(trained, rule)
    if trained.run.get("seeds") != gain:
        write_json(paths.run(name), trained.run | {"seeds": gain})
        open_graph(paths).task(f"train {name}").keep()  # the digest of run.json
    print(about_gain(name, args.exp, gain))
    print(f'an experiment like any other: make submit COMP={args.comp} EXPS="... {name}"')


def check(graph: Graph, name: str, n: int) -> Experiment:
    """The experiment of this name; raises ValueError where it can't be trained with n seeds."""
    require_within("N", n, 2, MOST_SEEDS)
    experiment = graph.trainable(name)
    if why := experiment.why_not_random:
        raise ValueError(f"EXP={name}: {why}, so further seeds change nothing")
    if experiment.seeds > 1:
        raise ValueError(f"EXP={name}: has seeds = {experiment.seeds} already; expected an experiment with one seed")
    return experiment


def write_config(paths: Paths, base: str, wanted: Experiment) -> None:
    """configs/BASE_seedsN.toml; raises ValueError where there is another experiment of that name."""
    file = paths.configs / f"{base}_seeds{wanted.seeds}.toml"
    if file.exists():
        if load_experiment(file) != wanted:
            raise ValueError(f"{file}: is not {base} with seeds = {wanted.seeds}; rename or delete it")
        return
    about = f"# {base} with {wanted.seeds} seeds as one experiment: the mean of their logits. Made by `make seeds`."
    write_text(file, f'{about}\nbase = "{base}"\nseeds = {wanted.seeds}\n')


def measure_gain(trained: ExperimentDir, rule: Rule) -> dict[str, Any]:
    """The gain over the first seed alone, out of fold and cross-fitted, with paired 95 % intervals: of the metric, more
    is better; the difference of the log loss, less is better."""
    job = FoldJob(trained.paths, trained.name, trained.config)
    rows, (first, every) = job.rows, (one.held_out(trained.folds) for one in (job.of_seeds[0], job))
    cvs = [NestedCV(p, rows.y, rows.fold, rule, threads(), rows.group, rows.known).prepare() for p in (first, every)]
    before, after = (cv.cross_val_values() for cv in cvs)
    losses = [log_loss_rows(rows.y, proba, known=rows.known) for proba in (first, every)]
    return {
        "n": trained.config.seeds,
        "metric": rule.metric,
        "single": rule.score(rows.y, before, rows.known),
        "score": rule.score(rows.y, after, rows.known),
        "gain": interval(rule.gain(rows.y, before, after, rows.group, rows.known)),
        "log_loss_single": float(np.mean(losses[0])),
        "log_loss": float(np.mean(losses[1])),
        "log_loss_difference": interval(paired_mean(losses[1] - losses[0], rows.group)),
    }


def interval(found: tuple[float, float, float]) -> dict[str, float]:
    return dict(zip(("mean", "low", "high"), map(float, found), strict=True))


def about_gain(name: str, base: str, gain: Mapping[str, Any]) -> str:
    metric, loss = (
        f"{part['mean']:+.4f} [{part['low']:+.4f}, {part['high']:+.4f}]"
        for part in (gain["gain"], gain["log_loss_difference"])
    )
    return (
        f"{name}: {gain['metric']} {gain['score']:.4f}, {metric} over {base} with its first seed alone; log loss "
        f"{gain['log_loss']:.4f}, {loss}; in brackets: paired 95 % intervals"
    )
