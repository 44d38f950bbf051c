"""What to try next: rules over the figures of the other sections, each with the numbers that support it."""

from dataclasses import dataclass

from tandem.report.advice import decoding, labels, models, test_set
from tandem.report.advice.item import Advice
from tandem.report.data_model import FocusExperiment, ReportData

SHOWN = 10


@dataclass(frozen=True)
class Figures:
    """Results of other sections that the rules use.

    classes      of classes.per_class
    bounds       of classes.upper_bounds
    errors       of label_errors.label_errors
    drift        of drift.drift
    score_error  half the width of the 95 % interval of the score
    """

    classes: list[dict]
    bounds: dict[str, float]
    errors: dict
    drift: dict | None
    score_error: float


def advise(data: ReportData, focus: FocusExperiment, figures: Figures) -> list[Advice]:
    """Largest potential gain first, then advice without a gain, in the order of the rules."""
    items = [
        *labels.weak_labels(data, focus, figures.classes),
        *labels.error_balance(data, focus, figures.bounds),
        *decoding.decoder_choice(data, focus),
        *models.stack_members(data, focus, figures.score_error),
        *models.weaker_modality(data),
        *models.fit(data),
        *labels.wrong_labels(data, figures.errors),
        *test_set.shifts(data, focus, figures.drift),
        *test_set.leaderboard(data, focus, figures.score_error),
    ]
    items.sort(key=lambda item: -(item.gain or 0.0))
    return items[:SHOWN]
