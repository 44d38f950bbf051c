"""Training in a notebook at Kaggle, by `make kernel EXPS=`: ends in time, and goes on in the next session.

What it leaves in the folder of the notebook's output: RESULTS, the predictions of all that is trained, for
`make add-predictions ZIP=`, and, where it was stopped before the end, STATE. The next session finds that among its
input.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from threading import Timer

from tandem.artifacts.atomic_io import read_json, write_json
from tandem.artifacts.paths import Paths, inputs_dir
from tandem.artifacts.zip_file import files_below, write_zip
from tandem.config.competition import load_competition
from tandem.data.archive import unpack_zip
from tandem.data.kaggle_folders import ABOUT, find_competition
from tandem.graph.experiment_dir import Experiments
from tandem.runtime.leftovers import scratch_folder

PROJECT = "project"  # the folder of the dataset with settings, folds and code of the user
RESULTS, STATE = "tandem-results.zip", "tandem-state.zip"
RESULTS_RECORD = "results.json"  # in RESULTS
FOLDS = "folds.csv"  # in RESULTS
GRACE = 300  # seconds for the training to end, after it was told to
NOT_KEPT = ("pixels/", "costs.json")  # of build/C: made again


def train(dataset: Path, root: Path, hours: float, say: Callable[[str], object] = print) -> None:
    """Trains the experiments that the dataset names on the competition below `root`/input, for at most `hours`.

    Raises ValueError where the competition or the state of the last session is not found, RuntimeError where the
    training failed; what it made is written before.
    """
    about, out = read_json(dataset / ABOUT), root / "working"
    paths, names = Paths(about["competition"], root / "temp" / "tandem"), about["experiments"]
    prepare(paths, dataset / PROJECT, inputs_dir(root), say)
    status, in_time = run(paths, names, 3600 * hours, say)
    there = Experiments(paths)
    done = [name for name in names if there[name].is_trained and not there[name].why_not_current]
    write_results(paths, done, out / RESULTS)
    say(f"{out / RESULTS}: {', '.join(done) or 'no experiment is finished'}")
    if len(done) < len(names):
        write_zip(out / STATE, state_files(paths))
        say(f"{out / STATE}: what is trained of {', '.join(name for name in names if name not in done)}")
    if not in_time:
        say(f"{hours:g} hours are over; to go on, add the output of this notebook to its input, and run it again")
    elif status:
        raise RuntimeError(f"the training ended with status {status}, see above")
    if done:
        say(f"at home: make add-predictions COMP={paths.comp} ZIP={RESULTS}")


def prepare(paths: Paths, project: Path, inputs: Path, say: Callable[[str], object]) -> None:
    """Fills the project's folder: the state of the last session, then the settings of the dataset, then links to the
    files of the competition that these do not replace."""
    states = sorted(file for depth in range(4) for file in inputs.glob("*/" * depth + STATE))
    if len(states) > 1:
        raise ValueError(f"{STATE} is in {' and in '.join(str(one.parent) for one in states)}; detach all but one")
    if states and not paths.root.exists():  # else this session has gone on with it already
        unpack_zip(states[0], paths.root)
        say(f"going on from {states[0]}")
    shutil.copytree(project, paths.root, dirs_exist_ok=True)
    folder = find_competition(inputs, load_competition(paths.competition), "train")
    say(f"the competition is in {folder}")
    for name, file in files_below(folder):
        link = paths.input / name
        if not os.path.lexists(link):
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(file)


def run(paths: Paths, names: Sequence[str], seconds: float, say: Callable[[str], object]) -> tuple[int, bool]:
    """(exit status, whether it ended by itself) of the training, whose lines are passed on."""
    words = ["train", paths.comp, "--exps", " ".join(names), "DEVICE=auto"]  # competition.toml may name one at home
    command = [sys.executable, "-m", "tandem", *words]
    with subprocess.Popen(
        command, cwd=paths.root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        timers = Timer(seconds, process.send_signal, [signal.SIGTERM]), Timer(seconds + GRACE, process.kill)
        for timer in timers:
            timer.daemon = True
            timer.start()
        assert process.stdout is not None
        for line in process.stdout:
            say(line.rstrip("\n"))
        status = process.wait()
        in_time = not timers[0].finished.is_set()
        for timer in timers:
            timer.cancel()
    return status, in_time


def write_results(paths: Paths, names: Sequence[str], archive: Path) -> None:
    """A zip of the predictions of these experiments, and of the folds that they were trained on."""
    kept = {name: [file for file in (paths.oof(name), paths.test(name)) if file.exists()] for name in names}
    with scratch_folder() as work:
        record = {"competition": paths.comp, "experiments": {n: [f.name for f in files] for n, files in kept.items()}}
        write_json(work / RESULTS_RECORD, record)
        files = [(f"{name}/{file.name}", file) for name, of in kept.items() for file in of]
        write_zip(archive, [(RESULTS_RECORD, work / RESULTS_RECORD), (FOLDS, paths.folds), *files])


def state_files(paths: Paths) -> Iterator[tuple[str, Path]]:
    """All that a later session needs to go on: tables, folds, models with those that are half trained, predictions."""
    for folder in (paths.build, paths.folds.parent, paths.models_dir("."), paths.oof_dir):
        for name, file in files_below(paths.root, folder.relative_to(paths.root).as_posix()):
            inner = file.relative_to(folder).as_posix()
            if not (folder == paths.build and inner.startswith(NOT_KEPT)) and not file.name.endswith(".partial"):
                yield name, file
