"""What the files of one trained experiment hold: settings, folds, members, predictions, decoder, scores."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tandem.artifacts.atomic_io import read_json
from tandem.artifacts.paths import Paths
from tandem.artifacts.whole_files import AGAIN, DamagedFile
from tandem.config.experiments import Experiment, make_experiment
from tandem.config.external import is_external
from tandem.graph.keys import STACK

if TYPE_CHECKING:  # imported where they are used: `make scores` needs none of them
    import numpy as np

    from tandem.artifacts.predictions import Predictions
    from tandem.data.labelled_rows import LabelledRows
    from tandem.decoding import Decoder


class TrainedFiles:
    """The files of one experiment, or of a stack, each read once."""

    def __init__(self, paths: Paths, name: str) -> None:
        self.paths, self.name = paths, name

    @cached_property
    def is_trained(self) -> bool:
        return self.paths.run(self.name).is_file()

    @cached_property
    def is_scored(self) -> bool:
        decoded = (self.paths.thresholds(self.name), self.paths.scores(self.name))
        return self.is_trained and all(file.is_file() for file in decoded)

    @cached_property
    def run(self) -> dict[str, Any]:
        """`run.json`: how it was trained; raises FileNotFoundError where it was not."""
        if not self.is_trained:
            file, command = self.paths.run(self.name), f"make train COMP={self.paths.comp}"
            raise FileNotFoundError(f"{file} does not exist: {self.name} is not trained; run: {command}")
        run = read_json(self.paths.run(self.name))
        old = self.paths.build / "experiments" / f"{self.name}.json"
        if "seconds_per_fold" in run and "folds" not in run and old.is_file():  # a bundle of format 1 or 2
            run |= {"config": read_json(old), "folds": list(range(len(run["seconds_per_fold"])))}
        return run

    @cached_property
    def scores(self) -> dict[str, Any]:
        return read_json(self.paths.scores(self.name))

    @cached_property
    def thresholds(self) -> dict[str, Any]:
        """`thresholds.json`: the decoder in use and what it was tuned for."""
        return read_json(self.paths.thresholds(self.name))

    @cached_property
    def is_stack(self) -> bool:
        return "members" in self.run

    @cached_property
    def members(self) -> list[str]:
        """All experiments that a stack was fitted on; empty if it is no stack."""
        return list(self.run.get("members", {}))

    @cached_property
    def is_external(self) -> bool:
        """Whether its predictions were made elsewhere; a stack's never are."""
        return is_external(self.run)

    @cached_property
    def unable(self) -> list[str]:
        """The members of a stack that can't label new images: their predictions, or features that they read, were made
        elsewhere. A second stack, without them, does."""
        return list(self.run.get("external", []))

    @cached_property
    def config(self) -> Experiment:
        """The settings it was trained with."""
        return make_experiment(self._recorded("config"), self.paths.run(self.name))

    @cached_property
    def folds(self) -> list[int]:
        """The folds that have a model."""
        return [int(k) for k in self._recorded("folds")]

    def _recorded(self, name: str) -> Any:
        if name not in self.run:  # another file in its place
            raise DamagedFile(f"{self.paths.run(self.name)}: damaged, not the record of a training; {AGAIN}")
        return self.run[name]

    def models(self, most: int = 0) -> list[Path]:
        """Weights of the folds' models, of the first `most` of them; 0 is all."""
        if not 0 <= most <= len(self.folds):
            raise ValueError(f"FOLDS={most}: {self.name} has {len(self.folds)} models; expected 0 (all) to that number")
        return self.models_of(self.folds[: most or None])

    def models_of(self, folds: Sequence[int]) -> list[Path]:
        """Weights of these folds' models, of every seed."""
        return [self.paths.model(self.name, k, ".safetensors", s) for k in folds for s in range(self.config.seeds)]

    @cached_property
    def labels(self) -> tuple[str, ...]:
        return tuple(self.thresholds["labels"])

    def decoder(self, without: str = "", name: str = "") -> "Decoder":
        """The decoder in use, or the one called `name`; `without` "captions" or "photos": the one for rows that lack
        them, where there is one."""
        from tandem.decoding import Decoder

        return Decoder.from_json(self._recipe(without), name)

    def _recipe(self, without: str = "") -> dict[str, Any]:
        return self.thresholds.get("without", {}).get(without, self.thresholds) if without else self.thresholds

    def decode(self, proba: "np.ndarray", captioned: "np.ndarray", name: str = "") -> "np.ndarray":
        """(n, c) bool label sets of probabilities (n, c), by the decoder in use or the one called `name`; rows that are
        not `captioned` (n,) are decoded by the decoder for rows without a caption, where there is one."""
        pred = self.decoder("", name)(proba)
        if not captioned.all():
            pred[~captioned] = self.decoder("captions", name)(proba[~captioned])
        return pred

    def submitted_proba(self, proba: "np.ndarray", captioned: "np.ndarray") -> "np.ndarray":
        """(n, c) probabilities as a submission holds them: calibrated where the metric is the log loss."""
        from tandem.decoding.calibration import Calibration

        if self.thresholds["metric"] != "log_loss":
            return proba
        found = Calibration(**self.thresholds["calibration"])(proba)
        if not captioned.all():
            found[~captioned] = Calibration(**self._recipe("captions")["calibration"])(proba[~captioned])
        return found

    def oof_without(self, setting: str, rows: "LabelledRows") -> "np.ndarray | None":
        """(n, c) out-of-fold probabilities in the setting no_caption or no_image; None where it has none."""
        from tandem.artifacts.contributions import splits_in
        from tandem.ensemble.left_out import read_without

        file = self.paths.contributions(self.name)
        return read_without(file, setting, rows.ids, rows.names) if setting in splits_in(file) else None

    def oof(self) -> "Predictions":
        from tandem.artifacts.predictions import Predictions

        return Predictions.read(self.paths.oof(self.name))

    def test(self) -> "Predictions | None":
        """None where the test rows are not predicted."""
        from tandem.artifacts.predictions import Predictions

        file = self.paths.test(self.name)
        return Predictions.read(file) if file.is_file() else None

    @property
    def submission(self) -> dict[str, Any] | None:
        """The JSON beside its submission; None where there is none."""
        file = self.paths.submission(self.name).with_suffix(".json")
        return read_json(file) if file.is_file() else None

    def logs(self) -> dict[int, list[dict[str, Any]]]:
        """The training log of each fold that has one; an entry of a further seed has the number of that `seed`."""
        logs: dict[int, list[dict[str, Any]]] = {}
        for k, s in product(self.folds, range(self.config.seeds)):
            if (file := self.paths.model(self.name, k, ".json", s)).is_file():
                log = read_json(file).get("log") or []
                logs.setdefault(k, []).extend([entry | {"seed": s} for entry in log] if s else log)
        return logs

    @property
    def _second_scores(self) -> Mapping[str, Any]:
        """The scores of the stack without `unable` members; empty where there is none."""
        return self.scores.get("without", {}).get("external", {}) if self.unable else {}

    @property
    def new_image_scores(self) -> Mapping[str, Any]:
        """The scores of what labels new images: of a stack with members that can't, those of the stack without them."""
        return self._second_scores or self.scores

    @property
    def about_new_images(self) -> str:
        """The scores of a stack and of the one that labels new images in its place; "" where it labels these itself."""
        if not (scores := self._second_scores):
            return ""
        own = "the stack" if self.name == STACK else self.name
        without = f"{own} without {', '.join(self.unable)}: {scores['score']:.4f}"
        return f"{self.name} {self.scores['score']:.4f}; new images are labelled by {without}"
