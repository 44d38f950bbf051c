"""Report: oof/C, submissions/C, models/C/*/fold<k>.json, build/C, folds/C.csv, features/C -> reports/C/index.html.

Nothing is trained for it; what is missing is printed with the command that makes it.
"""

import time
from argparse import ArgumentParser, Namespace

from tandem.artifacts.paths import Paths
from tandem.config.competition import require_competition
from tandem.stages._links import loading, show_link


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--exp", default="", help="the experiment to report on (default: the stack, else the best)")
    parser.add_argument("--open", action="store_true", help="open the page in the browser")


def main(args: Namespace) -> None:
    start = time.perf_counter()
    require_competition(args.comp)
    loading(f"the predictions and scores of {args.comp}")
    from tandem.artifacts.atomic_io import write_text
    from tandem.graph.experiment_dir import Experiments
    from tandem.report.collect import gather
    from tandem.report.page import build
    from tandem.stages._tracking import track

    paths = Paths(args.comp)
    experiments = Experiments(paths)
    data = gather(experiments, args.exp)
    html = build(data)
    file = write_text(paths.report, html)
    for what, command in data.missing:
        print(f"not in it: {what}; run: {command}")
    about = data.focus.name if data.focus else "the data alone"
    size, seconds = file.stat().st_size / 1e6, time.perf_counter() - start
    print(f"{file}: {about}, {size:.1f} MB in {seconds:.1f} s")
    track(paths, [one.name for one in experiments.scored()], file, data.focus.name if data.focus else "")
    show_link(file.resolve().as_uri(), getattr(args, "open", False))
