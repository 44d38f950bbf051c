"""Folds: build/C/{train.labels.parquet,train.images.parquet,folds.json} -> folds/C.csv (id, fold, group)."""

import csv
import io
from collections.abc import Sequence

import numpy as np
from rich.table import Table
from rich.text import Text

from tandem.artifacts.atomic_io import read_json, write_text
from tandem.artifacts.paths import Paths
from tandem.data.folds import assign_folds, label_shares
from tandem.data.near_duplicates import group_near_duplicates as group
from tandem.data.split_tables import read_images, read_labels
from tandem.runtime.console import make_console


def to_csv(ids: Sequence[str], fold: np.ndarray, groups: np.ndarray) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("id", "fold", "group"))
    writer.writerows(zip(ids, fold.tolist(), groups.tolist(), strict=True))
    return text.getvalue()


def share_table(names: Sequence[str], shares: np.ndarray, sizes: Sequence[int]) -> Table:
    """Labels x folds in percent of the rows, and the fold furthest from the share in all rows, in points."""
    table = Table(title="rows that have the label, in %", title_justify="left")
    table.add_column("label")
    for k in range(len(sizes)):
        table.add_column(f"fold {k}", justify="right")
    table.add_column("all", justify="right")
    table.add_column("worst", justify="right")
    for name, row in zip(names, 100 * shares, strict=True):
        off = row[:-1] - row[-1]
        cells = [f"{value:.2f}" for value in row] + [f"{off[np.abs(off).argmax()]:+.2f}"]
        table.add_row(Text(name), *cells)
    table.add_section()
    spread = max(sizes) - min(sizes)
    table.add_row("rows", *map(str, sizes), str(sum(sizes)), str(spread))
    return table


def add_arguments(parser) -> None:
    del parser  # --comp says it all


def main(args) -> None:
    paths = Paths(args.comp)
    needed = (paths.labels, paths.images("train"), paths.folds_config)
    missing = [str(path) for path in needed if not path.exists()]
    if missing:
        raise FileNotFoundError(f"no {', '.join(missing)}; run: make folds COMP={args.comp}")
    ids, names, y = read_labels(paths.labels)
    images = read_images(paths.images("train"))
    if images["id"] != ids:
        raise ValueError(
            f"{paths.labels} has {len(ids)} ids, {paths.images('train')} {len(images['id'])}, and they "
            f"differ; run: make check COMP={args.comp}"
        )
    config = read_json(paths.folds_config)
    groups = group(images["hash"], images["sha"])
    fold = assign_folds(y, groups, config["n"], config["seed"])
    write_text(paths.folds, to_csv(ids, fold, groups))

    shares = label_shares(y, fold, config["n"])
    sizes = np.bincount(fold, minlength=config["n"]).tolist()
    make_console().print(share_table(names, shares, sizes))
    off = np.abs(shares[:, :-1] - shares[:, -1:])
    label, k = np.unravel_index(off.argmax(), off.shape)
    counts = np.bincount(groups)
    together = f"{len(counts)} groups" + (f", the largest of {counts.max()}" if counts.max() > 1 else "")
    print(
        f"{paths.folds}: {len(ids)} rows in {config['n']} folds of {min(sizes)} to {max(sizes)}; {together}; "
        f"worst share: label {names[label]} in fold {k}, {100 * off.max():.2f} points off"
    )
