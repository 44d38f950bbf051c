import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    f1_score,
    fbeta_score,
    hamming_loss,
    jaccard_score,
    label_ranking_average_precision_score,
    roc_auc_score,
)
from sklearn.metrics import log_loss as log_loss_of_sklearn

from tandem.config.encoders import ImageEncoder
from tandem.config.experiments import FusionExperiment, TfidfExperiment
from tandem.ensemble.logistic import Logistic
from tandem.logits import bce_from_logits, logit, smoothed_log_odds
from tandem.metrics import (
    METRICS,
    f1_micro,
    f1_per_label,
    f1_samples,
    log_loss,
    mean_average_precision,
    one_class,
    paired_interval,
    paired_mean,
)
from tandem.models.base import TrainingRun
from tandem.models.fusion import FusionModel
from tandem.models.inputs import Inputs
from tandem.models.tfidf import TfidfModel


def problem(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """y and pred (40, 5) with empty rows in both, and probabilities with many ties."""
    rng = np.random.default_rng(seed)
    y, pred = (rng.random((2, 40, 5)) < 0.3).astype(np.uint8)
    y[0], pred[0] = 0, 0
    y[1], pred[2] = 0, 0
    return y, pred, rng.integers(0, 11, (40, 5)) / 10


@pytest.mark.parametrize("zero_division", [0, 1])
@pytest.mark.parametrize("average", ["samples", "micro", "macro"])
def test_f1_is_that_of_scikit_learn(average, zero_division):
    for seed in range(20):
        y, pred, _ = problem(seed)
        y[:, 4], pred[:, 4] = 0, seed % 2
        expected = f1_score(y, pred, average=average, zero_division=zero_division)
        assert METRICS[f"f1_{average}"](y, pred, zero_division=zero_division) == pytest.approx(expected)
    nothing = np.zeros((3, 2), int)
    expected = f1_score(nothing, nothing, average=average, zero_division=zero_division)
    assert METRICS[f"f1_{average}"](nothing, nothing, zero_division=zero_division) == expected == zero_division


@pytest.mark.parametrize("zero_division", [0, 1])
@pytest.mark.parametrize("average", ["samples", "micro", "macro"])
@pytest.mark.parametrize("beta", [0.5, 2.0])
def test_f_beta_is_that_of_scikit_learn(average, beta, zero_division):
    y, pred, _ = problem(0)
    expected = fbeta_score(y, pred, beta=beta, average=average, zero_division=zero_division)
    assert METRICS[f"f1_{average}"](y, pred, beta, zero_division) == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(10))
def test_metrics_of_label_sets_are_those_of_scikit_learn(seed):
    y, pred, _ = problem(seed)
    for zero_division in (0, 1):
        expected = jaccard_score(y, pred, average="samples", zero_division=zero_division)
        assert METRICS["jaccard_samples"](y, pred, zero_division=zero_division) == pytest.approx(expected)
    assert METRICS["accuracy_exact"](y, pred) == pytest.approx(accuracy_score(y, pred))
    assert METRICS["hamming"](y, pred) == pytest.approx(hamming_loss(y, pred))


@pytest.mark.parametrize("seed", range(10))
def test_metrics_of_probabilities_are_those_of_scikit_learn_also_with_ties(seed):
    y, _, proba = problem(seed)
    assert METRICS["auc_macro"](y, proba) == pytest.approx(roc_auc_score(y, proba))
    assert METRICS["map_macro"](y, proba) == pytest.approx(average_precision_score(y, proba))
    assert METRICS["map_samples"](y, proba) == pytest.approx(label_ranking_average_precision_score(y, proba))
    inside = np.clip(proba, 1e-6, 1 - 1e-6)
    of_each = [log_loss_of_sklearn(y[:, j], inside[:, j], labels=[0, 1]) for j in range(5)]
    assert METRICS["log_loss"](y, proba) == pytest.approx(np.mean(of_each))


def test_auc_leaves_out_a_label_that_all_rows_or_none_have():
    y, proba = np.array([[1, 0, 1], [0, 0, 1]]), np.array([[0.9, 0.5, 0.1], [0.1, 0.5, 0.2]])
    assert METRICS["auc_macro"](y, proba) == 1.0
    assert one_class(y).tolist() == [False, True, True]


@pytest.mark.parametrize("name", METRICS)
def test_unknown_cells_count_nowhere(name):
    """Whatever is at an unknown cell, and as if rows without a known cell were not there."""
    y, pred, proba = problem(5)
    values = pred if METRICS[name].needs == "labels" else proba
    known = np.random.default_rng(0).random(y.shape) < 0.7
    known[7] = False
    at = METRICS[name](y, values, known=known)
    other_y, other = np.where(known, y, 1 - y), np.where(known, values, 1 - values)
    assert METRICS[name](other_y, other, known=known) == pytest.approx(at)
    rows = known.any(1)
    assert METRICS[name](y[rows], values[rows], known=known[rows]) == pytest.approx(at)
    everything = METRICS[name](y, values, known=np.ones_like(known))
    assert everything == pytest.approx(METRICS[name](y, values))


def test_masked_metrics_are_those_of_scikit_learn_on_the_known_cells():
    y, pred, proba = problem(6)
    known = np.random.default_rng(1).random(y.shape) < 0.7
    columns = [(y[k, j], pred[k, j], proba[k, j]) for j, k in enumerate(known.T)]
    assert METRICS["f1_micro"](y, pred, known=known) == pytest.approx(f1_score(y[known], pred[known]))
    assert METRICS["f1_macro"](y, pred, known=known) == pytest.approx(np.mean([f1_score(t, p) for t, p, _ in columns]))
    assert METRICS["hamming"](y, pred, known=known) == pytest.approx(np.mean(y[known] != pred[known]))
    assert METRICS["auc_macro"](y, proba, known=known) == pytest.approx(
        np.mean([roc_auc_score(t, p) for t, _, p in columns])
    )
    rows = [f1_score(y[i, k], pred[i, k], zero_division=0) for i, k in enumerate(known) if k.any()]
    assert METRICS["f1_samples"](y, pred, known=known) == pytest.approx(np.mean(rows))


@pytest.mark.parametrize("name", METRICS)
def test_the_interval_of_unknown_cells_is_that_of_known_ones(name):
    y, pred, proba = problem(7)
    known = np.random.default_rng(2).random(y.shape) < 0.8
    values = pred if METRICS[name].needs == "labels" else proba
    other = (values + y) / 2 if METRICS[name].needs == "probabilities" else y
    found = paired_interval(name, y, values, other, known=known)
    hidden = [np.where(known, a, 1 - a) for a in (y, values, other)]
    assert paired_interval(name, *hidden, known=known) == pytest.approx(found)
    assert found[0] > 0 and found[1] < found[0] < found[2]


def test_the_gain_in_a_loss_is_how_much_lower_it_is():
    y = np.array([[1, 0], [0, 1]] * 10)
    gain, low, high = paired_interval("hamming", y, np.zeros_like(y), y)
    assert gain == 0.5 and low > 0
    assert paired_interval("log_loss", y, np.full((20, 2), 0.5), np.clip(y, 0.1, 0.9))[0] > 0


def test_f1_per_label_is_that_of_scikit_learn():
    y, pred, _ = problem(1)
    assert f1_per_label(y, pred) == pytest.approx(f1_score(y, pred, average=None, zero_division=0))


def test_an_empty_row_that_is_predicted_empty_scores_zero_unless_the_judge_says_one():
    y, pred = np.array([[0, 0], [1, 0]]), np.array([[0, 0], [1, 0]])
    assert f1_samples(y, pred) == 0.5
    assert f1_samples(y, pred, zero_division=1) == 1.0
    assert f1_micro(y[:1], pred[:1], zero_division=1) == 1.0


def test_a_label_neither_present_nor_predicted_counts_in_macro_f1_as_the_judge_says():
    y = np.array([[1, 0], [1, 0]])
    assert METRICS["f1_macro"](y, y) == 0.5
    assert METRICS["f1_macro"](y, y, zero_division=1) == 1.0


def test_beta_two_counts_a_false_negative_four_times_a_false_positive():
    y = np.array([[1, 1, 0]])
    assert f1_samples(y, np.array([[1, 0, 0]]), 2.0) == pytest.approx(5 / (4 * 2 + 1))
    assert f1_samples(y, np.array([[1, 1, 1]]), 2.0) == pytest.approx(10 / (4 * 2 + 3))


def test_booleans_and_integers_score_alike():
    y, pred, _ = problem(2)
    for metric in METRICS.values():
        assert metric(y, pred) == metric(y.astype(bool), pred.astype(bool)) == metric(y.astype(int), pred)


def test_mean_average_precision_is_that_of_scikit_learn_also_with_ties():
    for seed in range(20):
        y, _, proba = problem(seed)
        assert mean_average_precision(y, proba) == pytest.approx(average_precision_score(y, proba))


def test_mean_average_precision_leaves_out_a_label_that_never_occurs():
    y, proba = np.array([[1, 0], [0, 0]]), np.array([[0.9, 0.5], [0.1, 0.5]])
    assert mean_average_precision(y, proba) == 1.0


def test_log_loss_is_that_of_scikit_learn_and_finite_at_zero_and_one():
    y, _, proba = problem(3)
    inside = np.clip(proba, 1e-6, 1 - 1e-6)
    assert log_loss(y, inside) == pytest.approx(log_loss_of_sklearn(y.ravel(), inside.ravel()))
    assert log_loss(np.array([[1, 0]]), np.array([[0.0, 0.0]])) == pytest.approx(-np.log(1e-6) / 2, rel=1e-4)


def test_log_loss_from_logits_is_that_from_probabilities():
    y, _, proba = problem(4)
    inside = np.clip(proba, 0.01, 0.99)
    assert bce_from_logits(logit(inside), y).mean() == pytest.approx(log_loss(y, inside))


def test_a_label_that_never_occurs_gets_the_same_log_odds_in_every_model():
    y, x = np.zeros((19, 1), np.uint8), np.zeros((19, 2))
    expected = np.log(0.5 / 19.5)  # rate (0 + 0.5) / (19 + 1)
    assert smoothed_log_odds(y).tolist() == pytest.approx([expected])
    words = TfidfModel(TfidfExperiment(kind="tfidf"), 1)
    words.fit(Inputs(list(map(str, range(19))), captions=["a cat"] * 19), y, TrainingRun(seed=0))
    assert words.bias.tolist() == smoothed_log_odds(y).tolist()
    assert [Logistic.fit(x, y[:, 0], np.arange(19) < 5).bias] == smoothed_log_odds(y).tolist()
    encoder = ImageEncoder()
    experiment = FusionExperiment(kind="fusion", frozen=[encoder], train={"epochs": 1, "lr": 1e-9})
    model = FusionModel(experiment, 1)
    inputs = Inputs(list(map(str, range(19))), {encoder.slug: np.ones((19, 1, 4), np.float16)})
    model.fit(inputs, y, TrainingRun(seed=0))
    assert model.network.bias.tolist() == pytest.approx([expected], rel=1e-6)


def test_the_paired_interval_is_that_of_students_t():
    difference = np.random.default_rng(0).normal(0.1, 1.0, 10)
    expected = stats.t.interval(0.95, 9, difference.mean(), stats.sem(difference))
    np.testing.assert_allclose(paired_mean(difference)[1:], expected)


def test_rows_that_are_there_ten_times_make_no_interval_narrower():
    once = np.random.default_rng(1).normal(0.1, 1.0, 100)
    group = np.tile(np.arange(100), 10)
    np.testing.assert_allclose(paired_mean(np.tile(once, 10), group), paired_mean(once))


@pytest.mark.parametrize("metric", ["f1_micro", "f1_macro", "auc_macro", "map_macro"])
def test_the_bootstrap_draws_groups(metric):
    rng = np.random.default_rng(2)
    y, simple, other = (rng.integers(0, 2, (60, 4)) for _ in range(3))
    group = np.tile(np.arange(60), 10)
    many = [np.tile(a, (10, 1)) for a in (y, simple, other)]
    np.testing.assert_allclose(paired_interval(metric, *many, groups=group), paired_interval(metric, y, simple, other))


@pytest.mark.parametrize(("rows", "excludes_zero"), [(5, False), (6, True)])
def test_equal_gains_need_six_groups_to_exclude_zero(rows, excludes_zero):
    gain, low, high = paired_mean(np.full(rows, 0.2))
    assert low < gain < high
    assert (low > 0) == excludes_zero


def test_one_group_says_nothing_about_the_spread():
    assert paired_mean(np.array([0.1, 0.3]), np.array([7, 7])) == (pytest.approx(0.2), -np.inf, np.inf)


@pytest.mark.parametrize("metric", [name for name, metric in METRICS.items() if metric.needs == "labels"])
@pytest.mark.parametrize(("rows", "excludes_zero"), [(1, False), (2, False), (5, False), (6, True), (30, True)])
def test_equal_gains_of_few_rows_may_be_chance_in_every_metric(metric, rows, excludes_zero):
    y, simple = np.ones((rows, 2), int), np.tile([1, 0], (rows, 1))
    gain, low, high = paired_interval(metric, y, simple, y)
    assert low < gain <= high and (low > 0) == excludes_zero


@pytest.mark.parametrize("metric", ["f1_micro", "f1_macro"])
def test_one_group_says_nothing_about_the_spread_of_a_pooled_metric(metric):
    y, simple = np.ones((5, 2), int), np.tile([1, 0], (5, 1))
    assert paired_interval(metric, y, simple, y, groups=np.zeros(5))[1:] == (-np.inf, np.inf)
