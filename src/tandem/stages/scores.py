"""Scores: oof/C/*/{scores,run}.json, submissions/C/*.json -> a table in the terminal, best first."""

from argparse import Namespace

from tandem.artifacts.paths import Paths
from tandem.report.scores_table import show_scores


def main(args: Namespace) -> None:
    show_scores(Paths(args.comp))
