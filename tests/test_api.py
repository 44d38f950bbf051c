"""`import tandem`: what is trained, read as arrays and tables; light, and without effects on the caller's process."""

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from in_turn import in_turn
from small_competition import write_small

import tandem
from tandem.artifacts.atomic_io import read_json, write_json
from tandem.artifacts.paths import Paths
from tandem.artifacts.predictions import Predictions
from tandem.graph.declared_stages import Graph
from tandem.graph.plan import steps

SRC = Path(__file__).parents[1] / "src"


@pytest.fixture(scope="module")
def toy(trained):
    return tandem.competition("toy", root=trained.root)


@pytest.fixture
def empty(trained, tmp_path):
    """The competition before anything is run."""
    shutil.copytree(trained.input, tmp_path / "input" / "toy", ignore=shutil.ignore_patterns("data"))
    return tandem.competition("toy", root=tmp_path)


def python(code: str, folder: Path) -> str:
    environment = os.environ | {"PYTHONPATH": str(SRC), "TANDEM_THREADS": "2"}  # not torch's default in tests
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_every_public_name_can_be_imported_and_listed():
    for name in tandem.__all__:
        assert getattr(tandem, name).__doc__
    assert set(tandem.__all__) <= set(dir(tandem))
    with pytest.raises(AttributeError, match="module 'tandem' has no attribute 'Labeller'"):
        _ = tandem.Labeller


def test_labels_folds_and_predictions_have_the_same_ids(toy):
    labels, folds, oof = toy.labels(), toy.folds(), toy.oof("stack")
    assert list(labels.ids) == list(folds.ids) == list(oof.ids)
    assert labels.names == oof.names == toy.test("stack").names
    assert labels.fold.tolist() == folds.fold.tolist()
    assert not set(labels.ids) & set(toy.test("stack").ids)


def test_tables_have_the_id_as_index_and_a_column_for_each_label(toy):
    labels = toy.labels()
    table = labels.to_pandas()
    assert table.index.name == "id" and list(table.columns) == ["fold", "cat", "sky"]
    assert np.array_equal(table[["cat", "sky"]].to_numpy(), labels.y)
    assert list(toy.folds().to_pandas().columns) == ["fold", "group"]
    proba = toy.oof("stack").to_pandas()
    assert proba.loc["3.jpg", "sky"] == toy.oof("stack").proba[3, 1]


def test_a_label_may_be_called_fold():
    labels = tandem.Labels(["a"], ("fold", "id"), np.array([[1, 0]]), np.array([4]))
    table = labels.to_pandas().reset_index()
    assert (list(table.columns), table.to_numpy().tolist()) == (["id_", "fold_", "fold", "id"], [["a", 4, 1, 0]])


def test_scores_are_those_of_the_files_best_first(toy, trained):
    scores = toy.scores()
    assert {row.experiment for row in scores.rows} == set(toy.experiments())
    assert [row.score for row in scores.rows] == sorted((row.score for row in scores.rows), reverse=True)
    written = read_json(trained.scores("words"))
    assert (scores["words"].map, scores["words"].decoder) == (written["map"], written["decoder"])
    table = scores.to_pandas()
    assert table.loc["words", "log_loss"] == written["log_loss"]
    with pytest.raises(KeyError, match=r"'fusion' has no scores; there are: \['"):
        scores["fusion"]


def test_where_less_is_better_the_lowest_score_comes_first(trained, tmp_path):
    for name in ("build", "oof", "folds"):
        shutil.copytree(trained.root / name, tmp_path / name)
    shutil.copytree(trained.input, tmp_path / "input" / "toy", ignore=shutil.ignore_patterns("data"))
    for file in (tmp_path / "oof" / "toy").glob("*/scores.json"):
        write_json(file, read_json(file) | {"greater_is_better": False})
    found = [row.score for row in tandem.competition("toy", root=tmp_path).scores().rows]
    assert found == sorted(found) and found[0] < found[-1]


def test_scores_of_another_metric_come_last(trained, tmp_path):
    for name in ("build", "oof", "folds"):
        shutil.copytree(trained.root / name, tmp_path / name)
    shutil.copytree(trained.input, tmp_path / "input" / "toy", ignore=shutil.ignore_patterns("data"))
    toy = tandem.competition("toy", root=tmp_path)
    best = toy.scores().rows[0].experiment
    thresholds = tmp_path / "oof" / "toy" / best / "thresholds.json"
    decoder = read_json(thresholds)
    decoder["inputs"]["competition.toml"]["metric"] = "f1_macro"
    write_json(thresholds, decoder)
    last = toy.scores().rows[-1]
    assert (last.experiment, last.current) == (best, False)


def test_errors_name_the_command_that_makes_what_is_missing(empty, toy, tmp_path):
    with pytest.raises(FileNotFoundError, match="run: make import ZIP=other.zip COMP=other"):
        tandem.competition("other", root=tmp_path)
    with pytest.raises(FileNotFoundError, match=r"train\.labels\.parquet does not exist; run: make folds COMP=toy"):
        empty.labels()
    with pytest.raises(FileNotFoundError, match="does not exist; run: make folds COMP=toy"):
        empty.folds()
    with pytest.raises(FileNotFoundError, match="run: make submit COMP=toy"):
        empty.oof("stack")
    with pytest.raises(FileNotFoundError, match="run: make train COMP=toy EXPS=fusion"):
        toy.test("fusion")
    with pytest.raises(FileNotFoundError, match="'toy' has no scores; run: make submit COMP=toy"):
        empty.scores()
    assert empty.experiments() == ()


def test_importing_tandem_imports_nothing_heavy(tmp_path):
    heavy = {"torch", "pandas", "numpy", "pyarrow", "sklearn", "pydantic"}
    assert python(f"import sys, tandem; print({heavy} & set(sys.modules))", tmp_path) == "set()\n"


def test_reading_results_imports_no_torch_and_labelling_leaves_threads_and_environment_as_they_were(trained):
    code = """if True:
        import os, sys
        before = dict(os.environ)
        import tandem
        toy = tandem.competition("toy")
        tables = toy.labels(), toy.folds(), toy.oof("stack"), toy.test("stack"), toy.scores()
        assert all(len(table.to_pandas()) for table in tables)
        assert "torch" not in sys.modules
        assert dict(os.environ) == before
        import torch
        threads = torch.get_num_threads()
        assert toy.labeler().predict_proba(["input/toy/data/60.jpg"], ["a cat"]).shape == (1, 2)
        assert torch.get_num_threads() == threads
        changed = {name for name, _ in set(os.environ.items()) ^ set(before.items())}
        others = {"KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK", "TORCHINDUCTOR_CACHE_DIR"}  # scikit-learn, torch
        assert changed <= others, changed
    """
    python(code, trained.root)


@pytest.fixture
def fresh(tmp_path, monkeypatch):
    """The small competition before anything is run, not in the working folder; its tasks run in this process."""
    monkeypatch.setattr("tandem.stages._run.run_in_new_process", in_turn)
    monkeypatch.chdir(tmp_path)
    write_small(tmp_path / "root")
    return tandem.competition("small", root="root")


def what_make_would_do(folder: Path) -> list[str]:
    with contextlib.chdir(folder):
        graph = Graph.open(Paths("small"))
        return [step.title for step in steps(graph, graph.goal("submit"))]


def test_training_stacking_and_submitting_write_what_make_knows(fresh, tmp_path):
    threads, environment, seen = torch.get_num_threads(), dict(os.environ), []
    one = fresh.train("looks", folds=[1], on_epoch=seen.append)
    assert [(entry["fold"], entry["epoch"]) for entry in seen] == [(1, k + 1) for k in range(40)]
    assert list(one.held_out_f1) == [1] and one.to_pandas()["loss"].tolist() == [entry["loss"] for entry in seen]
    assert fresh.train("looks", folds=[1]).log == one.log and fresh.experiments() == ()
    assert list(fresh.train("looks").held_out_f1) == [0, 1, 2] and fresh.experiments() == ("looks",)
    assert fresh.train("words").log == ()
    assert fresh.stack().experiment == "stack"
    assert fresh.decode("stack") == fresh.scores()["stack"]
    assert fresh.submit() == Path("root/submissions/small/stack.csv")
    assert (tmp_path / "root/submissions/small/stack.csv").read_text().count("\n") == 7
    assert what_make_would_do(tmp_path / "root") == []
    assert Path.cwd() == tmp_path and torch.get_num_threads() == threads and dict(os.environ) == environment


def test_a_fold_trained_here_is_that_of_make(fresh, small, tmp_path):
    fresh.train("looks", folds=[0], on_epoch=lambda entry: None)
    here, make = (
        Predictions.read(paths.model("looks", 0, ".parquet")) for paths in (Paths("small", tmp_path / "root"), small)
    )
    assert np.array_equal(here.proba, make.proba) and list(here.ids) == list(make.ids)


def test_bad_input_is_a_plain_error(fresh):
    with pytest.raises(ValueError, match=r"folds=\[7\]: expected some of \[0, 1, 2\]"):
        fresh.train("words", folds=[7])
    with pytest.raises(ValueError, match="EXPS: lookz has no file in configs/ that fits this competition"):
        fresh.train("lookz")
    with pytest.raises(FileNotFoundError, match="nothing is trained for 'small'"):
        fresh.explain("1.jpg")


def test_an_explanation_is_shown_in_a_frame_and_saved_as_a_page(toy, trained, tmp_path):
    found = toy.explain("4.jpg", "join")
    assert found.proba["cat"] == pytest.approx(toy.oof("join").proba[4, 0], abs=1e-5)
    assert found._repr_html_().startswith('<iframe srcdoc="') and "sandbox>" in found._repr_html_()
    assert found.save(tmp_path / "page.html").read_text() == found.html


def test_predictions_of_another_program_are_added_as_the_command_adds_them(submitted):
    own = tandem.competition("small")
    score = own.add_predictions("theirs", own.oof("words").to_pandas(), own.test("words").to_pandas())
    assert score.score == own.scores()["words"].score
    assert np.array_equal(own.oof("theirs").proba, own.oof("words").proba)
