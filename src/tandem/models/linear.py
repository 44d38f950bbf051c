"""Linear models: TF-IDF with a logistic regression a label, and the logistic second level of the stack."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from safetensors.numpy import load, save
from scipy.sparse import hstack
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from tandem.config import TfidfExperiment
from tandem.files import write_with
from tandem.models.inputs import Inputs
from tandem.predictions import sigmoid


class OneVsRest:
    """One L2-regularised logistic regression a label; a label that never (or always) occurs gets its smoothed rate.

    On sparse words.
    """

    def __init__(self, c: float, coef: np.ndarray | None = None, bias: np.ndarray | None = None):
        self.c, self.coef, self.bias = c, coef, bias

    def fit(self, x, y: np.ndarray) -> "OneVsRest":
        self.coef, self.bias = np.zeros((x.shape[1], y.shape[1])), np.zeros(y.shape[1])
        for j in range(y.shape[1]):
            positives = int(y[:, j].sum())
            if 0 < positives < len(y):
                model = LogisticRegression(C=self.c, solver="liblinear", random_state=0, max_iter=300)
                model.fit(x, y[:, j])
                self.coef[:, j], self.bias[j] = model.coef_[0], model.intercept_[0]
            else:
                rate = (positives + 0.5) / (len(y) + 1)
                self.bias[j] = np.log(rate / (1 - rate))
        return self

    def logits(self, x) -> np.ndarray:
        return x @ self.coef + self.bias


PENALTIES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)  # C, inverse strength of the L2 penalty


class Logistic:
    """Logistic regression of one label on standardised features (n, d), with the penalty of lowest held-out loss."""

    def __init__(self, coef: np.ndarray | None = None, bias: float = 0.0, mean: np.ndarray | None = None):
        self.coef, self.bias, self.mean = coef, bias, mean  # on the features as they come

    def fit(self, x: np.ndarray, y: np.ndarray, held: np.ndarray) -> "Logistic":
        """`held` (n,) bool: rows on which the penalty is chosen, after which all rows are fitted.

        Sets `gains` (d,): by how much each feature lowers the summed loss of the held-out rows.
        """
        self.mean = mean = x.mean(0, dtype=np.float64)
        deviation = x.std(0, dtype=np.float64) + 1e-6
        scaled = (x - mean) / deviation
        best, least = PENALTIES[0], np.inf
        self.gains = np.zeros(x.shape[1])
        for c in PENALTIES if 0 < y[~held].sum() < (~held).sum() else ():
            model = _regress(scaled[~held], y[~held], c)
            logits = model.decision_function(scaled[held])
            loss = _loss(logits[:, None], y[held])[0]
            if loss < least:
                best, least = c, loss
                self.gains = _loss(logits[:, None] - scaled[held] * model.coef_[0], y[held]) - loss
        if 0 < y.sum() < len(y):
            model = _regress(scaled, y, best)
            self.coef = model.coef_[0] / deviation
            self.bias = float(model.intercept_[0] - self.coef @ mean)
        else:
            rate = (y.sum() + 0.5) / (len(y) + 1)
            self.coef, self.bias = np.zeros(x.shape[1]), float(np.log(rate / (1 - rate)))
        return self

    def logits(self, x: np.ndarray) -> np.ndarray:
        """(n,)"""
        return x @ self.coef + self.bias

    def contributions(self, x: np.ndarray) -> np.ndarray:
        """(n, d + 1) that sum to `logits`: of each feature's distance from its mean, and the constant."""
        constant = np.full((len(x), 1), self.bias + self.mean @ self.coef)
        return np.concatenate([(x - self.mean) * self.coef, constant], axis=1)


def _loss(logits: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(k,) summed log loss of each column of logits (n, k)."""
    return (np.logaddexp(0, logits) - y[:, None] * logits).sum(0)


def _regress(x: np.ndarray, y: np.ndarray, c: float) -> LogisticRegression:
    return LogisticRegression(C=c, solver="newton-cholesky", max_iter=50).fit(x, y)


class TfidfModel:
    """fit / predict_proba / save / load on `Inputs.captions`."""

    def __init__(self, cfg: TfidfExperiment, n_labels: int):
        self.cfg, self.n_labels = cfg, n_labels
        self.vectorizers: list[TfidfVectorizer] = []
        self.linear = OneVsRest(cfg.tfidf.c)

    def fit(
        self,
        inputs: Inputs,
        y: np.ndarray,
        seed: int,
        checkpoint: Path | None,
        on_epoch: Callable = lambda e: None,
    ) -> list[dict]:
        """Vocabulary, document frequencies and coefficients all come from these rows alone."""
        del seed, checkpoint, on_epoch
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
        characters = TfidfVectorizer(
            sublinear_tf=True, analyzer="char_wb", ngram_range=(2, cfg.characters or 2)
        )
        return [words, characters] if cfg.characters else [words]

    def _transform(self, inputs: Inputs):
        return hstack([v.transform(inputs.captions) for v in self.vectorizers], format="csr")

    def save(self, path: Path) -> None:
        vocabularies = [sorted(v.vocabulary_, key=v.vocabulary_.get) for v in self.vectorizers]
        tensors = {"coef": self.linear.coef.astype(np.float32), "bias": self.linear.bias}
        tensors |= {f"idf{i}": v.idf_ for i, v in enumerate(self.vectorizers)}
        data = save(tensors, metadata={"vocabularies": json.dumps(vocabularies)})
        write_with(path, lambda partial: partial.write_bytes(data))

    def load(self, path: Path) -> "TfidfModel":
        """Reads what `save` wrote for the same configuration."""
        data = path.read_bytes()
        tensors = load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        self.vectorizers = self._vectorizers()
        for i, words in enumerate(json.loads(header["__metadata__"]["vocabularies"])):
            self.vectorizers[i].set_params(vocabulary={word: j for j, word in enumerate(words)})
            self.vectorizers[i].idf_ = tensors[f"idf{i}"]
        self.linear = OneVsRest(self.cfg.tfidf.c, tensors["coef"].astype(np.float64), tensors["bias"])
        return self
