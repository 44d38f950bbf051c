"""The ensemble to bundle: the best within the budget, shared parts counted once."""

import numpy as np
import pytest

from tandem.bundling.ensemble_choice import Choice, Cost, Costs, ExperimentCost, choose_best, grow_means

BIG, SMALL = Cost(10, 8), Cost(4, 2)
COSTS = Costs(
    experiments={
        "image": ExperimentCost(Cost(2, 1), 5, frozenset({"big"})),
        "caption": ExperimentCost(Cost(1, 1), 5, frozenset({"small"})),
        "both": ExperimentCost(Cost(3, 2), 3, frozenset({"big", "small"})),
    },
    shared={"big": BIG, "small": SMALL},
    base=Cost(1, 3),
    stack=Cost(5, 0),
)


def test_what_is_shared_is_counted_once_and_every_model_counts():
    assert COSTS.total("single", ["image"], 1) == Cost(1 + 10 + 2, 3 + 8 + 1)
    assert COSTS.total("mean", ["image", "both"], 2) == Cost(1 + 10 + 4 + 2 * 2 + 2 * 3, 3 + 8 + 2 + 2 * 1 + 2 * 2)
    assert COSTS.total("stack", ["image", "both"], 5).mb == 1 + 5 + 10 + 4 + 5 * 2 + 3 * 3  # "both" has three


def test_as_many_models_as_fit_and_one_at_least():
    choice = Choice("single", ("image",), 0.8)
    assert [COSTS.with_most_folds(choice, Cost(mb, np.inf)).folds for mb in (5, 13, 17, 17.5, 100)] == [1, 1, 3, 3, 5]
    assert COSTS.with_most_folds(choice, Cost(100, 13)).folds == 2
    assert COSTS.with_most_folds(choice, Cost(100, 13)).cost == Cost(15, 13)


def test_the_best_that_fits_is_chosen_then_the_one_of_most_models():
    choices = [
        Choice("stack", ("image", "caption"), 0.9, 1, Cost(90, 50)),
        Choice("mean", ("image", "caption"), 0.88, 2, Cost(60, 30)),
        Choice("mean", ("image", "both"), 0.88, 4, Cost(80, 30)),
        Choice("single", ("caption",), 0.8, 5, Cost(20, 4)),
    ]
    assert choose_best(choices, Cost(100, np.inf)) == choices[0]
    assert choose_best(choices, Cost(100, 40)) == choices[2]
    assert choose_best(choices, Cost(70, 40)) == choices[1]
    assert choose_best(choices, Cost(70, 10)) == choices[3]
    with pytest.raises(ValueError, match=r"nothing fits 10 MB .* the smallest is caption, 20\.0 MB and 4\.0 ms"):
        choose_best(choices, Cost(10, 40))


def known(y: np.ndarray, noise: np.ndarray) -> np.ndarray:
    return 1.5 * (2.0 * y - 1) + noise


def test_a_mean_grows_by_what_helps_most_and_stops_where_nothing_does():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, (400, 3))
    first, second = rng.normal(size=y.shape), rng.normal(size=y.shape)
    logits = {
        "wrong": -known(y, first),
        "good": known(y, first),
        "same": known(y, 1.3 * first),
        "other": known(y, 1.4 * second),
    }
    assert grow_means(logits, y, lambda group: True)[:2] == [("good",), ("good", "other")]
    assert all("wrong" not in group for group in grow_means(logits, y, lambda group: True))
    assert grow_means(logits, y, lambda group: "good" not in group)[0] == ("same",)
    assert grow_means(logits, y, lambda group: False) == []


def test_where_every_member_needs_captions_a_fallback_without_is_added():
    caption, scores = Choice("single", ("caption",), 0.8), {"image": 0.7, "both": 0.75}
    assert COSTS.with_fallback(caption, scores, Cost(100, np.inf)).fallback == "both"
    chosen = COSTS.with_fallback(caption, scores, Cost(27, np.inf))
    assert (chosen.fallback, chosen.folds) == ("image", 4)  # with both, three models of each would fit
    assert COSTS.with_fallback(caption, scores, Cost(12, np.inf)).fallback == ""
    assert COSTS.with_fallback(Choice("mean", ("caption", "image"), 0.8), scores, Cost(100, np.inf)).fallback == ""
