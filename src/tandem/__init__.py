"""Tandem: multi-label image classification with captions, from a competition zip to a validated submission.

>>> import tandem
>>> tandem.competition("toy").experiments()
('join', 'looks', 'stack', 'words')
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tandem.api import CompetitionResults, competition
    from tandem.api_results import Folds, ImageExplanation, Labels, Score, Scores, Training
    from tandem.artifacts.predictions import Predictions
    from tandem.inference.labeler import Labeler
    from tandem.models.base import Model
    from tandem.models.registry import register

__version__ = "0.1.0"
__all__ = [
    "CompetitionResults",
    "Folds",
    "ImageExplanation",
    "Labeler",
    "Labels",
    "Model",
    "Predictions",
    "Score",
    "Scores",
    "Training",
    "competition",
    "register",
]


def __getattr__(name: str) -> object:
    """Imports a public name at its first use: the labeler needs torch, which takes seconds to import."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    homes = {
        "Labeler": "tandem.inference.labeler",
        "Predictions": "tandem.artifacts.predictions",
        "Model": "tandem.models.base",
        "register": "tandem.models.registry",
    }
    return getattr(importlib.import_module(homes.get(name, "tandem.api")), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
