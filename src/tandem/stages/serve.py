"""Serve: models/C/E/*, oof/C/E/thresholds.json, or a bundle -> a page on 127.0.0.1 to label photos; writes no file."""

import errno
import socket
from argparse import ArgumentParser, Namespace
from contextlib import suppress

from tandem.artifacts.paths import Paths, local_path


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--port", type=int, default=8000, help="0: one that is free")
    parser.add_argument(
        "--exp", default="", help="the experiment to use (default: one whose logits are sums of terms, else the stack)"
    )
    parser.add_argument("--bundle", type=local_path, help="what make bundle wrote, instead of a competition's models")
    parser.add_argument("--trust", default="", help="the digest of a bundle's own Python code, which is run then")
    parser.add_argument("--folds", type=int, default=0, help="number of its fold models, fewer are faster; 0: all")


def main(args: Namespace) -> None:
    with listen(args.port) as listening:  # first, because the models take seconds to load
        import uvicorn

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
        print(f"http://127.0.0.1:{port}  (Ctrl-C ends it)", flush=True)
        config = uvicorn.Config(
            make_app(service), log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=3
        )
        with suppress(KeyboardInterrupt):  # uvicorn raises it after it has ended
            uvicorn.Server(config).run(sockets=[listening])
        print("\nstopped")


def listen(port: int) -> socket.socket:
    """A socket that only this machine reaches; raises ValueError where the port is taken."""
    found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(("127.0.0.1", port))
        found.listen()
    except (OSError, OverflowError) as error:
        found.close()
        if getattr(error, "errno", None) == errno.EADDRINUSE:
            raise ValueError(
                f"port {port} is in use by another program; stop it, or choose another port: make serve PORT={port + 1}"
            ) from error
        raise ValueError(f"port {port}: {error}; choose another port: make serve PORT=8000") from error
    return found
