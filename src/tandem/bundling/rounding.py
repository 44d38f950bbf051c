"""What rounding of the weights changes in the score, the log loss and the labels of out-of-fold rows."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from tandem.artifacts.paths import Paths
from tandem.config.competition import load_competition
from tandem.data.image_loader import decoded, prefetch, squares_of
from tandem.data.labelled_rows import LabelledRows, read_labelled_rows
from tandem.data.split_tables import has_caption, read_captions, read_image_rows
from tandem.decoding import Decoder, Rule
from tandem.decoding.score_interval import half_width
from tandem.inference.fold_models import Member, NewRows
from tandem.inference.labeler import Labeler
from tandem.inference.predictor import Predictor
from tandem.metrics import log_loss
from tandem.runtime.progress import progress
from tandem.runtime.resources import threads
from tandem.runtime.torch_setup import single_thread

ROWS = 20_000  # at most, evenly over the rows of the packed folds
FIRST = 2_000  # of these, evenly too: where rounding matters on them, the others are not labelled
CHUNK = 32
SHARE = 0.25  # of the standard error of the score: a smaller fall is lost in the noise of these rows
UNKNOWN = 0.01  # the standard error where the metric has none on these rows


@dataclass(frozen=True)
class Rounding:
    """Two labellings of the same rows, (source, bundle) each.

    error  the standard error of the source's score on these rows
    """

    metric: str
    scores: tuple[float, float]
    losses: tuple[float, float]
    changed: int
    labels: int
    rows: int
    error: float
    greater_is_better: bool = True

    @classmethod
    def of(cls, rule: Rule, rows: LabelledRows, found: tuple[np.ndarray, np.ndarray], decide: Decoder) -> "Rounding":
        """`found`: probabilities (n, c) of the source and of the bundle for these rows."""
        pred = decide(found[0]), decide(found[1])
        values = found if rule.judge.needs != "labels" else pred
        try:
            scores = tuple(rule.score(rows.y, one, rows.known) for one in values)
            error = half_width(rule, rows.y, values[0], rows.group, rows.known) / 1.96
        except ValueError:  # a metric of the user's, of few rows
            scores, error = (np.nan, np.nan), np.nan
        return cls(
            rule.title,
            (float(scores[0]), float(scores[1])),
            (log_loss(rows.y, found[0], rows.known), log_loss(rows.y, found[1], rows.known)),
            int((pred[0] != pred[1]).sum()),
            pred[0].size,
            len(rows.y),
            float(error) if np.isfinite(error) else UNKNOWN,
            rule.judge.greater_is_better,
        )

    @property
    def fall(self) -> float:
        """How much worse the bundle scores; by log loss where the metric has no score on these rows."""
        known = bool(np.isfinite(self.scores).all())
        before, after = self.scores if known else self.losses
        return before - after if known and self.greater_is_better else after - before

    @property
    def matters(self) -> bool:
        return self.fall > SHARE * self.error + 1e-9

    @property
    def text(self) -> str:
        (before, after), losses = self.scores, self.losses
        return (
            f"{self.metric} {before:.4f} → {after:.4f}, log loss {losses[0]:.4f} → {losses[1]:.4f}, "
            f"{self.changed:,} of {self.labels:,} labels change on {self.rows:,} out-of-fold rows"
        )


class RoundingCheck:
    """The rows of the packed folds, each labelled by the fold models that were not trained on it, as the source and as
    a bundle of it has them; with the same stack and the same decoder, so that nothing but the weights differs."""

    def __init__(self, source: Labeler, paths: Paths) -> None:
        competition, self.rows = load_competition(paths.competition), read_labelled_rows(paths)
        self.rule, self.source = Rule.of(competition, paths.input), source
        given = paths.captions("train")
        text = dict(zip(*read_captions(given), strict=True)) if given.exists() else {}
        self.captions = [text.get(name, "") for name in self.rows.ids]
        files = dict(zip(*(read_image_rows(paths.images("train"))[key] for key in ("id", "file")), strict=True))
        self.images = [] if competition.images is None else [paths.input / files[name] for name in self.rows.ids]
        self.folds = set.intersection(*(set(member.folds) for member in source.predictor.members))
        self.of_fold = _of_folds(source.predictor, self.folds)
        packed = [i for i, k in enumerate(self.rows.fold) if k in self.folds]
        self.chosen = _spread([i for i in packed if has_caption(self.captions[i])] or packed, ROWS)
        self.labelled: dict[int, np.ndarray] = {}  # by row: the source's probabilities (c,), kept for other bits

    def measure(self, bundled: Labeler) -> Rounding:
        """On FIRST rows; where rounding does not matter on these, on all."""
        first, found = _spread(self.chosen, FIRST), dict[int, np.ndarray]()
        with progress(len(self.chosen), "what rounding changes", "rows") as bar:
            for rows in (first, sorted(set(self.chosen) - set(first))):
                for part, proba in self._label(bundled, rows):
                    found |= zip(part, proba, strict=True)
                    bar.update(len(part))
                if (rounding := self._compare(found, bundled.predictor.decoder)).matters:
                    break
        return rounding

    def _label(self, bundled: Labeler, rows: list[int]) -> Iterator[tuple[list[int], np.ndarray]]:
        """(rows of one fold, the bundle's probabilities) for some at a time; the source's are kept."""
        of_fold = _of_folds(bundled.predictor, self.folds)
        parts = [part for k in sorted(self.folds) for part in _parts([i for i in rows if self.rows.fold[i] == k])]

        def label(part: list[int]) -> list[np.ndarray]:
            k, sizes = self.rows.fold[part[0]], bundled.predictor.sizes
            with single_thread():
                opened = [squares_of(decoded(self.images[i]), sizes) for i in part] if self.images else []
                pixels = {size: [squares[size] for squares in opened] for size in sizes}
                said = [self.captions[i] for i in part]
                known = [self.labelled[i] for i in part if i in self.labelled]
                own = known or self.of_fold[k].proba(NewRows(self.source.encoders, pixels, said))
                return [np.asarray(own), of_fold[k].proba(NewRows(bundled.encoders, pixels, said))]

        for part, (own, proba) in zip(parts, prefetch(label, parts, threads(), threads() + 1), strict=True):
            self.labelled |= zip(part, own, strict=True)
            yield part, proba

    def _compare(self, found: dict[int, np.ndarray], decide: Decoder) -> Rounding:
        rows, order = self.rows, sorted(found)
        scored = replace(
            rows,
            ids=[rows.ids[i] for i in order],
            y=rows.y[order],
            fold=rows.fold[order],
            group=rows.group[order],
            known=rows.known_of(np.array(order)),
        )
        proba = np.array([self.labelled[i] for i in order]), np.array([found[i] for i in order])
        return Rounding.of(self.rule, scored, proba, decide)


def _spread(rows: list[int], most: int) -> list[int]:
    """At most so many of them, evenly spaced.

    >>> _spread([1, 2, 3, 5, 8, 13, 21], 3)
    [1, 5, 21]
    """
    return [rows[i] for i in np.unique(np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(int))]


def _parts(rows: list[int]) -> Iterator[list[int]]:
    for start in range(0, len(rows), CHUNK):
        yield rows[start : start + CHUNK]


def _of_folds(predictor: Predictor, folds: set[int]) -> dict[int, Predictor]:
    """The predictor with the models of one fold alone, for each fold."""

    def of(member: Member, k: int) -> Member:
        one = member.of_fold(k)
        assert one is not None
        return one

    return {k: replace(predictor, members=[of(member, k) for member in predictor.members]) for k in folds}
