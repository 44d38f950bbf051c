"""Scores: oof/C/*/{scores,run}.json, submissions/C/*.json -> a table in the terminal, best first."""

from argparse import ArgumentParser, Namespace

from tandem.artifacts.paths import Paths
from tandem.report.scores_table import show_scores


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--decoders", action="store_true", help="also every decoder's scores, and the thresholds")


def main(args: Namespace) -> None:
    show_scores(Paths(args.comp), getattr(args, "decoders", False))
