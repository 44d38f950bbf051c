"""Bundle: models/C/*, oof/C/*, pretrained weights -> bundles/C.zip: all that labelling needs, at most BUDGET_MB.

The ensemble with the highest cross-fitted score that fits is bundled: one experiment, a mean of some, or the stack.
Then the bundle is opened, and must label test rows as the pipeline does, up to rounding.
"""

import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table

from tandem.artifacts.paths import Paths
from tandem.bundling.bundle_writer import verify_bundle, write_bundle, write_zip
from tandem.bundling.choose import as_experiment, first_rows, no_caption_member, select_ensemble
from tandem.bundling.ensemble_choice import Choice, Cost
from tandem.config.trusted_code import code_digest
from tandem.graph.experiment_dir import Experiments
from tandem.inference.bundle_reader import code_of
from tandem.runtime.console import make_console
from tandem.runtime.wrong_values import Number

CHECKED = 64  # images


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--budget-mb",
        type=Number("BUDGET_MB", 0, instead="100", kind=float),
        default=100.0,
        help="largest size of the zip, in MB",
    )
    parser.add_argument(
        "--budget-ms",
        type=Number("BUDGET_MS", 0, kind=float),
        default=float("inf"),
        help="longest time per image, in ms",
    )
    parser.add_argument("--exp", help="bundle this experiment, whatever it costs: stack, fast, ...")
    parser.add_argument(
        "--folds", type=Number("FOLDS", 0), default=0, help="with --exp: number of its fold models; 0: all"
    )


def main(args: Namespace) -> None:
    paths, budget = Paths(args.comp), Cost(args.budget_mb, args.budget_ms)
    experiments = Experiments(paths)
    with tempfile.TemporaryDirectory(prefix="tandem-") as folder:
        work = Path(folder)
        if args.exp:
            trained, folds, compared = experiments[args.exp].require_current(), args.folds, 1
            fallback = no_caption_member(trained)
        else:
            chosen, choices, left_out = select_ensemble(experiments, budget)
            print(*left_out, sep="\n", end="\n" if left_out else "")
            make_console().print(_table(chosen, choices, budget, experiments.competition.metric))
            trained = as_experiment(experiments, chosen, work / "chosen")
            folds, fallback = chosen.folds, trained.sibling(chosen.fallback) if chosen.fallback else None
            compared = len(choices)
        if trained.about_new_images:
            print(trained.about_new_images)
        manifest = write_bundle(trained, folds, work / "bundle", fallback, compared)
        code = code_of(manifest)
        trust = code_digest(code) if code else ""
        print(verify_bundle(work / "bundle", trained, folds, *first_rows(paths, CHECKED), trust))
        write_zip(work / "bundle", paths.bundle)
    mb = paths.bundle.stat().st_size / 2**20
    if mb > budget.mb:
        print(f"warning: {paths.bundle} has {mb:.1f} MB, more than {budget.mb:g}")
    print(f"{paths.bundle}: {mb:.1f} MB")
    if code:
        print(f"it has your code {', '.join(code)}; to open it: TRUST={trust}")


def _table(chosen: Choice, choices: Sequence[Choice], budget: Cost, metric: str) -> Table:
    title = f"what fits {budget.mb:g} MB"
    if budget.ms < np.inf:
        title += f" and {budget.ms:g} ms per image"
    table = Table(box=SIMPLE_HEAD, title=title)
    table.caption = (
        "* bundled, the best that fits: it was chosen on these rows, as were the members of each mean, so their scores "
        "are slightly optimistic; models: fold models of each experiment; ms: per image, on an idle machine"
    )
    table.add_column("ensemble", overflow="fold")
    for heading in (f"{metric}, cross-fitted", "models", "MB", "ms", "img/s", ""):
        table.add_column(heading, justify="right", no_wrap=True)
    for choice in sorted(choices, key=lambda c: -c.merit):
        cost, fits = choice.cost, choice.cost.within(budget)
        mark, style = ("*", "green") if choice == chosen else ("", "" if fits else "dim")
        numbers = (f"{cost.mb:.1f}", f"{cost.ms:.1f}", f"{1000 / cost.ms:.0f}", mark if fits else "too much")
        table.add_row(choice.title, f"{choice.score:.4f}", str(choice.folds), *numbers, style=style)
    return table
