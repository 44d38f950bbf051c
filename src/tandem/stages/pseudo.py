"""Pseudo: unlabelled rows and trained teachers -> oof/C/E/* of every experiment that has a [pseudo] section."""

from argparse import Namespace

from tandem.artifacts.paths import Paths
from tandem.report.scores_table import show_scores
from tandem.stages._run import bring_up_to_date, open_graph


def main(args: Namespace) -> None:
    paths = Paths(args.comp)
    students = [name for name, e in open_graph(paths).experiments.items() if e.teacher]
    if not students:
        raise ValueError("no experiment in configs/ has a [pseudo] section that fits this competition")
    bring_up_to_date(args.comp, "train", args.exps or students)
    show_scores(paths)
