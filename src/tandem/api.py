"""One competition in Python: its results as arrays or pandas tables, and training, stacking and explaining it."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tandem.api_results import Folds, ImageExplanation, Labels, Score, Scores, Training, score_of
from tandem.artifacts.paths import Paths
from tandem.artifacts.predictions import Predictions
from tandem.config.competition import load_competition
from tandem.config.metric_names import merit
from tandem.data.labelled_rows import LabelledRows, read_labelled_rows
from tandem.graph.experiment_dir import Experiments, command_for
from tandem.graph.keys import STACK
from tandem.runtime.duration import Budget
from tandem.runtime.leftovers import scratch_folder

if TYPE_CHECKING:
    import pandas as pd

    from tandem.inference.labeler import Labeler


class CompetitionResults:
    """One competition; every method reads the files anew, and those that train write what make would write.

    While one of these runs, the working folder of the process is `root`, as names of files in configs are relative to
    it. In a script, call them below `if __name__ == "__main__":`, because they start processes.
    """

    def __init__(self, name: str, root: Path | str = ".") -> None:
        """Raises FileNotFoundError where `root` has no competition of this name, ValueError for an invalid name."""
        self._paths = Paths(name, Path(root))
        load_competition(self._paths.competition)

    @property
    def name(self) -> str:
        return self._paths.comp

    def __repr__(self) -> str:
        return f"tandem.competition({self.name!r}, root={str(self._paths.root)!r})"

    def labels(self) -> Labels:
        """The labelled training rows with their folds.

        >>> labels = tandem.competition("toy").labels()
        >>> labels.names, labels.y.shape, labels.fold[:4].tolist()
        (('cat', 'sky'), (60, 2), [0, 1, 2, 0])
        """
        rows = self._rows()
        return Labels(rows.ids, rows.names, rows.y, rows.fold, rows.known)

    def folds(self) -> Folds:
        """The split, with the groups of near-duplicates.

        >>> tandem.competition("toy").folds().to_pandas().loc["4.jpg"].to_dict()
        {'fold': 1, 'group': 4}
        """
        rows = self._rows()
        return Folds(rows.ids, rows.fold, rows.group)

    def experiments(self) -> tuple[str, ...]:
        """Names of the experiments that have out-of-fold predictions, sorted."""
        return tuple(sorted(file.parent.name for file in self._paths.oof_dir.glob("*/oof.parquet")))

    def oof(self, experiment: str) -> Predictions:
        """Out-of-fold predictions: each training row's are by a model that was not trained on its fold.

        >>> tandem.competition("toy").oof("stack").proba.shape
        (60, 2)
        """
        return self._predictions(self._paths.oof(experiment), experiment)

    def test(self, experiment: str) -> Predictions:
        """Predictions for the test rows: averages over the models of all folds.

        >>> predictions = tandem.competition("toy").test("stack")
        >>> predictions.ids[0], list(predictions.to_pandas().columns)
        ('60.jpg', ['cat', 'sky'])
        """
        return self._predictions(self._paths.test(experiment), experiment)

    def scores(self) -> Scores:
        """The scores of all experiments, as in the table of `make scores`.

        >>> scores = tandem.competition("toy").scores()
        >>> scores["stack"].score >= scores["looks"].score
        True
        """
        rows = [(merit(one.scores), score_of(one)) for one in Experiments(self._paths).scored()]
        if not rows:
            raise FileNotFoundError(f"{self.name!r} has no scores; run: {command_for(self.name)}")
        rows.sort(key=lambda row: (not row[1].current, -row[0]))
        return Scores(tuple(row for _, row in rows))

    def labeler(self, experiment: str = "stack", folds: int = 0) -> "Labeler":
        """Labels new images as this experiment labelled the test rows; `folds`: number of its fold models, 0 is all.

        >>> labeler = tandem.competition("toy").labeler("looks")
        >>> labeler.predict_proba(["input/toy/data/60.jpg"]).shape
        (1, 2)
        """
        from tandem.inference.labeler import Labeler  # imports torch

        return Labeler.of(self._paths, experiment, folds)

    def train(
        self,
        experiment: str,
        folds: Sequence[int] | None = None,
        on_epoch: Callable[[dict[str, Any]], object] | None = None,
    ) -> Training:
        """Trains what is stale of an experiment, and all that it needs, as `make train`.

        folds     only these, without out-of-fold predictions and scores; None: all, with both
        on_epoch  called with the log entry of each epoch and its `fold`; the folds are then trained one after another
        """
        from tandem.stages._folds_here import fit_here, fold_records  # imports torch

        with self._in_root() as paths:
            if folds is not None or on_epoch is not None:
                fit_here(paths, experiment, folds, on_epoch)
            if folds is None:
                self._make("train", [experiment])
            records = fold_records(paths, experiment, folds)
        log = tuple({"fold": k, **entry} for k, record in records.items() for entry in record["log"] or ())
        f1, seconds = ({k: record[key] for k, record in records.items()} for key in ("held_out_f1", "seconds"))
        return Training(experiment, f1, seconds, log)

    def add_predictions(
        self,
        name: str,
        oof: "pd.DataFrame | Predictions | Path | str",
        test: "pd.DataFrame | Predictions | Path | str | None" = None,
        folds: "pd.DataFrame | Path | str | None" = None,
        kind: str = "",
        again: bool = False,
    ) -> Score:
        """Predictions made elsewhere become the experiment `name`, as `make add-predictions`.

        oof, test  a table with an id for each row, as index or column, and a column for each label; or its file
        folds      a table or file with the columns id and fold: which rows were predicted together
        kind       "probabilities" or "logits", where the values do not tell
        again      replaces what was added under this name
        """
        from tandem.stages._run import run_command

        given = {"oof": oof, "test": test, "folds": folds}
        with scratch_folder() as folder:
            files = {key: _as_file(value, folder / f"{key}.parquet") for key, value in given.items()}
            with self._in_root():
                options = {"name": name, "kind": kind, "again": again, **files}
                run_command("add_predictions", self.name, **options)
        return self.scores()[name]

    def stack(self, experiments: Sequence[str] | str = (), name: str = "stack", budget: str = "") -> Score:
        """Fits and scores a stack of these experiments and sets, such as "quick", by default the competition's own, as
        `make stack`; with a `budget`, such as "20m", of those that fit into it."""
        with self._in_root():
            self._make("stack", experiments, name, budget=budget)
        return self.scores()[name]

    def decode(self, experiment: str = "stack") -> Score:
        """Tunes the decoder of an experiment or a stack and scores it, as `make train` and `make stack` do."""
        with self._in_root():
            if members := self._members(experiment):
                self._make("stack", members, experiment)
            else:
                self._make("decode", [experiment])
        return self.scores()[experiment]

    def submit(self, experiment: str = "stack", decoder: str = "") -> Path:
        """The checked CSV of an experiment or a stack, as `make submit`; by another `decoder`, such as "shrunk"."""
        if not load_competition(self._paths.competition).has_test:
            raise ValueError(f"{self.name!r} has no test table: nothing to submit")
        with self._in_root():
            members = self._members(experiment)
            names = members or ([] if experiment == STACK else [experiment])
            self._make("submit", names, experiment if members else STACK, decoder)
        return self._paths.submission(f"{experiment}.{decoder}" if decoder else experiment)

    def explain(self, image: str, experiment: str = "") -> ImageExplanation:
        """Why the image with this id got its labels, as `make explain`; by the fusion network where none is named.

        >>> explanation = tandem.competition("toy").explain("3.jpg", "join")
        >>> explanation.experiment, list(explanation.proba), "<!doctype html>" in explanation.html
        ('join', ['cat', 'sky'], True)
        """
        from tandem.explain.explain_image import explain_image  # imports torch
        from tandem.explain.page import render

        with self._in_root() as paths:
            found = explain_image(paths, image, experiment)
            shown = found.predictions[0]
            proba = dict(zip(found.names, map(float, shown.proba), strict=True))
            return ImageExplanation(image, shown.experiment, proba, render(found))

    @contextlib.contextmanager
    def _in_root(self) -> Iterator[Paths]:
        """Content keys hold names of files relative to the root."""
        with contextlib.chdir(self._paths.root):
            yield Paths(self.name)

    def _make(
        self, target: str, names: Sequence[str] | str, stack: str = STACK, decoder: str = "", budget: str = ""
    ) -> None:
        from tandem.stages._run import bring_up_to_date

        limit = Budget.of(budget) if budget else None
        bring_up_to_date(self.name, target, names, decoder=decoder, stack=stack, budget=limit)

    def _members(self, stack: str) -> list[str]:
        """Of a stack that is fitted; empty for an experiment."""
        found = Experiments(self._paths)[stack]
        return found.members if found.is_trained and found.is_stack else []

    def _rows(self) -> LabelledRows:
        for file in (self._paths.labels, self._paths.folds):
            self._require(file, f"make folds COMP={self.name}")
        return read_labelled_rows(self._paths)

    def _predictions(self, file: Path, experiment: str) -> Predictions:
        self._require(file, command_for(self.name, experiment))
        return Predictions.read(file)

    def _require(self, file: Path, command: str) -> None:
        if not file.exists():
            raise FileNotFoundError(f"{file} does not exist; run: {command}")


def _as_file(given: "pd.DataFrame | Predictions | Path | str | None", file: Path) -> Path | None:
    """The absolute path of a file that is given; a table is written to `file`."""
    if given is None or isinstance(given, Path | str):
        return None if given is None else Path(given).expanduser().resolve()
    table = given.to_pandas() if isinstance(given, Predictions) else given
    numbered = table.index.name is None and table.index.equals(type(table.index)(range(len(table))))
    table.reset_index(drop=numbered).to_parquet(file, index=False)
    return file


def competition(name: str, root: Path | str = ".") -> CompetitionResults:
    """The results of a competition: `name` is its folder under `root`/input, `root` the folder that you run make in.

    >>> import tandem
    >>> tandem.competition("toy").name
    'toy'
    """
    return CompetitionResults(name, root)
