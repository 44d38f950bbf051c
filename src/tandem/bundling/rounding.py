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

ROWS = 2_000  # at most, evenly over the rows of the packed folds
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


def measure_rounding(source: Labeler, bundled: Labeler, paths: Paths) -> Rounding:
    """Each row is labelled by the fold models that were not trained on it, as the source and as the bundle has them;
    with the same stack and the same decoder, so that nothing but the weights differs."""
    competition, rows = load_competition(paths.competition), read_labelled_rows(paths)
    text = dict(zip(*read_captions(paths.captions("train")), strict=True)) if paths.captions("train").exists() else {}
    captions = [text.get(name, "") for name in rows.ids]
    folds = set.intersection(*(set(member.folds) for member in bundled.predictor.members))
    usable = [i for i, k in enumerate(rows.fold) if k in folds and (has_caption(captions[i]) or not text)]
    chosen = [usable[i] for i in np.unique(np.linspace(0, len(usable) - 1, min(ROWS, len(usable))).astype(int))]
    files = dict(zip(*(read_image_rows(paths.images("train"))[key] for key in ("id", "file")), strict=True))
    images = [] if competition.images is None else [paths.input / files[name] for name in rows.ids]
    chunks = [(k, part) for k in sorted(folds) for part in _parts([i for i in chosen if rows.fold[i] == k])]
    sides = [(labeler, _of_folds(labeler.predictor, folds)) for labeler in (source, bundled)]

    def label(chunk: tuple[int, list[int]]) -> list[np.ndarray]:
        k, part = chunk
        with single_thread():
            opened = [squares_of(decoded(images[i]), bundled.sizes) for i in part] if images else []
            pixels = {size: [squares[size] for squares in opened] for size in bundled.sizes}
            said = [captions[i] for i in part]
            return [of_fold[k].proba(NewRows(labeler.encoders, pixels, said)) for labeler, of_fold in sides]

    both = []
    with progress(len(chosen), "what rounding changes", "rows") as bar:
        for (_, part), labelled in zip(chunks, prefetch(label, chunks, threads(), threads() + 1), strict=True):
            both.append(labelled)
            bar.update(len(part))
    order = [i for _, part in chunks for i in part]
    proba = np.concatenate([one[0] for one in both]), np.concatenate([one[1] for one in both])
    scored = replace(
        rows,
        ids=[rows.ids[i] for i in order],
        y=rows.y[order],
        fold=rows.fold[order],
        group=rows.group[order],
        known=rows.known_of(np.array(order)),
    )
    return Rounding.of(Rule.of(competition, paths.input), scored, proba, bundled.predictor.decoder)


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
