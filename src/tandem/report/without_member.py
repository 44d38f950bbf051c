"""What a stack would score without one of its members: both as weighted means, fitted without the rows they predict."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from tandem.decoding import NestedCV
from tandem.report.compare import Gain
from tandem.report.data_model import ReportData
from tandem.runtime.resources import threads

MOST_CELLS = 2_000_000  # rows x labels; of more the gain is not computed: decoding takes minutes


@dataclass(frozen=True)
class WithoutMember:
    """The cross-fitted weighted mean of a stack's members, decoded by one decoder, with and without a member."""

    data: ReportData
    members: Sequence[str]
    decoder: str

    def gain(self, name: str) -> Gain | None:
        """Of leaving out `name`; None where it would be the only one, or the competition is large."""
        rest = [member for member in self.members if member != name]
        if not rest or self.data.y.size > MOST_CELLS or len(np.unique(self.data.fold)) < 2:
            return None
        data = self.data
        return Gain(*data.rule.gain(data.y, self._whole, self._scored(rest), data.group, data.known))

    @cached_property
    def _whole(self) -> np.ndarray:
        return self._scored(self.members)

    def _scored(self, names: Sequence[str]) -> np.ndarray:
        """(n, c) what the metric scores of the weighted mean of these members."""
        from tandem.ensemble.fit_stack import MOST_FOLDS, MeanCV  # slow to import
        from tandem.ensemble.stacking import StackInputs

        data, proba = self.data, np.zeros(self.data.y.shape)
        by_name = {e.name: e.proba for e in data.experiments}
        fold = np.unique(data.fold, return_inverse=True)[1] % MOST_FOLDS
        inputs = StackInputs.of([by_name[name] for name in names], None)
        means = MeanCV(inputs, data.y, fold, 0, data.known)
        for k in map(int, np.unique(fold)):
            rows = np.flatnonzero(fold == k)
            proba[rows] = means.fit(frozenset({k})).predict_proba(inputs.take(rows))
        rule = replace(data.rule, decoder=self.decoder)
        return NestedCV(proba, data.y, data.fold, rule, threads(), data.group, data.known).cross_val_values()
