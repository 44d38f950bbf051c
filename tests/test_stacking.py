from dataclasses import replace

import numpy as np
import pytest

from tandem.artifacts.contributions import TERMS, read_contributions, write_contributions
from tandem.artifacts.predictions import Predictions, check_same_origin
from tandem.decoding import CrossFit, Rule
from tandem.ensemble.hill_climbing import hill_climb
from tandem.ensemble.stacking import CrossFitStack, Level, Stack, choose, fixed_stack, spread
from tandem.logits import logit, sigmoid

N = 400
FOLD = np.arange(N) % 4
WORDS = np.arange(N) % 7


def members(seed: int = 0) -> tuple[Level, np.ndarray]:
    """(two noisy members, y): the first knows labels 0 and 1, the second label 2."""
    rng = np.random.default_rng(seed)
    y = (rng.random((N, 3)) < [0.6, 0.3, 0.15]).astype(np.uint8)
    y[y.sum(1) == 0, 0] = 1
    noise = rng.normal(size=(2, N, 3))
    known = np.array([[2.0, 2.0, 0.0], [0.0, 0.0, 2.0]])[:, None]
    return Level.of(list(sigmoid(noise + known * (2.0 * y - 1))), WORDS), y


def fits(level: Level, y: np.ndarray, threads: int = 1) -> CrossFitStack:
    return CrossFitStack(level, y, FOLD, seed=0, threads=threads)


def score(proba, y) -> float:
    return CrossFit(proba, y, FOLD, Rule(most=3)).score("auto")


def rates(y: np.ndarray) -> np.ndarray:
    return np.broadcast_to(y.mean(0), y.shape)


def test_shuffled_labels_score_chance():
    level, y = members()
    y = np.random.default_rng(1).permutation(y)
    assert score(fits(level, y).cross_fitted()[0], y) < score(rates(y), y) + 0.03


def test_a_stack_takes_from_each_member_what_it_knows():
    level, y = members()
    proba, _ = fits(level, y).cross_fitted()
    assert score(proba, y) > score(rates(y), y) + 0.2
    assert all(score(proba, y) > score(sigmoid(level.logits[:, i]), y) for i in range(2))


def test_labels_of_a_fold_do_not_change_its_stacked_rows():
    level, y = members()
    flipped = y.copy()
    flipped[FOLD == 2] = 1 - flipped[FOLD == 2]
    (one, one_parts), (other, other_parts) = (fits(level, t).cross_fitted() for t in (y, flipped))
    assert one[FOLD == 2].tolist() == other[FOLD == 2].tolist()
    assert one_parts[FOLD == 2].tolist() == other_parts[FOLD == 2].tolist()
    assert (one[FOLD == 1] != other[FOLD == 1]).any()


def test_a_stack_is_the_same_each_time_with_any_number_of_threads_and_after_saving(tmp_path):
    level, y = members()
    stack = fits(level, y).stack()
    proba = stack.predict_proba(level)
    assert proba.tolist() == fits(level, y, threads=2).stack().predict_proba(level).tolist()
    stack.save(tmp_path)
    loaded = Stack.load(tmp_path)
    assert np.allclose(loaded.predict_proba(level), proba, atol=1e-9)
    assert np.allclose(loaded.contributions(level), stack.contributions(level), atol=1e-5)


def test_contributions_add_up_to_the_logit_in_and_out_of_fold():
    level, y = members()
    proba, parts = fits(level, y).cross_fitted()
    assert np.allclose(parts.sum(2), logit(proba, 1e-12), atol=1e-4)
    stack = fits(level, y).stack()
    assert np.allclose(spread(stack, level).sum(2), logit(stack.predict_proba(level), 1e-12), atol=1e-4)


def test_a_label_is_moved_by_the_member_that_knows_it():
    level, y = members()
    _, parts = fits(level, y).cross_fitted()
    moved = np.abs(parts).mean(0)  # (label, member 0, member 1, context, base)
    assert moved[0, 0] > 3 * moved[0, 1]
    assert moved[2, 1] > 3 * moved[2, 0]


def test_a_member_of_pure_noise_is_dropped():
    level, y = members()
    noise = np.random.default_rng(5).normal(size=(N, 1, 3)).astype(np.float32)
    noisy = replace(level, logits=np.concatenate([level.logits, noise], axis=1))
    stack = fits(noisy, y).stack()
    assert stack.second.members == [0, 1]
    assert (spread(stack, noisy)[:, :, 2] == 0).all()


def test_a_label_that_never_occurs_gets_a_small_probability_and_no_error():
    level, y = members()
    y[:, 2] = 0
    assert fits(level, y).stack().predict_proba(level)[:, 2].max() < 0.1


def test_an_overconfident_member_stays_bounded():
    level = Level.of([np.array([[0.0, 1.0]]), np.array([[0.5, 0.5]])], None)
    assert level.logits.shape == (1, 2, 2) and np.abs(level.logits).max() < 10


def test_a_fixed_stack_is_the_weighted_mean_of_logits():
    level, _ = members()
    one = fixed_stack(level, np.array([0.0, 1.0]))
    assert np.allclose(one.predict_proba(level), sigmoid(level.logits[:, 1]), atol=1e-6)
    both = fixed_stack(level, np.array([0.5, 0.5]))
    assert np.allclose(both.predict_proba(level), sigmoid(level.logits.mean(1)), atol=1e-6)
    assert np.allclose(spread(both, level).sum(2), level.logits.mean(1), atol=1e-5)


# what is kept


def test_a_candidate_no_better_than_chance_leaves_the_simplest():
    level, y = members()
    simple = sigmoid(level.logits[:, 0])
    jitter = sigmoid(level.logits[:, 0] + np.random.default_rng(0).normal(0, 0.05, y.shape))
    kept, gains = choose(y, {"single": simple, "mean": jitter, "stack": jitter})
    assert kept == "single"
    assert set(gains["stack"]) == {"single", "mean"}


def test_a_stack_must_beat_the_mean_as_well_as_the_best_single():
    level, y = members()
    simple, good = sigmoid(level.logits[:, 0]), np.clip(y * 0.9 + 0.05, 0, 1)
    assert choose(y, {"single": simple, "mean": good, "stack": good})[0] == "mean"
    assert choose(y, {"single": simple, "mean": simple, "stack": good})[0] == "stack"


# hill climbing


def test_hill_climbing_gives_a_useless_member_nothing_and_sums_to_one():
    rng = np.random.default_rng(0)
    y = (rng.random((300, 2)) < 0.4).astype(np.uint8)
    good = (2.0 * y - 1 + 0.5 * rng.normal(size=y.shape)).astype(np.float32)
    against = -good
    weights = hill_climb(np.stack([good, against], axis=1), y, seed=0)
    assert weights.tolist() == [1.0, 0.0]


def test_hill_climbing_mixes_members_that_know_different_things():
    level, y = members()
    weights = hill_climb(level.logits, y, seed=0)
    assert weights.sum() == pytest.approx(1) and weights.min() > 0.2


# refusals


def predictions(ids=("a", "b"), names=("x", "y"), folds="f1") -> Predictions:
    origin = {"folds": folds, "competition": "toy"}
    return Predictions(list(ids), names, np.full((len(ids), len(names)), 0.5, np.float32), origin)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (predictions(names=("y", "x")), "label names or order"),
        (predictions(folds="f2"), "different fold maps"),
        (predictions(ids=("a", "c")), "different rows"),
        (
            replace(predictions(), provenance={"folds": "f1", "competition": "other"}),
            "different competitions",
        ),
    ],
)
def test_members_that_do_not_belong_together_are_refused(other, message):
    with pytest.raises(ValueError, match=message):
        check_same_origin({"one": predictions(), "two": other})


def test_members_that_belong_together_are_taken_in_any_order_of_rows():
    check_same_origin({"one": predictions(), "two": predictions(ids=("b", "a"))})


def test_contributions_come_back_as_written(tmp_path):
    terms = np.arange(2 * 3 * len(TERMS), dtype=np.float32).reshape(2, 3, len(TERMS))
    path = tmp_path / "contributions.parquet"
    write_contributions(path, ("x", "y", "z"), [("train", ["a", "b"], terms), ("test", ["c", "d"], -terms)])
    _, (split, ids, back) = read_contributions(path)
    assert (split, ids) == ("test", ["c", "d"])
    assert back.tolist() == (-terms).tolist()
