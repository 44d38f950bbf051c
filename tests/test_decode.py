import numpy as np
import pytest

from tandem.decode import Rule, _best_cut, _class_curve, binarize, cross_fit, tune_ascent, tune_global
from tandem.metrics import METRICS

LEVELS = np.arange(5) / 4  # few distinct probabilities, so that ties abound
CUTS = [-0.1, 0.125, 0.375, 0.625, 0.875, 1.1]  # one between any two of them, and outside


def problems(metric: str, beta: float, count: int):
    """Small random (proba, y, rule, rng): ties, constant labels, empty rows, bounds that bind."""
    rng = np.random.default_rng([len(metric), int(beta * 10)])
    for _ in range(count):
        n, c = rng.integers(1, 7), rng.integers(2, 5)
        proba = rng.choice(LEVELS, (n, c))
        y = rng.integers(0, 2, (n, c)).astype(np.uint8)
        y[:, 0] = rng.choice([0, 1]) if rng.random() < 0.2 else y[:, 0]
        least = min(int(rng.integers(0, 3)), c)
        yield proba, y, Rule(metric, beta, least, int(rng.integers(max(least, 1), c + 1))), rng


every_metric = pytest.mark.parametrize("metric", list(METRICS))
every_beta = pytest.mark.parametrize("beta", [0.5, 1.0, 2.0])


@every_metric
@every_beta
def test_the_global_threshold_is_the_best_of_all_cut_offs(metric, beta):
    for proba, y, rule, _ in problems(metric, beta, 100):
        best = max(rule.score(y, binarize(proba, cut, rule)) for cut in CUTS)
        assert rule.score(y, binarize(proba, tune_global(proba, y, rule), rule)) == pytest.approx(best), rule


@every_metric
@every_beta
def test_the_step_of_one_class_finds_the_best_of_all_its_cut_offs(metric, beta):
    for proba, y, rule, rng in problems(metric, beta, 100):
        thresholds, j = rng.choice(CUTS, proba.shape[1]), int(rng.integers(proba.shape[1]))

        def score(cut, j=j, thresholds=thresholds, proba=proba, y=y, rule=rule):
            others = thresholds.copy()
            others[j] = cut
            return rule.score(y, binarize(proba, others, rule))

        order = np.argsort(-proba[:, j], kind="stable")
        curve = _class_curve(proba, y, proba >= thresholds, j, order, rule)
        value, cut = _best_cut(proba[order, j], curve)
        best = max(map(score, CUTS))
        assert value == pytest.approx(best), rule
        assert score(cut) == pytest.approx(best), rule


@every_metric
@every_beta
def test_ascent_is_in_sample_never_worse_than_the_global_threshold_or_a_half(metric, beta):
    for proba, y, rule, _ in problems(metric, beta, 40):
        score = rule.score(y, binarize(proba, tune_ascent(proba, y, rule), rule))
        assert score >= rule.score(y, binarize(proba, tune_global(proba, y, rule), rule)) - 1e-12
        assert score >= rule.score(y, binarize(proba, 0.5, rule)) - 1e-12


def test_ascent_gives_each_class_its_own_threshold():
    proba = np.array([[0.9, 0.2], [0.8, 0.1], [0.7, 0.3], [0.6, 0.05]], np.float32)
    y = np.array([[1, 1], [1, 0], [0, 1], [0, 0]], np.uint8)
    rule = Rule("f1_macro", least=0)
    thresholds = tune_ascent(proba, y, rule)
    assert binarize(proba, thresholds, rule).astype(int).tolist() == y.tolist()


def test_least_fills_a_row_with_its_most_probable_labels():
    proba = np.array([[0.1, 0.3, 0.2]])
    assert binarize(proba, 0.5, Rule(least=0)).astype(int).tolist() == [[0, 0, 0]]
    assert binarize(proba, 0.5, Rule(least=1)).astype(int).tolist() == [[0, 1, 0]]
    assert binarize(proba, 0.5, Rule(least=2)).astype(int).tolist() == [[0, 1, 1]]


def test_least_keeps_a_label_that_reached_its_threshold_before_a_more_probable_one_that_did_not():
    assert binarize(np.array([[0.3, 0.6, 0.5]]), np.array([0.2, 0.9, 0.9]), Rule(least=2)).tolist() == [
        [True, True, False]
    ]


def test_most_keeps_the_most_probable_labels():
    proba = np.array([[0.7, 0.9, 0.8]])
    assert binarize(proba, 0.5, Rule(most=2)).astype(int).tolist() == [[0, 1, 1]]


def test_a_probability_equal_to_the_threshold_counts_as_reaching_it():
    assert binarize(np.array([[0.5, 0.4]]), 0.5, Rule(least=0)).tolist() == [[True, False]]


def test_labels_of_a_fold_change_neither_its_thresholds_nor_its_predictions():
    rng = np.random.default_rng(0)
    fold = np.arange(90) % 3
    y = (rng.random((90, 4)) < 0.4).astype(np.uint8)
    proba = np.clip(0.3 * y + 0.7 * rng.random((90, 4)), 0, 1)
    flipped = y.copy()
    flipped[fold == 1] = 1 - flipped[fold == 1]
    (pred, thresholds), (other_pred, other) = (cross_fit(proba, t, fold, Rule()) for t in (y, flipped))
    assert thresholds[1].tolist() == other[1].tolist()
    assert pred[fold == 1].tolist() == other_pred[fold == 1].tolist()
    assert thresholds[0].tolist() != other[0].tolist()


def test_cross_fit_takes_any_tuner():
    proba, y = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.6]]), np.eye(3, 2, dtype=np.uint8)
    pred, thresholds = cross_fit(proba, y, np.array([0, 1, 2]), Rule(), lambda p, t, rule: 0.5)
    assert thresholds.shape == (3, 2)
    assert pred.astype(int).tolist() == [[1, 0], [0, 1], [1, 1]]
