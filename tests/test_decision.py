"""Why a row has its labels: values of sets against all sets counted one by one, thresholds, limits."""

from itertools import product

import numpy as np
import pytest

from tandem.decoding.calibration import Calibration
from tandem.decoding.decision import decide
from tandem.decoding.decoder import Decoder
from tandem.decoding.label_rule import Rule

NAMES = ("a", "b", "c", "d")


def counted(p: np.ndarray, rule: Rule, sizes: np.ndarray | None) -> list[tuple[float, tuple[int, ...]]]:
    """(expected value, labels) of every allowed set, best first, from all 2^c outcomes."""
    outcomes = np.array(list(product((0, 1), repeat=len(p))))
    weight = np.prod(np.where(outcomes == 1, p, 1 - p), axis=1)
    if sizes is not None:
        weight = weight * np.append(sizes, np.zeros(9))[outcomes.sum(1)]
        weight = weight / weight.sum()
    jaccard = rule.metric == "jaccard_samples"
    counted_by = Rule("accuracy_exact" if rule.metric == "accuracy_exact" else "jaccard_samples" if jaccard else
                      "hamming" if rule.metric == "hamming" and sizes is None else "f1_samples",
                      rule.beta, zero_division=rule.zero_division)  # fmt: skip
    found = []
    for chosen in outcomes[(outcomes.sum(1) >= rule.least) & (outcomes.sum(1) <= rule.most)]:
        value = counted_by.row_value((outcomes * chosen).sum(1), outcomes.sum(1), chosen.sum(), len(p))
        found.append((float(weight @ value), tuple(np.flatnonzero(chosen).tolist())))
    return sorted(found, reverse=True)


@pytest.mark.parametrize("metric", ["f1_samples", "jaccard_samples", "accuracy_exact", "hamming"])
@pytest.mark.parametrize("sizes", [None, np.array([0.1, 1.0, 0.6, 0.2])])
@pytest.mark.parametrize(("least", "most"), [(1, 10), (0, 2)])
def test_the_expected_value_and_the_second_set_are_those_of_all_sets_counted_one_by_one(metric, sizes, least, most):
    rng = np.random.default_rng(0)
    rule = Rule(metric, least=least, most=most, zero_division=1)
    for _ in range(10):
        p = rng.uniform(0.02, 0.98, 4)
        decoder = Decoder("expected" if sizes is None else "gfm", rule, sizes=sizes)
        found, ((best, labels), (second, others), *_) = decide(decoder, p), counted(p, rule, sizes)
        assert tuple(np.flatnonzero(found.chosen).tolist()) == labels
        assert found.expected == pytest.approx(best, abs=1e-6)
        assert tuple(sorted(found.runner_up)) == others and found.runner_up_expected == pytest.approx(second, abs=1e-6)


def test_a_label_of_19_percent_is_in_a_set_and_one_of_28_percent_is_not():
    """The value of a set decides: two rows of F1 per row, at least one label each."""
    decoder = Decoder("expected", Rule())
    low, high = decide(decoder, np.array([0.19, 0.05, 0.02])), decide(decoder, np.array([0.95, 0.9, 0.28]))
    assert low.chosen.tolist() == [True, False, False] and high.chosen.tolist() == [True, True, False]
    assert low.reasons[0] == low.by == "in the set with the highest expected F1"
    assert high.reasons[2] == "not in the set with the highest expected F1"
    assert "above" not in f"{low} {high}"


def test_the_sentence_names_the_second_set_and_both_values():
    found = decide(Decoder("expected", Rule(beta=2.0)), np.array([0.9, 0.6, 0.1, 0.05]))
    assert found.sentence(NAMES).startswith("The labels are the set with the highest expected F2: 0.")
    assert "; the next set is a" in found.sentence(NAMES)
    assert found.to_json(NAMES)["runner_up"]["labels"] == [NAMES[j] for j in found.runner_up]
    only = decide(Decoder("expected", Rule(least=4)), np.array([0.9, 0.6, 0.1, 0.05]))
    assert only.runner_up is None and only.to_json(NAMES)["runner_up"] is None  # there is one allowed set


def test_thresholds_are_said_with_their_values_and_the_limits_where_they_changed_the_set():
    def found(p, **limits):
        return decide(Decoder("per_class", Rule("f1_macro", **limits), np.array([0.31, 0.5, 0.004])), np.array(p))

    plain = found([0.4, 0.3, 0.002])
    assert plain.by == "probability at least the label's threshold" and plain.expected is plain.runner_up is None
    assert plain.reasons == (
        "probability at least the label's threshold 0.31",
        "probability below the label's threshold 0.50",
        "probability below the label's threshold 0.0040",
    )
    few = found([0.1, 0.2, 0.001])
    assert few.by == "one of the 1 most probable: a row has at least 1"
    assert few.reasons[1].startswith("below the label's threshold 0.50, but one of the 1 most probable")
    many = found([0.4, 0.6, 0.01], most=2)
    assert many.by.startswith("one of the 2 most probable") and "not one of the 2" in many.reasons[2]
    assert (
        decide(Decoder("fixed", Rule(), np.full(3, 0.5)), np.array([0.9, 0.1, 0.1])).by == "probability at least 0.50"
    )


def test_calibrated_probabilities_decide():
    curves = Calibration("platt", [[3.0, 1.0], [0.0, 1.0]])
    found = decide(Decoder("expected", Rule(), calibration=curves), np.array([0.3, 0.4]))
    assert found.chosen.tolist() == [True, False] and found.expected > 0.7
