"""Which ensemble is packed: the best that fits, what is shared counted once."""

import numpy as np
import pytest

from tandem.bundling.ensemble_choice import Choice, Cost, Part, Prices, best, grown

BIG, SMALL = Cost(10, 8), Cost(4, 2)
PRICES = Prices(
    parts={
        "sees": Part(Cost(2, 1), 5, frozenset({"big"})),
        "reads": Part(Cost(1, 1), 5, frozenset({"small"})),
        "joins": Part(Cost(3, 2), 3, frozenset({"big", "small"})),
    },
    shared={"big": BIG, "small": SMALL},
    base=Cost(1, 3),
    stack=Cost(5, 0),
)


def test_what_is_shared_is_counted_once_and_every_model_counts():
    assert PRICES.of("single", ["sees"], 1) == Cost(1 + 10 + 2, 3 + 8 + 1)
    assert PRICES.of("mean", ["sees", "joins"], 2) == Cost(
        1 + 10 + 4 + 2 * 2 + 2 * 3, 3 + 8 + 2 + 2 * 1 + 2 * 2
    )
    assert PRICES.of("stack", ["sees", "joins"], 5).mb == 1 + 5 + 10 + 4 + 5 * 2 + 3 * 3  # joins has three


def test_as_many_models_as_fit_and_one_at_least():
    choice = Choice("single", ("sees",), 0.8)
    assert [PRICES.fitted(choice, mb, np.inf).folds for mb in (5, 13, 17, 17.5, 100)] == [1, 1, 3, 3, 5]
    assert PRICES.fitted(choice, 100, 13).folds == 2
    assert PRICES.fitted(choice, 100, 13).cost == Cost(15, 13)


def test_the_best_that_fits_is_chosen_then_the_one_of_most_models():
    choices = [
        Choice("stack", ("sees", "reads"), 0.9, 1, Cost(90, 50)),
        Choice("mean", ("sees", "reads"), 0.88, 2, Cost(60, 30)),
        Choice("mean", ("sees", "joins"), 0.88, 4, Cost(80, 30)),
        Choice("single", ("reads",), 0.8, 5, Cost(20, 4)),
    ]
    assert best(choices, 100, np.inf) == choices[0]
    assert best(choices, 100, 40) == choices[2]
    assert best(choices, 70, 40) == choices[1]
    assert best(choices, 70, 10) == choices[3]
    with pytest.raises(
        ValueError, match=r"nothing fits 10 MB .* the smallest is reads, 20\.0 MB and 4\.0 ms"
    ):
        best(choices, 10, 40)


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
    assert grown(logits, y, lambda group: True)[:2] == [("good",), ("good", "other")]
    assert all("wrong" not in group for group in grown(logits, y, lambda group: True))
    assert grown(logits, y, lambda group: "good" not in group)[0] == ("same",)
    assert grown(logits, y, lambda group: False) == []


def test_an_experiment_that_does_without_captions_comes_along_where_no_member_does():
    reads, blind = Choice("single", ("reads",), 0.8), {"sees": 0.7, "joins": 0.75}
    assert PRICES.accompanied(reads, blind, 100, np.inf).blind == "joins"
    chosen = PRICES.accompanied(reads, blind, 27, np.inf)
    assert (chosen.blind, chosen.folds) == ("sees", 4)  # with joins, three models of each would fit
    assert PRICES.accompanied(reads, blind, 12, np.inf).blind == ""
    assert PRICES.accompanied(Choice("mean", ("reads", "sees"), 0.8), blind, 100, np.inf).blind == ""
