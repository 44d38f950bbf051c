"""Bundle: models/C/*, oof/C/*, pretrained weights -> bundles/C.zip: all that labelling needs, at most BUDGET_MB.

The ensemble with the highest cross-fitted score that fits is bundled: one experiment, a mean of some, or the stack.
Then the bundle is opened and labels out-of-fold rows: what rounding of the weights costs decides
how many bits they keep.
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table

from tandem.artifacts.paths import Paths
from tandem.bundling.choose import as_experiment, no_caption_member, select_ensemble
from tandem.bundling.ensemble_choice import Choice, Cost, rank
from tandem.bundling.packing import Packed, TooLarge, pack
from tandem.config.trusted_code import code_digest
from tandem.graph.experiment_dir import ExperimentDir, Experiments
from tandem.inference.bundle_reader import code_of
from tandem.runtime.console import make_console
from tandem.runtime.leftovers import scratch_folder
from tandem.runtime.wrong_values import Number


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
    with scratch_folder() as work:
        if args.exp:
            trained = experiments[args.exp].require_current()
            packed = _pack(trained, args.folds, work, paths.bundle, no_caption_member(trained))
        else:
            packed = _pack_best(experiments, budget, work)
    print(*packed.lines, sep="\n")
    mb = paths.bundle.stat().st_size / 2**20
    if mb > budget.mb:
        print(f"warning: {paths.bundle} has {mb:.1f} MB, more than {budget.mb:g}")
    print(f"{paths.bundle}: {mb:.1f} MB")
    if code := code_of(packed.manifest):
        print(f"it has your code {', '.join(code)}; to open it: TRUST={code_digest(code)}")


def _pack_best(experiments: Experiments, budget: Cost, work: Path) -> Packed:
    """The best ensemble that fits, or the next one where its score needs more bits than fit."""
    chosen, choices, left_out = select_ensemble(experiments, budget)
    print(*left_out, sep="\n", end="\n" if left_out else "")
    make_console().print(_table(chosen, choices, budget, experiments.competition.metric))
    refused, target = list[str](), experiments.paths.bundle
    left = sorted((choice for choice in choices if choice.cost.within(budget)), key=rank, reverse=True)
    for number, choice in enumerate(left):
        own = work / str(number)
        trained = as_experiment(experiments, choice, own / "chosen")
        fallback = trained.sibling(choice.fallback) if choice.fallback else None
        try:
            return _pack(trained, choice.folds, own, target, fallback, len(choices), budget.mb)
        except TooLarge as error:
            refused.append(f"{choice.title}: {error}")
            print(refused[-1])
    raise ValueError("\n".join([f"nothing fits {budget.mb:g} MB without a lower score", *refused]))


def _pack(trained: ExperimentDir, *how: Any) -> Packed:
    if trained.about_new_images:
        print(trained.about_new_images)
    return pack(trained, *how)


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
