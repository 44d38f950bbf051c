"""Comparisons of experiments, rows of the journal and CSV files; the final choice; kept files that are removed."""

import os
import re

import numpy as np
import pytest
from words_competition import set_keys

from tandem.__main__ import main
from tandem.artifacts import journal
from tandem.artifacts.atomic_io import file_digest
from tandem.artifacts.journal import COLUMNS
from tandem.decoding import Rule
from tandem.report.compare import Gain
from tandem.report.data_model import Decoded
from tandem.report.final_choice import Candidate, choose_two, error_correlation
from tandem.report.leaderboard_fit import gap, points
from tandem.report.pair import Answers, compare_pair
from tandem.report.sides import Side

Y = np.array([[1, 0], [0, 1], [1, 1], [0, 1]], np.uint8)
A = Decoded(np.array([[1, 0], [1, 0], [1, 0], [0, 1]], bool))
B = Decoded(np.array([[1, 0], [0, 1], [1, 1], [1, 1]], bool))


@pytest.fixture
def two_rows(submitted):
    """The journal has a row of the settings before, and one of those now."""
    (submitted.configs / "words.toml").write_text('kind = "tfidf"\n[tfidf]\nc = 0.01\ncharacters = 0\n')
    set_keys(submitted, submission='"labels"')
    assert main(["submit", "small", "EXPS=words"]) == 0
    return submitted


def test_rows_won_and_lost_and_the_labels_that_differ_are_counted():
    pair = compare_pair(Rule(), ("cat", "sky"), A, B, Answers(Y))
    assert pair.rows == (2, 1, 1) and pair.differing == 3 and pair.rows_by == "F1 per row"
    assert pair.scores == pytest.approx(((1 + 0 + 2 / 3 + 1) / 4, (1 + 1 + 1 + 2 / 3) / 4))
    assert pair.gain is not None and pair.gain.gain == pytest.approx(0.25)
    assert {one.name: (one.only_a, one.only_b) for one in pair.labels} == {"cat": (1, 1), "sky": (0, 2)}
    assert pair.order.tolist()[0] == 1 and set(pair.order.tolist()) == {1, 2, 3}


def test_of_a_loss_the_lower_one_wins_and_a_metric_of_columns_is_compared_by_f_per_row():
    loss = compare_pair(Rule(metric="hamming"), ("cat", "sky"), A, B, Answers(Y))
    assert loss.rows == (2, 1, 1) and loss.gain is not None and loss.gain.gain > 0
    macro = compare_pair(Rule(metric="f1_macro"), ("cat", "sky"), A, B, Answers(Y))
    assert macro.rows == (2, 1, 1) and macro.rows_by == "F1 per row of the label sets"


def test_without_answers_only_the_label_sets_are_compared():
    pair = compare_pair(Rule(), ("cat", "sky"), A, B)
    assert (pair.scores, pair.gain, pair.rows, pair.differing) == (None, None, None, 3)


def test_rows_of_the_journal_are_compared_by_their_kept_files(two_rows, capsys):
    assert main(["clean-cache", "small"]) == 0
    digest = journal.read(two_rows)[1]["digest"]
    assert main(["compare", "small", "A=1", f"B={digest[:6]}"]) == 0
    out = capsys.readouterr().out
    assert "training rows, out of fold: F1 per row: A " in out and "paired 95 % interval" in out
    assert re.search(r"B won \d+, lost \d+, equal \d+", out) and "test rows: the label sets differ in" in out
    first, second = (float(row["score"]) for row in journal.read(two_rows))
    assert f"A {first:.4f}, B {second:.4f}, 45 rows" in out
    page = two_rows.comparison("1", digest[:6]).read_text()
    assert "row 1 (words)" in page and "Where they differ most" in page and "data:image/jpeg" in page
    assert "<script" not in page


def test_an_experiment_is_compared_with_a_csv_file_by_its_submission(two_rows, tmp_path, capsys):
    lines = two_rows.submission("words").read_text().splitlines()
    (tmp_path / "mine.csv").write_text(
        "\n".join([lines[0], *(line.split(",")[0] + ",cat" for line in lines[1:])]) + "\n"
    )
    assert main(["compare", "small", "A=words", "B=mine.csv"]) == 0
    out = capsys.readouterr().out
    assert "test rows: the label sets differ in" in out and "paired" not in out
    (two_rows.input / "solution.csv").write_text((tmp_path / "mine.csv").read_text())
    assert main(["compare", "small", "A=words", "B=mine.csv"]) == 0
    assert "B 1.0000, 6 rows" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["A=wrds", "B=1"], "A=wrds: no scored experiment, row of the journal (1 to 1), digest of one or file"),
        (["A=words", "B=9"], "B=9: no scored experiment"),
        (["A=words"], "compare needs B="),
    ],
)
def test_a_side_that_does_not_exist_is_named_with_what_there_is(submitted, capsys, words, message):
    try:
        assert main(["compare", "small", *words]) == 2
    except SystemExit as ended:
        assert ended.code == 2
    assert message in capsys.readouterr().err


def test_a_row_whose_files_were_removed_says_so(two_rows, capsys):
    assert main(["clean-history", "small", "KEEP=0"]) == 0
    assert main(["compare", "small", "A=1", "B=words"]) == 2
    assert "row 1 (words) has no files any more" in capsys.readouterr().err


def test_clean_history_removes_only_kept_files_of_older_rows_and_says_what_it_frees(two_rows, capsys):
    before, folder = two_rows.journal.read_bytes(), two_rows.kept("_").parent
    files = {file.name: file.stat() for file in folder.iterdir()}
    assert main(["clean-history", "small"]) == 0
    assert "nothing was removed; run: make clean-history COMP=small KEEP=10" in capsys.readouterr().out
    assert {file.name for file in folder.iterdir()} == set(files)
    assert main(["clean-history", "small", "KEEP=1"]) == 0
    removed = [files[name] for name in files.keys() - set(os.listdir(folder))]
    freed = sum(one.st_size for one in removed if one.st_nlink == 1)
    assert freed > 0 and f"{freed / 1e6:,.1f} MB" in capsys.readouterr().out and len(os.listdir(folder)) == 3
    assert two_rows.journal.read_bytes() == before and two_rows.submission("words").exists()


def test_the_final_choice_names_the_best_and_the_least_alike_of_those_as_good(two_rows, capsys):
    assert main(["final", "small"]) == 0
    out = capsys.readouterr().out
    best, second = re.findall(
        r"^[12]\. (\S+\.csv): .*(?:best cross-fitted score|paired 95 % interval)", out, re.MULTILINE
    )
    assert f"not sent yet: make upload COMP=small FILE={best}\n" in out and f"FILE={second}\n" in out
    journal.add_public_score(two_rows, file_digest(two_rows.root / best), 0.61, 7)
    assert main(["final", "small"]) == 0
    out = capsys.readouterr().out
    assert re.search(rf"^1\. {best}: .*; submission 7, public score 0.61$", out, re.MULTILINE)
    assert f"FILE={second}\n" in out and f"FILE={best}" not in out


def test_a_file_that_two_decoders_write_is_proposed_once_with_the_better_score(submitted, capsys):
    assert main(["submit", "small", "EXPS=words", "DECODER=fixed"]) == 0  # probabilities: the same file
    better, worse = journal.read(submitted)
    assert better["digest"] == worse["digest"] and float(better["score"]) > float(worse["score"])
    capsys.readouterr()
    assert main(["final", "small"]) == 0
    out = capsys.readouterr().out
    assert f"row 1 (words): the best cross-fitted score, {float(better['score']):.4f}" in out
    assert "row 2" not in out and "2. none: " in out


def candidate(name: str, score: float, high: float, correlation: float) -> Candidate:
    return Candidate(Side(name), score, Gain(score - 0.9, -1, high), correlation)


def test_the_second_file_is_the_least_correlated_one_within_noise_else_the_next_best():
    best, twin, other, poor = (
        candidate("best", 0.9, 0, 1),
        candidate("twin", 0.899, 0.01, 0.99),
        candidate("other", 0.89, 0.001, 0.6),
        candidate("poor", 0.5, -0.2, 0.1),
    )
    assert choose_two([best, twin, other, poor])[:2] == (best, other)
    assert choose_two([best, poor])[:2] == (best, poor) and "none is within noise" in choose_two([best, poor])[2]
    assert choose_two([best])[1] is None


def test_errors_in_the_same_cells_correlate_by_1_and_unknown_cells_do_not_count():
    assert error_correlation(Y, A.pred, A.pred) == 1
    assert error_correlation(Y, A.pred, B.pred) < 0.5
    known = np.ones(Y.shape, bool)
    known[1:3] = False
    assert error_correlation(Y, A.pred, B.pred, known) == 1  # A has no error left


def row(**cells: object) -> dict[str, str]:
    return dict.fromkeys(COLUMNS, "") | {key: str(value) for key, value in cells.items()}


def test_rows_of_another_metric_or_without_a_public_score_are_no_points():
    rows = [
        row(metric="f1_samples", score=0.8, public=0.79, low=0.78, high=0.82),
        row(metric="f1_samples", score=0.8),
        row(metric="f1_samples", score=0.8, public="error"),
        row(metric="hamming", score=0.8, public=0.79),
    ]
    (point,) = points(rows, "f1_samples")
    assert point.half == pytest.approx(0.02)


def test_a_gap_is_judged_by_the_noise_of_both_samples():
    near = points([row(metric="m", score=0.8, public=0.79, low=0.79, high=0.81)] * 2, "m")
    assert "0.0100 lower on average: within noise (± 0.0141" in gap(near, 100, 100)
    far = points([row(metric="m", score=0.8, public=0.9, low=0.79, high=0.81)] * 2, "m")
    assert "0.1000 higher on average: more than the noise" in gap(far, 100, 100)
    assert "can't be said" in gap(points([row(metric="m", score=0.8, public=0.9)] * 2, "m"), 100, 100)


def test_the_report_shows_the_leaderboard_only_with_two_public_scores(two_rows):
    first, second = journal.read(two_rows)
    journal.add_public_score(two_rows, first["digest"], 0.61, 1)
    assert main(["report", "small"]) == 0
    assert "against the leaderboard" not in two_rows.report.read_text()
    journal.add_public_score(two_rows, second["digest"], 0.62, 2)
    assert main(["report", "small"]) == 0
    page = two_rows.report.read_text()
    assert "Cross-validation against the leaderboard" in page and "2 submissions; a correlation needs 3" in page
