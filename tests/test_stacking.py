from dataclasses import replace

import numpy as np
import pytest

from tandem.artifacts.atomic_io import read_json, write_json
from tandem.artifacts.contributions import TERMS, read_contributions, write_contributions
from tandem.artifacts.predictions import Predictions, check_same_origin
from tandem.decoding import NestedCV, Rule
from tandem.ensemble.fit_stack import StackCV, choose
from tandem.ensemble.hill_climbing import hill_climb
from tandem.ensemble.stacking import StackInputs, fixed_stack, read_stack, write_stack
from tandem.logits import logit, sigmoid

N = 400
FOLD = np.arange(N) % 4
WORDS = np.arange(N) % 7


def members(seed: int = 0) -> tuple[StackInputs, np.ndarray]:
    """(two noisy members, y): the first knows labels 0 and 1, the second label 2."""
    rng = np.random.default_rng(seed)
    y = (rng.random((N, 3)) < [0.6, 0.3, 0.15]).astype(np.uint8)
    y[y.sum(1) == 0, 0] = 1
    noise = rng.normal(size=(2, N, 3))
    known = np.array([[2.0, 2.0, 0.0], [0.0, 0.0, 2.0]])[:, None]
    return StackInputs.of(list(sigmoid(noise + known * (2.0 * y - 1))), WORDS), y


def fits(inputs: StackInputs, y: np.ndarray, threads: int = 1) -> StackCV:
    return StackCV(inputs, y, FOLD, seed=0, threads=threads)


def score(proba, y) -> float:
    return NestedCV(proba, y, FOLD, Rule(most=3)).score("auto")


def rates(y: np.ndarray) -> np.ndarray:
    return np.broadcast_to(y.mean(0), y.shape)


def test_shuffled_labels_score_chance():
    inputs, y = members()
    y = np.random.default_rng(1).permutation(y)
    assert score(fits(inputs, y).cross_val_predict()[0], y) < score(rates(y), y) + 0.03


def test_a_stack_takes_from_each_member_what_it_knows():
    inputs, y = members()
    proba, _ = fits(inputs, y).cross_val_predict()
    assert score(proba, y) > score(rates(y), y) + 0.2
    assert all(score(proba, y) > score(sigmoid(inputs.logits[:, i]), y) for i in range(2))


def test_labels_of_a_fold_do_not_change_its_stacked_rows():
    inputs, y = members()
    flipped = y.copy()
    flipped[FOLD == 2] = 1 - flipped[FOLD == 2]
    (one, one_parts), (other, other_parts) = (fits(inputs, t).cross_val_predict() for t in (y, flipped))
    assert one[FOLD == 2].tolist() == other[FOLD == 2].tolist()
    assert one_parts[FOLD == 2].tolist() == other_parts[FOLD == 2].tolist()
    assert (one[FOLD == 1] != other[FOLD == 1]).any()


def test_a_stack_is_the_same_each_time_with_any_number_of_threads_and_after_saving(tmp_path):
    inputs, y = members()
    stack = fits(inputs, y).fit()
    proba = stack.predict_proba(inputs)
    assert proba.tolist() == fits(inputs, y, threads=2).fit().predict_proba(inputs).tolist()
    write_stack(tmp_path, stack)
    loaded = read_stack(tmp_path)
    assert np.allclose(loaded.predict_proba(inputs), proba, atol=1e-9)
    assert np.allclose(loaded.contributions(inputs), stack.contributions(inputs), atol=1e-5)


@pytest.mark.parametrize("words", [WORDS, None])
def test_a_stack_written_and_read_back_knows_whether_it_needs_word_counts(words, tmp_path):
    inputs, y = members()
    inputs = StackInputs.of(list(np.swapaxes(sigmoid(inputs.logits), 0, 1)), words)
    write_stack(tmp_path, fits(inputs, y).fit())
    assert read_stack(tmp_path).reads_words == (words is not None)
    about = read_json(tmp_path / "stack.json")
    assert about.pop("words") == (words is not None)
    write_json(tmp_path / "stack.json", about)  # as in bundles of format 1 and 2
    assert read_stack(tmp_path).reads_words == (words is not None)


def test_a_fixed_stack_written_and_read_back_needs_no_word_counts(tmp_path):
    write_stack(tmp_path, fixed_stack(np.array([0.0, 0.4, 0.6]), 2))
    stack = read_stack(tmp_path)
    assert not stack.reads_words
    assert stack.second.members == [1, 2] and stack.second.center.tolist() == [[0, 0], [0, 0]]


def test_contributions_add_up_to_the_logit_in_and_out_of_fold():
    inputs, y = members()
    proba, parts = fits(inputs, y).cross_val_predict()
    assert np.allclose(parts.sum(2), logit(proba, 1e-12), atol=1e-4)
    stack = fits(inputs, y).fit()
    assert np.allclose(stack.contributions(inputs).sum(2), logit(stack.predict_proba(inputs), 1e-12), atol=1e-4)


def test_a_label_is_moved_by_the_member_that_knows_it():
    inputs, y = members()
    _, parts = fits(inputs, y).cross_val_predict()
    moved = np.abs(parts).mean(0)  # (label, member 0, member 1, context, base)
    assert moved[0, 0] > 3 * moved[0, 1]
    assert moved[2, 1] > 3 * moved[2, 0]


def test_a_member_of_pure_noise_is_dropped():
    inputs, y = members()
    noise = np.random.default_rng(5).normal(size=(N, 1, 3)).astype(np.float32)
    noisy = replace(inputs, logits=np.concatenate([inputs.logits, noise], axis=1))
    stack = fits(noisy, y).fit()
    assert stack.second.members == [0, 1]
    assert (stack.contributions(noisy)[:, :, 2] == 0).all()


def test_a_label_that_never_occurs_gets_a_small_probability_and_no_error():
    inputs, y = members()
    y[:, 2] = 0
    assert fits(inputs, y).fit().predict_proba(inputs)[:, 2].max() < 0.1


def test_an_overconfident_member_stays_bounded():
    inputs = StackInputs.of([np.array([[0.0, 1.0]]), np.array([[0.5, 0.5]])], None)
    assert inputs.logits.shape == (1, 2, 2) and np.abs(inputs.logits).max() < 10


def test_a_fixed_stack_is_the_weighted_mean_of_logits():
    inputs, _ = members()
    one = fixed_stack(np.array([0.0, 1.0]), 3)
    assert np.allclose(one.predict_proba(inputs), sigmoid(inputs.logits[:, 1]), atol=1e-6)
    both = fixed_stack(np.array([0.5, 0.5]), 3)
    assert np.allclose(both.predict_proba(inputs), sigmoid(inputs.logits.mean(1)), atol=1e-6)
    assert np.allclose(both.contributions(inputs).sum(2), inputs.logits.mean(1), atol=1e-5)


# what is kept


def test_a_candidate_no_better_than_chance_leaves_the_simplest():
    inputs, y = members()
    simple = sigmoid(inputs.logits[:, 0])
    jitter = sigmoid(inputs.logits[:, 0] + np.random.default_rng(0).normal(0, 0.05, y.shape))
    kept, gains = choose(y, {"single": simple, "mean": jitter, "stack": jitter})
    assert kept == "single"
    assert set(gains["stack"]) == {"single", "mean"}


def test_a_stack_must_beat_the_mean_as_well_as_the_best_single():
    inputs, y = members()
    simple, good = sigmoid(inputs.logits[:, 0]), np.clip(y * 0.9 + 0.05, 0, 1)
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
    inputs, y = members()
    weights = hill_climb(inputs.logits, y, seed=0)
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
        (replace(predictions(), provenance={"folds": "f1", "competition": "other"}), "different competitions"),
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
