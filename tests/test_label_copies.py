"""A feature column that was made from a label is named, an honest one is not."""

import numpy as np
import pytest

from tandem.data.label_copies import LabelCopy, copy_warnings, label_copies

RNG = np.random.default_rng(0)
N, NAMES = 200, ("cat", "dog", "sea")
Y = (RNG.random((N, 3)) < [0.5, 0.3, 0.1]).astype(np.uint8)
NOISE = RNG.normal(size=(N, 40))
FLIPPED = Y[:, 1].copy()
FLIPPED[np.flatnonzero(Y[:, 1])[0]] = 0


def pairs(column: np.ndarray, y=Y, known=None) -> list[tuple[str, str]]:
    """Of one column among noise."""
    values = np.hstack([NOISE[: len(y)], np.asarray(column, float)[:, None]])
    names = [f"f{i}" for i in range(values.shape[1] - 1)] + ["planted"]
    return [(copy.column, copy.label) for copy in label_copies(values, names, y, NAMES, known)]


@pytest.mark.parametrize(
    ("column", "label"),
    [
        (Y[:, 0], "cat"),
        (1 - Y[:, 0], "cat"),
        (-7 + 1e-6 * Y[:, 2], "sea"),
        (np.where(Y[:, 1] > 0, 5, -5) + RNG.normal(size=N), "dog"),
        (np.exp(3 * Y[:, 0] + 0.1 * RNG.random(N)), "cat"),
        (np.where(Y[:, 0] > 0, RNG.integers(0, 4, N) * 2, RNG.integers(0, 4, N) * 2 + 1), "cat"),
    ],
)
def test_a_label_in_a_column_also_turned_scaled_noisy_or_as_a_code_is_named(column, label):
    assert pairs(column) == [("planted", label)]


def test_one_number_for_the_whole_label_set_gives_every_label():
    assert pairs(Y @ [1, 2, 4]) == [("planted", "cat"), ("planted", "dog"), ("planted", "sea")]


def test_one_row_in_a_hundred_may_differ_and_one_in_ten_not():
    assert pairs(FLIPPED) == [("planted", "dog")]
    wrong = Y[:, 0].copy()
    wrong[::10] = 1 - wrong[::10]
    assert pairs(wrong) == []


def test_an_honest_feature_that_knows_much_of_a_label_is_not_named():
    assert pairs(Y[:, 0] + 0.5 * RNG.normal(size=N)) == []


def test_unknown_labels_do_not_count():
    known = np.ones(Y.shape, bool)
    known[:100, 0] = False
    column = np.concatenate([RNG.random(100), Y[100:, 0]])
    assert pairs(column) == []
    assert pairs(column, known=known) == [("planted", "cat")]


def test_too_few_rows_with_a_label_say_nothing():
    y = np.zeros((N, 3), np.uint8)
    y[:9, 0] = 1
    assert pairs(y[:, 0], y) == []


def test_many_rows_are_sampled_and_many_columns_looked_at_in_blocks():
    y = (np.random.default_rng(1).random((9_000, 1)) < 0.4).astype(np.uint8)
    values = np.random.default_rng(2).normal(size=(9_000, 300)).astype(np.float32)
    values[:, 299] = 2 * y[:, 0]
    assert label_copies(values, [str(i) for i in range(300)], y, ["cat"]) == [LabelCopy("299", "cat", 1.0)]


def test_the_first_copies_are_said_and_the_others_counted():
    lines = list(copy_warnings([LabelCopy("a", "cat", 0.995), LabelCopy("b", "cat", 1.0)], 1))
    assert lines[0].startswith("warning: column a nearly equals label 'cat' (in 99.5 % of the rows)")
    assert lines[1] == "warning: 1 more pairs of a column and a label are nearly equal"
