"""Ablation: configs/E.toml, features, folds -> models/C/E-*/fold<k>.*, reports/C/ablation.{csv,md,png}.

A network that is current is not trained again; a killed run continues. The table is written after each row.
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from tandem.artifacts.atomic_io import read_json, write_text, write_with
from tandem.artifacts.paths import Paths
from tandem.artifacts.predictions import Predictions
from tandem.bundling.cost import WARM_UP, time_rows
from tandem.config.competition import require_competition
from tandem.config.encoders import Encoder
from tandem.config.experiments import FusionExperiment
from tandem.data.split_tables import read_labels
from tandem.decoding import NestedCV, Rule
from tandem.features.extract import encoded_items, load_encoder
from tandem.graph.declared_stages import Graph
from tandem.graph.experiment_dir import Experiments, same_rows
from tandem.graph.lock import only_run
from tandem.report.ablation import Comparison, Row, csv_table, draw, markdown, split_for_decoders, with_seeds
from tandem.runtime.resources import threads
from tandem.runtime.torch_setup import use_threads
from tandem.runtime.wrong_values import Number, require_within, unknown
from tandem.stages._run import make_current
from tandem.training.fold_job import FoldJob
from tandem.training.parallel_folds import fit_folds

TIMED = 128  # images


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--exp", default="", help="the fusion network (default: the first of the competition)")
    parser.add_argument("--folds", type=Number("FOLDS", 0), default=0, help="number of folds to train; 0: all")
    parser.add_argument(
        "--seeds", type=Number("SEEDS", 1), default=1, help="times that each network is trained, with other seeds"
    )


def main(args: Namespace) -> None:
    use_threads()
    paths = Paths(args.comp)
    require_competition(args.comp)
    with only_run(paths):
        require_within("SEEDS", args.seeds, 1)
        graph, names = _open_graph(paths, args.exp, args.seeds)
        require_within("FOLDS", args.folds, 0, len(graph.fold_numbers))
        graph = _make_features(graph, sum(names, []))
        _Ablation(graph, names, list(graph.fold_numbers)[: args.folds or None]).run()
    print(f"{paths.ablation('.md')}, .csv and .png")


def _open_graph(paths: Paths, name: str, seeds: int) -> tuple[Graph, list[list[str]]]:
    """(graph that includes the networks; names with each seed of the full one, then of each variant)."""
    make_current(Graph.open(paths), ["folds"])  # some parts need more rows than there are
    graph, rows = Graph.open(paths), len(read_labels(paths.labels)[0])
    own = (one for one in graph.chosen() if isinstance(graph.experiments[one], FusionExperiment))
    name = name or next(own, "fusion")
    fusions = [one for one in graph.experiments if isinstance(graph.experiments[one], FusionExperiment)]
    if name not in graph.experiments:
        raise unknown("EXP", name, "has no file in configs/ that fits this competition", fusions)
    experiment = graph.trainable(name)
    if not isinstance(experiment, FusionExperiment):
        why = f"expected an experiment of kind fusion, got {experiment.kind!r}"
        raise unknown("EXP", name, why, fusions)
    if experiment.seeds > 1:
        raise ValueError(
            f"EXP={name}: has seeds = {experiment.seeds}; expected its base, with SEEDS={experiment.seeds}"
        )
    names, networks = with_seeds(name, experiment, seeds, rows)
    return Graph.open(paths, networks), names


def _make_features(graph: Graph, names: list[str]) -> Graph:
    """Makes what the networks need: folds, features, and teachers outside this ablation."""
    networks = [graph.experiments[name] for name in names]
    teachers = list(dict.fromkeys(one.teacher for one in networks if one.teacher and one.teacher not in names))
    goals = ["folds", *graph.goal("features", [*names, *teachers]), *(f"train {name}" for name in teachers)]
    make_current(graph, goals)
    return graph.refreshed()


class _Ablation:
    """Trains the networks on some folds and compares their predictions for these rows.

    names  of the networks, with each seed, the full network first
    """

    def __init__(self, graph: Graph, names: list[list[str]], folds: list[int]) -> None:
        self.graph, self.paths, self.names, self.folds = graph, graph.paths, names, folds
        self.full = self._job(names[0][0])
        self.rows = np.flatnonzero(np.isin(self.full.rows.fold, folds))
        self.encoder_ms: dict[str, float] = {}  # by slug

    def run(self) -> None:
        """Trains the full network and then the others, with every seed, and writes the table after each."""
        full, *jobs = [[self._job(name) for name in seeds] for seeds in self.names]
        self._fit(full)
        labelled, rule = self.full.rows, Rule.of(self.graph.competition, self.paths.input)
        y, group = labelled.y[self.rows], labelled.group[self.rows]
        fold = split_for_decoders(labelled.fold[self.rows], group)
        cvs = [NestedCV(self._held_out(job), y, fold, rule, threads(), group).prepare() for job in full]
        first, *more = (cv.cross_val_values() for cv in cvs)
        comparison = Comparison(y, fold, rule, first, threads(), group, more, labelled.known_of(self.rows))
        rows = [self._row(comparison, "parts", *full)]
        others = self._experiment_rows(comparison) + comparison.decoder_rows(cvs[0])
        at_once = -(-threads() // len(self.folds))  # so that one fold of each uses all cores
        for i in range(0, len(jobs), at_once):
            some = jobs[i : i + at_once]
            self._fit([job for seeds in some for job in seeds])
            rows += [self._row(comparison, "parts", *seeds) for seeds in some]
            self._write(rows + others)

    def _job(self, name: str) -> FoldJob:
        experiment = self.graph.experiments[name]
        return FoldJob(self.paths, name, experiment, self._job(experiment.teacher) if experiment.teacher else None)

    def _fit(self, jobs: list[FoldJob]) -> None:
        folds = [(job, k, self.graph.fold(job.name, k)) for job in jobs for k in self.folds]
        fit_folds([(job, k, one.made_from) for job, k, one in folds if one.stale_reason()], self.folds)

    def _held_out(self, job: FoldJob) -> np.ndarray:
        return job.held_out(self.folds)[self.rows]

    def _row(self, comparison: Comparison, group: str, *jobs: FoldJob) -> Row:
        """Of one network with each seed; its cost is that of the first."""
        row = comparison.row(group, jobs[0].name, *map(self._held_out, jobs))
        return replace(row, **self._cost(jobs[0]))

    def _experiment_rows(self, comparison: Comparison) -> list[Row]:
        """The stacks and the other experiments of the competition, where they are trained and current."""
        rows = []
        for stack in (one.name for one in Experiments(self.paths).scored() if one.is_stack):
            if (proba := self._read_stack(stack)) is not None:
                rows.append(comparison.row("experiments", stack, proba[self.rows]))
        for name in self.graph.chosen():
            seeds = range(self.graph.experiments[name].seeds)
            current = not any(self.graph.fold(name, k, seed).stale_reason() for k in self.folds for seed in seeds)
            if name != self.full.name and current:
                rows.append(self._row(comparison, "experiments", self._job(name)))
        return rows

    def _read_stack(self, name: str) -> np.ndarray | None:
        """(n, c) out-of-fold probabilities; None where they are not of the same labels and folds."""
        rows, found = self.full.rows, Predictions.read(self.paths.oof(name))
        return found.aligned_to(rows.ids) if same_rows(found, rows.names, rows.fold_digest) else None

    def _cost(self, job: FoldJob) -> Mapping[str, Any]:
        """Seconds and MB per fold; milliseconds per image on all cores, encoders and one fold model together."""
        files = [one.file(k, ".safetensors") for k in self.folds for one in job.of_seeds]
        seconds = sum(read_json(file.with_suffix(".json"))["seconds"] for file in files) / len(self.folds)
        mb = sum(file.stat().st_size for file in files) / len(self.folds) / 2**20
        first = np.arange(min(TIMED, len(job.rows.ids)))
        models = job.load(self.folds[:1]).models
        inputs = job.inputs.take(first)
        models[0].predict_proba(inputs)  # to warm up
        ms, _ = time_rows(lambda: [model.predict_proba(inputs) for model in models], len(first))
        for encoder in job.experiment.encoders:
            if encoder.slug not in self.encoder_ms:
                self.encoder_ms[encoder.slug] = self._time_encoder(encoder, len(first))
            ms += self.encoder_ms[encoder.slug]
        return {"seconds": float(seconds), "mb": float(mb), "ms": ms}

    def _time_encoder(self, encoder: Encoder, n: int) -> float:
        items = encoded_items(self.paths, encoder, "train")
        encode = load_encoder(encoder)
        list(encode(items[:WARM_UP]))
        return time_rows(lambda: list(encode(items[:n])), n)[0]

    def _write(self, rows: list[Row]) -> None:
        paths, name = self.paths, self.full.name
        scored = f"{len(self.rows):,} held-out rows of {len(self.folds)} folds"
        title = f"{paths.comp}: {name} without each of its parts, {scored}"
        write_text(paths.ablation(".md"), markdown(title, rows, name, len(self.names[0])) + "\n")
        write_text(paths.ablation(".csv"), csv_table(rows))
        write_with(paths.ablation(".png"), lambda partial: draw(partial, title, rows, name))
