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
from tandem.artifacts.whole_files import MODEL, reading
from tandem.config.experiments import TfidfExperiment
from tandem.data.caption_words import without_spaces
from tandem.logits import sigmoid, smoothed_log_odds
from tandem.models.base import TrainingRun
from tandem.models.inputs import Inputs, row_slices
from tandem.runtime.progress import print_line

LEARNED = 200_000  # captions, at most, that vocabulary and document frequencies come from
NONZERO = 50_000_000  # numbers other than 0, at most, that coefficients are fitted on: 1.5 GB


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
        """Vocabulary, document frequencies and coefficients all come from these rows alone; nothing is drawn.

        Of many captions, every second, third, ... is used: LEARNED at most for the vocabulary, and so many for the
        coefficients that NONZERO numbers are in memory at most; the log says how many.
        """
        texts, row = _texts(inputs)
        learned = texts[:: -(-len(texts) // LEARNED)]
        self.unspaced = without_spaces(learned)
        self.vectorizers = self._learn(learned)
        every = -(-int(self._transform(learned).nnz / len(learned) * len(texts)) // NONZERO) or 1
        x, row = self._transform(texts[::every]), row[::every]
        y, weights = y[row], None if run.weights is None else run.weights[row].astype(float)
        known = None if weights is None else weights > 0
        weighted = weights is not None and ((weights != 1) & (weights > 0)).any()
        self.coef, self.bias = np.zeros((x.shape[1], y.shape[1])), smoothed_log_odds(y, known)
        for j in range(y.shape[1]):
            rows = slice(None) if known is None or known[:, j].all() else known[:, j]
            own, given = (x, y[:, j]) if isinstance(rows, slice) else (x[rows], y[rows, j])
            if len(np.unique(given)) < 2:
                continue
            model = LogisticRegression(C=self.cfg.c, solver="liblinear", random_state=0, max_iter=300)
            model.fit(own, given, sample_weight=weights[rows, j] if weights is not None and weighted else None)
            self.coef[:, j], self.bias[j] = model.coef_[0], model.intercept_[0]
        if len(learned) == len(texts) == x.shape[0]:
            return []
        print_line(
            f"TF-IDF of {len(texts):,} captions: words from {len(learned):,}, coefficients from {x.shape[0]:,} of them"
        )
        return [{"captions": len(texts), "words_from": len(learned), "coefficients_from": x.shape[0]}]

    def _learn(self, texts: Sequence[str]) -> list[TfidfVectorizer]:
        """Their vocabularies and document frequencies."""
        vectorizers = [v.set_params(min_df=self.cfg.min_rows) for v in self._vectorizers()]
        for vectorizer in vectorizers:
            try:
                vectorizer.fit(texts)
            except ValueError as error:
                found = f"TF-IDF found no n-gram in {self.cfg.min_rows} or more of {len(texts)} captions: {error}"
                raise ValueError(f"{found}; lower tfidf.min_rows, or leave this experiment out") from error
        return vectorizers

    def predict_proba(self, inputs: Inputs) -> np.ndarray:
        proba = np.zeros((len(inputs), len(self.bias)))
        for rows in row_slices(len(inputs)):
            texts, row = _texts(inputs, rows)
            logits = self._transform(texts) @ self.coef + self.bias
            n = rows.stop - rows.start
            if len(texts) > n:  # the mean over the captions of a row
                logits = np.add.reduceat(logits, np.searchsorted(row, np.arange(n)))
                logits /= np.bincount(row)[:, None]
            proba[rows] = sigmoid(logits)
        return proba

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
        with reading(path, MODEL):
            with safe_open(path, "np") as file:
                about = file.metadata()
            vocabularies, self.unspaced = json.loads(about["vocabularies"]), "unspaced" in about
            tensors, self.vectorizers = load_file(path), self._vectorizers()
            for i, (vectorizer, words) in enumerate(zip(self.vectorizers, vocabularies, strict=True)):
                vectorizer.set_params(vocabulary={word: j for j, word in enumerate(words)})
                vectorizer.idf_ = tensors[f"idf{i}"]
            self.coef, self.bias = tensors["coef"].astype(np.float64), tensors["bias"]
        return self


def _texts(inputs: Inputs, rows: slice = slice(None)) -> tuple[Sequence[str], np.ndarray]:
    """(texts, (m,) the row of each, from 0): the caption of each of these rows, or each of its captions by itself."""
    if inputs.caption_lists is None:
        texts = (inputs.captions or ())[rows]
        return texts, np.arange(len(texts))
    lists = inputs.caption_lists[rows]
    return [text for row in lists for text in row], np.repeat(np.arange(len(lists)), list(map(len, lists)))
