"""Stacks on disk."""

import shutil
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from tandem.artifacts.atomic_io import read_json, write_json, write_with
from tandem.artifacts.paths import Paths
from tandem.ensemble.lightgbm import Boosted
from tandem.ensemble.logistic import Logistic
from tandem.ensemble.stacking import SecondLevel, Stack, drop_unused_members


def load_stack(paths: Paths, name: str) -> tuple[Stack, list[str]]:
    """A trained stack, and the names of the members that it needs."""
    return drop_unused_members(read_stack(paths.stack(name).parent), list(read_json(paths.run(name))["members"]))


def load_no_caption_stack(paths: Paths, name: str) -> tuple[Stack, list[str]] | None:
    """The stack for rows without a caption and its members; None where all members need captions, or none does."""
    file = paths.no_caption_stack(name)
    if not file.exists():
        return None
    return drop_unused_members(read_stack(file.parent), list(read_json(paths.run(name))["members"]))


def save_no_caption_stack(paths: Paths, name: str, stack: Stack | None) -> None:
    """Writes the stack for rows without a caption; None removes it."""
    folder = paths.no_caption_stack(name).parent
    if stack is None:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        write_stack(folder, stack)


def write_stack(folder: Path, stack: Stack) -> None:
    """Writes `stack.safetensors`, `label<j>.txt` (LightGBM's text format) and, last, `stack.json`."""
    second = stack.second
    tensors = {"center": second.center, "weights": second.weights, "third": stack.weights}
    tensors["rescale"] = np.array([stack.shift, stack.scale])
    if second.logistic:
        tensors |= {
            "coef": np.stack([model.coef for model in second.logistic]),
            "mean": np.stack([model.mean for model in second.logistic]),
            "bias": np.array([model.bias for model in second.logistic]),
        }
    tensors = {name: np.ascontiguousarray(t) for name, t in tensors.items()}
    for stale in folder.glob("label*.txt"):
        stale.unlink()
    write_with(folder / "stack.safetensors", lambda partial: save_file(tensors, partial))
    for j, model in enumerate(second.boosted):
        model.save(folder / f"label{j}.txt")
    about = {"members": second.members, "labels": len(second.boosted), "words": stack.reads_words}
    write_json(folder / "stack.json", about)


def read_stack(folder: Path) -> Stack:
    about, t = read_json(folder / "stack.json"), load_file(folder / "stack.safetensors")
    boosted = [Boosted.load(folder / f"label{j}.txt") for j in range(about["labels"])]
    logistic = [Logistic(t["coef"][j], float(t["bias"][j]), t["mean"][j]) for j in range(about["labels"])]
    second = SecondLevel(about["members"], t["center"], t["weights"], boosted, logistic)
    shift, scale = map(float, t["rescale"])
    if "words" not in about:  # older bundles: it follows from the number of features
        m, c = second.center.shape
        about["words"] = bool(logistic) and len(logistic[0].coef) == m + c - 1 + 2
    return Stack(second, t["third"], shift, scale, about["words"])
