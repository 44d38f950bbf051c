"""A fitted decoder: thresholds, or the sets of highest expected score under calibrated probabilities."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tandem.config.metric_names import metric_title
from tandem.decoding.calibration import Calibration
from tandem.decoding.expected_f import expected_sets, most_probable_sets
from tandem.decoding.label_rule import Rule, binarize
from tandem.runtime.wrong_values import require_one_of

# simplest first: of two that score the same, the earlier is kept
DECODERS = {
    "fixed": "0.5 for every label",
    "global": "the best one threshold for all labels",
    "per_class": "each label's best threshold for its own F",
    "ascent": "thresholds by coordinate ascent on the competition's metric",
    "shrunk": "ascent, moved towards the global threshold, rare labels further",
    "expected": "each row's set of highest expected F, labels independent",
    "gfm": "each row's set of highest expected F, with the sizes that sets have",
}
TUNED = ("per_class", "ascent", "shrunk")  # those with a tuned threshold for each label
SETS = ("expected", "gfm")  # those that choose a set for each row
OPTIMAL = ("f1_samples", "jaccard_samples", "accuracy_exact", "hamming")  # `expected` maximises their expected value
EXPECTED = {"jaccard_samples": "Jaccard index", "accuracy_exact": "probability", "hamming": "number of right cells"}


def default_decoder(metric: str) -> str:
    """Used where another's gain may be chance: `expected` where it is optimal for the metric, else 0.5 everywhere."""
    return "expected" if metric in OPTIMAL else "fixed"


def about(name: str, rule: Rule) -> str:
    """What a decoder does under this rule."""
    text = DECODERS[name]
    if rule.tuned.metric != rule.metric:
        text = text.replace("the competition's metric", metric_title(rule.tuned.metric, rule.beta))
    if name == "gfm" and rule.metric == "hamming":
        return text
    return text.replace("expected F", f"expected {EXPECTED.get(rule.metric, 'F')}")


@dataclass(frozen=True)
class Decoder:
    """Turns probabilities (n, c) into label sets (n, c) of least to most labels."""

    name: str
    rule: Rule
    thresholds: np.ndarray | None = None  # (c,), for the first five of DECODERS
    calibration: Calibration = Calibration()  # applied first, for `expected` and `gfm`
    sizes: np.ndarray | None = None  # weights of the set sizes 0, 1, ..., for `gfm`
    strength: float | None = None  # for `shrunk`: a label with so many positives has its threshold moved half way

    def __call__(self, proba: np.ndarray) -> np.ndarray:
        """(n, c) bool."""
        rule = self.rule
        if self.thresholds is not None:
            return binarize(proba, self.thresholds, rule)
        p = self.calibration(proba)
        if rule.metric == "accuracy_exact" or (rule.metric == "hamming" and self.sizes is None):
            return most_probable_sets(p, rule.least, rule.most, self.sizes)
        jaccard = rule.metric == "jaccard_samples"
        return expected_sets(p, rule.beta, rule.least, rule.most, self.sizes, rule.zero_division, jaccard)

    def to_json(self, names: tuple[str, ...]) -> dict[str, Any]:
        """All that `from_json` needs, with thresholds by label name."""
        out = {"decoder": self.name, "about": about(self.name, self.rule), "labels": list(names)}
        out |= self.rule.settings() | self.parameters(names)
        return out if self.thresholds is not None else out | {"calibration": asdict(self.calibration)}

    def parameters(self, names: tuple[str, ...]) -> dict[str, Any]:
        """What was tuned, besides the calibration."""
        out: dict[str, Any] = {}
        if self.thresholds is not None:
            out["thresholds"] = dict(zip(names, self.thresholds.tolist(), strict=True))
        if self.sizes is not None:
            out["sizes"] = self.sizes.tolist()
        if self.strength is not None:
            out["strength"] = self.strength if np.isfinite(self.strength) else "inf"
        return out

    @classmethod
    def from_json(cls, data: dict[str, Any], name: str = "") -> "Decoder":
        """The decoder in use of thresholds.json, or the one called `name`; raises ValueError where it is not there."""
        # bundles made before this setting existed count an empty row that is predicted empty as 1
        rule = Rule(data["metric"], data["beta"], data["least"], data["most"], data.get("zero_division", 1))
        name = name or data["decoder"]
        all_of_them = data.get("decoders", {data["decoder"]: data})  # bundles of formats 1 to 3 hold one
        require_one_of("DECODER", name, list(all_of_them))
        own = all_of_them[name]
        thresholds = np.array([own["thresholds"][label] for label in data["labels"]]) if "thresholds" in own else None
        sizes = np.array(own["sizes"]) if "sizes" in own else None
        strength = float(own["strength"]) if "strength" in own else None
        return cls(name, rule, thresholds, Calibration(**data.get("calibration", {})), sizes, strength)
