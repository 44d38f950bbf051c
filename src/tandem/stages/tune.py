"""Tune: configs/E.toml with [tune], features, folds -> configs/E_tuned.toml, models/C/E/tune.sqlite, reports/C/tune_E.

For each outer fold, a search that never sees it chooses settings; the experiment with them predicts this fold. These
predictions score the tuned experiment. The settings that are written are those of one more search on all folds.
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import optuna

from tandem.artifacts.atomic_io import digest, read_json, write_json, write_text
from tandem.artifacts.paths import Paths
from tandem.config import method_versions as version
from tandem.config.competition import require_competition
from tandem.config.load_experiments import for_competition, search_space
from tandem.config.toml_files import config_files, parse_toml
from tandem.config.tuning import SearchSpace, Value
from tandem.data.added_features import read_joints
from tandem.decoding import Rule
from tandem.graph.declared_stages import Graph
from tandem.graph.lock import only_run
from tandem.report.tuning import Gain, about_choice, compare, tuned_toml
from tandem.runtime.progress import progress
from tandem.runtime.resources import threads
from tandem.runtime.torch_setup import use_threads
from tandem.runtime.wrong_values import Number, require_within
from tandem.stages._run import make_current, open_graph
from tandem.training.fold_job import FoldJob
from tandem.training.parallel_folds import fit_folds
from tandem.training.tuning import Found, Search, number_of_fits, open_storage, untuned_losses


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--exp", default="", help="an experiment with a section [tune]")
    parser.add_argument(
        "--trials",
        type=Number("TRIALS", 1, instead="30"),
        default=30,
        help="settings that each search tries (default: 30)",
    )
    parser.add_argument(
        "--outer",
        type=Number("OUTER", -1),
        default=-1,
        help="folds that a search of their own leaves out (default: all); 0: no gain",
    )


def main(args: Namespace) -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    use_threads()
    paths = Paths(args.comp)
    require_competition(args.comp)
    with only_run(paths):
        graph = open_graph(paths)
        space = _space(graph, args.exp)
        require_within("TRIALS", args.trials, 1)
        make_current(graph, [*graph.goal("features", [args.exp]), f"train {args.exp}", f"decode {args.exp}"])
        _Tuning(graph.refreshed(), args.exp, space, args.trials, args.outer).run()


def _space(graph: Graph, name: str) -> SearchSpace:
    """Raises ValueError where the experiment can't be tuned, or the file that would be written is the user's own."""
    experiment = graph.trainable(name)
    file, target = config_files(graph.paths.configs)[name], tuned_file(graph.paths, name)
    space, added = search_space(file), read_joints(graph.paths)
    make = space.make  # of a file; of the competition, with the features that were added, and its prompts
    space = replace(space, make=lambda values, path: for_competition(make(values, path), graph.competition, added))
    if not space.ranges:
        raise ValueError(
            f'{file}: no section [tune]; add a line such as "train.lr" = {{low = 1e-4, high = 1e-2, log = true}} to it'
        )
    if experiment.teacher:
        raise ValueError(f"{file}: [pseudo] can't be tuned: a teacher's fold models saw the folds inside")
    if (seeds := experiment.seeds) > 1:
        raise ValueError(f"{file}: seeds = {seeds} can't be tuned: tune it with one seed, then run make seeds")
    if target.exists() and not parse_toml(target).get("tuned"):
        raise ValueError(f"{target} exists and make tune did not write it; rename it first")
    return space


class _Tuning:
    """The searches for one experiment, whose untuned fold models are trained."""

    def __init__(self, graph: Graph, name: str, space: SearchSpace, trials: int, outer: int) -> None:
        folds = graph.fold_numbers
        if not -1 <= outer <= len(folds) or (outer and len(folds) < 3) or len(folds) < 2:
            raise ValueError(f"OUTER={outer}: expected 0 to {len(folds)}, and 0 with fewer than 3 folds")
        self.graph, self.paths, self.name, self.space, self.trials = graph, graph.paths, name, space, trials
        self.folds, self.outer = folds, folds if outer < 0 else folds[:outer]
        self.storage = open_storage(self.paths.study(name))
        self.job = FoldJob(self.paths, name, graph.experiments[name])
        depends = {"folds": [graph.fold(name, k).key for k in folds], "version": version.TUNER}
        self.key = digest(depends | {"ranges": repr(sorted(space.ranges.items()))})[:16]

    def run(self) -> None:
        self._announce()
        known = untuned_losses(self.job, self.folds)
        fits = number_of_fits(len(self.folds), len(self.outer), self.trials)
        with progress(fits, f"tune {self.name}", "fits") as bar:
            found = {k: self._search(k).run(self.trials, None, bar.update) for k in self.outer}
            best = self._search(None).run(self.trials, known, bar.update)
        gain = self._gain({k: one.chosen for k, one in found.items()}) if found else None
        self._write(best, found, gain)

    def _announce(self) -> None:
        searches, n = len(self.outer) + 1, number_of_fits(len(self.folds), len(self.outer), self.trials)
        files = [self.paths.model(self.name, k, ".json") for k in self.folds]
        minutes = n * float(np.mean([read_json(file)["seconds"] for file in files])) / 60
        print(
            f"tune {self.name}: {searches} search{'es' * (searches > 1)} of {self.trials} trials, at most {n:,} fits, "
            f"about {max(minutes, 1):.0f} min or less: trials that are clearly worse stop after a fold or two"
        )

    def _search(self, without: int | None) -> Search:
        inner = tuple(k for k in self.folds if k != without)
        where = "all folds" if without is None else f"without fold {without}"
        return Search(self.job, self.space, inner, f"{self.key} {where}", self.storage)

    def _gain(self, chosen: Mapping[int, Mapping[str, Value]]) -> Gain:
        """Trains the choice of each outer fold on all other folds, and compares the predictions for the outer folds."""
        rows, rule = self.job.rows, Rule.of(self.graph.competition, self.paths.input)
        outer = np.flatnonzero(np.isin(rows.fold, self.outer))
        untuned, tuned = self.job.held_out(self.outer)[outer], self._tuned(chosen)[outer]
        about = rows.y[outer], rows.fold[outer], rows.group[outer], rule, threads(), rows.known_of(outer)
        return compare(untuned, tuned, *about)

    def _tuned(self, chosen: Mapping[int, Mapping[str, Value]]) -> np.ndarray:
        """(n, c) each outer fold by the settings that were chosen without it; zero elsewhere."""
        made = {k: self.space.experiment(values) for k, values in chosen.items() if values}
        graph = Graph.open(self.paths, {f"{self.name}-tune{k}": experiment for k, experiment in made.items()})
        jobs = {k: FoldJob(self.paths, f"{self.name}-tune{k}", experiment) for k, experiment in made.items()}
        folds = [(job, k, graph.fold(job.name, k)) for k, job in jobs.items()]
        fit_folds([(job, k, one.made_from) for job, k, one in folds if one.stale_reason()], self.folds)
        return np.sum([jobs.get(k, self.job).held_out([k]) for k in chosen], axis=0)

    def _write(self, best: Found, found: Mapping[int, Found], gain: Gain | None) -> None:
        paths, comp, target = self.paths, self.paths.comp, tuned_file(self.paths, self.name)
        losses = best.untuned_loss, best.loss
        lines = about_choice(self.name, comp, best.chosen, losses, self.trials, gain)
        record = {
            "experiment": self.name,
            "competition": comp,
            "trials": self.trials,
            "best": asdict(best),
            "outer": {k: asdict(one) for k, one in found.items()},
            "gain": gain and asdict(gain),
        }
        write_json(paths.tuning(self.name), record)
        write_text(target, tuned_toml(self.name, comp, best.chosen, lines))
        print("\n".join(lines))
        print(f"{target}: {settings(best.chosen)}; to train it: make train EXPS={target.stem} COMP={comp}")


def tuned_file(paths: Paths, name: str) -> Path:
    return paths.configs / f"{name}_tuned.toml"


def settings(chosen: Mapping[str, Value]) -> str:
    """
    >>> settings({"train.lr": 0.001, "head.hidden": 8}), settings({})
    ('train.lr 0.001, head.hidden 8', 'nothing changed')
    """
    return ", ".join(f"{key} {value}" for key, value in chosen.items()) or "nothing changed"
