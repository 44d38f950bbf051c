"""What the methods of `tandem.competition(...)` return: arrays, and the same as pandas tables."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tandem.artifacts.column_names import own_column
from tandem.graph.experiment_dir import ExperimentDir

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Labels:
    """The labelled training rows.

    ids    (n,) str    image ids, in the order of train.csv
    names  (c,) str    label names: the columns of `y`
    y      (n, c) u1   1 where the image has the label
    fold   (n,) int    fold of each row
    known  (n, c) bool which labels are known, y is 0 at the others; None where all are
    """

    ids: Sequence[str]
    names: tuple[str, ...]
    y: np.ndarray
    fold: np.ndarray
    known: np.ndarray | None = None

    def to_pandas(self) -> "pd.DataFrame":
        """Index `id`; column `fold`, then one column per label, NaN where it is unknown (`id_`, `fold_` where a label
        has that name)."""
        import pandas as pd

        y = self.y if self.known is None else np.where(self.known, self.y, np.nan)
        index = pd.Index(self.ids, name=own_column("id", self.names))
        frame = pd.DataFrame(y, index=index, columns=list(self.names))
        frame.insert(0, own_column("fold", self.names), self.fold)
        return frame


@dataclass(frozen=True, eq=False)
class Folds:
    """The split of the training rows.

    ids    (n,) str    image ids
    fold   (n,) int    number of the fold: 0 to n_folds - 1, unless they are your own
    group  (n,) int    rows of one group are near-duplicate images, or kept together by you
    """

    ids: Sequence[str]
    fold: np.ndarray
    group: np.ndarray

    def to_pandas(self) -> "pd.DataFrame":
        """Index `id`; columns `fold` and `group`."""
        import pandas as pd

        return pd.DataFrame({"fold": self.fold, "group": self.group}, index=pd.Index(self.ids, name="id"))


@dataclass(frozen=True)
class Score:
    """Out-of-fold scores of one experiment, cross-fitted: no row is scored with a decoder tuned on it."""

    experiment: str
    metric: str  # of the competition
    score: float  # that metric
    f1_samples: float  # F1 per row (F-beta where competition.toml sets another beta), as are the next two
    f1_micro: float
    f1_macro: float
    map: float
    log_loss: float
    in_sample: float  # that metric, with the decoder tuned on the rows that it is scored on
    optimism: float  # in_sample - score
    fold_spread: float  # standard deviation of the folds' scores, with n - 1
    decoder: str
    seconds: float  # of training
    model_mb: float  # size of the models in MiB
    leaderboard: float | None  # that metric of the submission, where the test labels are known (solution.csv)
    marks: tuple[str, ...]  # why the score may be too high, such as "tuned on these folds" or "other folds"
    current: bool  # False: the metric was changed, or the experiment trained again, since it was scored


@dataclass(frozen=True)
class Scores:
    """The scores of all experiments, best first; those that are not current come last."""

    rows: tuple[Score, ...]

    def __getitem__(self, experiment: str) -> Score:
        """Raises KeyError, with the names that exist, where the experiment has no scores."""
        for row in self.rows:
            if row.experiment == experiment:
                return row
        raise KeyError(f"{experiment!r} has no scores; there are: {[row.experiment for row in self.rows]}")

    def to_pandas(self) -> "pd.DataFrame":
        """Index `experiment`; one column for each other field of `Score`."""
        import pandas as pd

        return pd.DataFrame([asdict(row) for row in self.rows]).set_index("experiment")


@dataclass(frozen=True)
class Training:
    """How folds of an experiment were trained.

    held_out_f1  {fold: F1 per row of its held-out rows, at probability 0.5}
    seconds      {fold: seconds of training}
    log          an entry for each epoch of each fold: fold, epoch, loss, f1, ...; empty for a model without epochs
    """

    experiment: str
    held_out_f1: Mapping[int, float]
    seconds: Mapping[int, float]
    log: tuple[Mapping[str, Any], ...]

    def to_pandas(self) -> "pd.DataFrame":
        """One row for each epoch of each fold."""
        import pandas as pd

        return pd.DataFrame([dict(entry) for entry in self.log])


@dataclass(frozen=True)
class ImageExplanation:
    """Why one image got its labels; a notebook shows it as the page of `make explain`.

    proba  {label: probability} by the explained experiment
    html   the whole page, which needs no other file
    """

    image: str
    experiment: str
    proba: Mapping[str, float]
    html: str

    def _repr_html_(self) -> str:
        """The page in a frame of its own, so that its styles don't reach the notebook; scripts don't run in it."""
        return (
            f'<iframe srcdoc="{html.escape(self.html)}" style="width: 100%; height: 800px; border: 0" sandbox></iframe>'
        )

    def save(self, file: Path | str) -> Path:
        """Writes the page."""
        Path(file).write_text(self.html, encoding="utf-8")
        return Path(file)


def score_of(experiment: ExperimentDir) -> Score:
    """The scores of one experiment or stack that is scored."""
    values = experiment.run | experiment.scores
    leaderboard = (experiment.submission or {}).get("local_leaderboard") or {}
    values |= {
        "experiment": experiment.name,
        "leaderboard": leaderboard.get(values["metric"]),
        "marks": experiment.marks,
        "current": not experiment.decoder_stale_reason,
    }
    return Score(**{field.name: values[field.name] for field in fields(Score)})
