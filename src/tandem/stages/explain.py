"""Explain: one image, models/C/E/*, oof/C/{E,stack}/* -> reports/C/explain/ID.EXP.html, the same in the terminal."""

from argparse import ArgumentParser, Namespace

from tandem.artifacts.paths import Paths
from tandem.config.competition import require_competition
from tandem.stages._links import loading, show_link

REPORT = "../index.html"  # from the page of an image


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--id", default="", help="the image: its id, or the name of its file")
    parser.add_argument("--exp", help="an experiment whose logits are sums of terms (default: fusion, else the first)")
    parser.add_argument("--open", action="store_true", help="open the page in the browser")


def main(args: Namespace) -> None:
    require_competition(args.comp)
    loading(f"the models of {args.comp}")
    from tandem.artifacts.atomic_io import write_json, write_text
    from tandem.explain.explain_image import explain_image
    from tandem.explain.page import heat_uris, render
    from tandem.explain.terminal import lines
    from tandem.graph.experiment_dir import Experiments
    from tandem.runtime.console import make_console
    from tandem.runtime.torch_setup import use_threads

    use_threads()
    paths = Paths(args.comp)
    found = explain_image(paths, args.id, args.exp or "")
    file = paths.explanation(found.image, found.predictions[0].experiment)
    page = write_text(file, render(found, REPORT if paths.report.exists() else ""))
    write_json(file.with_suffix(".json"), {"heat": heat_uris(found)})  # for the next report
    console = make_console()
    for line in lines(found, console.width):
        console.print(line)
    experiments = Experiments(paths)
    for prediction in found.predictions:
        if line := experiments[prediction.experiment].about_new_images:
            print(line)
    show_link(page.resolve().as_uri(), getattr(args, "open", False))
    print(page)
