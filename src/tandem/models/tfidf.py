"""The linear baseline on captions: TF-IDF with a logistic regression for each label."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from scipy.sparse import csr_matrix, hstack
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from tandem.artifacts.atomic_io import write_with
from tandem.config.experiments import TfidfExperiment
from tandem.data.caption_words import without_spaces
from tandem.logits import sigmoid, smoothed_log_odds
from tandem.models.base import TrainingRun
from tandem.models.inputs import Inputs


class TfidfModel:
    """Reads `Inputs.captions`; L2-regularised. Each label is fitted on the rows where it is known; one that never or
    always occurs there gets its smoothed rate."""

    vectorizers: list[TfidfVectorizer]
    unspaced = False  # the captions it is fitted on have no spaces between words: n-grams of characters stand for them
    coef: np.ndarray  # (words, c)
    bias: np.ndarray  # (c,)

    def __init__(self, cfg: TfidfExperiment, n_labels: int) -> None:
        self.cfg = cfg.tfidf

    def fit(self, inputs: Inputs, y: np.ndarray, run: TrainingRun) -> list[dict]:
        """Vocabulary, document frequencies and coefficients all come from these rows alone; nothing is drawn."""
        texts, row = _texts(inputs)
        y, self.unspaced = y[row], without_spaces(texts)
        weights = np.ones(y.shape) if run.weights is None else run.weights[row].astype(float)
        known = weights > 0
        weighted = ((weights != 1) & known).any()
        self.vectorizers = [v.set_params(min_df=self.cfg.min_rows) for v in self._vectorizers()]
        for vectorizer in self.vectorizers:
            try:
                vectorizer.fit(texts)
            except ValueError as error:
                found = f"TF-IDF found no n-gram in {self.cfg.min_rows} or more of {len(texts)} captions: {error}"
                raise ValueError(f"{found}; lower tfidf.min_rows, or leave this experiment out") from error
        x = self._transform(texts)
        self.coef, self.bias = (
            np.zeros((x.shape[1], y.shape[1])),
            smoothed_log_odds(y, None if run.weights is None else known),
        )
        for j in range(y.shape[1]):
            rows = known[:, j]
            own, given = (x, y[:, j]) if rows.all() else (x[rows], y[rows, j])
            if len(np.unique(given)) < 2:
                continue
            model = LogisticRegression(C=self.cfg.c, solver="liblinear", random_state=0, max_iter=300)
            model.fit(own, given, sample_weight=weights[rows, j] if weighted else None)
            self.coef[:, j], self.bias[j] = model.coef_[0], model.intercept_[0]
        return []

    def predict_proba(self, inputs: Inputs) -> np.ndarray:
        texts, row = _texts(inputs)
        logits = self._transform(texts) @ self.coef + self.bias
        if len(texts) > len(inputs):  # the mean over the captions of a row
            logits = np.add.reduceat(logits, np.searchsorted(row, np.arange(len(inputs))))
            logits /= np.bincount(row)[:, None]
        return sigmoid(logits)

    def _vectorizers(self) -> list[TfidfVectorizer]:
        longest = self.cfg.characters
        if self.unspaced:
            characters = (1, max(self.cfg.words + 1, longest))
            return [TfidfVectorizer(sublinear_tf=True, analyzer="char", ngram_range=characters)]
        words = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, self.cfg.words), token_pattern=r"\b\w+\b")
        if not longest:
            return [words]
        return [words, TfidfVectorizer(sublinear_tf=True, analyzer="char_wb", ngram_range=(min(2, longest), longest))]

    def _transform(self, texts: Sequence[str]) -> csr_matrix:
        return hstack([v.transform(texts) for v in self.vectorizers], format="csr")

    def save(self, path: Path) -> None:
        vocabularies = json.dumps([sorted(v.vocabulary_, key=v.vocabulary_.get) for v in self.vectorizers])
        about = {"vocabularies": vocabularies} | ({"unspaced": "yes"} if self.unspaced else {})
        tensors = {"coef": self.coef.astype(np.float32), "bias": self.bias}
        tensors |= {f"idf{i}": v.idf_ for i, v in enumerate(self.vectorizers)}
        write_with(path, lambda partial: save_file(tensors, partial, about))

    def load(self, path: Path) -> Self:
        with safe_open(path, "np") as file:
            about = file.metadata()
        vocabularies, self.unspaced = json.loads(about["vocabularies"]), "unspaced" in about
        tensors, self.vectorizers = load_file(path), self._vectorizers()
        for i, (vectorizer, words) in enumerate(zip(self.vectorizers, vocabularies, strict=True)):
            vectorizer.set_params(vocabulary={word: j for j, word in enumerate(words)})
            vectorizer.idf_ = tensors[f"idf{i}"]
        self.coef, self.bias = tensors["coef"].astype(np.float64), tensors["bias"]
        return self


def _texts(inputs: Inputs) -> tuple[Sequence[str], np.ndarray]:
    """(texts, (m,) the row of each): the caption of each row, or each of its captions by itself."""
    if inputs.caption_lists is None:
        return inputs.captions or (), np.arange(len(inputs))
    texts = [text for row in inputs.caption_lists for text in row]
    return texts, np.repeat(np.arange(len(inputs)), list(map(len, inputs.caption_lists)))
