"""Rows with more predicted labels than the most allowed, while thresholds change one label at a time."""

import numpy as np


class CrowdedRows:
    """How many true labels the limit keeps; a row is ranked again only when its predicted labels have changed."""

    def __init__(self, proba: np.ndarray, y: np.ndarray, most: int) -> None:
        """Probabilities and labels (n, c); `most` is below c."""
        n, c = proba.shape
        self.y, self.most = y, most
        self.label = np.argsort(-proba, axis=1, kind="stable").astype(np.int32)  # of each row, by rank
        self.rank = np.empty((n, c), np.int32)
        np.put_along_axis(self.rank, self.label, np.arange(c, dtype=np.int32)[None], axis=1)
        self.pred: np.ndarray | None = None  # whose rows are ranked
        self.stale = np.ones(n, bool)
        # the most-th predicted label and the next one: their ranks, c for none, and whether they are true
        self.ranks, self.hits = np.zeros((n, 2), np.int32), np.zeros((n, 2), np.int64)
        self.all_hits = np.zeros(n, np.int64)  # true ones among all up to the next

    def overlap(self, pred: np.ndarray, rows: np.ndarray, j: int, member: bool) -> np.ndarray:
        """True labels kept in `rows`, crowded with the labels in `pred` (n, c) and label j predicted or not."""
        if self.pred is not pred:
            self.pred, self.stale[:] = pred, True
        self._rank_again(pred, rows[self.stale[rows]])
        rank, true, ranks, hits = self.rank[rows, j], self.y[rows, j], self.ranks[rows], self.hits[rows]
        among = pred[rows, j] & (rank <= ranks[:, 1])
        without = self.all_hits[rows] - np.where(among, true, hits[:, 1])
        if not member:
            return without
        last = (among & (rank <= ranks[:, 0])).astype(np.int64)[:, None]  # that is kept without label j
        last_rank, last_hit = (np.take_along_axis(of_two, last, 1)[:, 0] for of_two in (ranks, hits))
        return without + np.where(rank < last_rank, true - last_hit, 0)

    def _rank_again(self, pred: np.ndarray, rows: np.ndarray) -> None:
        c = pred.shape[1]
        predicted = np.where(pred[rows], self.rank[rows], c)
        first = np.partition(predicted, (self.most - 1, self.most), axis=1)[:, : self.most + 1]
        label = np.take_along_axis(self.label[rows], np.minimum(first, c - 1), 1)
        hits = np.take_along_axis(self.y[rows], label, 1) & (first < c)
        self.ranks[rows], self.hits[rows], self.all_hits[rows] = first[:, -2:], hits[:, -2:], hits.sum(1)
        self.stale[rows] = False
