from dataclasses import replace

import numpy as np
import pytest

from tandem.artifacts.atomic_io import read_json, write_json
from tandem.artifacts.contributions import TERMS, read_contributions, write_contributions
from tandem.artifacts.predictions import Predictions, check_same_origin
from tandem.decoding import NestedCV, Rule
from tandem.ensemble.fit_stack import StackCV, choose, fit_no_caption_stack, fit_stack, surrogate_loss
from tandem.ensemble.hill_climbing import MIN_SCALE, fit_shift_and_scale, hill_climb
from tandem.ensemble.lightgbm import Boosted
from tandem.ensemble.linear import RANK
from tandem.ensemble.second_level_fit import SecondLevelFit
from tandem.ensemble.stacking import BOUND, LOGISTIC, WEIGHTED, StackInputs, fixed_stack, read_stack, write_stack
from tandem.logits import logit, sigmoid, smoothed_log_odds
from tandem.metrics import log_loss
from tandem.runtime.progress import Counter

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


@pytest.fixture(params=[40, 1], ids=["few labels", "many labels"])
def form(request, monkeypatch) -> None:
    """Both forms of the second level, on the same few labels."""
    monkeypatch.setattr("tandem.ensemble.second_level_fit.MANY_LABELS", request.param)


def score(proba, y) -> float:
    return NestedCV(proba, y, FOLD, Rule(most=3)).score("auto")


def rates(y: np.ndarray) -> np.ndarray:
    return np.broadcast_to(y.mean(0), y.shape)


@pytest.mark.usefixtures("form")
def test_shuffled_labels_score_chance():
    inputs, y = members()
    y = np.random.default_rng(1).permutation(y)
    assert score(fits(inputs, y).cross_val_predict()[0], y) < score(rates(y), y) + 0.03


@pytest.mark.usefixtures("form")
def test_a_stack_takes_from_each_member_what_it_knows():
    inputs, y = members()
    proba, _, _ = fits(inputs, y).cross_val_predict()
    assert score(proba, y) > score(rates(y), y) + 0.2
    assert all(score(proba, y) > score(sigmoid(inputs.logits[:, i]), y) for i in range(2))


@pytest.mark.usefixtures("form")
def test_labels_of_a_fold_do_not_change_its_stacked_rows():
    inputs, y = members()
    flipped = y.copy()
    flipped[FOLD == 2] = 1 - flipped[FOLD == 2]
    (one, one_parts), (other, other_parts) = (fits(inputs, t).cross_val_predict()[:2] for t in (y, flipped))
    assert one[FOLD == 2].tolist() == other[FOLD == 2].tolist()
    assert one_parts[FOLD == 2].tolist() == other_parts[FOLD == 2].tolist()
    assert log_loss(y[FOLD == 1], other[FOLD == 1]) > log_loss(y[FOLD == 1], one[FOLD == 1]) + 0.05


@pytest.mark.usefixtures("form")
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


@pytest.mark.usefixtures("form")
def test_contributions_add_up_to_the_logit_in_and_out_of_fold():
    inputs, y = members()
    proba, parts, _ = fits(inputs, y).cross_val_predict()
    assert np.allclose(parts.sum(2), logit(proba, 1e-12), atol=1e-4)
    stack = fits(inputs, y).fit()
    assert np.allclose(stack.contributions(inputs).sum(2), logit(stack.predict_proba(inputs), 1e-12), atol=1e-4)


@pytest.mark.usefixtures("form")
def test_a_label_is_moved_by_the_member_that_knows_it():
    inputs, y = members()
    _, parts, _ = fits(inputs, y).cross_val_predict()
    moved = np.abs(parts).mean(0)  # (label, member 0, member 1, context, base)
    assert moved[0, 0] > 3 * moved[0, 1]
    assert moved[2, 1] > 3 * moved[2, 0]


@pytest.mark.usefixtures("form")
def test_a_member_of_pure_noise_is_dropped():
    inputs, y = members()
    noise = np.random.default_rng(5).normal(size=(N, 1, 3)).astype(np.float32)
    noisy = replace(inputs, logits=np.concatenate([inputs.logits, noise], axis=1))
    stack = fits(noisy, y).fit()
    assert stack.second.members == [0, 1]
    assert (stack.contributions(noisy)[:, :, 2] == 0).all()


# labels of one class, and few rows


@pytest.mark.parametrize("positives", [0, 1, 2, N - 1, N])
def test_a_label_of_one_class_or_nearly_so_moves_no_further_than_its_smoothed_log_odds_by_much(positives, tmp_path):
    inputs, y = members()
    y[:, 2] = np.arange(N) < positives
    second = fits(inputs, y)._second_level(frozenset())
    logits = second.logits(inputs)[:, [0, 1], 2]  # of boosting and the logistic regression
    odds = float(smoothed_log_odds(y[:, 2]))
    assert np.isfinite(logits).all() and np.abs(logits - odds).max() < (1e-6 if positives in (0, N) else 3)
    stack = fits(inputs, y).fit()
    write_stack(tmp_path, stack)
    loaded = read_stack(tmp_path)
    assert np.allclose(loaded.predict_proba(inputs), stack.predict_proba(inputs), atol=1e-9)
    assert np.allclose(loaded.contributions(inputs).sum(2), logit(stack.predict_proba(inputs), 1e-12), atol=1e-4)


def test_boosting_without_evidence_is_the_smoothed_rate():
    x = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
    for y, odds in (
        (np.zeros(9), np.log(0.5 / 9.5)),
        (np.ones(9), np.log(9.5 / 0.5)),
        (np.eye(9)[0], np.log(1.5 / 8.5)),
    ):
        model = Boosted.fit(x, y, np.arange(9) < 2, seed=0, monotone=1)
        assert model.logits(x).tolist() == pytest.approx([odds] * 9)
        assert model.contributions(x).sum(1).tolist() == pytest.approx([odds] * 9)


def test_where_only_the_rows_for_early_stopping_hold_a_label_boosting_takes_one_tree():
    x, held_out = np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32), np.arange(200) < 40
    y = (held_out & (x[:, 0] > 0)).astype(np.uint8)
    model = Boosted.fit(x, y, held_out, seed=0, monotone=4)
    assert model.booster.num_trees() == 1
    assert np.abs(model.logits(x) - smoothed_log_odds(y)).max() < 0.5


def test_labels_that_one_fold_alone_holds_do_not_end_boosting_for_all():
    inputs, y = members()
    twenty = ((np.arange(N) < 12) & (FOLD == 0))[:, None] * np.ones(20)  # three positives, all in fold 0
    noise = np.random.default_rng(1).normal(-4, 0.5, size=(N, 2, 20)).astype(np.float32)
    wide = replace(inputs, logits=np.concatenate([inputs.logits, noise], axis=2))
    stack = fits(wide, np.concatenate([y, twenty], axis=1).astype(np.uint8)).fit()
    assert stack.weights[0] > 0.1  # with logits of -34.5 for them it was 0


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("n", [2, 3, 5, 12])
def test_a_few_rows_give_finite_moderate_probabilities_with_single_row_folds_and_one_class(n):
    inputs, y = members()
    for labels in (y[:n], np.zeros_like(y[:n]), np.ones_like(y[:n])):
        for fold in (np.arange(n) % 2, np.arange(n), np.minimum(np.arange(n), 2)):
            probas = {"one": sigmoid(inputs.logits[:n, 0]), "two": sigmoid(inputs.logits[:n, 1])}
            fitted = fit_stack(probas, WORDS[:n], labels, fold, seed=0, threads=1)
            assert fitted.proba.min() > 1e-5 and fitted.proba.max() < 1 - 1e-5
            assert fitted.summary["scale"] > 0
            stack, parts = fit_no_caption_stack({0: probas["one"]}, labels, fold, seed=0)
            assert np.isfinite(parts).all() and stack.scale > 0


@pytest.mark.parametrize(
    ("y", "low", "high"), [([0, 0, 0, 0], 0.2, 1.0), ([1, 1, 0, 0], 0.1, 0.6), ([0, 0, 1, 1], 1.0, 2.0)]
)
def test_scale_never_turns_negative_and_stays_near_one_on_four_cells(y, low, high):
    shift, scale = fit_shift_and_scale(np.array([[-2.0], [-1.0], [1.0], [2.0]]), np.array(y)[:, None])
    assert low <= scale <= high and abs(shift) < 2


def test_shift_and_scale_of_many_cells_are_those_that_drew_them():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(20_000, 2))
    y = rng.random(z.shape) < sigmoid(0.5 + 2 * z)
    assert fit_shift_and_scale(z, y) == pytest.approx((0.5, 2.0), abs=0.05)
    assert fit_shift_and_scale(-z, y)[1] == MIN_SCALE


@pytest.mark.usefixtures("form")
def test_extras_beyond_those_fitted_move_no_logit_further(tmp_path):
    inputs, y = members()
    words = 5 + WORDS
    inputs = StackInputs.of(list(np.swapaxes(sigmoid(inputs.logits), 0, 1)), words)
    stack = fits(inputs, y).fit()
    write_stack(tmp_path, stack)
    few, none = (replace(inputs, extras=inputs.extras.copy()) for _ in range(2))
    few.extras[:, 1], none.extras[:, 1] = np.log1p(words.min()), 0
    assert stack.second.extras_range[:, 1].tolist() == pytest.approx(np.log1p([5, 11]))
    for one in (stack, read_stack(tmp_path)):
        assert one.predict_proba(none).tolist() == one.predict_proba(few).tolist()
        assert one.contributions(none).tolist() == one.contributions(few).tolist()


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


# many labels


def many(n: int = 150, c: int = 50) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Two members of labels that come in pairs: where label 0 is, label 1 is, and so on; each knows half of them."""
    rng = np.random.default_rng(0)
    y = np.repeat(rng.random((n, c // 2)) < 0.2, 2, axis=1).astype(np.uint8)
    noise = {"one": np.where(np.arange(c) < c / 2, 0.8, 3.0), "two": np.where(np.arange(c) < c / 2, 3.0, 0.8)}
    return {name: sigmoid(2.0 * y - 2 + scale * rng.normal(size=y.shape)) for name, scale in noise.items()}, y


def test_features_of_a_label_do_not_grow_with_the_number_of_labels(tmp_path):
    probas, y = many()
    fitted = fit_stack(probas, None, y, np.arange(len(y)) % 3, seed=0, threads=1)
    linear = fitted.stack.second.linear
    assert fitted.summary["kept"] == "stack" and fitted.summary["third_level"]["boosted"] == 0
    assert linear.own.shape == (2, 50) and linear.others.shape == (RANK, 50) and linear.extras.shape == (1, 50)
    write_stack(tmp_path, fitted.stack)
    assert [file.name for file in sorted(tmp_path.iterdir())] == ["stack.json", "stack.safetensors"]


def test_a_label_of_many_learns_from_the_labels_that_come_with_it():
    probas, y = many(600, 40)
    inputs = StackInputs.of(list(probas.values()), None)
    stack = StackCV(inputs, y, np.arange(600) % 3, seed=0, threads=1).fit()
    changed = replace(inputs, logits=inputs.logits.copy())
    changed.logits[:, :, 1] += 2  # label 0 comes with label 1
    moved = (stack.contributions(changed) - stack.contributions(inputs))[:, 0, :]
    assert moved[:, 2].mean() > 0.1 and np.abs(moved[:, [0, 1, 3]]).max() == 0


def test_a_label_of_many_without_evidence_gets_the_weighted_mean_of_the_members():
    probas, y = many(300, 40)
    inputs, known = StackInputs.of(list(probas.values()), None), np.ones(y.shape, bool)
    known[:, 0] = False
    second = StackCV(inputs, y, np.arange(300) % 3, 0, 1, known)._second_level(frozenset())
    logits = second.logits(inputs)
    assert np.allclose(logits[:, LOGISTIC, 0], logits[:, WEIGHTED, 0], atol=1e-4)
    assert np.abs(logits[:, LOGISTIC, 1] - logits[:, WEIGHTED, 1]).mean() > 0.1


def test_an_ended_run_goes_on_where_it_was(tmp_path, monkeypatch):
    probas, y = many()
    fold, fits = np.arange(len(y)) % 3, []
    fit = SecondLevelFit.__call__

    def ended(self, members):
        if len(fits) == 4:
            raise KeyboardInterrupt
        fits.append(len(self.y))
        return fit(self, members)

    expected = fit_stack(probas, None, y, fold, seed=0, threads=1)
    monkeypatch.setattr(SecondLevelFit, "__call__", ended)
    with pytest.raises(KeyboardInterrupt):
        fit_stack(probas, None, y, fold, seed=0, threads=1, unfinished=tmp_path)
    monkeypatch.setattr(SecondLevelFit, "__call__", lambda self, members: fits.append(0) or fit(self, members))
    again = fit_stack(probas, None, y, fold, seed=0, threads=1, unfinished=tmp_path)
    assert len(fits) == 7  # of all rows, without each of three folds, without each pair
    assert np.allclose(again.proba, expected.proba, atol=1e-6)


def test_a_stack_shows_that_it_is_at_work(capsys, monkeypatch):
    monkeypatch.setattr(Counter, "seconds_between", 0.0)  # a log has a line in ten seconds otherwise
    probas, y = many()
    fit_stack(probas, None, y, np.arange(len(y)) % 3, seed=0, threads=1)
    assert "350 of 350" in capsys.readouterr().err  # seven second levels of 50 labels


@pytest.mark.usefixtures("form")
def test_a_stack_of_one_label():
    inputs, y = members()
    probas = {name: sigmoid(inputs.logits[:, i, :1]) for i, name in enumerate(("one", "two"))}
    fitted = fit_stack(probas, WORDS, y[:, :1], FOLD, seed=0, threads=1)
    assert log_loss(y[:, :1], fitted.proba) < log_loss(y[:, :1], rates(y)[:, :1])
    assert np.allclose(fitted.contributions.sum(2), logit(fitted.proba, 1e-12), atol=1e-4)


# unknown cells


@pytest.mark.usefixtures("form")
def test_what_stands_in_an_unknown_cell_changes_nothing():
    inputs, y = members()
    probas = {"one": sigmoid(inputs.logits[:, 0]), "two": sigmoid(inputs.logits[:, 1])}
    known = np.random.default_rng(1).random(y.shape) < 0.6
    known[:9] = False
    one, other = (
        fit_stack(probas, WORDS, labels, FOLD, seed=0, threads=1, known=known)
        for labels in (y, np.where(known, y, 1 - y))
    )
    assert one.proba.tolist() == other.proba.tolist() and one.summary == other.summary
    assert np.isfinite(one.proba).all() and one.contributions.tolist() == other.contributions.tolist()
    parts = [fit_no_caption_stack({0: probas["one"]}, t, FOLD, 0, known)[1] for t in (y, np.where(known, y, 1 - y))]
    assert parts[0].tolist() == parts[1].tolist()


@pytest.mark.usefixtures("form")
def test_all_cells_known_is_the_same_as_no_word_about_it():
    inputs, y = members()
    probas = {"one": sigmoid(inputs.logits[:, 0]), "two": sigmoid(inputs.logits[:, 1])}
    one, other = (fit_stack(probas, WORDS, y, FOLD, 0, 1, known=known) for known in (None, np.ones(y.shape, bool)))
    assert np.allclose(one.proba, other.proba, atol=1e-6)


@pytest.mark.usefixtures("form")
def test_a_label_known_in_few_rows_is_predicted_in_all():
    inputs, y = members()
    probas = {"one": sigmoid(inputs.logits[:, 0]), "two": sigmoid(inputs.logits[:, 1])}
    known = np.ones(y.shape, bool)
    known[12:, 2] = False
    fitted = fit_stack(probas, WORDS, y, FOLD, seed=0, threads=1, known=known)
    assert fitted.proba[:, 2].min() > 1e-5 and fitted.proba[:, 2].max() < 1 - 1e-5


# what is kept


def losses(y: np.ndarray, **probas: np.ndarray) -> dict[str, np.ndarray]:
    return {name: surrogate_loss(y, proba) for name, proba in probas.items()}


def test_near_duplicates_count_once_in_what_is_kept():
    inputs, y = members()
    simple, slightly = sigmoid(inputs.logits[:, 0]), sigmoid(inputs.logits[:, 0] + 0.2 * (y - 0.5))
    worse = sigmoid(inputs.logits[:, 0] - 0.2 * (y - 0.5))
    few = np.arange(N) < 5  # better on five of six rows, each there often
    better = np.where(few[:, None], slightly, np.where((np.arange(N) == 5)[:, None], worse, simple))
    rows = np.repeat(np.arange(6), 50)
    candidates = losses(y[rows], single=simple[rows], mean=better[rows])
    assert choose(candidates)[0] == "mean"
    assert choose(candidates, group=rows)[0] == "single"


@pytest.mark.usefixtures("form")
def test_what_is_kept_for_a_fold_does_not_depend_on_its_labels():
    inputs, y = members()
    probas = {"one": sigmoid(inputs.logits[:, 0]), "two": sigmoid(inputs.logits[:, 1])}
    flipped = y.copy()
    flipped[FOLD == 2] = 1 - flipped[FOLD == 2]
    one, other = (fit_stack(probas, WORDS, labels, FOLD, seed=0, threads=1) for labels in (y, flipped))
    assert one.summary["kept_per_fold"][2] == other.summary["kept_per_fold"][2]
    assert one.proba[FOLD == 2].tolist() == other.proba[FOLD == 2].tolist()
    assert one.contributions[FOLD == 2].tolist() == other.contributions[FOLD == 2].tolist()
    assert np.abs(one.proba[FOLD == 1] - other.proba[FOLD == 1]).max() > 0.05


def test_the_best_member_of_many_noisy_ones_is_not_scored_on_the_rows_that_chose_it():
    """Sixty members that know nothing: the best of them looks better than its own expectation."""
    rng = np.random.default_rng(0)
    n, fold = 60, np.arange(60) % 2
    y = (rng.random((n, 1)) < 0.5).astype(np.uint8)
    probas = {f"m{i}": sigmoid(rng.normal(size=(n, 1))) for i in range(60)}
    fitted = fit_stack(probas, None, y, fold, seed=0, threads=1)
    alone = {name: log_loss(y, proba) for name, proba in probas.items()}
    chosen = fitted.summary["kept_per_fold"]
    assert set(chosen) == {0, 1}
    expected = np.zeros((n, 1))
    for k, name in chosen.items():
        known = probas[name] if name in probas else np.mean([logit(p, BOUND) for p in probas.values()], axis=0)
        expected[fold == k] = (known if name in probas else sigmoid(known))[fold == k]
    assert np.allclose(fitted.proba, expected, atol=1e-4)
    assert log_loss(y, fitted.proba) > min(alone.values()) + 0.01


@pytest.mark.parametrize("numbers", [(1, 4), range(7)])
def test_what_is_kept_is_named_by_the_number_of_the_fold(numbers):
    """Rows without a caption may leave a fold without rows, and of more than five folds some are left out together."""
    inputs, y = members()
    fold = np.array(list(numbers))[np.arange(N) % len(numbers)]
    probas = {"one": sigmoid(inputs.logits[:, 0]), "two": sigmoid(inputs.logits[:, 1])}
    kept = fit_stack(probas, None, y, fold, seed=0, threads=1).summary["kept_per_fold"]
    assert list(kept) == list(numbers)


def test_a_candidate_no_better_than_chance_leaves_the_simplest():
    inputs, y = members()
    simple = sigmoid(inputs.logits[:, 0])
    jitter = sigmoid(inputs.logits[:, 0] + np.random.default_rng(0).normal(0, 0.05, y.shape))
    kept, gains = choose(losses(y, single=simple, mean=jitter, stack=jitter))
    assert kept == "single"
    assert set(gains["stack"]) == {"single", "mean"}


def test_a_stack_must_beat_the_mean_as_well_as_the_best_single():
    inputs, y = members()
    simple, good = sigmoid(inputs.logits[:, 0]), np.clip(y * 0.9 + 0.05, 0, 1)
    assert choose(losses(y, single=simple, mean=good, stack=good))[0] == "mean"
    assert choose(losses(y, single=simple, mean=simple, stack=good))[0] == "stack"


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
