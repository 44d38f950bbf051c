"""The figures of the report, on tables small enough to check by eye."""

import re
import tomllib
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tandem.artifacts.contributions import TERMS
from tandem.config.metric_names import metric_title
from tandem.decoding import DECODERS, Rule, binarize
from tandem.decoding.score_interval import jackknife
from tandem.decoding.scoring import score
from tandem.metrics import METRICS
from tandem.report import drift as adversarial
from tandem.report.advice import _likely_cause, advise, stack_members
from tandem.report.charts import chart
from tandem.report.classes import (
    GRID,
    calibration,
    gain_per_label,
    metric_curves,
    per_class,
    threshold_counts,
    upper_bounds,
)
from tandem.report.data import co_occurrence
from tandem.report.data_model import FocusExperiment, ReportData, ScoredExperiment, Split
from tandem.report.decoding import decoders, rates
from tandem.report.experiments import score_error, table
from tandem.report.galleries import LARGE, SMALL, pictures
from tandem.report.label_errors import differing_duplicates, likely_errors
from tandem.report.mistakes import CAUSES, FALSE_NEGATIVE, likely_causes, mean_terms, mistakes, worst_rows
from tandem.report.page import build
from tandem.report.training_curves import curves, last_decrease, measured, training

NAMES = ("cat", "dog", "sea")
ROOT = Path(__file__).parents[1]


def problem(n: int = 90, noise: float = 0.8, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """proba, y, fold of n rows and three labels."""
    rng = np.random.default_rng(seed)
    y = (rng.random((n, 3)) < [0.7, 0.3, 0.2]).astype(np.uint8)
    return np.clip((1 - noise) * y + noise * rng.random((n, 3)), 0, 1), y, np.arange(n) % 3


def split(n: int, captions: list[str] | None = None) -> Split:
    ids = [f"{i}.jpg" for i in range(n)]
    return Split(ids, [Path(name) for name in ids], captions, np.full((n, 3), 10))


def scored(name: str, noise: float, **more) -> ScoredExperiment:
    proba, y, fold = problem(noise=noise)
    run = {"seconds": 10.0, "model_mb": 2.0} | more.pop("run", {})
    return ScoredExperiment(name, score(proba, y, fold, NAMES, Rule())[1], run, proba, **more)


def report_data(**more) -> ReportData:
    """Of `both`, a stack of `photos` and `words` that dropped `photos`."""
    proba, y, fold = problem()
    recipe, scores = score(proba, y, fold, NAMES, Rule())
    run = {"seconds": 1.0, "model_mb": 9.0, "members": {"photos": "k", "words": "k"}, "dropped": ["photos"]}
    stack = ScoredExperiment("both", scores, run, proba, frozenset({"image", "caption"}))
    pred = binarize(proba, 0.5, Rule())
    singles = [
        scored("photos", 0.95, modalities=frozenset({"image"})),
        scored("words", 0.7, modalities=frozenset({"caption"})),
    ]
    given = {
        "y": y,
        "train": split(len(y)),
        "fold": fold,
        "group": np.arange(len(y)),
        "experiments": [stack, *singles],
        "focus": FocusExperiment(**vars(stack), pred=pred, recipe=recipe),
    }
    return ReportData("toy", Rule(), NAMES, **(given | more))


def test_the_gain_of_a_label_is_what_the_score_gains_without_its_errors():
    y = np.array([[1, 0], [1, 1]], bool)
    pred = np.array([[1, 0], [1, 0]], bool)  # F 1 and 2/3
    assert gain_per_label(y, pred, Rule()).tolist() == pytest.approx([0.0, 1 / 6])


def test_the_counts_at_a_threshold_are_of_the_rows_at_or_above_it():
    counts = threshold_counts(np.array([0.1, 0.3, 0.5, 0.7]), np.array([1, 0, 0, 1]))
    at = {round(t, 2): i for i, t in enumerate(GRID.tolist())}
    assert [(counts["predicted"][at[t]], counts["hits"][at[t]]) for t in (0.02, 0.5, 0.52, 0.98)] == [
        (4, 2), (2, 1), (1, 1), (0, 0),
    ]  # fmt: skip


def test_the_curve_of_the_competitions_score_moves_one_threshold_alone():
    proba, y, _ = problem()
    thresholds, rule = np.array([0.4, 0.5, 0.6]), Rule()
    curve = metric_curves(proba, y, thresholds, rule)
    for j in range(3):
        moved = thresholds.copy()
        moved[j] = GRID[10]
        assert curve[j, 10] == pytest.approx(rule.score(y, binarize(proba, moved, rule)))


def test_calibration_compares_probabilities_with_rates():
    bins, gap = calibration(np.array([0.1, 0.12, 0.9, 1.0]), np.array([0, 1, 1, 1]))
    assert bins == [[0.11, 0.5, 2], [0.95, 1.0, 2]]
    assert gap == pytest.approx((2 * 0.39 + 2 * 0.05) / 4)


def test_a_label_without_rows_has_no_figures_and_no_nan():
    data = report_data()
    y = data.y.copy()
    y[:, 2] = 0
    row = per_class(replace(data, y=y), data.focus)[2]
    assert row["support"] == 0 and row["ap"] is None and row["recall"] is None
    assert set(row["counts"]["hits"]) == {0}


def test_upper_bounds_are_what_each_kind_of_error_costs():
    data = report_data()
    now, limits = data.rule.score(data.y, data.focus.pred), upper_bounds(data, data.focus)
    assert min(limits.values()) >= now and limits["no_false_negatives"] < 1 and limits["no_false_positives"] < 1


def test_the_worst_rows_come_first_and_the_most_confident_errors_of_every_label_are_there():
    y = np.array([[1, 0], [1, 1], [0, 1]], np.uint8)
    proba = np.array([[0.1, 0.9], [0.9, 0.2], [0.2, 0.9]])
    pred = proba > 0.5
    assert worst_rows(y, pred, proba, np.array([0.0, 2 / 3, 1.0])) == [0, 1]


@pytest.mark.parametrize(("term", "said"), [("caption", "is a low caption term"), ("joint", "")])
def test_advice_names_a_likely_cause_but_not_members_that_cannot_be_split(term, said):
    counts = np.eye(len(CAUSES), dtype=int)[[CAUSES.index(term)]] * 9
    assert said in (text := _likely_cause({FALSE_NEGATIVE: counts}, 0, FALSE_NEGATIVE))
    assert bool(text) == bool(said)


def test_the_likely_cause_is_the_term_furthest_below_its_mean():
    terms = np.zeros((3, 1, len(TERMS)))
    terms[:, 0, 0], terms[:, 0, 1] = [2, 2, 2], [2, 2, -1]  # row 2: the caption term is low
    y = np.array([[1], [1], [1]])
    assert likely_causes(terms[2], mean_terms(terms, y)[FALSE_NEGATIVE], FALSE_NEGATIVE).tolist() == [
        TERMS.index("caption")
    ]


def test_the_contributions_of_a_shown_mistake_are_those_of_its_row():
    data = report_data()
    terms = np.random.default_rng(0).normal(size=(*data.y.shape, len(TERMS)))
    shown = mistakes(data, replace(data.focus, terms=terms))
    assert shown and all(
        cell["terms"] == terms[row["row"], cell["label"]].round(2).tolist() for row in shown for cell in row["wrong"]
    )
    missed = {(r["row"], c["label"]) for r in shown for c in r["wrong"] if c["kind"] == FALSE_NEGATIVE}
    assert all(data.y[i, j] and not data.focus.pred[i, j] for i, j in missed)


def test_a_flipped_label_is_the_first_likely_error():
    proba, y, _ = problem(200, noise=0.5)
    wrong = y.copy()
    wrong[7, 1] = 1 - wrong[7, 1]
    proba[7, 1] = 0.999 if y[7, 1] else 0.001
    cells = likely_errors(wrong, proba)
    assert cells[0].tolist() == [7, 1]
    assert len(cells) < 60


def test_a_label_that_all_or_no_rows_have_has_no_likely_errors():
    proba, y, _ = problem()
    y[:, 0], y[:, 2] = 1, 0
    assert set(likely_errors(y, proba)[:, 1].tolist()) <= {1}
    assert likely_errors(np.ones((5, 2), np.uint8), np.full((5, 2), 0.5)).shape == (0, 2)


def test_near_duplicates_are_shown_only_where_their_labels_differ():
    y = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 1], [0, 0, 1]], np.uint8)
    groups = differing_duplicates(report_data(y=y, train=split(4), group=np.array([0, 0, 1, 1]), fold=np.zeros(4, int)))
    assert [(t["differ"], [row["row"] for row in t["rows"]]) for t in groups] == [([1], [0, 1])]


def test_co_occurrence_is_the_share_of_the_rows_images():
    together = co_occurrence(np.array([[1, 1], [1, 0], [1, 1], [1, 0]], np.uint8), ("cat", "dog"))
    assert together["rows"][0]["cells"][1] == [0.5, 1.0, 2]
    assert together["rows"][1]["cells"][0] == [1.0, 1.0, 2]


def drift_of(test_captions: list[str]) -> dict:
    n = len(test_captions)
    train = split(n, [f"a photo of thing {i % 7}" for i in range(n)])
    return adversarial.drift(report_data(train=train, test=split(n, test_captions), group=np.arange(n)))


def test_test_rows_with_another_word_are_separated_and_the_word_is_listed():
    found = drift_of([f"a photo of snow {i % 7}" for i in range(120)])
    assert found["words"][0]["name"] in ("snow", "thing")
    by_name = {s["inputs"]: s for s in found["separations"]}
    assert by_name["caption words"]["drifts"] and by_name["caption words"]["auc"] > 0.95
    assert by_name["sizes and lengths"]["auc"] > 0.95  # the word is shorter


def test_test_rows_of_the_same_kind_are_not():
    found = drift_of([f"a photo of thing {i % 7}" for i in range(120)])
    assert not any(s["drifts"] for s in found["separations"])


@pytest.mark.parametrize("seed", range(5))
def test_few_test_rows_beside_many_training_rows_give_an_auc(seed):
    train = split(60, [f"a photo of thing {i % 7}" for i in range(60)])
    data = report_data(train=train, test=split(6, ["a photo of snow"] * 6), group=np.arange(60))
    found = adversarial.drift(data, seed)
    assert {s["inputs"] for s in found["separations"]} == {"sizes and lengths", "caption words", "all inputs"}
    assert all(s["auc"] > 0.95 for s in found["separations"])


def test_without_test_rows_there_is_no_drift():
    assert adversarial.drift(report_data()) is None


def test_the_table_adds_the_members_time_to_a_stack_and_is_sorted_best_first():
    data = report_data()
    rows = table(data.experiments, "both")
    assert {row["name"] for row in rows} == {"words", "both", "photos"}
    scores = [row["f1_samples"] for row in rows]
    assert scores == sorted(scores, reverse=True)
    assert next(row for row in rows if row["name"] == "both")["seconds"] == 21.0


NO_ERRORS = {"cells": 0, "rows": 0, "remove": 0, "add": 0, "by_label": [0, 0, 0]}


def figures(data: ReportData, errors: dict = NO_ERRORS) -> dict:
    focus = data.focus
    found = {"classes": per_class(data, focus), "bounds": upper_bounds(data, focus)}
    return found | {"label_errors": errors, "drift": None, "score_error": score_error(data, focus)}


def test_advice_names_the_costliest_label_and_the_member_that_was_dropped():
    data = report_data()
    advice = advise(data, data.focus, figures(data))
    worst = max(per_class(data, data.focus), key=lambda row: row["gain"])
    label = next(a for a in advice if a.kind == "look")
    assert label.label == worst["name"] and label.gain.gain == pytest.approx(worst["gain"])
    assert f"{worst['false_negatives']} false negatives" in label.why
    assert f"{worst['false_positives']} false positives" in label.why
    dropped = next(a for a in advice if a.kind == "run")
    assert dropped.title == "Leave out photos: 0 % weight, 10 s" and "saves 0.2 min" in dropped.cost
    assert dropped.command == 'make submit COMP=toy EXPS="words"'


def test_advice_on_label_errors_and_modalities_comes_only_with_the_figures_for_it(monkeypatch):
    monkeypatch.setattr("tandem.report.advice.SHOWN", 99)
    data = report_data()
    many = {"cells": 40, "rows": 30, "remove": 25, "add": 15, "by_label": [30, 5, 5]}

    def titles(errors: dict) -> str:
        return "\n".join(a.title for a in advise(data, data.focus, figures(data, errors)))

    assert "label errors" in titles(many) and "label errors" not in titles(NO_ERRORS)
    assert "Strengthen the image models" in titles(NO_ERRORS)


def test_advice_asks_for_a_new_submission_only_when_the_decoder_has_changed():
    data = report_data()
    recipe = data.focus.recipe

    def titles(decoder: dict) -> str:
        submission = {"decoder": decoder, "drift": {}, "rows": 30, "out_of_fold": {"score": 0.5}}
        focus = replace(data.focus, submission=submission)
        return "\n".join(a.title for a in advise(data, focus, figures(data)))

    assert "Write the submission again" not in titles(recipe)
    assert "Write the submission again" in titles(recipe | {"decoder": "another"})


def test_rates_warn_where_a_label_is_predicted_far_more_often_in_test():
    data = report_data()
    test_pred = np.zeros((400, 3), bool)
    test_pred[:, 1] = True
    rows = rates(data, replace(data.focus, test_pred=test_pred))
    assert [row["name"] for row in rows if row["drifts"]] == ["cat", "dog", "sea"]
    assert rows[1]["test"] == 1.0


def test_every_decoder_is_listed_and_the_one_in_use_is_marked():
    scores = report_data().focus.scores
    rows = decoders(scores, Rule())
    assert [row["name"] for row in rows] == list(DECODERS)
    assert [row["name"] for row in rows if row["used"]] == [scores["decoder"]]


def test_the_jackknife_agrees_with_the_interval_of_the_mean():
    data = report_data()
    y, pred = data.y, data.focus.pred
    assert 1.96 * jackknife(y, pred, "f1_samples", 1.0) == pytest.approx(score_error(data, data.focus), rel=0.2)


@pytest.mark.parametrize("metric", ["f1_samples", "f1_macro"])
def test_copies_of_a_row_make_the_sampling_error_no_smaller(metric):
    data = replace(report_data(), rule=Rule(metric))
    once, error = data.focus, score_error(data, data.focus)
    y, pred = (np.concatenate([a] * 10) for a in (data.y, once.pred))
    copied = replace(data, y=y, group=np.tile(np.arange(90), 10), focus=replace(once, pred=pred))
    assert score_error(copied, copied.focus) == pytest.approx(error)


def stack_advice(gains: np.ndarray) -> list[str]:
    """Titles of the advice on a stack whose log loss per row is lower by `gains` than that of its only member."""
    y = np.tile([[1, 0, 0]], (len(gains), 1)).astype(np.uint8)
    member = np.tile([[0.7, 0.3, 0.3]], (len(gains), 1))
    p = 0.7 * np.exp(gains)[:, None]
    data = report_data(y=y, train=split(len(y)), fold=np.arange(len(y)) % 3, group=np.arange(len(y)))
    alone = ScoredExperiment("words", data.focus.scores, {"seconds": 1.0, "model_mb": 1.0}, member)
    run = {"seconds": 1.0, "model_mb": 9.0, "members": {"words": "k"}}
    focus = replace(data.focus, proba=np.hstack([p, 1 - p, 1 - p]), run=run)
    return [a.title for a in stack_members(replace(data, experiments=[focus, alone]), focus, {"score_error": 0.1})]


def test_a_stack_is_said_to_gain_little_only_where_its_paired_gain_may_be_chance():
    rng = np.random.default_rng(0)
    assert stack_advice(rng.normal(0.0019, 0.001, 200)) == []  # far within the sampling error of the score
    assert len(stack_advice(rng.normal(0.0, 0.001, 200))) == 1


def test_an_empty_row_predicted_empty_is_no_mistake_though_it_scores_zero():
    data = report_data(y=np.eye(3, dtype=np.uint8)[[0] * 90] * 0, train=split(90))
    focus = replace(data.focus, pred=np.zeros((90, 3), bool))
    assert mistakes(data, focus) == []
    assert upper_bounds(data, focus)["perfect"] == 0


def test_copies_of_training_rows_are_no_drift():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(60, 20)).astype(np.float32)
    train, test = split(600), split(60)
    copied = np.concatenate([features] * 10), rng.normal(size=(60, 20)).astype(np.float32)
    data = report_data(train=train, test=test, group=np.tile(np.arange(60), 10), features=copied)
    assert not any(s["drifts"] for s in adversarial.drift(data)["separations"])


def test_there_is_one_line_per_fold_and_bag_and_old_logs_have_no_f1():
    log = [{"bag": b, "epoch": e, "loss": 1.0 / e} for b in (0, 1) for e in (1, 2)]
    assert curves({0: log, 1: log[:2]}, "loss") == [[1.0, 0.5]] * 3
    assert curves({0: log}, "f1") == []
    assert last_decrease({0: log}) == pytest.approx(0.5)


def test_f1_of_training_and_of_held_out_rows_are_both_at_one_half():
    y = np.array([[1, 0], [0, 1]], np.uint8)
    one = ScoredExperiment(
        "e", {"f1_samples": 0.9}, {}, np.array([[0.6, 0.1], [0.4, 0.3]]), logs={0: [{"loss": 1, "f1": 1}]}
    )
    (entry,) = training([one], y)
    assert (entry["f1"], entry["held_out"]) == (1, 0.5)


def test_a_chart_has_the_pages_colours_no_foreign_ids_and_escapes_names():
    def draw(axes) -> None:
        axes.plot([0, 1], [0, 1], color="#010104", marker="o")
        axes.set_title("<b>$x & </svg>")

    svg = str(chart("one", 'about "it"', draw))
    assert "var(--accent)" in svg and "#0101" not in svg
    assert "&lt;b&gt;$x &amp; &lt;/svg&gt;" in svg and svg.count("</svg>") == 1
    ids = re.findall(r'\bid="([^"]+)"', svg)
    assert ids and all(name.startswith("one-") for name in ids) and len(ids) == len(set(ids))
    assert svg == str(chart("one", 'about "it"', draw))


def test_numbers_in_the_texts_of_a_chart_keep_all_their_digits():
    svg = chart("one", "scores 0.8125", lambda axes: axes.set(xticks=[0.8125], xticklabels=["0.8125"]))
    assert 'aria-label="scores 0.8125"' in svg and ">0.8125</text>" in svg
    assert not re.findall(r'="[^"]*\d\.\d{3}[^"]*"', svg.replace("0.8125", ""))


def test_pictures_are_small_jpegs_and_a_lost_file_has_none(tmp_path):
    Image.new("RGB", (400, 300), "red").save(tmp_path / "a.png")
    rows = [{"split": "test", "row": i} for i in (1, 0, 0)]
    made = pictures({"train": [], "test": [tmp_path / "a.png", tmp_path / "lost.png"]}, [rows])["test"]
    assert made[1] == "" and made[0].startswith("data:image/jpeg;base64,/9j/") and len(made[0]) < 3000
    assert SMALL <= 128 < LARGE <= 400


def test_an_installed_package_has_the_pages_assets():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = project["tool"]["setuptools"]["package-data"]["tandem.report"]
    files = [f"assets/{path.name}" for path in (ROOT / "src/tandem/report/assets").iterdir()]
    assert files and all(any(fnmatch(name, pattern) for pattern in patterns) for name in files)


def data_scored_by(metric: str) -> ReportData:
    """`report_data` of a competition with another metric."""
    proba, y, fold = problem()
    rule = Rule(metric)
    recipe, scores = score(proba, y, fold, NAMES, rule)
    stack = ScoredExperiment("both", scores, {"seconds": 1.0, "model_mb": 9.0}, proba)
    noisy, _, _ = problem(noise=0.95)
    worse = ScoredExperiment("worse", score(noisy, y, fold, NAMES, rule)[1], {"seconds": 1.0, "model_mb": 1.0}, noisy)
    values = None if rule.judge.needs == "labels" else proba
    focus = FocusExperiment(**vars(stack), pred=binarize(proba, 0.5, rule), recipe=recipe, values=values)
    return replace(report_data(experiments=[worse, stack], focus=focus), rule=rule)


@pytest.mark.parametrize("metric", METRICS)
def test_every_metric_has_a_report_with_its_own_words(metric):
    data = data_scored_by(metric)
    rows = table(data.experiments, "both")
    best, other = (row[metric] for row in rows)
    assert best <= other if not data.rule.judge.greater_is_better else best >= other
    assert 0 < score_error(data, data.focus) < 0.3
    found = figures(data)
    sets = data.rule.sets
    now = sets.merit(data.y, data.focus.pred)
    assert all(sets.judge.merit(bound) >= now for bound in found["bounds"].values())
    assert min(row["gain"] for row in found["classes"]) >= 0
    assert all(row["threshold"] is not None and row["spread"] is not None for row in found["classes"])
    html = build(data)
    visible = re.sub(r"(?s)<script.*?</script>|<style.*?</style>", "", html)
    assert metric_title(metric) in visible
    assert f"With a tuned threshold for each label ({data.focus.recipe['thresholds_by']})" in visible
    assert advise(data, data.focus, found)
    if metric not in ("f1_samples", "f1_macro", "f1_micro"):
        kicker = re.search(r'<p class="kicker">(.*?)</p>', visible)[1]
        assert "F1" not in kicker


def test_the_curves_of_a_loss_are_the_loss():
    data = data_scored_by("hamming")
    thresholds = np.array([0.4, 0.5, 0.6])
    curve = metric_curves(data.focus.proba, data.y, thresholds, data.rule)
    moved = np.array([GRID[10], 0.5, 0.6])
    assert curve[0, 10] == pytest.approx(data.rule.score(data.y, binarize(data.focus.proba, moved, data.rule)))


def test_the_held_out_fold_has_a_curve_where_the_log_has_one():
    log = [{"epoch": 1, "loss": 1, "f1": 0.5, "held_out_f1": 0.25}, {"epoch": 2, "loss": 1, "f1": 0.75}]
    assert measured({0: log, 1: log[1:]}) == [[(1, 0.25)]]
    one = ScoredExperiment("e", {}, {}, np.array([[0.6]]), logs={0: log})
    (entry,) = training([one], np.array([[1]], np.uint8))
    about = "loss 1.0000 after the last epoch, F1 per row of the training rows 0.75, of the held-out fold 0.25"
    assert about in entry["chart"]
