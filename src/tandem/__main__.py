"""`tandem STAGE COMP` runs one stage; stages are named like the make targets. make's form `EXPS="a b"` works too."""

import argparse
import importlib
import os
import re
import sys
from collections.abc import Sequence
from typing import NoReturn

STAGES = {
    "sample": "draw the competition that comes with the project",
    "new-model": "write a model of your own that works at once, to be changed",
    "import": "unpack a competition and infer competition.toml",
    "plan": "print what a target would run, and why, without running it",
    "check": "look at every row and every image before any training",
    "folds": "split the training rows",
    "features": "compute frozen image and caption features",
    "train": "fit every experiment and fold, score out of fold",
    "pseudo": "train the experiments that learn from unlabelled rows too",
    "stack": "fit the second level on out-of-fold predictions",
    "decode": "tune thresholds and score every experiment",
    "submit": "the whole pipeline: write and validate a submission",
    "seeds": "the same experiment with further seeds as one, and what it gains",
    "predict": "label a folder of new images",
    "bundle": "pack what labelling needs into one zip",
    "explain": "show why one image got its labels",
    "serve": "a page on this machine that labels photos",
    "tune": "search settings of an experiment, and measure what they gain",
    "add-features": "add features that you computed elsewhere, joined by id",
    "blend": "blend submission files, from anywhere",
    "ablation": "train a fusion network without each of its parts and compare",
    "add-predictions": "add out-of-fold and test predictions that were made elsewhere",
    "scores": "print the out-of-fold table",
    "review": "look at suspect labels one by one, and correct them",
    "report": "write one HTML page about a submission",
}
DEFAULT = "sample"
BUILD = ("plan", "folds", "features", "train", "pseudo", "stack", "decode", "submit")  # take --exps and --jobs
FLAGS = {"FAST", "AGAIN", "REMOVE", "DIFF", "DECODERS", "OPEN"}  # NAME=1; NAME=0 is as without it
# read when a process starts: idle threads sleep instead of taking time from other processes, and glibc keeps the
# memory of large tensors for the next training step
ENVIRONMENT = {
    "OMP_WAIT_POLICY": "PASSIVE",
    "MALLOC_MMAP_THRESHOLD_": "1073741824",
    "MALLOC_TRIM_THRESHOLD_": "8589934592",
}


class Parser(argparse.ArgumentParser):
    """Errors are one line that says what a command takes."""

    def error(self, message: str) -> NoReturn:
        options = (action.option_strings[-1] for action in self._actions if action.option_strings)
        names = [option[2:].upper().replace("-", "_") + "=" for option in options if option != "--help"]
        takes = f"; {self.prog} takes COMP= {' '.join(names)}" if names else ""
        self.exit(2, f"error: {message}{takes}; {self.prog} --help says more\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one stage; imports only that stage's module, so that light stages start at once."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    argv = list(sys.argv[1:] if argv is None else argv)
    if "TRUST=1" in argv:
        argv.remove("TRUST=1")
        os.environ["TRUST"] = "1"  # see config/trusted_code.py
    argv = as_options(argv)
    parser = Parser(prog="tandem", description=__doc__)
    commands = parser.add_subparsers(dest="stage", required=True, metavar="STAGE")
    wanted = next((word for word in argv if not word.startswith("-")), None)
    for name, summary in STAGES.items():
        command = commands.add_parser(name, help=summary, description=summary)
        command.add_argument("comp", nargs="?", default=DEFAULT, help=f"a folder in input/ (default: {DEFAULT})")
        if name in BUILD:
            command.add_argument("--exps", default="", help='experiments, such as "image_lite0 text_minilm"')
            command.add_argument(
                "--stack", default="stack", help="a name of your own keeps several stacks side by side"
            )
            command.add_argument("--jobs", type=int, default=1, help="tasks that run at once; no result depends on it")
        if name == wanted:
            file = name.replace("-", "_") + ("_" if name == "import" else "")
            module = importlib.import_module(f"tandem.stages.{file}")
            if hasattr(module, "add_arguments"):
                module.add_arguments(command)
    args, unknown = parser.parse_known_args(argv)
    if unknown:
        commands.choices[args.stage].error(f"not expected: {' '.join(unknown)}")
    try:
        if hasattr(module, "main"):
            return module.main(args) or 0
        from tandem.stages._run import bring_up_to_date

        bring_up_to_date(args.comp, args.stage, args.exps, args.jobs, stack=args.stack)
        return 0
    except (ValueError, OSError) as error:  # OSError: no such file, no permission, a full disk
        asked = str(error).startswith("question: ")
        print(error if asked else f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped; the same command continues from here", file=sys.stderr)
        return 130


def as_options(words: Sequence[str]) -> list[str]:
    """Arguments in make's form as options; `COMP=x` becomes the positional argument.

    >>> as_options(["submit", "COMP=coco19", "EXPS=a b", "BUDGET_MB=50"])
    ['submit', 'coco19', '--exps', 'a b', '--budget-mb', '50']
    """
    out, comp = [], []
    for word in words:
        match = re.fullmatch(r"([A-Z][A-Z_]*)=(.*)", word, re.DOTALL)
        if match is None:
            out.append(word)
        elif match[1] == "COMP":
            comp = [match[2]]
        elif match[1] in FLAGS:
            out += [f"--{match[1].lower()}"] if match[2] not in ("", "0") else []
        else:
            out += [f"--{match[1].lower().replace('_', '-')}", match[2]]
    return [*out[:1], *comp, *out[1:]]


if __name__ == "__main__":
    sys.exit(main())
