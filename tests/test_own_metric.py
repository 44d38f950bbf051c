"""A metric of the user's is read from its file beside competition.toml, and run only where it is the user's."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
from checked import write_competition
from sklearn.metrics import brier_score_loss, f1_score

from tandem.__main__ import main
from tandem.artifacts.paths import Paths
from tandem.config.competition import load_competition
from tandem.config.trusted_code import record_untrusted
from tandem.decoding import NestedCV, Rule
from tandem.decoding.scoring import score
from tandem.metrics import load_own_metric, paired_interval

EXACT = "def score(y, pred):\n    return float((y == pred).all(1).mean())\n"
BRIER = "GREATER_IS_BETTER = False\ndef brier(y, proba):\n    return ((proba - y) ** 2).mean()\n"
NAMES = ("cat", "dog", "sea")


@pytest.fixture
def folder(tmp_path) -> Path:
    """As `make import` leaves it, with a file that the user put there afterwards."""
    record_untrusted(tmp_path, [])
    (tmp_path / "my_metric.py").write_text(EXACT)
    (tmp_path / "loss.py").write_text(BRIER)
    return tmp_path


def problem() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """proba, y, fold of 120 rows and three labels."""
    rng = np.random.default_rng(0)
    y = (rng.random((120, 3)) < 0.4).astype(np.uint8)
    return np.clip(0.4 * y + 0.6 * rng.random((120, 3)), 0, 1), y, np.arange(120) % 4


def test_a_function_of_label_sets_chooses_the_decoder_and_scores_it(folder):
    proba, y, fold = problem()
    rule = Rule("my_metric.py:score", least=0, own=load_own_metric("my_metric.py:score", folder, "labels"))
    recipe, scores = score(proba, y, fold, NAMES, rule)
    pred = NestedCV(proba, y, fold, rule).cross_val_predict("auto")
    assert scores["score"] == scores["my_metric.py:score"] == (y == pred).all(1).mean()
    assert recipe["thresholds_for"] == "f1_samples" and scores["decoders_for"] == "my_metric.py:score"


def test_a_loss_of_probabilities_is_better_where_it_is_less(folder):
    proba, y, fold = problem()
    own = load_own_metric("loss.py:brier", folder, "probabilities")
    _, scores = score(proba, y, fold, NAMES, Rule("loss.py:brier", own=own))
    assert scores["score"] == pytest.approx(brier_score_loss(y.ravel(), proba.ravel()))
    assert scores["greater_is_better"] is False
    worse = np.full(proba.shape, 0.5)
    gain, low, high = paired_interval(own, y, worse, proba)
    assert gain == pytest.approx(own(y, worse) - own(y, proba)) and 0 < low < gain < high


def test_a_competition_names_its_own_metric_and_what_it_takes(folder):
    paths = Paths("toy", folder)
    write_competition(paths, NAMES, metric="my_metric.py:score", metric_input="labels")
    record_untrusted(paths.input, [])
    (paths.input / "my_metric.py").write_text(EXACT)
    assert Rule.of(load_competition(paths.competition), paths.input).score(np.eye(3), np.eye(3)) == 1.0
    without = paths.competition.read_text().replace('metric_input = "labels"', "")
    paths.competition.write_text(without)
    with pytest.raises(ValueError, match="question: does my_metric.py:score take label sets of 0 and 1, or probab"):
        load_competition(paths.competition)


def test_a_file_that_came_inside_a_zip_is_never_run_without_trust(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with zipfile.ZipFile("a.zip", "w") as archive:
        archive.writestr("my_metric.py", "raise SystemExit('run')")
        archive.writestr(".import.json", '{"untrusted": []}')
        archive.writestr("train.csv", "image,labels\n1.jpg,cat\n2.jpg,dog\n")
        archive.writestr("competition.toml", 'metric = "my_metric.py:score"')
    main(["import", "toy", "--zip", "a.zip"])  # its competition.toml is not complete
    folder = Paths("toy").input
    with pytest.raises(ValueError, match="my_metric.py is not run: it came with the data; read it, then add TRUST=1"):
        load_own_metric("my_metric.py:score", folder, "labels")
    (folder / "my_metric.py").write_text(EXACT)
    monkeypatch.setenv("TRUST", "1")
    assert load_own_metric("my_metric.py:score", folder, "labels")(np.eye(2), np.eye(2)) == 1.0


def test_a_file_in_a_folder_that_nobody_imported_is_not_run(tmp_path):
    (tmp_path / "my_metric.py").write_text(EXACT)
    with pytest.raises(ValueError, match="was not made by make import"):
        load_own_metric("my_metric.py:score", tmp_path, "labels")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def score(y, pred):\n    return float('nan')\n", "the score is nan on 2 rows; expected a finite number"),
        ("x = 1\n", "has no function 'score'; expected def score"),
        ("import nothing_of_this_name\n", "ModuleNotFoundError: No module named 'nothing_of_this_name'"),
        ("def score(y\n", "SyntaxError"),
    ],
)
def test_a_metric_that_cannot_score_says_why(folder, text, message):
    (folder / "my_metric.py").write_text(text)
    with pytest.raises(ValueError, match=message):
        load_own_metric("my_metric.py:score", folder, "labels")(np.eye(2), np.eye(2))


@pytest.mark.parametrize("name", ["../my_metric.py:score", "sub/my_metric.py:score", "my_metric.py", "os:system"])
def test_a_file_elsewhere_is_no_metric(folder, name):
    with pytest.raises(ValueError):
        load_own_metric(name, folder, "labels")


def test_unknown_cells_need_a_function_that_takes_them(folder):
    own = load_own_metric("my_metric.py:score", folder, "labels")
    known = np.array([[True, False], [True, True]])
    with pytest.raises(ValueError, match="add a parameter `known`"):
        own(np.eye(2), np.eye(2), known=known)
    text = (
        "from sklearn.metrics import f1_score\ndef score(y, pred, known):\n    return f1_score(y[known], pred[known])\n"
    )
    (folder / "my_metric.py").write_text(text)
    y, pred = np.array([[1, 1], [0, 1]]), np.array([[1, 0], [1, 1]])
    own = load_own_metric("my_metric.py:score", folder, "labels")
    assert own(y, pred, known=known) == f1_score([1, 0, 1], [1, 1, 1])
