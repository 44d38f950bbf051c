"""Explain: one image, models/C/E/*, oof/C/{E,stack}/* -> reports/C/explain/ID.html, and the same in the terminal."""

from rich.console import Console

from tandem.artifacts.atomic_io import write_text
from tandem.artifacts.paths import Paths
from tandem.explain.explain_image import explain_image
from tandem.explain.explanation import default_experiment
from tandem.explain.page import render
from tandem.explain.terminal import lines


def add_arguments(parser) -> None:
    parser.add_argument("--id", required=True, help="the image, as train.csv or test.csv names it")
    parser.add_argument(
        "--exp", help="the experiment that is asked; without: fusion, or another that says why"
    )


def main(args) -> None:
    paths = Paths(args.comp)
    found = explain_image(paths, args.id, args.exp or default_experiment(paths) or "fusion")
    page = write_text(paths.explanation(args.id), render(found))
    console = Console()
    console = console if console.is_terminal else Console(width=120)
    for line in lines(found, console.width):
        console.print(line)
    print(page)
