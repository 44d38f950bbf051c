"""A trained stack, two levels above the members' logits, and its files.

Second level, for each label: LightGBM, logistic regression, the members' weighted mean and their plain mean. Third
level: the weights of these four, and one shift and scale of their mean. With many labels there is no LightGBM, and the
logistic regression sees a summary of the other labels.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from lightgbm import Booster
from safetensors.numpy import load_file, save_file

from tandem.artifacts.atomic_io import read_json, write_json, write_text, write_with
from tandem.artifacts.contributions import TERMS
from tandem.artifacts.paths import Paths
from tandem.artifacts.whole_files import reading
from tandem.ensemble.lightgbm import Boosted
from tandem.ensemble.lightgbm_text import read_booster
from tandem.ensemble.linear import Linear
from tandem.ensemble.logistic import Logistic
from tandem.logits import logit, sigmoid

STACK, AGAIN = "a part of a stack", "delete {} and run make stack"
BOUND = 1e-4  # of a member's probabilities: clips extreme logits
LEARNERS = ("boosted", "logistic", "weighted", "mean")
LOGISTIC, WEIGHTED, MEAN = 1, 2, 3
CELLS = 2**23  # of the largest array that predicting computes at once


@dataclass(frozen=True)
class StackInputs:
    """Input of the second level."""

    logits: np.ndarray  # (n, m, c) of the members
    extras: np.ndarray  # (n, e) expected number of labels and, where `has_words`, log(1 + words of the caption)
    has_words: bool

    @classmethod
    def of(cls, probas: Sequence[np.ndarray], words: np.ndarray | None) -> "StackInputs":
        """From the members' probabilities (n, c) and the captions' word counts (n,), None without captions."""
        logits = np.empty((len(probas[0]), len(probas), probas[0].shape[1]), np.float32)
        for i, proba in enumerate(probas):
            logits[:, i] = logit(proba, BOUND)
        extras = [np.mean([p.sum(1) for p in probas], axis=0), *([] if words is None else [np.log1p(words)])]
        return cls(logits, np.column_stack(extras).astype(np.float32), words is not None)

    def take(self, rows: np.ndarray | slice) -> "StackInputs":
        return replace(self, logits=self.logits[rows], extras=self.extras[rows])

    def keep(self, members: Sequence[int]) -> "StackInputs":
        return replace(self, logits=self.logits[:, list(members)])

    @property
    def extras_range(self) -> np.ndarray:
        """(2, e) lowest and highest value of each of the extras."""
        return np.stack([self.extras.min(0), self.extras.max(0)])

    def clipped(self, extras_range: np.ndarray | None) -> "StackInputs":
        """With extras within this range; None changes nothing."""
        return self if extras_range is None else replace(self, extras=np.clip(self.extras, *extras_range))

    def features(self, j: int) -> np.ndarray:
        """(n, m + c - 1 + e) for label j: each member's logit of it, the mean logits of the others, the extras."""
        return np.concatenate([self.logits[:, :, j], np.delete(self.logits.mean(1), j, axis=1), self.extras], axis=1)


@dataclass(frozen=True)
class SecondLevel:
    """Learners fitted on the same rows: `boosted` and `logistic` of each label, or `linear` of many, or neither."""

    members: list[int]  # positions of the members that it uses
    center: np.ndarray  # (m, c) mean logits of these over the rows fitted
    weights: np.ndarray  # (m,) of the weighted mean
    boosted: list[Boosted] = field(default_factory=list)  # one per label
    logistic: list[Logistic] = field(default_factory=list)
    extras_range: np.ndarray | None = None  # (2, e) over the rows fitted: others are clipped to it; None: no limit
    linear: Linear | None = None

    @property
    def learners(self) -> list[int]:
        """Positions of the LEARNERS that it has."""
        return [*([0, LOGISTIC] if self.boosted else [LOGISTIC] if self.linear else []), WEIGHTED, MEAN]

    def logits(self, inputs: StackInputs) -> np.ndarray:
        """(n, 4, c) of the LEARNERS; zero where one is empty."""
        inputs = inputs.keep(self.members).clipped(self.extras_range)
        n, _, c = inputs.logits.shape
        out = np.zeros((n, len(LEARNERS), c))
        for j, (boosted, logistic) in enumerate(zip(self.boosted, self.logistic, strict=True)):
            x = inputs.features(j)
            out[:, 0, j], out[:, 1, j] = boosted.logits(x), logistic.logits(x)
        if self.linear:
            centred = inputs.logits - self.center
            out[:, LOGISTIC] = np.einsum("nmc,mc->nc", centred, self.linear.own) + self.linear.bias
            out[:, LOGISTIC] += self.linear.context(centred.mean(1), inputs.extras)
        out[:, WEIGHTED] = np.einsum("nmc,m->nc", inputs.logits, self.weights)
        out[:, MEAN] = inputs.logits.mean(1)
        return out

    def contributions(self, inputs: StackInputs) -> np.ndarray:
        """(n, 4, c, m + 2) that sum to `logits`: of each used member, of the row's other labels and extras, a constant.

        Of linear learners: coefficient x (value - its mean over the rows fitted). Of LightGBM: SHAP values.
        """
        inputs = inputs.keep(self.members).clipped(self.extras_range)
        n, m, c = inputs.logits.shape
        out = np.zeros((n, len(LEARNERS), c, m + 2), np.float32)
        for i, weights in ((WEIGHTED, self.weights), (MEAN, np.full(m, 1 / m))):
            out[:, i, :, :m] = np.swapaxes((inputs.logits - self.center) * weights[:, None], 1, 2)
            out[:, i, :, -1] = weights @ self.center
        if self.linear:
            centred = inputs.logits - self.center
            out[:, LOGISTIC, :, :m] = np.swapaxes(centred * self.linear.own, 1, 2)
            out[:, LOGISTIC, :, m] = self.linear.context(centred.mean(1), inputs.extras)
            out[:, LOGISTIC, :, -1] = self.linear.bias
        for j, (boosted, logistic) in enumerate(zip(self.boosted, self.logistic, strict=True)):
            x = inputs.features(j)
            for i, parts in enumerate((boosted.contributions(x), logistic.contributions(x))):
                out[:, i, j, :m], out[:, i, j, m], out[:, i, j, -1] = parts[:, :m], parts[:, m:-1].sum(1), parts[:, -1]
        return out


@dataclass(frozen=True)
class TermSplit:
    """How the parts of a stack's m members are shared out among TERMS, see `member_terms`."""

    means: np.ndarray  # (m, c, 6) of the members' terms over the rows fitted
    slopes: np.ndarray  # (m, c) of the members' parts on their logits

    def keep(self, members: Sequence[int]) -> "TermSplit":
        return TermSplit(self.means[members], self.slopes[members])


@dataclass(frozen=True)
class Stack:
    """A second level, and the third: weights (4,) of LEARNERS, then shift + scale x their mean."""

    second: SecondLevel
    weights: np.ndarray
    shift: float = 0.0
    scale: float = 1.0
    reads_words: bool = False  # whether it was fitted with the captions' word counts, and needs them to predict
    split: TermSplit | None = None  # None in bundles of older versions

    def predict_proba(self, inputs: StackInputs) -> np.ndarray:
        n, _, c = inputs.logits.shape
        out = np.zeros((n, c))
        for rows in _row_chunks(n, len(LEARNERS) * c):
            logits = self.second.logits(inputs.take(rows))
            out[rows] = sigmoid(self.shift + self.scale * np.einsum("nlc,l->nc", logits, self.weights))
        return out

    def contributions(self, inputs: StackInputs) -> np.ndarray:
        """(n, c, m + 2) that sum to the logit: of all m members, the row's other labels and extras, a constant."""
        n, m, c = inputs.logits.shape
        out = np.zeros((n, c, m + 2), np.float32)
        for rows in _row_chunks(n, len(LEARNERS) * c * (m + 2)):
            used = self.scale * np.einsum("nlcf,l->ncf", self.second.contributions(inputs.take(rows)), self.weights)
            used[:, :, -1] += self.shift
            out[rows, :, [*self.second.members, m, m + 1]] = used
        return out


def _row_chunks(n: int, cells: int) -> list[slice]:
    """Slices of n rows of so many cells each, with up to CELLS."""
    step = max(1, CELLS // cells)
    return [slice(start, start + step) for start in range(0, n, step)]


def fixed_stack(weights: np.ndarray, n_labels: int, inputs: StackInputs | None = None) -> Stack:
    """The mean of the members' logits by weights (m,); contributions are relative to their means in `inputs`, or 0."""
    members = np.flatnonzero(weights)
    center = np.zeros((len(members), n_labels), np.float32) if inputs is None else inputs.logits[:, members].mean(0)
    second = SecondLevel(members.tolist(), center, weights[members])
    slopes = np.repeat(weights[:, None], n_labels, axis=1).astype(np.float32)
    split = TermSplit(np.zeros((*slopes.shape, len(TERMS)), np.float32), slopes) if inputs is None else None
    return Stack(second, np.eye(len(LEARNERS))[WEIGHTED], split=split)


def load_stack(paths: Paths, name: str, file: Path | None = None) -> tuple[Stack, list[str]]:
    """The stack of the experiment `name` that labels new images (see `load_no_external_stack`), or the one in `file`,
    on the members that it needs, and their names."""
    if file is None and (found := load_no_external_stack(paths, name)):
        return found
    return _on_members(read_stack((file or paths.stack(name)).parent), list(read_json(paths.run(name))["members"]))


def load_no_external_stack(paths: Paths, name: str) -> tuple[Stack, list[str]] | None:
    """The stack that was fitted without the members that can't label new images, and the members that it needs; None
    where all can, or none."""
    run, file = read_json(paths.run(name)), paths.no_external_stack(name)
    if not run.get("external") or not file.exists():
        return None
    return _on_members(read_stack(file.parent), [member for member in run["members"] if member not in run["external"]])


def _on_members(stack: Stack, names: list[str]) -> tuple[Stack, list[str]]:
    """The stack of members of these `names` on those that it needs, and their names."""
    if LOGISTIC in stack.second.learners:  # needs all: the expected number of labels is the mean over all members
        return stack, names
    used = stack.second.members
    split = stack.split and stack.split.keep(used)
    second = replace(stack.second, members=list(range(len(used))))
    return replace(stack, second=second, split=split), [names[i] for i in used]


def load_no_caption_stack(paths: Paths, name: str) -> tuple[Stack, list[str]] | None:
    """The stack for rows without a caption and its members; None where all members need captions, or none does."""
    file = paths.no_caption_stack(name)
    return load_stack(paths, name, file) if file.exists() else None


def write_stack(folder: Path, stack: Stack) -> None:
    """Writes `stack.safetensors`, `label<j>.txt` (LightGBM's text format; none for a label without a booster) and,
    last, `stack.json`."""
    second = stack.second
    tensors = {"center": second.center, "weights": second.weights, "third": stack.weights}
    tensors["rescale"] = np.array([stack.shift, stack.scale])
    if second.logistic:
        tensors |= {key: np.stack([getattr(model, key) for model in second.logistic]) for key in ("coef", "mean")}
        tensors["bias"] = np.array([model.bias for model in second.logistic])
        tensors["boosted_bias"] = np.array([model.bias for model in second.boosted])
    if second.linear:
        tensors |= second.linear.tensors()
    if second.extras_range is not None:
        tensors["extras_range"] = second.extras_range
    if stack.split is not None:
        tensors |= {"term_means": stack.split.means, "term_slopes": stack.split.slopes}
    tensors = {name: np.ascontiguousarray(t) for name, t in tensors.items()}
    for stale in folder.glob("label*.txt"):
        stale.unlink()
    write_with(folder / "stack.safetensors", lambda partial: save_file(tensors, partial))
    for j, model in enumerate(second.boosted):
        if model.booster is not None:
            write_text(folder / f"label{j}.txt", model.booster.model_to_string())
    about = {"members": second.members, "labels": len(second.boosted), "words": stack.reads_words}
    about["boosted"] = [j for j, model in enumerate(second.boosted) if model.booster is not None]
    write_json(folder / "stack.json", about)


def write_fold_stacks(folder: Path, stacks: Mapping[int, Stack]) -> None:
    """Writes the stacks that were fitted without each fold to `fold<k>/`, and removes those of before."""
    for stale in folder.glob("fold*/"):
        shutil.rmtree(stale)
    for fold, stack in stacks.items():
        write_stack(folder / f"fold{fold}", stack)


def is_plain_mean(stack: Stack) -> bool:
    """Whether nothing of it is fitted: the mean of the members' logits, or one member."""
    third, weights = np.eye(len(LEARNERS)), stack.second.weights
    mean = any(np.array_equal(stack.weights, third[i]) for i in (WEIGHTED, MEAN)) and np.ptp(weights) == 0
    return bool(mean and (stack.shift, stack.scale) == (0.0, 1.0))


def load_fold_stack(folder: Path, fold: int, members: list[str]) -> tuple[Stack, list[str]] | None:
    """The stack of these members that was fitted without the rows of a fold, and the members that it needs; None where
    it is not kept, as in a bundle."""
    own = folder / f"fold{fold}"
    return _on_members(read_stack(own), members) if (own / "stack.json").is_file() else None


def read_stack(folder: Path) -> Stack:
    """Raises DamagedFile where one of its files is not what was written."""
    about, file = read_json(folder / "stack.json"), folder / "stack.safetensors"
    with reading(file, STACK, AGAIN.format(folder)):
        return _stack(about, load_file(file), partial(_booster, folder))


def _booster(folder: Path, j: int, features: int) -> Booster:
    with reading(file := folder / f"label{j}.txt", STACK, AGAIN.format(folder)):
        return read_booster(file, features)


def _stack(about: dict[str, Any], t: dict[str, np.ndarray], booster: Callable[[int, int], Booster]) -> Stack:
    labels, biases = about["labels"], t.get("boosted_bias", np.zeros(0))
    if labels not in (0, t["center"].shape[1]):  # 0: one learner for all labels
        raise ValueError(f"{labels!r:.80} labels; the tensors have {t['center'].shape[1]}")
    biases = biases if len(biases) else np.zeros(labels)  # older bundles: in the booster
    if len(biases) != labels:
        raise ValueError(f"{len(biases)} constants for {labels} labels")
    there = set(about.get("boosted", range(labels)))
    boosted = [Boosted(booster(j, t["coef"].shape[1]) if j in there else None, float(b)) for j, b in enumerate(biases)]
    logistic = [Logistic(t["coef"][j], float(t["bias"][j]), t["mean"][j]) for j in range(labels)]
    second = SecondLevel(
        about["members"], t["center"], t["weights"], boosted, logistic, t.get("extras_range"), Linear.of(t)
    )
    if "words" not in about:  # older bundles: it follows from the number of features
        about["words"] = bool(logistic) and len(logistic[0].coef) == sum(second.center.shape) - 1 + 2
    shift, scale = map(float, t["rescale"])
    split = TermSplit(t["term_means"], t["term_slopes"]) if "term_means" in t else None
    return Stack(second, t["third"], shift, scale, about["words"], split)
