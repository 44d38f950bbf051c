"""Serve: models/C/E/*, oof/C/E/thresholds.json, or a bundle -> a page on 127.0.0.1 to label photos; writes no file."""

from argparse import ArgumentParser, Namespace

from tandem.artifacts.paths import Paths, local_path
from tandem.stages._links import loading, show_link
from tandem.web.local_server import listen, serve


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--port", type=int, default=8000, help="0: one that is free")
    parser.add_argument(
        "--exp", default="", help="the experiment to use (default: one whose logits are sums of terms, else the stack)"
    )
    parser.add_argument("--bundle", type=local_path, help="what make bundle wrote, instead of a competition's models")
    parser.add_argument("--trust", default="", help="the digest of a bundle's own Python code, which is run then")
    parser.add_argument("--folds", type=int, default=0, help="number of its fold models, fewer are faster; 0: all")
    parser.add_argument("--open", action="store_true", help="open the page in the browser")


def main(args: Namespace) -> None:
    with listen(args.port) as listening:  # first, because the models take seconds to load
        loading(f"the models of {args.bundle or args.comp}")
        from tandem.explain.explanation import default_experiment
        from tandem.graph.experiment_dir import Experiments
        from tandem.graph.keys import STACK
        from tandem.inference.labeler import Labeler
        from tandem.runtime.torch_setup import use_threads
        from tandem.web.app import make_app
        from tandem.web.service import LabelService

        use_threads()
        if args.bundle:
            labeler = Labeler.load(args.bundle, trust=args.trust)
        else:
            paths = Paths(args.comp)
            labeler = Labeler.of(paths, args.exp or default_experiment(Experiments(paths)) or STACK, args.folds)
        service = LabelService(labeler)
        seconds = service.warm_up()
        about, port = service.about, listening.getsockname()[1]
        one = "photo" if about["uses_images"] else "text"
        print(f"{about['competition']}: {about['served']}; {seconds:.2f} s per {one}")
        if labeler.note:
            print(labeler.note)
        show_link(f"http://127.0.0.1:{port}", getattr(args, "open", False), "  (Ctrl-C ends it)")
        serve(make_app(service), listening)
        print("\nstopped")
