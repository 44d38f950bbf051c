"""The linear baseline on captions: TF-IDF with a logistic regression for each label."""

import json
from pathlib import Path
from typing import Self

import numpy as np
from safetensors.numpy import load, save
from scipy.sparse import csr_matrix, hstack
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from tandem.artifacts.atomic_io import write_with
from tandem.config.experiments import TfidfExperiment
from tandem.logits import sigmoid, smoothed_log_odds
from tandem.models.base import TrainingRun
from tandem.models.inputs import Inputs


class OneVsRest:
    """One L2-regularised logistic regression for each label, on a sparse matrix of words.

    A label that never or always occurs gets its smoothed rate.
    """

    def __init__(self, c: float, coef: np.ndarray | None = None, bias: np.ndarray | None = None) -> None:
        self.c = c
        self.coef = np.zeros((0, 0)) if coef is None else coef  # (words, c)
        self.bias = np.zeros(0) if bias is None else bias  # (c,)

    def fit(self, x: csr_matrix, y: np.ndarray) -> "OneVsRest":
        self.coef, self.bias = np.zeros((x.shape[1], y.shape[1])), np.zeros(y.shape[1])
        for j in range(y.shape[1]):
            positives = int(y[:, j].sum())
            if 0 < positives < len(y):
                model = LogisticRegression(C=self.c, solver="liblinear", random_state=0, max_iter=300)
                model.fit(x, y[:, j])
                self.coef[:, j], self.bias[j] = model.coef_[0], model.intercept_[0]
            else:
                self.bias[j] = smoothed_log_odds(y[:, j])
        return self

    def logits(self, x: csr_matrix) -> np.ndarray:
        return x @ self.coef + self.bias


class TfidfModel:
    """On `Inputs.captions`."""

    def __init__(self, cfg: TfidfExperiment, n_labels: int) -> None:
        self.cfg, self.n_labels = cfg, n_labels
        self.vectorizers: list[TfidfVectorizer] = []
        self.linear = OneVsRest(cfg.tfidf.c)

    def fit(self, inputs: Inputs, y: np.ndarray, run: TrainingRun) -> list[dict]:
        """Vocabulary, document frequencies and coefficients all come from these rows alone."""
        del run  # nothing is drawn at random, and there are no epochs
        self.vectorizers = [v.set_params(min_df=self.cfg.tfidf.min_rows) for v in self._vectorizers()]
        for vectorizer in self.vectorizers:
            try:
                vectorizer.fit(inputs.captions)
            except ValueError as error:
                raise ValueError(
                    f"TF-IDF found no n-gram in {self.cfg.tfidf.min_rows} or more of {len(inputs)} captions: {error}"
                ) from error
        self.linear.fit(self._transform(inputs), y)
        return []

    def predict_proba(self, inputs: Inputs) -> np.ndarray:
        return sigmoid(self.linear.logits(self._transform(inputs)))

    def _vectorizers(self) -> list[TfidfVectorizer]:
        cfg = self.cfg.tfidf
        words = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, cfg.words), token_pattern=r"\b\w+\b")
        characters = TfidfVectorizer(sublinear_tf=True, analyzer="char_wb", ngram_range=(2, cfg.characters or 2))
        return [words, characters] if cfg.characters else [words]

    def _transform(self, inputs: Inputs) -> csr_matrix:
        return hstack([v.transform(inputs.captions) for v in self.vectorizers], format="csr")

    def save(self, path: Path) -> None:
        vocabularies = [sorted(v.vocabulary_, key=v.vocabulary_.get) for v in self.vectorizers]
        tensors = {"coef": self.linear.coef.astype(np.float32), "bias": self.linear.bias}
        tensors |= {f"idf{i}": v.idf_ for i, v in enumerate(self.vectorizers)}
        data = save(tensors, metadata={"vocabularies": json.dumps(vocabularies)})
        write_with(path, lambda partial: partial.write_bytes(data))

    def load(self, path: Path) -> Self:
        data = path.read_bytes()
        tensors = load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        self.vectorizers = self._vectorizers()
        for i, words in enumerate(json.loads(header["__metadata__"]["vocabularies"])):
            self.vectorizers[i].set_params(vocabulary={word: j for j, word in enumerate(words)})
            self.vectorizers[i].idf_ = tensors[f"idf{i}"]
        self.linear = OneVsRest(self.cfg.tfidf.c, tensors["coef"].astype(np.float64), tensors["bias"])
        return self
