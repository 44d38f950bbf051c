"""What a search of settings gained, in words, and the TOML file of the settings it chose."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import tomlkit

from tandem.config.tuning import Value, nested
from tandem.decoding import NestedCV, Rule
from tandem.ensemble.fit_stack import surrogate_loss
from tandem.metrics import paired_mean
from tandem.report.ablation import split_for_decoders


@dataclass(frozen=True)
class Gain:
    """Of the tuned experiment over the untuned one, with paired 95 % intervals; more is better."""

    metric: str
    untuned: float
    tuned: float
    gain: float
    low: float
    high: float
    log_loss: tuple[float, float, float]  # (gain, low, high): positive where the loss is lower

    def __str__(self) -> str:
        loss = "{:+.4f} [{:+.4f}, {:+.4f}]".format(*self.log_loss)
        return (
            f"{self.metric} {self.tuned:.4f} against {self.untuned:.4f}: {self.gain:+.4f} "
            f"[{self.low:+.4f}, {self.high:+.4f}]; lower log loss by {loss}"
        )


def compare(
    untuned: np.ndarray,
    tuned: np.ndarray,
    y: np.ndarray,
    fold: np.ndarray,
    group: np.ndarray,
    rule: Rule,
    threads: int = 1,
    known: np.ndarray | None = None,
) -> Gain:
    """Of probabilities (n, c), both out of fold and decoded by cross-fitted decoders; rows of a group are one draw."""
    parts = split_for_decoders(fold, group)
    before, after = (
        NestedCV(proba, y, parts, rule, threads, group, known).prepare().cross_val_values()
        for proba in (untuned, tuned)
    )
    loss = paired_mean(surrogate_loss(y, untuned, known) - surrogate_loss(y, tuned, known), group)
    gain, low, high = rule.gain(y, before, after, group, known)
    return Gain(rule.metric, rule.score(y, before, known), rule.score(y, after, known), gain, low, high, loss)


def about_choice(
    name: str, comp: str, chosen: Mapping[str, Value], losses: tuple[float, float], trials: int, gain: Gain | None
) -> list[str]:
    """Lines for the file and the terminal; `losses` (n = 2): cross-validated log loss, untuned and of the choice."""
    lines = [
        f"Chosen by make tune COMP={comp} EXP={name}, {trials} trials: log loss {losses[1]:.4f} on held-out folds,"
    ]
    lines.append(f"{losses[0]:.4f} of {name}." if chosen else f"{losses[0]:.4f} of {name}, which no trial beats.")
    if gain is None:
        lines.append("How much it gains is not known: OUTER=0 left out the folds that measure it.")
    else:
        lines += ["On folds that the search had not seen, settings found in the same way score", f"{gain}"]
        lines.append(
            "(paired 95 % intervals, rows of one group as one" + (")." if gain.low > 0 else "): may be chance.")
        )
    return [*lines, f"All folds of {comp} chose these settings, so its own out-of-fold score is slightly optimistic."]


def tuned_toml(base: str, comp: str, chosen: Mapping[str, Value], comments: Sequence[str]) -> str:
    """The changed values on top of `base`; readable, and the same for the same choice."""
    file = tomlkit.document()
    for line in comments:
        file.add(tomlkit.comment(line))
    for key, value in {"base": base, "tuned": comp, **nested(chosen)}.items():
        file.add(key, tomlkit.item(value))
    return tomlkit.dumps(file)
