"""Bundle: models/C/*, oof/C/*, features' encoders -> bundles/C.zip: all that labelling needs, no larger than BUDGET_MB.

Packed is the best ensemble by cross-fitted score that fits: one experiment, a mean of some, or the stack. Then the
bundle is opened, and must label test rows as the pipeline does.
"""

import tempfile
from pathlib import Path

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table

from tandem.artifacts.atomic_io import read_json, write_json
from tandem.artifacts.paths import Paths
from tandem.artifacts.predictions import Predictions
from tandem.bundling.bundle_writer import fill, write_zip
from tandem.bundling.cost import price
from tandem.bundling.ensemble_choice import Choice, best, fits, grown
from tandem.data.labelled_rows import read_labelled_rows
from tandem.data.split_tables import read_captions, read_images
from tandem.decoding import Rule
from tandem.decoding.scoring import score
from tandem.ensemble.stack_store import load_stack, write_stack
from tandem.ensemble.stacking import BOUND, fixed_stack
from tandem.graph.currency import is_current, is_decoded, made_by
from tandem.inference.bundle_reader import open_bundle
from tandem.inference.labeler import Labeler, blind_scores
from tandem.logits import logit, sigmoid
from tandem.runtime.console import make_console
from tandem.runtime.resources import threads

TIMED, CHECKED = 64, 64  # images
MOST_DIFFERENT = 0.05  # of a probability, by rounding


def add_arguments(parser) -> None:
    parser.add_argument("--mb", type=float, default=100.0, help="most megabytes")
    parser.add_argument("--ms", type=float, default=float("inf"), help="most milliseconds an image")
    parser.add_argument("--exp", help="pack this experiment, whatever it costs: stack, fast, ...")
    parser.add_argument("--folds", type=int, default=0, help="with --exp: only so many of its models; 0: all")


def main(args) -> None:
    paths = Paths(args.comp)
    _require(paths, args.exp)
    with tempfile.TemporaryDirectory(prefix="tandem-") as folder:
        work = Path(folder)
        if args.exp:
            source, name, folds, blind = paths, args.exp, args.folds, ""
        else:
            choice, scored = _choose(paths, args.mb, args.ms)
            source = as_experiment(paths, choice, scored, work / "chosen")
            name, folds, blind = _name(choice), choice.folds, choice.blind
        fill(source, name, folds, work / "bundle", blind)
        _check(source, name, folds, work / "bundle")
        write_zip(work / "bundle", paths.bundle)
    mb = paths.bundle.stat().st_size / 2**20
    if mb > args.mb:
        print(f"warning: {paths.bundle} has {mb:.1f} MB, more than {args.mb:g}")
    print(f"{paths.bundle}: {mb:.1f} MB")


def _require(paths: Paths, name: str | None) -> None:
    """Raises FileNotFoundError where the experiment, or anything at all, is not trained."""
    if not (paths.scores(name) if name else paths.labels).exists():
        what = f"{name} is not" if name else "nothing is"
        raise FileNotFoundError(
            f"{what} trained for {paths.comp!r}; run: {made_by(paths.comp, name or 'stack')}"
        )


def _name(choice: Choice) -> str:
    return choice.members[0] if choice.kind == "single" else choice.kind


def _choose(paths: Paths, mb: float, ms: float) -> tuple[Choice, dict]:
    """The best ensemble that fits; and of a mean, its decoder and scores."""
    rows, rule = read_labelled_rows(paths), Rule(**read_json(paths.metric_config))
    logits, scored, choices = {}, {}, []
    for file in sorted(paths.experiment("x").parent.glob("*/scores.json")):
        name, oof = file.parent.name, Predictions.read(paths.oof(file.parent.name))
        if oof.provenance.get("folds") != rows.fold_digest or oof.names != rows.names:
            continue  # of another fold map: its score can't be compared
        if not is_current(paths, name):
            print(f"left out: {name}, whose models are no longer those that were scored")
        elif not is_decoded(paths, name):
            print(
                f"left out: {name}, scored by another metric; make train COMP={paths.comp} EXPS={name} scores it again"
            )
        elif paths.stack(name).exists():
            choices.append(Choice("stack", tuple(load_stack(paths, name)[1]), read_json(file)["score"]))
        else:
            logits[name] = logit(oof.aligned_to(rows.ids), BOUND)
            choices.append(Choice("single", (name,), read_json(file)["score"]))
    if not logits:
        raise FileNotFoundError(f"nothing is trained for {paths.comp!r}; run: make submit COMP={paths.comp}")
    choices = [choice for choice in choices if logits.keys() >= set(choice.members)]
    prices = price(paths, list(logits), *_some_rows(paths, TIMED))
    for group in grown(logits, rows.y, lambda group: fits(prices.of("mean", group, 1), mb, ms)):
        if len(group) > 1:
            proba = sigmoid(np.mean([logits[name] for name in group], axis=0))
            scored[group] = score(proba, rows.y, rows.fold, rows.names, rule, threads())
            choices.append(Choice("mean", group, scored[group][1]["score"]))
    blind = blind_scores(paths, list(logits), rows.names)
    choices = [prices.accompanied(choice, blind, mb, ms) for choice in choices]
    chosen = best(choices, mb, ms)
    make_console().print(_table(choices, chosen, mb, ms, rule.metric))
    return chosen, scored.get(chosen.members)


def _table(choices: list[Choice], chosen: Choice, mb: float, ms: float, metric: str) -> Table:
    table = Table(
        box=SIMPLE_HEAD, title=f"what fits {mb:g} MB" + (f" and {ms:g} ms an image" if ms < np.inf else "")
    )
    table.caption = (
        "* packed; models: as many of each experiment as fit; ms: of an image, if nothing else runs here"
    )
    table.add_column("ensemble", overflow="fold")
    for title in (f"{metric}, cross-fitted", "models", "MB", "ms", "img/s", ""):
        table.add_column(title, justify="right", no_wrap=True)
    for choice in sorted(choices, key=lambda c: -c.score):
        cost, there = choice.cost, fits(choice.cost, mb, ms)
        mark, style = ("*", "green") if choice == chosen else ("", "" if there else "dim")
        numbers = (f"{cost.mb:.1f}", f"{cost.ms:.1f}", f"{1000 / cost.ms:.0f}", mark if there else "too much")
        table.add_row(choice.title, f"{choice.score:.4f}", str(choice.folds), *numbers, style=style)
    return table


def _some_rows(paths: Paths, n: int) -> tuple[list[Path], list[str]]:
    """(images, captions) of the first test rows, or of training rows where there are none."""
    split = "test" if paths.images("test").exists() else "train"
    images = read_images(paths.images(split))
    caption = (
        dict(zip(*read_captions(paths.captions(split)), strict=True))
        if paths.captions(split).exists()
        else {}
    )
    files = [paths.input / file for file in images["file"][:n]]
    return files, [caption.get(name, "") for name in images["id"][:n]]


def as_experiment(paths: Paths, choice: Choice, scored: tuple[dict, dict] | None, root: Path) -> Paths:
    """Where the choice is an experiment; a mean becomes a stack of fixed weights, beside links to its members."""
    if choice.kind != "mean":
        return paths
    out, m = Paths(paths.comp, root), len(choice.members)
    links = {out.build: paths.build, out.input: paths.input}
    for name in choice.packed:
        links |= {
            out.experiment(name): paths.experiment(name),
            out.stack(name).parent: paths.stack(name).parent,
        }
    for link, target in links.items():
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(target.resolve())
    out.stack("mean").parent.mkdir()
    write_stack(out.stack("mean").parent, fixed_stack(np.full(m, 1 / m), len(scored[0]["labels"])))
    write_json(out.thresholds("mean"), scored[0])
    write_json(out.scores("mean"), scored[1])
    write_json(out.run("mean"), {"members": dict.fromkeys(choice.members, "")})
    return out


def _check(paths: Paths, name: str, folds: int, bundle: Path) -> None:
    """The bundle labels as its source does; raises ValueError otherwise."""
    files, captions = _some_rows(Paths(paths.comp), CHECKED)
    told = [i for i, caption in enumerate(captions) if caption.strip()]
    if told:  # a row without a caption may have another labeller in the source, which has all experiments
        files, captions = [files[i] for i in told], [captions[i] for i in told]
    whole, packed = Labeler.of(paths, name, folds), Labeler.of(*open_bundle(bundle))
    expected, got = (list(labeler.label(files, captions)) for labeler in (whole, packed))
    different = [
        abs(a.proba[n] - b.proba[n]) for a, b in zip(expected, got, strict=True) for n in whole.names
    ]
    same = sum(set(a.labels) == set(b.labels) for a, b in zip(expected, got, strict=True))
    if max(different) > MOST_DIFFERENT:
        raise ValueError(
            f"the bundle's probabilities differ by {max(different):.3f}, expected {MOST_DIFFERENT} or less"
        )
    print(
        f"checked on {len(files)} rows: probabilities differ by {max(different):.4f} at most, labels same on {same}"
    )
