"""Ablation: build/C/experiments/E.json, features, folds -> models/C/E-*/fold<k>.*, reports/C/ablation.{csv,md,png}.

What is trained already is not trained again; a killed run goes on where it was. The table is written after each row.
"""

import csv
import io
from dataclasses import replace

import numpy as np

from tandem.artifacts.atomic_io import read_json, write_json_if_changed, write_text, write_with
from tandem.artifacts.paths import Paths
from tandem.artifacts.predictions import Predictions
from tandem.bundling.cost import FEW, timed
from tandem.config.competition import load_competition
from tandem.config.encoders import Encoder
from tandem.decoding import NestedCV, Rule
from tandem.features.extract import encode_split, load_encoder, split_rows
from tandem.models.registry import make_model
from tandem.report.ablation import Row, compare, decoders, markdown, parts, variants
from tandem.runtime.resources import threads
from tandem.training.fold_job import Job
from tandem.training.parallel_folds import fit_folds
from tandem.training.split_inputs import unlabelled

TIMED = 128  # images


def add_arguments(parser) -> None:
    parser.add_argument("--exp", default="fusion", help="the experiment that is taken apart")
    parser.add_argument("--folds", type=int, default=0, help="only so many folds; 0: all")


def main(args) -> None:
    paths, name = Paths(args.comp), args.exp
    experiment = read_resolved(paths.experiment_config(name))
    if experiment.kind != "fusion":
        raise ValueError(f"--exp {name}: expected an experiment of kind fusion, got {experiment.kind!r}")
    networks = variants(name, experiment)
    for key, variant in networks.items():
        write_json_if_changed(paths.experiment_config(key), variant.model_dump())
        for split in ("train", *(unlabelled(paths) if variant.teacher else ())):
            for encoder in variant.encoders:
                encode_split(paths, encoder, split)
    whole = Job(paths, name)
    if not 0 <= args.folds <= len(whole.folds):
        raise ValueError(f"--folds {args.folds}: expected 0 to {len(whole.folds)}")
    folds = whole.folds[: args.folds or None]
    rows_of = np.flatnonzero(np.isin(whole.rows.fold, folds))
    y, fold = whole.rows.y[rows_of], parts(whole.rows.fold[rows_of])
    rule, spent = Rule(**read_json(paths.metric_config)), {}

    fit_folds([whole], folds)
    own = _held_out(whole, folds)[rows_of]
    fits = NestedCV(own, y, fold, rule, threads()).prepare()
    base = fits.cross_val_predict("auto")

    def row(group: str, job: Job) -> Row:
        proba = own if job is whole else _held_out(job, folds)[rows_of]
        found = compare(group, job.name, proba, base, y, fold, rule, threads())
        return replace(found, **_cost(job, folds, spent))

    rest = decoders(own, base, fits)
    if (stacked := _stacked(whole)) is not None:
        stack = stacked.aligned_to(whole.rows.ids)[rows_of]
        rest.insert(0, compare("experiments", "stack", stack, base, y, fold, rule, threads()))
    known = [key for key in load_competition(paths.competition).experiments if key != name]
    members = [Job(paths, key) for key in known if paths.experiment_config(key).exists()]
    trained = [job for job in members if all(map(job.fold_is_current, folds))]
    rest = [row("experiments", job) for job in trained] + rest
    rows, jobs = [row("parts", whole)], [Job(paths, key) for key in networks]
    at_once = -(-threads() // len(folds))  # so that one fold of each still fills the cores
    for i in range(0, len(jobs), at_once):
        fit_folds(jobs[i : i + at_once], folds)
        rows += [row("parts", job) for job in jobs[i : i + at_once]]
        # to look at, while the next one is trained
        _write(paths, name, rows + rest, len(rows_of), len(folds))
    print(f"{paths.ablation('.md')}, .csv and .png")


def _stacked(whole: Job) -> Predictions | None:
    """The stack's, where it is of the same labels and folds."""
    if not whole.paths.oof("stack").exists():
        return None
    found = Predictions.read(whole.paths.oof("stack"))
    same = found.names == whole.rows.names and found.provenance.get("folds") == whole.rows.fold_digest
    return found if same else None


def _held_out(job: Job, folds: list[int]) -> np.ndarray:
    """(n, c), filled in for the rows of `folds`."""
    proba = np.zeros(job.rows.y.shape, np.float32)
    for k in folds:
        held_out = np.flatnonzero(job.rows.fold == k)
        part = Predictions.read(job.paths.model(job.name, k, ".parquet"))
        proba[held_out] = part.aligned_to([job.rows.ids[i] for i in held_out])
    return proba


def _cost(job: Job, folds: list[int], spent: dict[str, float]) -> dict[str, float]:
    """Seconds and MB a fold; milliseconds an image of all cores, from file and caption on, by the model of one fold."""
    files = [job.paths.model(job.name, k, "") for k in folds]
    seconds = np.mean([read_json(file.with_suffix(".json"))["seconds"] for file in files])
    mb = np.mean([file.with_suffix(".safetensors").stat().st_size for file in files]) / 2**20
    first = np.arange(min(TIMED, len(job.rows.ids)))
    model = make_model(job.experiment, len(job.rows.names)).load(files[0].with_suffix(".safetensors"))
    inputs = job.inputs.take(first)
    model.predict_proba(inputs)  # to warm up
    ms, _ = timed(lambda: model.predict_proba(inputs), len(first))
    for encoder in job.experiment.encoders:
        if encoder.slug not in spent:
            spent[encoder.slug] = _encode_ms(job.paths, encoder, len(first))
        ms += spent[encoder.slug]
    return {"seconds": float(seconds), "mb": float(mb), "ms": ms}


def _encode_ms(paths: Paths, cfg: Encoder, n: int) -> float:
    _, items, _ = split_rows(paths, cfg, "train")
    encode = load_encoder(cfg)
    list(encode(items[:FEW]))  # to warm up
    return timed(lambda: list(encode(items[:n])), n)[0]


def _write(paths: Paths, name: str, rows: list[Row], n: int, folds: int) -> None:
    title = f"{paths.comp}: {name} and what it does without, {n:,} held-out rows of {folds} folds"
    write_text(paths.ablation(".md"), markdown(title, rows, name) + "\n")
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(
        ["group", "name", "score", "gain", "low", "high", "map", "log_loss", "seconds", "mb", "ms"]
    )
    for row in rows:
        costs = ("" if v is None else f"{v:.4f}" for v in (row.seconds, row.mb, row.ms))
        numbers = (f"{v:.6f}" for v in (row.score, *row.gain, row.map, row.log_loss))
        writer.writerow([row.group, row.name, *numbers, *costs])
    write_text(paths.ablation(".csv"), table.getvalue())
    write_with(paths.ablation(".png"), lambda partial: _draw(partial, title, rows, name))


def _draw(file, title: str, rows: list[Row], name: str) -> None:
    """Each row's gain over the whole with its interval; right of the line is better."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    shown = sorted((row for row in rows if row.name != name), key=lambda row: row.gain[0])
    gains = np.array([row.gain for row in shown])
    colours = {"parts": "tab:blue", "experiments": "tab:grey", "decoder": "tab:orange"}
    figure, axes = plt.subplots(figsize=(8, 1.2 + 0.26 * len(shown)), layout="constrained")
    for i, row in enumerate(shown):
        axes.plot(gains[i, 1:], [i, i], color=colours[row.group], lw=2)
        axes.plot(gains[i, 0], i, "o", color=colours[row.group], ms=5)
    axes.axvline(0, color="black", lw=0.8)
    axes.set_yticks(range(len(shown)), [row.name.removeprefix(name + "-") for row in shown])
    axes.set_xlabel(f"F against {name}, 95 % interval, paired")
    axes.set_title(title, fontsize=9)
    for group, colour in colours.items():
        axes.plot([], [], color=colour, lw=2, label=group)
    axes.legend(loc="lower right", fontsize=8)
    axes.grid(axis="x", alpha=0.3)
    figure.savefig(file, format="png", dpi=120, metadata={"Software": None})
    plt.close(figure)
