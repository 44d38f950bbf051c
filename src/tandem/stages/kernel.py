"""Kernel: bundles/C.zip, made anew (or BUNDLE) -> kernels/C/: notebooks for Kaggle, and their dataset.

predict.ipynb labels the test of a code competition; with EXPS= train.ipynb trains these experiments there. They run
without internet: the dataset has the bundle, settings, folds, the code, the wheels that the image there lacks, and the
licences.
"""

import re
import shutil
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

import numpy as np

from tandem import __version__
from tandem.artifacts.atomic_io import write_json
from tandem.artifacts.paths import Paths, local_path
from tandem.bundling.kaggle_dataset import Labelling, Training, needs_internet, write_dataset
from tandem.bundling.kaggle_wheels import RENEW, read_image
from tandem.config.competition import require_competition
from tandem.data.labelled_rows import read_labelled_rows
from tandem.kaggle_client.client import connect
from tandem.kaggle_client.credentials import find_credentials
from tandem.kaggle_client.push import DATASET, KERNEL, push_dataset, push_kernel, wait_for_dataset
from tandem.runtime.leftovers import scratch_folder
from tandem.runtime.wrong_values import WrongValue, command_with
from tandem.stages._kaggle import slug_of
from tandem.stages._run import bring_up_to_date, open_graph
from tandem.training.kaggle_session import RESULTS

TEMPLATES = Path(__file__).parent / "templates"
OWNER = "OWNER"  # in the files, until OWNER= says who it is
LONGEST = 50  # characters of a title or slug at Kaggle
TRAIN = "train"  # the folder of the second notebook's metadata: Kaggle's own command reads one notebook a folder
NOTHING_TRAINED = "; nothing is trained here yet, so there is no predict.ipynb"


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--exps", default="", help="write train.ipynb too, which trains these there; PUSH=1 sends it")
    parser.add_argument("--bundle", type=local_path, help="FILE.zip of make bundle; default: it is made anew")
    parser.add_argument(
        "--trust", default="", help="with BUNDLE=: the digest of its own Python code, which is run then"
    )
    parser.add_argument("--exp", default="", help="bundle this experiment, as in make bundle")
    parser.add_argument("--budget-mb", default="", help="largest size of the bundle, as in make bundle")
    parser.add_argument("--push", action="store_true", help="send dataset and notebook to Kaggle")
    parser.add_argument("--owner", default="", help="your user name at Kaggle")
    parser.add_argument("--slug", default="", help="where competition.toml has none: of its address at Kaggle")


def main(args: Namespace) -> None:
    require_competition(args.comp)
    if args.bundle and (args.exp or args.budget_mb):
        raise WrongValue(f"BUNDLE={args.bundle} is made already: expected no EXP= or BUDGET_MB=", {"BUNDLE": ""})
    owner = args.owner or known_owner(args.push)
    paths = Paths(args.comp)
    slug, image = slug_of(paths, args.slug), read_image(paths.configs, TEMPLATES / "kaggle_image.json")
    training = wanted_training(paths, args.exps) if args.exps else None
    labelling = None
    if not training or args.bundle or any(paths.oof_dir.glob("*/run.json")):
        bundle = args.bundle or bundled(paths, args)
        labelling = Labelling(bundle, args.trust if args.bundle else None)
    rows = read_labelled_rows(paths)
    about = {"competition": args.comp, "rates": dict(zip(rows.names, rates(rows.y, rows.known), strict=True))}
    new = paths.kernel.with_name(f".{args.comp}.new")
    shutil.rmtree(new, ignore_errors=True)
    try:
        wheels = write_dataset(new / "dataset", about, image, labelling, training)
        name = kaggle_name(args.comp)
        write_json(new / "dataset" / DATASET, dataset_metadata(owner, name))
        if labelling:
            shutil.copyfile(TEMPLATES / "predict.ipynb", new / "predict.ipynb")
            write_json(new / KERNEL, kernel_metadata(owner, name, slug, "predict"))
        if training:
            shutil.copyfile(TEMPLATES / "train.ipynb", new / "train.ipynb")
            write_json(new / TRAIN / KERNEL, training_metadata(owner, name, slug, training))
        shutil.rmtree(paths.kernel, ignore_errors=True)
        new.rename(paths.kernel)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    mb = sum(file.stat().st_size for file in paths.kernel.rglob("*") if file.is_file()) / 2**20
    listed = f"; wheels: {', '.join(wheels)}" if wheels else "; no wheels"
    print(f"{paths.kernel}: {mb:.1f} MB{listed} (what the image at Kaggle lacks, by the list {image.about})")
    print(RENEW)
    if training:
        print(f"train.ipynb trains {', '.join(training.experiments)}" + ("" if labelling else NOTHING_TRAINED))
    if args.push:
        push(paths.kernel, paths.kernel / TRAIN if training else paths.kernel, slug)
        return
    if owner == OWNER:
        print(f"its metadata say {OWNER} for your user name at Kaggle; OWNER=name writes it there")
    print(f"next: {push_command(args)}, which sends dataset and notebook to Kaggle")


def push_command(args: Namespace) -> str:
    """The same command with PUSH=1."""
    names = ("comp", "exps", "bundle", "trust", "exp", "budget_mb", "owner", "slug")
    return command_with("kernel", {name.upper(): str(getattr(args, name) or "") for name in names}, {"PUSH": "1"})


def wanted_training(paths: Paths, exps: str) -> Training:
    """The experiments of EXPS, with the folds made; raises ValueError where one has no models."""
    bring_up_to_date(paths.comp, "folds")
    graph = open_graph(paths)
    experiments = {name: graph.trainable(name) for name in graph.chosen(exps.split())}
    return Training(paths, graph.competition, experiments)


def known_owner(needed: bool) -> str:
    """The user name of the credentials; raises WrongValue where they have none, and it is needed."""
    try:
        name = find_credentials().username
    except (ValueError, OSError):  # none, or a session that cannot be renewed offline
        if needed:
            raise
        name = None
    if not name and needed:
        raise WrongValue("PUSH=1 needs OWNER=, your user name at Kaggle: a token does not tell it", {"OWNER": "user"})
    return name or OWNER


def push(folder: Path, notebook: Path, slug: str) -> None:
    """Sends the dataset, waits until Kaggle has unpacked it, then sends the notebook whose metadata are in the folder
    `notebook`."""
    with connect(slug) as kaggle, scratch_folder() as work:
        print(f"dataset: {push_dataset(kaggle, folder / 'dataset', work, f'Tandem {__version__}')}", flush=True)
        wait_for_dataset(kaggle, folder / "dataset")
        print(f"notebook: {push_kernel(kaggle, notebook)}")
    if notebook.name == TRAIN:
        add = f"make add-predictions COMP={folder.name} ZIP={RESULTS}"
        print(f"next: once it has run, download its {RESULTS}, then: {add}")
    else:
        print("next: open the notebook once it has run, and submit its submission.csv there")


def bundled(paths: Paths, args: Namespace) -> Path:
    """The bundle, made by `make bundle`."""
    options = [*(["--exp", args.exp] if args.exp else []), *(["--budget-mb", args.budget_mb] if args.budget_mb else [])]
    if subprocess.run([sys.executable, "-m", "tandem", "bundle", args.comp, *options]).returncode:
        raise ValueError("the bundle could not be made, see above")
    return paths.bundle


def rates(y: np.ndarray, known: np.ndarray | None) -> list[float]:
    """(c,) the share of the training rows that have each label, of those where it is known."""
    n = len(y) if known is None else known.sum(0)
    return (y.sum(0) / np.maximum(n, 1)).tolist()


def kaggle_name(comp: str) -> str:
    """Of the dataset, and what the notebooks' names begin with: as Kaggle makes it from a title.

    >>> kaggle_name("birds__of_paris_")
    'tandem-birds-of-paris'
    """
    return re.sub("[-_]+", "-", f"tandem-{comp}")[: LONGEST - len("-predict")].rstrip("-")


def dataset_metadata(owner: str, name: str) -> dict[str, Any]:
    return {"title": name.replace("-", " "), "id": f"{owner}/{name}", "licenses": [{"name": "other"}]}


def kernel_metadata(owner: str, name: str, slug: str, does: str) -> dict[str, Any]:
    """As Kaggle's own command reads it: the title must give the slug."""
    return {
        "id": f"{owner}/{name}-{does}",
        "title": f"{name}-{does}".replace("-", " "),
        "code_file": f"{does}.ipynb",
        "language": "python",
        "kernel_type": "notebook",
        "is_private": True,
        "enable_gpu": False,
        "enable_internet": False,
        "dataset_sources": [f"{owner}/{name}"],
        "competition_sources": [slug],
        "kernel_sources": [],
    }


def training_metadata(owner: str, name: str, slug: str, training: Training) -> dict[str, Any]:
    """Its notebook lies in the folder above. It may use the internet where weights come from a hub: it is not what is
    submitted to the competition."""
    online = any(map(needs_internet, training.experiments.values()))
    changed = {"code_file": f"../{TRAIN}.ipynb", "enable_gpu": True, "enable_internet": online}
    return kernel_metadata(owner, name, slug, TRAIN) | changed
