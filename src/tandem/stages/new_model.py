"""New model: NAME -> my_NAME.py, configs/NAME.toml, tests/test_my_NAME.py: a model of your own that works at once.

It reads the features of images and captions, of a competition that lacks one of them those of the other.
"""

import re
from argparse import ArgumentParser, Namespace
from pathlib import Path
from string import Template

from tandem.artifacts.atomic_io import write_text
from tandem.artifacts.paths import Paths
from tandem.config.competition import load_competition
from tandem.config.sets import load_sets
from tandem.config.toml_files import config_files
from tandem.graph.keys import STACK

TEMPLATES = Path(__file__).parent / "templates"
NAME = re.compile(r"[a-z][a-z0-9_]{0,30}")
BOTH = {"image", "caption"}


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--name", required=True, help="of the experiment, such as mine: my_mine.py, configs/mine.toml")


def main(args: Namespace) -> None:
    paths, name = Paths(args.comp), args.name
    reads = load_competition(paths.competition).reads if paths.competition.exists() else BOTH
    files = model_files(name, reads)
    if there := [file for file in files if (paths.root / file).exists()]:
        raise ValueError(f"NAME={name}: {there[0]} exists; nothing is written: choose another name, or remove it")
    files_there = config_files(paths.configs)
    if name in (STACK, *files_there, *load_sets(paths.configs, files_there)):
        raise ValueError(f"NAME={name}: there is an experiment or a set of this name already; choose another")
    for file, text in files.items():
        write_text(paths.root / file, text)
    comp = "" if args.comp == "sample" else f" COMP={args.comp}"
    print(*files, sep="\n")
    print(f'next: make train EXPS={name}{comp}, or make submit EXPS="{name} text_tfidf"{comp}; docs/your-own-model.md')


def model_files(name: str, reads: set[str] | frozenset[str]) -> dict[str, str]:
    """Name and text of each file of a new model that reads these modalities; raises ValueError for another name."""
    if not NAME.fullmatch(name):
        form = "lower-case letters, digits and '_', starting with a letter, at most 31"
        raise ValueError(f"NAME={name!r}: expected {form}")
    inputs = ", ".join(f'"{kind}": {{}}' for kind in ("image", "caption") if kind in reads)
    words = {"name": name, "class_name": name.title().replace("_", ""), "inputs": f"{{{inputs}}}"}
    files = {f"my_{name}.py": "model", f"configs/{name}.toml": "config", f"tests/test_my_{name}.py": "test"}
    return {file: filled(template, words) for file, template in files.items()}


def filled(template: str, words: dict[str, str]) -> str:
    return Template((TEMPLATES / f"{template}.txt").read_text(encoding="utf-8")).substitute(words)
