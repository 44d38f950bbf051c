"""`tandem STAGE COMP` runs one stage; stages are named like the make targets. make's form `EXPS="a b"` works too."""

import argparse
import importlib
import os
import re
import shlex
import sys
import threading
from argparse import RawDescriptionHelpFormatter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import NoReturn

from tandem.runtime.duration import budget
from tandem.runtime.signals import Stopped, stop_on_signals
from tandem.runtime.wrong_values import WrongOption, WrongValue, command_with, nearest_first

STAGES = {
    "sample": "draw the competition that comes with the project",
    "new-model": "write a model of your own that works at once, to be changed",
    "import": "unpack a competition and infer competition.toml",
    "download": "fetch a competition from Kaggle and import it",
    "upload": "send a submission to Kaggle and wait for its score",
    "leaderboard": "your place at Kaggle, the scores around it, and what a medal needs",
    "journal": "every submission file so far: score, what changed, public score",
    "kernel": "notebooks and a dataset for a code competition, which run at Kaggle without internet",
    "compare": "two experiments, rows of the journal or CSV files: which is better, and where they differ",
    "final": "propose the two files for the final choice",
    "clean-history": "remove kept files of old submissions, never the journal",
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
    "clean": "remove all that was built for a competition, never its input",
    "clean-cache": "remove features and resized images, which are made again where they are needed",
}
DEFAULT = "sample"
BUILD = ("plan", "folds", "features", "train", "pseudo", "stack", "decode", "submit")  # take --exps and --stack
BUDGETED = ("plan", "train", "stack", "submit")
# NAME=1; NAME=0 is as without it
FLAGS = {"FAST", "AGAIN", "REMOVE", "DIFF", "DECODERS", "OPEN", "YES", "REMOTE", "PUSH"}
RENAMED = {"MESSAGE": "NOTE"}
MAKE_A_COMPETITION = ("sample", "import", "download", "new-model")  # run without one
# nothing is left undone where the output of these is not read to its end, but for an `UnfinishedRun`
PRINT = (*BUILD, "scores", "explain", "journal", "final")
NO_DEVICE = ("journal",)  # computes nothing: what chooses a device takes a third of its time to import
# every stage takes these; the variable of the environment that each sets, but for the device: see config/device.py
COMMON = {"DEVICE": "", "ENGINE": "TANDEM_ENGINE", "RAY_ADDRESS": "RAY_ADDRESS"}
GIVEN = "TANDEM_GIVEN"  # variable: those of make's command line, as NAME='value'; none where make has several goals
INTERRUPTED = 130  # 128 + SIGINT, as a shell counts
CLOSED_PIPE = 141  # 128 + SIGPIPE, as a shell counts
EXAMPLES = {
    "new-model": {"NAME": "mine"},
    "add-features": {"FILE": "clip.parquet", "NAME": "clip"},
    "blend": {"FILES": "a.csv b.csv"},
    "compare": {"A": "stack", "B": "1"},
}
EPILOG = """examples:
  tandem submit COMP=sample
  tandem report COMP=sample
  tandem predict COMP=sample IMAGES=photos OUT=labels.csv

tandem STAGE --help lists what a stage takes, as --exps NAMES or EXPS=NAMES."""
# read when a process starts: idle threads sleep instead of taking time from other processes
ENVIRONMENT = {"OMP_WAIT_POLICY": "PASSIVE"}


class Parser(argparse.ArgumentParser):
    """Errors are one line, in the words of make: what came, what a command takes, and a command that works."""

    words: Mapping[str, str] = {}  # what was given, as make spells it

    @property
    def takes(self) -> list[str]:
        """The names of all options, as make spells them."""
        options = (action.option_strings[-1] for action in self._actions if action.option_strings)
        return ["COMP", *(as_word(option) for option in options if option != "--help")]

    def error(self, message: str) -> NoReturn:
        stage, found = self.prog.split()[-1], re.sub(r"(--[a-z][a-z-]*)", lambda m: f"{as_word(m[1])}=", message)
        changed = EXAMPLES.get(stage, {})
        missing = re.findall(r"([A-Z_]+)=", found) if "are required" in message else []
        if missing:
            found = f"{stage} needs {' and '.join(f'{name}=' for name in missing)}"
        run = command_with(stage, self.words, {name: changed[name] for name in changed if name not in self.words})
        self.exit(2, f"error: {found}; {self.prog} takes {' '.join(f'{name}=' for name in self.takes)}; run: {run}\n")

    def refuse(self, unknown: Sequence[str]) -> NoReturn:
        """Ends with the message about words that this command does not take."""
        names = [as_word(word.partition("=")[0]) for word in unknown if word.startswith("--")]
        if not names:
            self.error(f"not expected: {' '.join(unknown)}")
        now = {name: new for name, new in RENAMED.items() if name in names and new in self.takes}
        alike = {name: close[0] for name in names if (close := get_close_matches(name, self.takes, 1))} | now
        kept = {name: value for name, value in self.words.items() if name not in names}
        kept |= {
            alike[name]: self.words[name]
            for name in names
            if self.words.get(name) and alike.get(name) not in (None, *kept)
        }
        listed = " ".join(f"{name}=" for name in nearest_first(now.get(names[0], names[0]), self.takes))
        came = " ".join(f"{name}={self.words.get(name, '')}" for name in names)
        stage = self.prog.split()[-1]
        run = command_with(stage, {**EXAMPLES.get(stage, {}), **kept}, {})
        self.exit(2, f"error: not expected: {came}; {self.prog} takes {listed}; run: {run}\n")


def as_word(option: str) -> str:
    """An option as make spells it.

    >>> as_word("--budget-mb")
    'BUDGET_MB'
    """
    return option.lstrip("-").upper().replace("-", "_")


def given_words(options: Sequence[str]) -> dict[str, str]:
    """{name as make spells it: value} of options; without empty values.

    >>> given_words(["train", "mini", "--exps", "a b", "--fast"])
    {'COMP': 'mini', 'EXPS': 'a b', 'FAST': '1'}
    """
    words, rest = {}, list(options[1:])
    while rest:
        word, _, value = rest.pop(0).partition("=")
        if not word.startswith("--"):
            words["COMP"] = word
        elif as_word(word) in FLAGS:
            words[as_word(word)] = "1"
        else:
            words[as_word(word)] = value or (rest.pop(0) if rest and not rest[0].startswith("--") else "")
    return {name: value for name, value in words.items() if value}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one stage; imports only that stage's module, so that light stages start at once."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    words = list(sys.argv[1:] if argv is None else argv)
    before, threading.excepthook = threading.excepthook, lambda caught: report_bug(words, caught.exc_value)
    try:
        with stop_on_signals():
            return run_command(words)
    except KeyboardInterrupt as error:
        with suppress(OSError):  # the terminal may be closed
            print("\nstopped; the same command continues from here", file=sys.stderr, flush=True)
        return error.status if isinstance(error, Stopped) else INTERRUPTED
    except Exception as error:
        return report_bug(words, error)
    finally:
        threading.excepthook = before


def run_command(words: Sequence[str]) -> int:
    """The exit status; raises KeyboardInterrupt, and what no command expects."""
    if "TRUST=1" in words:
        os.environ["TRUST"] = "1"  # see config/trusted_code.py
    argv, common = without_common([word for word in words if word != "TRUST=1"])
    os.environ.update({name: common[word] for word, name in COMMON.items() if name and word in common})
    argv = as_options(argv)
    parser, commands, module = make_parser(argv)
    try:
        if argv and argv[0] in commands and any(word == "--" or word.endswith("=--") for word in argv):
            commands[argv[0]].error("-- is no value")  # argparse would take it for an empty list
        args, unknown = parser.parse_known_args(argv)
        unknown += not_taken(commands[args.stage])
        if unknown:
            commands[args.stage].refuse(unknown)
        status = run_on_device(module, args, common.get("DEVICE", ""))
        sys.stdout.flush()
        return status
    except WrongOption as error:
        return refused(argv, error.wrong)
    except WrongValue as error:
        return refused(argv, error)
    except BrokenPipeError as error:  # the reader, such as head, has read enough
        from tandem.runtime.progress import UnfinishedRun

        for stream in (sys.stdout, sys.stderr):  # what is left in their buffers is written at exit
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return 0 if args.stage in PRINT and not isinstance(error, UnfinishedRun) else CLOSED_PIPE
    except (ValueError, OSError) as error:  # OSError: no such file, no permission, a full disk
        from tandem.runtime.disk import about_disk

        asked = str(error).startswith("question: ")
        print(error if asked else f"error: {about_disk(error) or error}", file=sys.stderr)
        return 2


def report_bug(words: Sequence[str], error: BaseException | None) -> int:
    """Prints what happened and where to report it, without a traceback; the exit status."""
    from tandem.artifacts.paths import bug_reports
    from tandem.runtime.bug_report import answer

    message, status = answer(error or RuntimeError("unknown"), words, bug_reports(Path()))
    print(message, file=sys.stderr)
    return status


def make_parser(argv: Sequence[str]) -> tuple[Parser, Mapping[str, Parser], ModuleType | None]:
    """The parser, that of each stage, and the module of the stage that is wanted; ends where there is no such stage."""
    parser = Parser(prog="tandem", description=__doc__, epilog=EPILOG, formatter_class=RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="stage", required=True, metavar="STAGE")
    wanted = next((word for word in argv if not word.startswith("-")), None)
    if wanted is not None and wanted not in STAGES:
        near = nearest_first(wanted, list(STAGES))
        run = command_with(near[0], given_words(argv), {})
        parser.exit(2, f"error: {wanted!r} is no target; there are: {', '.join(map(repr, near))}; run: {run}\n")
    module = None
    for name, summary in STAGES.items():
        command = commands.add_parser(name, help=summary, description=summary)
        command.words = given_words(argv)
        command.add_argument("comp", nargs="?", default=DEFAULT, help=f"a folder in input/ (default: {DEFAULT})")
        if name in BUILD:
            command.add_argument(
                "--exps", default="", help='sets and experiments, such as quick or "fusion text_minilm"'
            )
            command.add_argument(
                "--stack", default="stack", help="a name of your own keeps several stacks side by side"
            )
        if name in BUDGETED:
            command.add_argument("--budget", type=budget, help="train what fits into this time: 90s, 20m, 1h")
        if name == wanted:
            file = name.replace("-", "_") + ("_" if name == "import" else "")
            module = importlib.import_module(f"tandem.stages.{file}")
            if hasattr(module, "add_arguments"):
                module.add_arguments(command)
    return parser, commands.choices, module


def without_common(argv: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """The other words, and {name: value} of those that every stage takes.

    >>> without_common(["train", "COMP=x", "DEVICE=cpu"]), without_common(["train", "--engine", "ray"])
    ((['train', 'COMP=x'], {'DEVICE': 'cpu'}), (['train'], {'ENGINE': 'ray'}))
    """
    rest, common, words = [], {}, iter(argv)
    for word in words:
        name, given, value = word.partition("=")
        name = as_word(name) if word.startswith("--") else name if given else ""
        if name in COMMON:
            common[name] = value if given else next(words, "")
        else:
            rest.append(word)
    return rest, common


def run_on_device(module: ModuleType | None, args: argparse.Namespace, device: str) -> int:
    if args.stage in NO_DEVICE and not device:
        return run_stage(module, args)
    from tandem.config.device import chosen_device
    from tandem.runtime.resources import by_torchrun

    with chosen_device(args.comp, device):
        if by_torchrun():
            from tandem.training.torchrun import run_by_all

            return run_by_all(lambda: run_stage(module, args))
        return run_stage(module, args)


def run_stage(module: ModuleType | None, args: argparse.Namespace) -> int:
    """Runs a stage; those without a `main` are tasks of the graph. An error where there is no such competition is about
    that."""
    try:
        if main_of_stage := getattr(module, "main", None):
            return main_of_stage(args) or 0
        from tandem.stages._run import bring_up_to_date

        limit = getattr(args, "budget", None)
        bring_up_to_date(args.comp, args.stage, args.exps, stack=args.stack, budget=limit)
        return 0
    except (ValueError, OSError):
        if args.stage not in MAKE_A_COMPETITION and not getattr(args, "bundle", None):
            from tandem.config.competition import require_competition

            require_competition(args.comp)
        raise


def not_taken(command: Parser) -> list[str]:
    """Variables of make's command line that the stage does not take, as options; make itself would pass them over."""
    given = (word.partition("=") for word in shlex.split(os.environ.pop(GIVEN, "")))
    found = {name.upper(): value for name, _, value in given if name not in command.takes}
    command.words = {**command.words, **found}
    return [f"--{name}" for name in found]


def refused(argv: Sequence[str], error: WrongValue) -> int:
    """Prints the error, and the same command with words that work."""
    run = f"; run: {command_with(argv[0], given_words(argv), error.changed)}" if error.changed else ""
    print(f"error: {error}{run}", file=sys.stderr)
    return 2


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
