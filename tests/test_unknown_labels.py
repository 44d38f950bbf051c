"""Labels that are unknown for some rows: no model, split or figure depends on what stands at such a cell."""

import contextlib
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from checked import train, write_competition, write_experiment, write_folds, write_split
from test_few_rows import KINDS, experiments, rows
from test_report import report_data
from toy import FOLDS, N, draw, tiny_backbone
from toy import NAMES as TOY_NAMES
from toy import experiments as toy_experiments

from tandem.artifacts.atomic_io import read_json, write_text
from tandem.artifacts.paths import Paths
from tandem.artifacts.predictions import Predictions
from tandem.config.experiments import TfidfExperiment
from tandem.config.training import FinetuneTraining, Tfidf
from tandem.data.check_competition import content_digest
from tandem.data.folds import make_folds
from tandem.data.labelled_rows import read_labelled_rows
from tandem.data.near_duplicates import HASH_BYTES
from tandem.data.split_tables import read_labels, write_labels
from tandem.logits import smoothed_log_odds
from tandem.metrics import f1_samples, log_loss, mean_average_precision
from tandem.models.base import TrainingRun
from tandem.models.fusion_network import _count_loss
from tandem.models.inputs import Inputs
from tandem.models.losses import LOSSES, Targets, make_loss
from tandem.models.mixing import mixed
from tandem.models.registry import make_model
from tandem.report.classes import per_class
from tandem.report.data import label_counts
from tandem.report.label_errors import likely_errors
from tandem.report.page import build

IDS, NAMES = ["a", "b", "c"], ("cat", "dog")
Y = np.array([[1, 0], [0, 1], [1, 1]], np.uint8)
KNOWN = np.array([[True, True], [False, True], [True, False]])


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> str:
    return tiny_backbone(tmp_path_factory.mktemp("weights") / "tiny.safetensors")


# ---- tables


def test_an_unknown_cell_is_null_and_is_read_as_0_that_is_not_known(tmp_path):
    file = tmp_path / "train.labels.parquet"
    write_labels(file, IDS, NAMES, Y, KNOWN)
    assert pq.read_table(file).to_pydict() == {"id": IDS, "cat": [1, None, 1], "dog": [0, 1, None]}
    ids, names, y, known = read_labels(file)
    assert (ids, names, y.tolist(), known.tolist()) == (IDS, NAMES, [[1, 0], [0, 1], [1, 0]], KNOWN.tolist())
    assert y.dtype == np.uint8


def test_labels_without_unknown_cells_are_written_as_if_there_were_no_such_thing(tmp_path):
    table = pa.table({"id": IDS, "cat": pa.array(Y[:, 0]), "dog": pa.array(Y[:, 1])})
    files = [tmp_path / f"{i}.labels.parquet" for i in range(3)]
    pq.write_table(table, files[0])
    write_labels(files[1], IDS, NAMES, Y)
    write_labels(files[2], IDS, NAMES, Y, np.ones((3, 2), bool))
    assert files[0].read_bytes() == files[1].read_bytes()
    assert content_digest(files[1]) == content_digest(files[2]) and read_labels(files[2])[3] is None


def test_what_is_unknown_is_part_of_the_digests(tmp_path):
    paths = Paths("toy", tmp_path)
    write_text(paths.folds, "id,fold,group\na,0,0\nb,1,1\nc,0,2\n")
    contents, labels = set(), set()
    for known in (None, KNOWN, ~KNOWN):
        write_labels(paths.labels, IDS, NAMES, Y * 0, known)
        contents.add(content_digest(paths.labels))
        labels.add(read_labelled_rows(paths).label_digest)
    assert len(contents) == len(labels) == 3


# ---- losses


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_is_the_mean_over_the_known_cells(name):
    loss = make_loss(name, 0.1)
    logits, y = torch.tensor([[1.0, -2.0], [0.5, 3.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    weights = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    assert loss(logits, y, weights) == pytest.approx(loss(logits[:, :1], y[:, :1]).item())
    assert loss(logits, y, torch.ones(2, 2)) == pytest.approx(loss(logits, y).item())
    assert loss(logits, y, torch.zeros(2, 2)) == 0


def test_a_mixed_cell_that_one_of_both_images_knows_has_its_target_and_weight():
    targets = Targets(torch.tensor([[1.0, 1.0], [1.0, 0.0]]), torch.tensor([[1.0, 1.0], [0.0, 1.0]]))
    other = Targets(torch.tensor([[1.0, 1.0], [0.0, 0.0]]), targets.weights)  # differs in the unknown cell alone
    pixels = torch.zeros(2, 8, 8, 3)
    _, (y, weights) = mixed(pixels, targets, 0.8, 0.0, np.random.default_rng(0))
    kept = y[0, 1].item()  # the first image has the second label, the other one does not
    assert y[:, 0].tolist() == pytest.approx([1, 1]) and y[1, 1].item() == pytest.approx(1 - kept)
    assert weights.flatten().tolist() == pytest.approx([kept, 1, 1 - kept, 1])
    assert torch.equal(mixed(pixels, other, 0.8, 0.0, np.random.default_rng(0))[1].y, y)


def test_a_row_with_an_unknown_label_has_no_number_of_labels():
    counts, y = torch.tensor([[0.0, 0.7]]), torch.tensor([[1.0, 1.0], [1.0, 0.0]])
    masked = _count_loss(counts, y, torch.tensor([[1.0, 1.0], [1.0, 0.0]]))
    assert masked == pytest.approx(_count_loss(counts[:, :1], y[:1], None).item())
    assert _count_loss(counts, y, torch.zeros(2, 2)) == 0


# ---- models


def quarter(n: int, c: int) -> np.ndarray:
    """(n, c) bool: all but a quarter of the cells."""
    return np.random.default_rng(1).permutation(n * c).reshape(n, c) >= n * c // 4


@pytest.mark.parametrize("kind", [*KINDS, "tokens"])
def test_what_stands_at_an_unknown_cell_changes_no_model(kind, weights):
    experiment, n = experiments(weights)[kind], 12
    if kind == "finetune":
        mix = FinetuneTraining(epochs=2, min_steps=0, mixup=0.8, cutmix=1.0, batch=4)
        experiment = experiment.model_copy(update={"train": mix})
    y, known = np.random.default_rng(0).integers(0, 2, (n, 4)).astype(np.uint8), quarter(n, 4)
    found, logs = [], []
    for filled, weight in ((y * known, known), (y | ~known, known), (y | ~known, None)):
        model = make_model(experiment, 4)
        logs.append(model.fit(rows(n, experiment), filled, TrainingRun(0, weights=weight)))
        found.append(model.predict_proba(rows(5, experiment)))
    assert np.array_equal(found[0], found[1]) and logs[0] == logs[1]
    assert not np.array_equal(found[1], found[2])


def test_a_linear_model_of_a_label_is_fitted_on_the_rows_where_it_is_known():
    inputs = Inputs([*"abcd"], captions=["a cat", "a dog", "a cat", "a dog"])
    y, known = np.array([[1, 1], [0, 1], [1, 0], [0, 0]]), np.array([[1, 1], [1, 1], [1, 0], [1, 0]], bool)
    model = make_model(TfidfExperiment(kind="tfidf", tfidf=Tfidf(min_rows=1)), 2)
    model.fit(inputs, y, TrainingRun(0, weights=known))
    assert model.coef[:, 0].any() and not model.coef[:, 1].any()  # where the second label is known, all rows have it
    assert model.bias[1] == smoothed_log_odds(np.array([1, 1]))


def test_prior_rates_count_known_cells():
    assert smoothed_log_odds(Y, KNOWN).tolist() == [smoothed_log_odds(np.array([1, 1])), smoothed_log_odds(Y[:2, 1])]


def test_one_label_is_enough(weights):
    for kind, experiment in experiments(weights).items():
        model, y = make_model(experiment, 1), (np.arange(6) % 2)[:, None].astype(np.uint8)
        model.fit(rows(6, experiment), y, TrainingRun(0))
        assert model.predict_proba(rows(3, experiment)).shape == (3, 1), kind


# ---- folds and metrics


def test_folds_balance_the_rows_that_are_known_to_have_a_label():
    y, known = np.zeros((40, 2), np.uint8), np.ones((40, 2), bool)
    y[:8, 0], known[4:8, 0] = 1, False
    fold, _ = make_folds(y * known, [bytes(HASH_BYTES)] * 40, [*map(str, range(40))], 4, 0, "off")
    assert sorted(fold[:4].tolist()) == [0, 1, 2, 3]


def test_scores_count_known_cells():
    y, pred = np.array([[1, 0, 0]]), np.array([[1, 1, 0]])
    known = np.array([[True, False, True]])
    assert f1_samples(y, pred) < f1_samples(y, pred, known=known) == 1
    proba = np.array([[0.9, 0.8], [0.95, 0.1]])
    y, known = np.array([[1, 1], [0, 0]]), np.array([[True, True], [False, True]])
    assert mean_average_precision(y, proba) == 0.75 and mean_average_precision(y, proba, known=known) == 1
    assert log_loss(y, proba, known=known) == pytest.approx(-(np.log(0.9) + np.log([0.8, 0.9]).mean()) / 2)


# ---- report


def test_the_report_leaves_unknown_labels_out_and_says_how_many_there_are():
    data = report_data()
    n, c = data.y.shape
    known = np.random.default_rng(0).random((n, c)) > 0.25
    reports = []
    for filled in (data.focus.pred & known, data.focus.pred | ~known):  # predicted at unknown cells, or not
        reports.append(replace(data, known=known, y=data.y * known, focus=replace(data.focus, pred=filled)))
    plain, other = (per_class(one, one.focus) for one in reports)
    assert plain == other
    assert [row["unknown"] for row in plain] == (~known).sum(0).tolist()
    assert [row["support"] for row in plain] == (data.y * known).sum(0).tolist()
    assert label_counts(reports[0])[0]["share"] == pytest.approx(data.y[known[:, 0], 0].mean())


def test_no_label_that_is_unknown_is_a_likely_error():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, (80, 2)).astype(np.uint8)
    proba = np.clip(y * 0.8 + 0.1 + rng.normal(0, 0.02, y.shape), 0.01, 0.99)
    wrong, known = y.copy(), np.ones(y.shape, bool)
    wrong[:6] = 1 - y[:6]
    known[:3] = False
    found = set(map(tuple, likely_errors(wrong, proba, known).tolist()))
    assert found == {(i, j) for i in (3, 4, 5) for j in (0, 1)}


def test_the_page_is_made_with_unknown_labels():
    data = report_data()
    known = np.random.default_rng(0).random(data.y.shape) > 0.25
    focus = replace(data.focus, run=data.focus.run | {"kept": "both", "weights": {}})
    page = build(replace(data, known=known, y=data.y * known, focus=focus))
    assert f"{(~known).sum():,} labels of rows are unknown" in page


# ---- end to end


def test_every_kind_of_model_learns_from_a_competition_with_a_quarter_of_its_labels_unknown(tmp_path):
    rng = np.random.default_rng(0)
    y, known = rng.integers(0, 2, (N, 2)).astype(np.uint8), quarter(N, 2)
    with contextlib.chdir(tmp_path):
        paths, ids = Paths("toy"), [f"{i}.jpg" for i in range(N)]
        members = toy_experiments(tmp_path)
        write_competition(paths, TOY_NAMES, least=0, test=None, experiments=[*members])
        for i in range(N):
            draw(paths.input / "data" / f"{i}.jpg", bool(y[i, 1]), i)
        captions = ["a cat" if row[0] else "a dog" for row in y]
        write_split(paths, "train", ids, captions, folder="data/", size=(48, 40))
        write_labels(paths.labels, ids, TOY_NAMES, y, known)
        write_folds(paths, ids, [n % FOLDS for n in range(N)])
        for name, experiment in members.items():
            write_experiment(paths, name, experiment)
        train(paths, *members)
        proba = {name: Predictions.read(paths.oof(name)).proba for name in members}
        record = read_json(paths.model("words", 0, ".json"))
    right = {name: ((p > 0.5) == y).mean(0) for name, p in proba.items()}  # also where the models were told nothing
    assert right["words"][0] == 1 and right["looks"][1] > 0.9 and right["join"].min() > 0.9
    held_out = np.arange(N) % FOLDS == 0
    expected = f1_samples(y[held_out], proba["words"][held_out] > 0.5, known=known[held_out])
    assert record["held_out_f1"] == expected
