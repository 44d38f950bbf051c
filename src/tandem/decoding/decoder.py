"""A fitted decoder: thresholds, or expected-F1 sets under calibrated probabilities."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tandem.decoding.calibration import Calibration
from tandem.decoding.expected_f import expected_sets
from tandem.decoding.label_rule import Rule, binarize

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


def default_decoder(metric: str) -> str:
    """Used where another's gain may be chance: for F1 per row the expected-F1 sets, else 0.5 for every label."""
    return "expected" if metric == "f1_samples" else "fixed"


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
        if self.thresholds is not None:
            return binarize(proba, self.thresholds, self.rule)
        rule = self.rule
        p = self.calibration(proba)
        return expected_sets(p, rule.beta, rule.least, rule.most, self.sizes, rule.zero_division)

    def to_json(self, names: tuple[str, ...]) -> dict[str, Any]:
        """The content of thresholds.json, with thresholds by label name."""
        out = {"decoder": self.name, "about": DECODERS[self.name], "labels": list(names)} | asdict(self.rule)
        if self.thresholds is not None:
            out["thresholds"] = dict(zip(names, self.thresholds.tolist(), strict=True))
        else:
            out["calibration"] = asdict(self.calibration)
        if self.sizes is not None:
            out["sizes"] = self.sizes.tolist()
        if self.strength is not None:
            out["strength"] = self.strength if np.isfinite(self.strength) else "inf"
        return out

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Decoder":
        # bundles made before this setting existed count an empty row that is predicted empty as 1
        rule = Rule(data["metric"], data["beta"], data["least"], data["most"], data.get("zero_division", 1))
        thresholds = np.array([data["thresholds"][name] for name in data["labels"]]) if "thresholds" in data else None
        sizes = np.array(data["sizes"]) if "sizes" in data else None
        strength = float(data["strength"]) if "strength" in data else None
        return cls(data["decoder"], rule, thresholds, Calibration(**data.get("calibration", {})), sizes, strength)
