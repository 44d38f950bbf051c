"""A metric of the user's: a function (y, label sets or probabilities) -> float in a file beside `competition.toml`."""

import inspect
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tandem.config.code_loader import new_module, run_file
from tandem.config.metric_names import OWN, Needs
from tandem.config.trusted_code import require_trusted
from tandem.metrics.registry import Metric

LOSS = "GREATER_IS_BETTER"  # a variable of the file; False: less is better


def load_own_metric(name: str, folder: Path, needs: Needs) -> Metric:
    """The metric `FILE.py:FUNCTION` of `folder`; raises FileNotFoundError, or ValueError where the file came with the
    data, or can't be run, or has no such function."""
    match = OWN.fullmatch(name)
    if match is None:
        raise ValueError(f"metric {name!r}: expected my_metric.py:FUNCTION")
    file = folder / match[1]
    if not file.is_file():
        raise FileNotFoundError(f"{file} does not exist; metric = {name!r} names it")
    require_trusted(file)
    module = run_file(file, new_module(f"tandem_{file.stem}"))
    function = getattr(module, match[2], None)
    if not callable(function):
        raise ValueError(f"{file} has no function {match[2]!r}; expected def {match[2]}(y, {needs}) -> float")
    return Metric(name, needs, bool(getattr(module, LOSS, True)), _checked(function, file))


def _checked(function: Callable[..., float], file: Path) -> Callable[..., float]:
    takes_known = "known" in inspect.signature(function).parameters

    def score(y: np.ndarray, values: np.ndarray, beta: float, zero_division: float, known: np.ndarray | None) -> float:
        if known is not None and not takes_known:
            raise ValueError(f"{file}: some labels are unknown; add a parameter `known` (n, c) bool, cells that count")
        more = {} if known is None else {"known": known}
        values = values.astype(np.uint8) if values.dtype == bool else values
        found = float(function(y, values, **more))
        if not math.isfinite(found):
            raise ValueError(f"{file}: the score is {found} on {len(y)} rows; expected a finite number")
        return found

    return score
