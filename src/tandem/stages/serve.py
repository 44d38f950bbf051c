"""Serve: models/C/E/*, oof/C/E/thresholds.json, or a bundle -> a page on 127.0.0.1 to label photos; writes no file."""

from argparse import ArgumentParser, Namespace

from tandem.artifacts.paths import local_path
from tandem.runtime.wrong_values import Number
from tandem.stages._links import loading, show_link
from tandem.web.local_server import listen, serve


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--port", type=Number("PORT", 0, 65535, "8000"), default=8000, help="0: one that is free")
    parser.add_argument(
        "--exp", default="", help="the experiment to use (default: the stack, else one whose logits are sums of terms)"
    )
    parser.add_argument("--fast", action="store_true", help="one small model, trained first where it is stale")
    parser.add_argument("--bundle", type=local_path, help="what make bundle wrote, instead of a competition's models")
    parser.add_argument("--trust", default="", help="the digest of a bundle's own Python code, which is run then")
    parser.add_argument(
        "--folds", type=Number("FOLDS", 0), default=0, help="number of its fold models, fewer are faster; 0: all"
    )
    parser.add_argument("--open", action="store_true", help="open the page in the browser")


def main(args: Namespace) -> None:
    with listen(args.port) as listening:  # first, because the models take seconds to load
        loading(f"the models of {args.bundle or args.comp}")
        from tandem.stages._labeler import open_labeler, served_experiment
        from tandem.web.app import make_app
        from tandem.web.service import LabelService

        args.fast = getattr(args, "fast", False)
        args.exp, why = served_experiment(args)
        labeler = open_labeler(args)
        service = LabelService(labeler, why)
        seconds = service.warm_up()
        about, port = service.about, listening.getsockname()[1]
        one = "photo" if about["uses_images"] else "text"
        print(f"{about['competition']}: {about['served']}; {seconds:.2f} s per {one}{f' ({why})' if why else ''}")
        if labeler.note:
            print(labeler.note)
        show_link(f"http://127.0.0.1:{port}", getattr(args, "open", False), "  (Ctrl-C ends it)")
        serve(make_app(service), listening)
        print("\nstopped")
