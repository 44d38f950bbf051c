"""Download: a competition at Kaggle -> build/C/download.zip -> input/C with competition.toml, by import.

Its slug, and the metric that its page names where that is one of ours, are written there.
"""

import subprocess
import sys
from argparse import ArgumentParser, Namespace
from typing import Any

from tandem.artifacts.paths import Paths
from tandem.config.import_record import read_inferred
from tandem.config.questions import OPEN, flat
from tandem.config.toml_files import parse_toml
from tandem.graph.lock import only_run
from tandem.kaggle_client.client import connect
from tandem.kaggle_client.download import discard, download
from tandem.kaggle_client.metric_of_page import metric_of_page, needs_beta
from tandem.runtime.wrong_values import WrongValue
from tandem.sample import NAME as SAMPLE
from tandem.stages._kaggle import slug_of


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--slug", default="", help="the last part of the competition's address at Kaggle")


def main(args: Namespace) -> int:
    paths = Paths(args.comp)
    if paths.comp == SAMPLE:
        slug = args.slug or "kaggle-slug"
        name = slug.rstrip("/").split("/")[-1].replace("-", "_")
        raise WrongValue(f"{SAMPLE!r} is the competition that comes with Tandem", {"SLUG": slug, "COMP": name})
    slug = slug_of(paths, args.slug)
    with only_run(paths), connect(slug) as kaggle:
        about = kaggle.competition()
        print(f"{about.title or slug}: {kaggle.page}", flush=True)
        file = download(kaggle, paths.downloaded)
    print(f"{file.stat().st_size:,} bytes downloaded", flush=True)
    answers = {"slug": kaggle.slug} | metric_answers(paths, about.evaluation_metric)
    given = " ".join(f"{key}={value}" for key, value in answers.items())
    command = [sys.executable, "-m", "tandem", "import", args.comp, "--zip", str(file), "--set", given]
    status = subprocess.run(command).returncode
    if status == 0:
        discard(file)  # its files are in input/
    return status


def metric_answers(paths: Paths, named: str) -> dict[str, Any]:
    """The keys of competition.toml that the metric's name at Kaggle answers; a metric that the user set stays."""
    found = metric_of_page(named)
    own = flat(parse_toml(paths.competition)) if paths.competition.exists() else {}
    metric = own.get("metric", OPEN)
    if metric not in (OPEN, read_inferred(paths)[0].get("metric")):
        if found and found["metric"] != metric:
            print(f"note: Kaggle names the metric {named!r}, which is {found['metric']}; {metric}, your own, stays")
        return {}
    if not found:
        print(f"note: Kaggle names the metric {named!r}: no metric here has this name")
        return {"metric": OPEN}
    print(f"metric: {found['metric']}, Kaggle's {named!r}")
    if needs_beta(named):
        print(f'note: the page says which beta; then run: make import COMP={paths.comp} SET="beta=2"')
    return found
