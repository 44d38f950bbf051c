"""The labeler of `make predict` and `make serve`: of a bundle, of the fast experiment, or of the one that is named."""

import subprocess
import sys
from argparse import Namespace

from tandem.artifacts.paths import Paths
from tandem.explain.explanation import default_experiment
from tandem.graph.experiment_dir import Experiments
from tandem.graph.keys import STACK
from tandem.inference.labeler import Labeler
from tandem.runtime.torch_setup import use_threads
from tandem.stages._run import open_graph

FAST = "fast"  # the experiment of FAST=1


def open_labeler(args: Namespace) -> Labeler:
    """The labeler of a bundle or of a competition."""
    use_threads()
    decoder: str = getattr(args, "decoder", "")
    if args.bundle:
        return Labeler.load(args.bundle, decoder, args.trust)
    paths = Paths(args.comp)
    if not args.fast:
        return Labeler.of(paths, args.exp, args.folds, decoder)
    graph = open_graph(paths)
    if FAST not in graph.experiments:
        reads = "captions" if graph.competition.images else "images"
        raise ValueError(
            f"FAST=1: configs/{FAST}.toml reads {reads}, and {paths.comp} has none; without FAST=1 the models of the "
            "submission are used"
        )
    fast = Experiments(paths)[FAST]
    if not fast.is_scored or fast.why_not_current:
        command = [sys.executable, "-m", "tandem", "train", args.comp, "--exps", FAST]
        if subprocess.run(command, stdout=sys.stderr).returncode:  # with OUT=-, standard output is for labels alone
            raise ValueError(f"{FAST} could not be trained")
    return Labeler.of(paths, FAST, args.folds, decoder)


def served_experiment(args: Namespace) -> tuple[str, str]:
    """(the experiment that labels on the page, why): the stack, as in `make predict`, unless none is trained."""
    if args.bundle:
        return "", "the bundle's own models"
    if args.fast:
        return FAST, "FAST=1 asks for one small model; without it the stack labels, as in make predict"
    if args.exp:
        return args.exp, f"EXP={args.exp} asks for it"
    experiments = Experiments(Paths(args.comp))
    stack, single = experiments[STACK], default_experiment(experiments)
    if stack.is_scored and set(stack.members) - set(stack.unable):
        return STACK, "the submission's stack, as in make predict; FAST=1 serves one small model, which is quicker"
    if not single:
        return STACK, ""
    none = f"no stack that labels new images is trained (make submit COMP={args.comp})"
    return single, f"{none}, so {single} does, whose logits are sums of terms"
