"""Compare: oof/C/{A,B}, history/C, submissions/C or CSV files -> the paired difference, printed, and a page.

A and B are each an experiment, a row of the journal (its number, or the start of its digest) or a CSV file.
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from tandem.artifacts.paths import Paths
from tandem.config.competition import require_competition
from tandem.runtime.console import make_console
from tandem.runtime.tables import Column, fitting, table_of
from tandem.stages._links import loading, show_link

if TYPE_CHECKING:
    from tandem.report.pair import LabelChange

LISTED = 20  # labels printed


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--a", required=True, help="an experiment, a row of the journal, its digest, or a CSV file")
    parser.add_argument("--b", required=True, help="the other one")
    parser.add_argument("--open", action="store_true", help="open the page in the browser")


def main(args: Namespace) -> None:
    require_competition(args.comp)
    loading(f"the predictions of {args.a} and {args.b}")
    from tandem.artifacts.atomic_io import write_text
    from tandem.graph.experiment_dir import Experiments
    from tandem.report.compare_page import read_comparison, render
    from tandem.report.sides import find_side

    paths = Paths(args.comp)
    experiments = Experiments(paths)
    a, b = (find_side(name, text, experiments) for name, text in (("A", args.a), ("B", args.b)))
    found = read_comparison(experiments, a, b)
    for line in found.lines:
        print(line)
    console = make_console()
    for part in found.parts:
        changed = [one for one in part.pair.labels if one.only_a or one.only_b][:LISTED]
        if changed:
            console.print(label_table(part.title, a.title, b.title, changed, console.width))
    file = write_text(paths.comparison(args.a, args.b), render(found))
    show_link(file.resolve().as_uri(), getattr(args, "open", False))


def label_table(title: str, a: str, b: str, labels: "Sequence[LabelChange]", width: int) -> Table:
    """F of each label, where answers are known, and the rows that have it in one of the two only."""
    names = [escape(one.name) for one in labels]
    columns = [Column("only A", 0, [f"{one.only_a:,}" for one in labels])]
    columns.append(Column("only B", 1, [f"{one.only_b:,}" for one in labels]))
    of_both, gains = [one.f for one in labels if one.f], [one.gain for one in labels if one.gain]
    if gains:
        columns += [Column(f"F of {side}", 4 + i, [f"{f[i]:.4f}" for f in of_both]) for i, side in enumerate("AB")]
        texts = [f"{gain.gain:+.4f} ({gain.low:+.4f} to {gain.high:+.4f})" for gain in gains]
        columns.append(Column("B - A, paired 95 %", 2, texts))
        columns.append(Column("verdict", 3, [gain.verdict for gain in gains]))
    caption = f"A: {escape(a)}; B: {escape(b)}; only A, only B: rows that have the label in one of them"

    return table_of(title, caption, names, fitting(columns, names, width), [""] * len(names), "label")
