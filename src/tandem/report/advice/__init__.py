"""What to try next: rules over the figures of the other sections, each with the numbers that support it."""

from tandem.report.advice import models, rules
from tandem.report.advice.rules import Advice, Figures
from tandem.report.data_model import FocusExperiment, ReportData

SHOWN = 10
RULES = (
    rules.weak_labels,
    rules.error_balance,
    rules.decoder_choice,
    models.stack_members,
    models.weaker_modality,
    models.fit,
    rules.wrong_labels,
    rules.shifts,
    rules.leaderboard,
)


def advise(data: ReportData, focus: FocusExperiment, figures: Figures) -> list[Advice]:
    """Largest potential gain first, then advice without a gain, in the order of the rules."""
    items = [item for rule in RULES for item in rule(data, focus, figures)]
    return sorted(items, key=lambda item: -(item.gain or 0.0))[:SHOWN]
