"""LightGBM for many labels: one small booster each, saved as LightGBM's own text."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import lightgbm as lgb
import numpy as np

from tandem.files import write_text

# small trees, strong shrinkage and a fixed number of rounds: a few thousand rows, and no held-out label to stop on
PARAMETERS = {
    "objective": "binary",
    "learning_rate": 0.05,
    "num_leaves": 8,
    "min_data_in_leaf": 20,
    "feature_fraction": 0.3,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "lambda_l2": 10.0,
    "max_bin": 63,
    "num_threads": 1,  # labels run side by side instead
    "deterministic": True,
    "force_row_wise": True,
    "verbosity": -1,
}
ROUNDS = 120


class BoostedLabels:
    """One booster a label on (n, d) features."""

    def __init__(self, seed: int = 0, threads: int = 1):
        self.seed, self.threads = seed, threads
        self.boosters: list[lgb.Booster] = []

    def fit(self, x: np.ndarray, y: np.ndarray) -> "BoostedLabels":
        def one(j: int) -> lgb.Booster:
            data = lgb.Dataset(x, y[:, j].astype(np.float32), params={"verbosity": -1, "max_bin": 63})
            return lgb.train(PARAMETERS | {"seed": self.seed + j}, data, ROUNDS)

        with ThreadPoolExecutor(self.threads) as pool:
            self.boosters = list(pool.map(one, range(y.shape[1])))
        return self

    def logits(self, x: np.ndarray) -> np.ndarray:
        """(n, c) raw scores."""
        return np.column_stack(
            [b.predict(x, raw_score=True, num_threads=self.threads) for b in self.boosters]
        )

    def save(self, folder: Path) -> None:
        for j, booster in enumerate(self.boosters):
            write_text(folder / f"label{j}.txt", booster.model_to_string())

    def load(self, folder: Path, n_labels: int) -> "BoostedLabels":
        texts = [(folder / f"label{j}.txt").read_text() for j in range(n_labels)]
        self.boosters = [lgb.Booster(model_str=text) for text in texts]
        return self
