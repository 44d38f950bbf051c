import json
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tandem.decoding import DECODERS, Decoder, NestedCV, Rule, binarize
from tandem.decoding.calibration import KINDS, calibrate, fit_size_weights, size_distribution
from tandem.decoding.crowded_rows import CrowdedRows
from tandem.decoding.expected_f import expected_sets
from tandem.decoding.label_rule import limit_sizes
from tandem.decoding.thresholds import SortedLabels, shrink, tune_ascent, tune_global, tune_per_class
from tandem.metrics import METRICS, f1_per_label, log_loss, paired_interval

SCORING_SETS = tuple(name for name, metric in METRICS.items() if metric.needs == "labels")
LEVELS = np.arange(5) / 4  # few distinct probabilities: many ties
THRESHOLDS = [-0.1, 0.125, 0.375, 0.625, 0.875, 1.1]  # one threshold between any two of LEVELS, and outside


@st.composite
def problems(draw, metrics=SCORING_SETS):
    """Small random (proba, y, rule, rng): ties, constant labels, empty rows, bounds that bind."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n, c = rng.integers(1, 7), rng.integers(2, 5)
    proba = rng.choice(LEVELS, (n, c))
    y = rng.integers(0, 2, (n, c)).astype(np.uint8)
    y[:, 0] = rng.choice([0, 1]) if rng.random() < 0.2 else y[:, 0]
    least = min(int(rng.integers(0, 3)), c)
    most = int(rng.integers(max(least, 1), c + 1))
    zero_division = draw(st.sampled_from([0, 1]))
    rule = Rule(draw(st.sampled_from(metrics)), draw(st.sampled_from([0.5, 1.0, 2.0])), least, most, zero_division)
    return proba, y, rule, rng


many = settings(max_examples=400, deadline=None)


# thresholds


@many
@given(problems())
def test_the_global_threshold_is_the_best_of_all_thresholds(problem):
    proba, y, rule, _ = problem
    best = max(rule.merit(y, binarize(proba, threshold, rule)) for threshold in THRESHOLDS)
    assert rule.merit(y, binarize(proba, tune_global(proba, y, rule), rule)) == pytest.approx(best)


@many
@given(problems())
def test_each_label_gets_the_threshold_with_its_best_f(problem):
    proba, y, rule, _ = problem
    free, settings = Rule(rule.metric, rule.beta, least=0), (rule.beta, rule.zero_division)
    got = f1_per_label(y, binarize(proba, tune_per_class(proba, y, rule), free), *settings)
    of_each = [f1_per_label(y, binarize(proba, threshold, free), *settings) for threshold in THRESHOLDS]
    assert got == pytest.approx(np.max(of_each, axis=0))


@many
@given(problems())
def test_the_step_of_one_label_finds_the_best_of_all_its_thresholds(problem):
    proba, y, rule, rng = problem
    thresholds, j = rng.choice(THRESHOLDS, proba.shape[1]), int(rng.integers(proba.shape[1]))

    def score(threshold):
        others = thresholds.copy()
        others[j] = threshold
        return rule.merit(y, binarize(proba, others, rule))

    labels, pred = SortedLabels(proba, y, rule), proba >= thresholds
    value, threshold = labels.step(pred, (pred & labels.y).sum(1), pred.sum(1), j)
    best = max(map(score, THRESHOLDS))
    assert value == pytest.approx(best)
    assert score(threshold) == pytest.approx(best)


@many
@given(problems())
def test_ascent_is_in_sample_never_worse_than_where_it_starts(problem):
    proba, y, rule, _ = problem
    score = rule.merit(y, binarize(proba, tune_ascent(proba, y, rule), rule))
    for start in (0.5, tune_global(proba, y, rule), tune_per_class(proba, y, rule)):
        assert score >= rule.merit(y, binarize(proba, start, rule)) - 1e-12


def test_ascent_gives_each_label_its_own_threshold():
    proba = np.array([[0.9, 0.2], [0.8, 0.1], [0.7, 0.3], [0.6, 0.05]], np.float32)
    y = np.array([[1, 1], [1, 0], [0, 1], [0, 0]], np.uint8)
    rule = Rule("f1_macro", least=0)
    assert binarize(proba, tune_ascent(proba, y, rule), rule).astype(int).tolist() == y.tolist()


def test_shrinking_goes_from_the_own_threshold_to_the_common_one():
    own, positives = np.array([0.1, 0.9]), np.array([1000, 10])
    assert shrink(own, 0.5, positives, 0.0) == pytest.approx(own)
    assert shrink(own, 0.5, positives, np.inf).tolist() == [0.5, 0.5]
    kept = np.abs(shrink(own, 0.5, positives, 100.0) - 0.5)
    assert kept[0] > 0.3 and kept[1] < 0.05  # the rare label is close to the common threshold


# the least/most rule


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


# sets of highest expected F, against all sets under all outcomes


def expectations(outcome_proba: np.ndarray, rule: Rule, metric: str = "f1_samples") -> np.ndarray:
    """(2^c,) expected score of each set, more is better, for one row's probabilities of all 2^c outcomes."""
    sets, judge = all_sets(outcome_proba), replace(rule, metric=metric)
    outcomes = list(zip(outcome_proba, sets, strict=True))
    return np.array([sum(p * judge.merit(o[None], s[None]) for p, o in outcomes) for s in sets])


def all_sets(outcome_proba: np.ndarray) -> np.ndarray:
    c = int(np.log2(len(outcome_proba)))
    return np.array(list(product([0, 1], repeat=c)), np.uint8)


def assert_best(pred: np.ndarray, outcome_proba: np.ndarray, rule: Rule, metric: str = "f1_samples") -> None:
    sets, values = all_sets(outcome_proba), expectations(outcome_proba, rule, metric)
    allowed = (sets.sum(1) >= rule.least) & (sets.sum(1) <= rule.most)
    chosen = np.flatnonzero((sets == pred).all(1))[0]
    assert allowed[chosen]
    assert values[chosen] == pytest.approx(values[allowed].max())


def outcomes(proba: np.ndarray) -> np.ndarray:
    """(2^c,) probability of each outcome of independent labels."""
    return np.array([np.where(s, proba, 1 - proba).prod() for s in product([0, 1], repeat=len(proba))])


@settings(max_examples=150, deadline=None)
@given(problems())
def test_expected_sets_are_the_best_of_all_sets_of_independent_labels(problem):
    proba, _, rule, _ = problem
    pred = expected_sets(proba, rule.beta, rule.least, rule.most, zero_division=rule.zero_division)
    for p, row in zip(proba, pred, strict=True):
        assert_best(row, outcomes(p), rule)


@settings(max_examples=150, deadline=None)
@given(problems(("jaccard_samples", "accuracy_exact", "hamming")))
def test_the_decoder_expected_gives_the_best_of_all_sets_for_metrics_of_rows(problem):
    proba, _, rule, _ = problem
    proba = np.clip(proba, 0.01, 0.99)
    for p, row in zip(proba, Decoder("expected", rule)(proba), strict=True):
        assert_best(row, outcomes(p), rule, rule.metric)


@settings(max_examples=150, deadline=None)
@given(problems(("jaccard_samples", "accuracy_exact")))
def test_the_decoder_gfm_gives_the_best_of_all_sets_when_sizes_have_weights(problem):
    proba, _, rule, rng = problem
    proba = np.clip(proba, 0.05, 0.95)
    weights = rng.random(proba.shape[1] + 1) + 0.01
    for p, row in zip(proba, Decoder("gfm", rule, sizes=weights)(proba), strict=True):
        joint = outcomes(p) * weights[all_sets(np.empty(2 ** len(p))).sum(1)]
        assert_best(row, joint / joint.sum(), rule, rule.metric)


@settings(max_examples=150, deadline=None)
@given(problems())
def test_expected_sets_are_the_best_when_sizes_have_weights(problem):
    proba, _, rule, rng = problem
    proba = np.clip(proba, 0.05, 0.95)
    weights = rng.random(rng.integers(2, proba.shape[1] + 2)) + 0.01
    pred = expected_sets(proba, rule.beta, rule.least, rule.most, weights, rule.zero_division)
    for p, row in zip(proba, pred, strict=True):
        size = all_sets(np.empty(2 ** len(p))).sum(1)
        joint = outcomes(p) * np.append(weights, np.zeros(len(p) + 1))[size]
        assert_best(row, joint / joint.sum(), rule)


@many
@given(st.integers(0, 2**32), st.sampled_from([0.0, 1e-300, 1e300, np.inf, np.nan]))
def test_expected_sets_have_least_to_most_labels_whatever_the_weights(seed, odd):
    rng = np.random.default_rng(seed)
    c = int(rng.integers(2, 6))
    least, proba = int(rng.integers(0, c + 1)), rng.choice([1e-6, 0.5, 1 - 1e-6], (4, c))
    most = int(rng.integers(max(least, 1), c + 1))
    weights = np.where(rng.random(rng.integers(1, c + 2)) < 0.5, odd, rng.random())
    size = expected_sets(proba, 1.0, least, most, weights, int(rng.integers(2))).sum(1)
    assert (size >= least).all() and (size <= most).all()


def test_an_empty_set_is_expected_where_the_judge_counts_it_as_right():
    proba = np.array([[0.1, 0.3]])
    assert expected_sets(proba, zero_division=1).tolist() == [[False, False]]
    assert expected_sets(proba, zero_division=0).tolist() == [[False, True]]


def test_expected_sets_are_the_same_in_chunks(monkeypatch):
    proba = np.random.default_rng(0).random((50, 4))
    whole = expected_sets(proba)
    monkeypatch.setattr("tandem.decoding.expected_f.CHUNK", 60)
    assert expected_sets(proba).tolist() == whole.tolist()


# calibration


def overconfident(n: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """(proba, y) of two labels whose logits are three times too large."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(n, 2)) - 1
    y = (rng.random((n, 2)) < 1 / (1 + np.exp(-z))).astype(np.uint8)
    return 1 / (1 + np.exp(-3 * z)), y


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "none"])
def test_every_calibration_lowers_the_log_loss_of_overconfident_probabilities(kind):
    proba, y = overconfident()
    calibration = calibrate(kind, proba[::2], y[::2])
    assert log_loss(y[1::2], calibration(proba[1::2])) < log_loss(y[1::2], proba[1::2]) - 0.1


def test_platt_finds_the_slope_that_was_planted():
    assert np.array(calibrate("platt", *overconfident()).curves)[:, 1] == pytest.approx([1 / 3, 1 / 3], abs=0.05)


@pytest.mark.parametrize("kind", KINDS)
def test_a_label_that_never_occurs_keeps_finite_small_probabilities(kind):
    proba, y = np.full((20, 2), 0.1), np.zeros((20, 2), np.uint8)
    calibrated = calibrate(kind, proba, y)(proba)
    assert np.isfinite(calibrated).all() and (calibrated < 0.2).all()


@many
@given(st.integers(0, 2**32), st.sampled_from(KINDS))
def test_no_calibration_falls_as_the_probability_rises(kind_seed, kind):
    rng = np.random.default_rng(kind_seed)
    n = int(rng.integers(1, 12))
    proba = rng.choice([0.0, 1e-7, 0.2, 0.5, 0.9, 1.0, *rng.random(3)], (n, 2)).astype(rng.choice([np.float32, float]))
    y = (rng.random((n, 2)) < np.where(rng.random() < 0.5, 1 - proba, rng.random())).astype(np.uint8)
    rising = np.linspace(0, 1, 101)
    curve = calibrate(kind, proba, y)(np.column_stack([rising, rising]))
    assert np.isfinite(curve).all() and (curve > 0).all() and (curve < 1).all()
    assert (np.diff(curve, axis=0) >= -1e-12).all()


@pytest.mark.parametrize("kind", ["platt", "beta"])
def test_probabilities_that_are_wrong_the_way_round_become_the_rate(kind):
    proba, y = np.repeat([[0.1], [0.9]], 50, axis=0), np.repeat([[1], [0]], 50, axis=0)
    assert calibrate(kind, proba, y)(np.array([[0.1], [0.9]])).ravel() == pytest.approx([0.5, 0.5])


def test_a_set_size_that_probabilities_exclude_gives_finite_weights_and_no_row_too_small():
    proba, y = np.full((100, 80), 1e-6), np.zeros((100, 80), np.uint8)
    y[:, 0], y[0, :70] = 1, 1
    weights = fit_size_weights(proba, y)
    assert np.isfinite(weights).all() and (weights >= 0).all() and weights.max() == 1
    assert (expected_sets(proba, least=1, most=5, weights=weights).sum(1) == 5).all()  # which of 80 can't be told
    proba[:, 0] = 0.9
    assert (expected_sets(proba, least=1, weights=fit_size_weights(proba, y)).sum(1) == 1).all()


def test_size_weights_make_the_expected_sizes_the_observed_ones():
    rng = np.random.default_rng(0)
    proba = rng.uniform(0.1, 0.5, (500, 4))
    y = (rng.random((500, 4)) < proba).astype(np.uint8)
    y[y.sum(1) == 0, 1] = 1  # no row is empty
    weights = fit_size_weights(proba, y)
    mass = size_distribution(proba, len(weights) - 1) * weights
    share = (mass / mass.sum(1, keepdims=True)).mean(0)
    assert weights[0] == 0
    assert share == pytest.approx(np.bincount(y.sum(1), minlength=5) / 500, abs=1e-4)


# cross-fitting and the choice


def noisy(n: int = 120, c: int = 4) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    y = (rng.random((n, c)) < 0.4).astype(np.uint8)
    return np.clip(0.3 * y + 0.7 * rng.random((n, c)), 0, 1), y, np.arange(n) % 4


@pytest.mark.parametrize("name", [*DECODERS, "auto"])
def test_labels_of_a_fold_change_neither_its_decoder_nor_its_predictions(name):
    proba, y, fold = noisy()
    flipped = y.copy()
    flipped[fold == 1] = 1 - flipped[fold == 1]
    one, other = (NestedCV(proba, t, fold, Rule(most=4)) for t in (y, flipped))
    labels = tuple("abcd")
    without = frozenset({1})
    assert one.decoder(name, without).to_json(labels) == other.decoder(name, without).to_json(labels)
    pred, other_pred = one.cross_val_predict(name), other.cross_val_predict(name)
    assert pred[fold == 1].tolist() == other_pred[fold == 1].tolist()


def test_shuffled_labels_gain_nothing_by_the_choice_among_decoders():
    proba, y, fold = noisy(400)
    y = np.random.default_rng(1).permutation(y)
    cv = NestedCV(proba, y, fold, Rule(most=4))
    everything = NestedCV(np.broadcast_to(y.mean(0), y.shape), y, fold, Rule(most=4)).score("auto")
    assert cv.score("auto") < everything + 0.03


@pytest.mark.parametrize(
    ("metric", "default"), [("f1_samples", "expected"), ("f1_micro", "fixed"), ("f1_macro", "fixed")]
)
def test_where_nothing_is_gained_the_default_decoder_is_used(metric, default):
    _, y, fold = noisy()
    cv = NestedCV(y * 0.8 + 0.1, y, fold, Rule(metric, least=0))
    assert cv.choose() == default
    assert cv.gain(default) == (0.0, 0.0, 0.0)


def test_a_gain_outside_the_noise_is_taken():
    proba, y, fold = noisy(800)
    cv = NestedCV(proba * 0.4, y, fold, Rule("f1_micro", least=0))  # 0.5 is never reached
    assert cv.choose() != "fixed"
    assert cv.score("auto") > cv.score("fixed") + 0.3


def test_threads_change_nothing():
    proba, y, fold = noisy()
    one, two = (NestedCV(proba, y, fold, Rule(), t).prepare() for t in (1, 2))
    for name in DECODERS:
        assert one.cross_val_predict(name).tolist() == two.cross_val_predict(name).tolist()


@pytest.mark.parametrize("n_folds", [2, 3])
@pytest.mark.parametrize("name", ["expected", "gfm", "shrunk", "auto"])
def test_with_few_folds_labels_of_a_fold_change_neither_its_decoder_nor_its_predictions(name, n_folds):
    proba, y, _ = noisy()
    fold = np.arange(len(y)) % n_folds
    flipped = np.where(fold[:, None] == 1, 1 - y, y)
    one, other = (NestedCV(proba, t, fold, Rule(most=4)).prepare() for t in (y, flipped))
    without, labels = frozenset({1}), tuple("abcd")
    assert one.decoder(name, without).to_json(labels) == other.decoder(name, without).to_json(labels)
    assert (one.cross_val_predict(name) == other.cross_val_predict(name))[fold == 1].all()


@pytest.mark.parametrize("n_folds", [1, 2, 3])
def test_no_calibration_is_chosen_on_the_rows_that_it_was_fitted_on(n_folds):
    """In sample a step function would win: it follows the noise of probabilities that say nothing."""
    rng = np.random.default_rng(0)
    proba, y = rng.random((120, 4)), (rng.random((120, 4)) < 0.3).astype(np.uint8)
    cv = NestedCV(proba, y, np.arange(120) % n_folds, Rule(most=4)).prepare()
    chosen = [cv.decoder("expected", frozenset(range(left_out))).calibration.kind for left_out in range(n_folds)]
    assert "isotonic" not in chosen


@pytest.mark.parametrize("n_folds", [2, 3])
def test_with_few_folds_a_gain_outside_the_noise_is_still_taken(n_folds):
    proba, y, _ = noisy(800)
    cv = NestedCV(proba * 0.4, y, np.arange(800) % n_folds, Rule("f1_micro", least=0))  # 0.5 is never reached
    assert cv.choose() != "fixed" and cv.score("auto") > cv.score("fixed") + 0.3


@pytest.mark.parametrize(("n_folds", "fits"), [(2, 23), (3, 19), (5, 26), (50, 26)])
def test_many_folds_cost_no_more_fits_than_five(n_folds, fits):
    proba, y, _ = noisy(200)
    fold = np.arange(len(y)) % n_folds
    cv = NestedCV(proba, y, fold, Rule(most=4)).prepare()
    cv.cross_val_predict("auto")
    assert len([key for key in cv._cache if key[0] == "ascent"]) == fits
    assert set().union(*cv.blocks) == set(range(n_folds)) and len(cv.blocks) == min(n_folds, 5)


def test_with_many_folds_labels_of_a_fold_do_not_change_its_predictions():
    proba, y, _ = noisy(200)
    fold = np.arange(len(y)) % 10
    flipped = np.where(fold[:, None] == 7, 1 - y, y)
    one, other = (NestedCV(proba, t, fold, Rule(most=4)) for t in (y, flipped))
    assert (one.cross_val_predict("auto") == other.cross_val_predict("auto"))[fold == 7].all()


def test_rows_of_one_group_are_never_in_two_parts_of_a_fold():
    proba, y, _ = noisy(120)
    group = np.repeat(np.arange(12), 10)
    cv = NestedCV(proba, y, group % 2, Rule(most=4), group=group)
    for part in cv._next(frozenset({0})):
        left_out = cv._kept(frozenset({0})) & ~cv._kept(part)
        assert left_out.any() and not set(group[left_out]) & set(group[cv._kept(part | {0})])


def test_a_choice_is_not_made_on_noise_because_every_row_is_there_ten_times():
    rng = np.random.default_rng(1)
    y = (rng.random((40, 3)) < 0.4).astype(np.uint8)
    once = np.clip(0.3 * y + 0.7 * rng.random((40, 3)), 0, 1), y, np.arange(40) % 4
    ten_times, group = [np.concatenate([a] * 10) for a in once], np.tile(np.arange(40), 10)
    assert NestedCV(*ten_times, Rule(most=3)).choose() == "gfm"
    assert NestedCV(*ten_times, Rule(most=3), group=group).choose() == "expected"


@pytest.mark.parametrize("name", DECODERS)
def test_a_decoder_written_as_json_decodes_the_same(name):
    proba, y, fold = noisy()
    decoder = NestedCV(proba, y, fold, Rule(most=3)).decoder(name)
    written = json.loads(json.dumps(decoder.to_json(tuple("abcd"))))
    assert Decoder.from_json(written)(proba).tolist() == decoder(proba).tolist()


def test_a_decoder_packed_before_zero_division_was_a_setting_counts_empty_rows_as_right():
    written = Decoder("expected", Rule(least=0)).to_json(("a", "b"))
    assert written.pop("zero_division") == 0
    assert Decoder.from_json(written).rule.zero_division == 1


def test_a_label_that_no_row_has_is_not_predicted():
    proba, y = np.array([[0.9, 0.6], [0.2, 0.8]]), np.array([[1, 0], [0, 0]])
    for rule in (Rule("f1_macro", least=0), Rule("f1_macro", least=0, zero_division=1)):
        assert not binarize(proba, tune_per_class(proba, y, rule), rule)[:, 1].any()


@pytest.mark.parametrize("metric", METRICS)
def test_the_paired_interval_holds_the_gain_and_is_nothing_for_equal_predictions(metric):
    proba, y, _ = noisy()
    simple, other = proba >= 0.5, proba >= 0.3
    gain, low, high = paired_interval(metric, y, simple, other)
    sign = 1 if METRICS[metric].greater_is_better else -1
    assert gain == pytest.approx(sign * (METRICS[metric](y, other) - METRICS[metric](y, simple)))
    assert low < gain < high
    assert paired_interval(metric, y, simple, simple) == (0, 0, 0)


# many labels


def test_sets_too_large_to_matter_are_left_out_without_a_change(monkeypatch):
    rng = np.random.default_rng(0)
    proba = rng.random((40, 300)) ** 60  # some five labels a row
    short = expected_sets(proba, 1.0, 1)
    monkeypatch.setattr("tandem.decoding.expected_f._largest_set", lambda mean, c: c)
    assert np.array_equal(short, expected_sets(proba, 1.0, 1))


@pytest.mark.parametrize("most", [1, 2, 4])
def test_labels_that_the_limit_keeps_in_crowded_rows_are_counted_without_sorting(most):
    rng = np.random.default_rng(most)
    proba, y = rng.random((50, 6)).round(1), rng.random((50, 6)) < 0.5
    pred, rule = rng.random((50, 6)) < 0.6, Rule(least=0, most=most)
    crowded = CrowdedRows(proba, y, most)
    for j in range(6):
        for member in (False, True):
            with_j = pred.copy()
            with_j[:, j] = member
            rows = np.flatnonzero(with_j.sum(1) > most)
            kept = limit_sizes(proba, with_j, rule)
            assert crowded.overlap(pred, rows, j, member).tolist() == (kept & y).sum(1)[rows].tolist()
        pred[:, j] ^= (change := rng.random(50) < 0.3)
        crowded.stale[change] = True


def test_ascent_on_many_cells_still_finds_what_it_is_for(monkeypatch):
    proba, y = np.array([[0.4, 0.7], [0.3, 0.6], [0.1, 0.9], [0.2, 0.8]]), np.array([[1, 0], [1, 0], [0, 1], [0, 1]])
    monkeypatch.setattr("tandem.decoding.thresholds.MANY_CELLS", 7)
    assert binarize(proba, tune_ascent(proba, y, Rule()), Rule()).astype(int).tolist() == y.tolist()


# unknown cells


def hidden(share: float = 0.3) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """proba, y, fold, known: one row and nothing else of it is known nowhere."""
    proba, y, fold = noisy(160)
    known = np.random.default_rng(3).random(y.shape) >= share
    known[5] = False
    return proba, y, fold, known


@pytest.mark.parametrize("metric", SCORING_SETS)
@pytest.mark.parametrize("name", [*DECODERS, "auto"])
def test_what_is_at_an_unknown_cell_changes_no_decoder_and_no_score(metric, name):
    proba, y, fold, known = hidden()
    one, other = (NestedCV(proba, t, fold, Rule(metric, least=0), known=known) for t in (y, np.where(known, y, 1 - y)))
    labels = tuple("abcd")
    assert one.decoder(name).to_json(labels) == other.decoder(name).to_json(labels)
    assert one.score(name) == other.score(name)


@pytest.mark.parametrize("metric", ["f1_samples", "f1_micro", "f1_macro", "jaccard_samples", "hamming"])
def test_thresholds_are_tuned_on_the_known_cells(metric):
    """Where every unknown cell is far from its label, they would pull the thresholds the wrong way."""
    _, y, fold, known = hidden()
    proba = np.where(y, 0.4, 0.2)
    proba = np.where(known, proba, 1 - proba)
    cv = NestedCV(proba, y, fold, Rule(metric, least=0), known=known)
    for name in ("global", "ascent", "per_class"):
        thresholds = cv.decoder(name).thresholds
        assert ((thresholds > 0.2) & (thresholds <= 0.4)).all()
        assert cv.rule.merit(y, cv.decoder(name)(proba), known) == pytest.approx(1.0, abs=0.35)


def test_no_unknown_cell_gives_the_numbers_of_no_mask():
    proba, y, fold = noisy()
    free = Rule(least=0, most=10**6)
    one = NestedCV(proba, y, fold, free)
    other = NestedCV(proba, y, fold, free, known=np.ones(y.shape, bool))
    for name in DECODERS:
        assert one.decoder(name)(proba).tolist() == other.decoder(name)(proba).tolist()
        assert one.score(name) == pytest.approx(other.score(name)) and one.gain(name) == pytest.approx(other.gain(name))


# metrics that score probabilities, decoders that the competition names


@pytest.mark.parametrize("metric", ["auc_macro", "map_macro", "map_samples"])
def test_a_metric_that_ranks_scores_the_probabilities_as_they_are(metric):
    proba, y, fold = noisy()
    cv = NestedCV(proba, y, fold, Rule(metric))
    assert cv.cross_val_values() is proba
    assert cv.rule.sets.metric == cv.rule.tuned.metric == "f1_macro"
    assert cv.score("fixed") == METRICS["f1_macro"](y, binarize(proba, 0.5, Rule()))


def test_the_log_loss_scores_probabilities_calibrated_without_their_fold():
    proba, y = overconfident(400)
    fold = np.arange(400) % 4
    values = NestedCV(proba, y, fold, Rule("log_loss")).cross_val_values()
    assert log_loss(y, values) < log_loss(y, proba) - 0.1
    flipped = np.where(fold[:, None] == 1, 1 - y, y)
    other = NestedCV(proba, flipped, fold, Rule("log_loss")).cross_val_values()
    assert (values == other)[fold == 1].all() and not (values == other).all()


def test_the_decoder_that_the_competition_names_is_used():
    proba, y, fold = noisy()
    cv = NestedCV(proba, y, fold, Rule(decoder="shrunk"))
    assert cv.choose() == "shrunk" and cv.decoder("auto").name == "shrunk"
    assert (cv.cross_val_predict("auto") == cv.cross_val_predict("shrunk")).all()


def test_the_tuned_thresholds_are_the_best_of_three_ways_to_tune_them():
    proba, y, fold = noisy()
    cv = NestedCV(proba, y, fold, Rule("f1_macro", least=0))
    scores = {name: cv.score(name) for name in ("per_class", "ascent", "shrunk")}
    assert cv.choose_thresholds() == max(scores, key=scores.get)


def test_the_hamming_loss_is_lowest_at_one_half_of_calibrated_probabilities():
    rng = np.random.default_rng(0)
    z = 1.5 * rng.normal(size=(1200, 3)) - 0.5
    y = (rng.random(z.shape) < 1 / (1 + np.exp(-z))).astype(np.uint8)
    proba = 1 / (1 + np.exp(2 - z))  # far too low: at 0.5 most labels are missed
    cv = NestedCV(proba, y, np.arange(1200) % 4, Rule("hamming", least=0))
    assert cv.score("expected") < cv.score("fixed") - 0.05
    gain, low, high = cv.gain("fixed")
    assert gain == pytest.approx(cv.score("expected") - cv.score("fixed")) and low < high < 0
