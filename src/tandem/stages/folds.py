"""Folds: build/C/train.{labels,images,captions,folds}.parquet -> folds/C.csv (id, fold, group) and folds/C.json.

`train.folds` is there only where the user gives folds or groups; captions are read where there are no images. Where
corrections are applied, `given.labels` stands for `train.labels`: corrected labels leave the folds as they are.
"""

from argparse import Namespace
from collections.abc import Sequence

import numpy as np
from rich.table import Table
from rich.text import Text

from tandem.artifacts.atomic_io import write_csv, write_json
from tandem.artifacts.paths import Paths
from tandem.config.competition import load_competition
from tandem.data.folds import label_shares, make_folds
from tandem.data.labelled_rows import read_labelled_rows
from tandem.data.near_duplicates import many_near_duplicates
from tandem.data.split_tables import read_captions, read_given_labels, read_images, read_own_folds
from tandem.graph.plan import Step
from tandem.runtime.console import make_console
from tandem.runtime.progress import in_run
from tandem.stages._run import bring_up_to_date


def main(args: Namespace) -> None:
    """Also prints how evenly the labels are spread over the folds."""
    bring_up_to_date(args.comp, "folds", args.exps)
    rows = read_labelled_rows(Paths(args.comp))
    show_shares(rows.names, label_shares(rows.y, rows.fold, rows.known), rows.fold)


def show_shares(names: Sequence[str], shares: np.ndarray, fold: np.ndarray) -> None:
    """Prints how evenly the labels are spread; `shares` are `label_shares`."""
    numbers, sizes = np.unique(fold, return_counts=True)
    make_console().print(share_table(names, shares, numbers.tolist(), sizes.tolist()))


def run(paths: Paths, step: Step) -> None:
    ids, names, y, known = read_given_labels(paths)
    images = read_images(paths.images("train"))
    if images["id"] != ids:
        raise ValueError(
            f"{paths.labels} has {len(ids)} ids, {paths.images('train')} {len(images['id'])}, and they "
            f"differ; run: make check COMP={paths.comp}"
        )
    competition = load_competition(paths.competition)
    n, seed = competition.folds.n, competition.folds.seed
    own = read_own_folds(paths.own_folds)
    texts = None if competition.images else read_captions(paths.captions("train"))[1]
    fold, groups = make_folds(y, images["hash"], images["sha"], n, seed, competition.duplicates, own, texts)
    rows = zip(("id", *ids), ("fold", *fold.tolist()), ("group", *groups.tolist()), strict=True)
    step.stale[0].invalidate()
    write_csv(paths.folds, rows)
    write_json(paths.folds_record, step.stale[0].made_from)
    shares = label_shares(y, fold, known)
    if not in_run():  # there a stage prints one line
        show_shares(names, shares, fold)
    print(summary(paths, names, shares, fold, groups))
    if many := many_near_duplicates(ids, groups):
        print(f'warning: {many}; where they are unlike, set duplicates = "off" in {paths.competition}')


def summary(paths: Paths, names: Sequence[str], shares: np.ndarray, fold: np.ndarray, groups: np.ndarray) -> str:
    """A line: the folds, and where a label is spread least evenly; `shares` are `label_shares`."""
    numbers, counted = np.unique(fold, return_counts=True)
    sizes = counted.tolist()
    off = np.abs(shares[:, :-1] - shares[:, -1:])
    label, k = np.unravel_index(off.argmax(), off.shape)
    counts = np.bincount(groups)
    together = f"{len(counts)} groups" + (f", the largest of {counts.max()}" if counts.max() > 1 else "")
    return (
        f"{paths.folds}: {len(fold)} rows in {len(sizes)} folds of {min(sizes)} to {max(sizes)}; {together}; "
        f"largest difference: label {names[label]} in fold {numbers[k]}, {100 * off.max():.2f} points"
    )


def share_table(names: Sequence[str], shares: np.ndarray, numbers: Sequence[int], sizes: Sequence[int]) -> Table:
    """Labels x folds in percent of the rows, and the largest difference from the share in all rows, in points.

    numbers, sizes  of the folds
    """
    table = Table(title="rows that have the label, in %", title_justify="left")
    table.add_column("label")
    for k in numbers:
        table.add_column(f"fold {k}", justify="right")
    table.add_column("all", justify="right")
    table.add_column("largest difference", justify="right")
    for name, row in zip(names, 100 * shares, strict=True):
        off = row[:-1] - row[-1]
        cells = [f"{value:.2f}" for value in row] + [f"{off[np.abs(off).argmax()]:+.2f}"]
        table.add_row(Text(name), *cells)
    table.add_section()
    spread = max(sizes) - min(sizes)
    table.add_row("rows", *map(str, sizes), str(sum(sizes)), str(spread))
    return table
