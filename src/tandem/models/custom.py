"""A model that is a class of the user's: calls it, checks what it returns, and says where an error is."""

import re
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn, Self

import numpy as np
from safetensors import safe_open

from tandem.artifacts.atomic_io import write_with
from tandem.artifacts.contributions import BOTH, NO_CAPTION, NO_IMAGE, TERMS
from tandem.artifacts.user_files import read_text
from tandem.artifacts.whole_files import require_as_made
from tandem.config.code_loader import OwnCodeError, defined_at, load_object, own_errors
from tandem.config.custom import CustomExperiment
from tandem.config.own_code import LOCATED, code_files
from tandem.logits import sigmoid
from tandem.models.base import TrainingRun
from tandem.models.inputs import Inputs

METHODS = ("fit", "predict_proba", "save", "load")
GUIDE = "docs/your-own-model.md"
CHECKED = 8  # rows of which the terms are compared with the probabilities
CLOSE = 1e-3  # largest difference of their probabilities


class CustomModel:
    """Finds features and maps of `Inputs` under the names image, caption, trunk and tokens, and those of named features
    under their own."""

    def __init__(self, cfg: CustomExperiment, n_labels: int) -> None:
        """Raises OwnCodeError where the class lacks a method or can't be made with the settings."""
        self.cfg, self.n_labels = cfg, n_labels
        self._one_at_a_time = threading.Lock()  # labelling calls from several threads
        own_class = load_object(cfg.model)
        self.name = own_class.__name__
        wanted = (*METHODS, "predict_terms") if cfg.terms else METHODS
        if lacking := [name for name in wanted if not callable(getattr(own_class, name, None))]:
            raise OwnCodeError(
                f"{defined_at(own_class)}: class {self.name} has no method {lacking[0]!r}; a model has "
                f"{', '.join(wanted)}: {GUIDE}"
            )
        with own_errors(f"{defined_at(own_class)}, {self.name}({n_labels}, **settings)"):
            self.own = own_class(n_labels, **cfg.settings)

    def fit(self, inputs: Inputs, y: np.ndarray, run: TrainingRun) -> list[dict[str, Any]]:
        """Raises OwnCodeError where some labels are unknown and the class never asks which."""
        if run.weights is not None and not self._asks_for_weights():
            raise OwnCodeError(
                f"{defined_at(self.own.fit)}: some labels are unknown or count less, and {self.name}.fit uses neither "
                f"run.weights nor run.known (n, c): a 0 in y may be an unknown label; {GUIDE}"
            )
        with self._errors("fit"):
            log = self.own.fit(self._named(inputs), y, run)
        return _log(log, self.own.fit)

    def predict_proba(self, inputs: Inputs) -> np.ndarray:
        """(n, c); raises OwnCodeError for another shape, NaN, or values that are no probabilities."""
        with self._one_at_a_time, self._errors("predict_proba"):
            found = self.own.predict_proba(self._named(inputs))
        found = self._numbers(found, (len(inputs), self.n_labels), "predict_proba")
        if (outside := (found < 0) | (found > 1)).any():
            row, column = np.argwhere(outside)[0]
            self._refuse(
                "predict_proba",
                f"{found[row, column]:.4g} in row {row}, column {column}; expected probabilities, 0 to 1; from tandem."
                "logits import sigmoid turns logits into them",
            )
        return found

    def predict_terms(self, inputs: Inputs) -> dict[str, np.ndarray]:
        """(n, c, 6) TERMS by setting; raises OwnCodeError where they do not add up to the logits of predict_proba."""
        with self._one_at_a_time, self._errors("predict_terms"):
            found = self.own.predict_terms(self._named(inputs))
        settings = {BOTH, NO_CAPTION, NO_IMAGE}
        if not isinstance(found, Mapping) or BOTH not in found or not found.keys() <= settings:
            got = sorted(found) if isinstance(found, Mapping) else type(found).__name__
            more = f"and {NO_CAPTION!r} and {NO_IMAGE!r} where it can"
            self._refuse("predict_terms", f"{got}; expected a dictionary with {BOTH!r}, {more}")
        shape = (len(inputs), self.n_labels, len(TERMS))
        terms = {key: self._numbers(part, shape, "predict_terms") for key, part in found.items()}
        few = np.arange(min(CHECKED, len(inputs)))
        apart = np.abs(sigmoid(terms[BOTH][few].sum(-1)) - self.predict_proba(inputs.take(few))).max(initial=0.0)
        if apart > CLOSE:
            what = f"terms that are not those of predict_proba: its probabilities differ by {apart:.3f}"
            self._refuse("predict_terms", f"{what}; {', '.join(TERMS)} must add up to the logit")
        return terms

    def save(self, path: Path) -> None:
        """Raises OwnCodeError where the class writes no safetensors file."""
        write_with(path, self._save)

    def _save(self, path: Path) -> None:
        with self._errors("save"):
            self.own.save(path)
        save_file = "safetensors.numpy.save_file(tensors, path), or that of safetensors.torch"
        if not path.is_file():
            self._refuse("save", f"no file at the path that it was given; write it there with {save_file}")
        try:
            with safe_open(path, "np") as file:
                file.keys()
        except Exception as error:
            raise OwnCodeError(
                f"{defined_at(self.own.save)}: {self.name}.save wrote a file that is not safetensors; pickles are not "
                f"read: use {save_file}"
            ) from error

    def load(self, path: Path) -> Self:
        """Raises OwnCodeError where the class can't read the file."""
        other = f"; if {path} is of another class, or of another version of it, train the experiment again"
        require_as_made(path)
        with self._errors("load", other):
            loaded = self.own.load(path)
        if loaded is None:
            self._refuse("load", "None; expected the model: end it with `return self`")
        self.own = loaded
        return self

    def _named(self, inputs: Inputs) -> Inputs:
        """The inputs with the names of the sections in place of the slugs of their encoders."""
        names = {encoder.slug: name for name, encoder in self.cfg.parts.items()}
        return replace(
            inputs,
            features={names.get(slug, slug): np.asarray(values) for slug, values in inputs.features.items()},
            maps={names.get(slug, slug): values for slug, values in inputs.maps.items()},
        )

    def _asks_for_weights(self) -> bool:
        if not LOCATED.fullmatch(self.cfg.model):
            return True  # a class of this session
        file = Path(self.cfg.model.rpartition(":")[0])
        names = code_files(file.parent, [f"{file.name}:_"])
        return any(re.search(r"\.(weights|known)\b", read_text(file.parent / name)) for name in names)

    def _errors(self, method: str, more: str = "") -> AbstractContextManager[None]:
        return own_errors(f"{self.name}.{method}", more)

    def _numbers(self, found: object, shape: tuple[int, ...], method: str) -> np.ndarray:
        """(shape) finite numbers."""
        try:
            values = np.asarray(found)
        except Exception as error:
            raise OwnCodeError(f"{defined_at(getattr(self.own, method))}: {error}") from error
        if values.dtype.kind not in "fiu" or values.shape != shape:
            what = {2: "a row for each image and a column for each label", 3: "TERMS last"}[len(shape)]
            self._refuse(method, f"{values.dtype} {values.shape}; expected float {shape}: {what}")
        if not np.isfinite(values).all():
            row, column = np.argwhere(~np.isfinite(values))[0][:2]
            self._refuse(method, f"{values[row, column]} in row {row}, column {column}; expected finite numbers")
        return values

    def _refuse(self, method: str, found: str) -> NoReturn:
        raise OwnCodeError(f"{defined_at(getattr(self.own, method))}: {self.name}.{method} gave {found}")


def _log(log: object, fit: Callable[..., Any]) -> list[dict[str, Any]]:
    """Entries with `epoch`; of None, none."""
    entries = [] if log is None else log
    numbers = (int, float, np.integer, np.floating)
    if not isinstance(entries, list) or not all(
        isinstance(entry, dict) and all(isinstance(value, numbers) for value in entry.values()) for entry in entries
    ):
        example = '[{"epoch": 1, "loss": 0.3}, ...]'
        raise OwnCodeError(f"{defined_at(fit)}: fit returned {log!r:.80}; expected None, or {example}")
    found = ({key: value if isinstance(value, int) else float(value) for key, value in e.items()} for e in entries)
    return [{"epoch": i + 1} | entry for i, entry in enumerate(found)]
