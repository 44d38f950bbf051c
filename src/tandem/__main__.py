"""`python -m tandem STAGE --comp NAME`: one stage each, under the name of its make target."""

import argparse
import importlib
import os
import sys

STAGES = {
    "sample": "draw the competition that comes with the project",
    "import": "unpack a competition and infer competition.toml",
    "resolve": "write what make compares: resolved configurations and the graph",
    "check": "look at every row and every image before any training",
    "folds": "split the training rows",
    "features": "run one frozen encoder over one split",
    "train": "fit one experiment's folds, predict held-out folds and test",
    "stack": "fit the second level on out-of-fold predictions",
    "decode": "tune thresholds and score one experiment",
    "submit": "write and validate one submission",
    "predict": "label a folder of new images",
    "bundle": "pack what labelling needs into one zip",
    "explain": "say why one image got its labels",
    "serve": "a page on this machine that labels photos",
    "ablation": "train a fusion network without each of its parts and compare",
    "scores": "print the out-of-fold table",
    "report": "write one HTML page about a submission",
}
USE_TORCH = {"features", "train", "predict", "bundle", "explain", "serve", "ablation"}
TAKE_A_BUNDLE = {"predict", "serve"}  # instead of a competition


def main(argv: list[str] | None = None) -> int:
    """Runs one stage; imports only that stage's module, so that light stages open at once."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # idle threads must not spin beside another job's
    parser = argparse.ArgumentParser(prog="tandem", description=__doc__)
    commands = parser.add_subparsers(dest="stage", required=True, metavar="STAGE")
    argv = sys.argv[1:] if argv is None else argv
    for name, summary in STAGES.items():
        command = commands.add_parser(name, help=summary, description=summary)
        required = name not in TAKE_A_BUNDLE
        command.add_argument("--comp", required=required, help="competition: a folder under input/")
        if name == next((a for a in argv if not a.startswith("-")), None):
            module = importlib.import_module(f"tandem.stages.{name}" + ("_" if name == "import" else ""))
            module.add_arguments(command)
    args = parser.parse_args(argv)
    if args.stage in USE_TORCH:
        from tandem.runtime.torch_setup import use_threads

        use_threads()
    try:
        return module.main(args) or 0
    except (ValueError, OSError) as error:  # OSError: no such file, no permission, a full disk
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from here", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
