"""Fold models as one, on stub models whose logits are known."""

import numpy as np
import pytest

from tandem.artifacts.contributions import BOTH, NO_CAPTION, TERMS
from tandem.config.encoders import CaptionEncoder, ImageEncoder
from tandem.config.experiments import FusionExperiment, TfidfExperiment
from tandem.logits import sigmoid
from tandem.models.fold_ensemble import FoldEnsemble, in_setting
from tandem.models.inputs import Inputs

INPUTS = Inputs(["a.jpg"])


class Constant:
    """One row and one label with a known logit; as terms, an image term, and with captions a caption term of 2."""

    def __init__(self, logit: float):
        self.logit = logit

    def fit(self, inputs, y, run): ...

    def save(self, path): ...

    def load(self, path): ...

    def predict_proba(self, inputs):
        return sigmoid(np.array([[self.logit]]))

    def predict_terms(self, inputs):
        return {
            BOTH: np.array([[[self.logit - 2, 2, 0, 0, 0]]], np.float32),
            NO_CAPTION: np.array([[[self.logit - 2, 0, 0, 0, 0]]], np.float32),
        }


def test_logits_and_not_probabilities_are_averaged():
    ensemble = FoldEnsemble(TfidfExperiment(kind="tfidf"), [Constant(-1.0), Constant(5.0)])
    assert ensemble.logits(INPUTS).tolist() == [[pytest.approx(2.0)]]
    assert ensemble.probabilities(INPUTS).tolist() == [[pytest.approx(sigmoid(2.0))]]
    assert ensemble.probabilities(INPUTS).dtype == np.float32


def test_a_model_without_terms_has_one_term_named_by_what_it_reads():
    (terms,) = FoldEnsemble(TfidfExperiment(kind="tfidf"), [Constant(3.0)]).terms(INPUTS).values()
    assert dict(zip(TERMS, terms[0, 0].round(4).tolist(), strict=True)) == dict.fromkeys(TERMS, 0.0) | {"caption": 3.0}


def test_the_terms_of_explaining_models_are_averaged_in_each_setting():
    experiment = FusionExperiment(kind="fusion", frozen=[ImageEncoder()], caption=CaptionEncoder())
    ensemble = FoldEnsemble(experiment, [Constant(3.0), Constant(7.0)])
    terms = ensemble.terms(INPUTS)
    assert terms[BOTH].tolist() == [[[3, 2, 0, 0, 0]]]
    assert in_setting(terms, NO_CAPTION).tolist() == [[[3, 0, 0, 0, 0]]]
    assert ensemble.logits(INPUTS).tolist() == [[5]]


def test_a_setting_that_models_do_not_have_is_that_with_all_inputs():
    terms = FoldEnsemble(TfidfExperiment(kind="tfidf"), [Constant(3.0)]).terms(INPUTS)
    assert in_setting(terms, NO_CAPTION) is terms[BOTH]
