import numpy as np

from tandem.decode import CrossFit, Rule
from tandem.predictions import sigmoid
from tandem.stacking import Stack, cross_fit_stack, features

N = 400
FOLD = np.arange(N) % 4


def members(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(features of two noisy members, y): the first knows labels 0 and 1, the second label 2."""
    rng = np.random.default_rng(seed)
    y = (rng.random((N, 3)) < [0.6, 0.3, 0.15]).astype(np.uint8)
    y[y.sum(1) == 0, 0] = 1
    noise = rng.normal(size=(2, N, 3))
    known = np.array([[2.0, 2.0, 0.0], [0.0, 0.0, 2.0]])[:, None]
    return features(list(sigmoid(noise + known * (2.0 * y - 1)))), y


def cross_fitted(proba, y) -> float:
    return CrossFit(proba, y, FOLD, Rule(most=3)).score("auto")


def rates(y: np.ndarray) -> np.ndarray:
    return np.broadcast_to(y.mean(0), y.shape)


def test_shuffled_labels_score_chance():
    x, y = members()
    y = np.random.default_rng(1).permutation(y)
    stacked = cross_fitted(cross_fit_stack(x, y, FOLD, seed=0, threads=1), y)
    assert stacked < cross_fitted(rates(y), y) + 0.03


def test_a_stack_takes_from_each_member_what_it_knows():
    x, y = members()
    assert cross_fitted(cross_fit_stack(x, y, FOLD, seed=0, threads=1), y) > cross_fitted(rates(y), y) + 0.2


def test_labels_of_a_fold_do_not_change_its_stacked_rows():
    x, y = members()
    flipped = y.copy()
    flipped[FOLD == 2] = 1 - flipped[FOLD == 2]
    one, other = (cross_fit_stack(x, t, FOLD, seed=0, threads=1) for t in (y, flipped))
    assert one[FOLD == 2].tolist() == other[FOLD == 2].tolist()
    assert (one[FOLD == 1] != other[FOLD == 1]).any()


def test_a_stack_is_the_same_each_time_with_any_number_of_threads_and_after_saving(tmp_path):
    x, y = members()
    stack = Stack(seed=3).fit(x, y)
    proba = stack.predict_proba(x)
    assert proba.tolist() == Stack(seed=3, threads=2).fit(x, y).predict_proba(x).tolist()
    stack.save(tmp_path / "stack")
    assert np.allclose(Stack(seed=3).load(tmp_path / "stack").predict_proba(x), proba, atol=1e-9)


def test_a_label_that_never_occurs_gets_a_small_probability_and_no_error():
    x, y = members()
    y[:, 2] = 0
    assert Stack().fit(x, y).predict_proba(x)[:, 2].max() < 0.05


def test_an_overconfident_member_stays_bounded():
    x = features([np.array([[0.0, 1.0]]), np.array([[0.5, 0.5]])])
    assert x.shape == (1, 4) and np.abs(x).max() < 10
