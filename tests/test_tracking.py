"""Experiments are logged into a tracker, each training once; one that fails ends nothing; off, none is imported."""

import shutil
import socket
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from in_turn import in_turn
from test_makefile import ROOT, make
from words_competition import set_keys

from tandem.__main__ import main
from tandem.artifacts.atomic_io import read_json, write_text
from tandem.artifacts.paths import Paths, tracking_dir
from tandem.graph.declared_stages import Graph
from tandem.graph.experiment_dir import Experiments
from tandem.runtime import trackers
from tandem.runtime.trackers import Mlflow, Wandb
from tandem.stages import _tracking
from tandem.stages._tracking import log, track

INSTALL = "needs requirements-tracking.txt, which takes too long to install for each run of CI"
with_mlflow = pytest.mark.skipif(find_spec("mlflow") is None, reason=INSTALL)
with_wandb = pytest.mark.skipif(find_spec("wandb") is None, reason=INSTALL)


@pytest.fixture(autouse=True)
def no_address_of_the_users_own(monkeypatch):
    monkeypatch.setattr(_tracking, "_failed", set())
    for name in ("MLFLOW_TRACKING_URI", "WANDB_MODE", "WANDB_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def two(small, tmp_path, monkeypatch) -> Paths:
    """A copy of the small competition: `looks`, a network, and `words` are trained and scored."""
    shutil.copytree(small.root, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tandem.stages._run.run_in_new_process", in_turn)
    return Paths("small")


def runs(paths: Paths) -> list:
    """Of MLflow, by name, then in the order of their beginning."""
    found = Mlflow(tracking_dir(paths.root), paths.comp)
    every = found.client.search_runs([found.experiment], order_by=["attributes.start_time ASC"])
    return sorted(every, key=lambda run: run.info.run_name)


def files_of(paths: Paths, run) -> dict[str, str]:
    client = Mlflow(tracking_dir(paths.root), paths.comp).client
    found = [file.path for file in client.list_artifacts(run.info.run_id)]
    return {file: Path(client.download_artifacts(run.info.run_id, file)).read_text() for file in found}


@with_mlflow
def test_mlflow_shows_settings_curves_scores_and_decoder_of_each_experiment(two):
    set_keys(two, tracking='"mlflow"')
    track(two, ["looks", "words"])
    looks, words = runs(two)
    assert (looks.info.run_name, looks.info.status, words.info.run_name) == ("looks", "FINISHED", "words")
    assert looks.data.params["kind"] == "head" and looks.data.params["head.hidden"] == "8"
    assert "tfidf.words" in words.data.params
    scores, run = read_json(two.scores("looks")), read_json(two.run("looks"))
    assert looks.data.metrics["score"] == scores["score"]
    assert looks.data.metrics["seconds"] == run["seconds"]
    assert looks.data.tags["tandem.key"] == run["key"] != words.data.tags["tandem.key"]
    tracker = Mlflow(tracking_dir(two.root), "small")
    for fold in run["folds"]:
        epochs = read_json(two.model("looks", fold, ".json"))["log"]
        curve = tracker.client.get_metric_history(looks.info.run_id, f"loss/fold{fold}")
        assert len(epochs) > 1
        assert {m.step: m.value for m in curve} == {e["epoch"]: pytest.approx(e["loss"]) for e in epochs}
    kept = files_of(two, looks)
    assert kept["thresholds.json"] == two.thresholds("looks").read_text()
    assert set(kept) == {"run.json", "scores.json", "thresholds.json"}


@with_mlflow
def test_a_training_is_logged_once_and_its_run_shows_the_scores_of_today(submitted, capsys):
    set_keys(submitted, tracking='"mlflow"', metric='"f1_micro"')
    assert main(["train", "small", "EXPS=words"]) == 0
    (first,) = runs(submitted)
    set_keys(submitted, metric='"f1_macro"')
    assert main(["train", "small", "EXPS=words"]) == 0
    (again,) = runs(submitted)
    assert (first.info.run_id, first.data.tags["metric"]) == (again.info.run_id, "f1_micro")
    assert again.data.tags["metric"] == "f1_macro"
    assert again.data.metrics["score"] == read_json(submitted.scores("words"))["score"]
    write_text(submitted.configs / "words.toml", 'kind = "tfidf"\ntfidf = {words = 1}\n')
    assert main(["train", "small", "EXPS=words"]) == 0
    assert [run.data.params["tfidf.words"] for run in runs(submitted)] == ["2", "1"]
    assert "warning" not in capsys.readouterr().out


@with_mlflow
def test_the_report_is_logged_with_what_was_trained_before_the_tracker_was_set(submitted):
    set_keys(submitted, tracking='"mlflow"')
    assert main(["report", "small", "EXP=words"]) == 0
    (run,) = runs(submitted)
    assert files_of(submitted, run)["index.html"] == submitted.report.read_text()
    assert run.data.metrics["score"] == read_json(submitted.scores("words"))["score"]


@with_mlflow
def test_a_run_that_was_cut_off_is_logged_again_as_a_whole(submitted):
    set_keys(submitted, tracking='"mlflow"')
    one = Experiments(submitted)["words"]
    tracking_dir(submitted.root).mkdir(parents=True)
    tracker = Mlflow(tracking_dir(submitted.root), "small")
    assert tracker.start("words", one.run["key"], {})  # and nothing more: it was killed
    log(tracker, one)
    cut, whole = runs(submitted)
    assert (cut.info.status, cut.data.params) == ("RUNNING", {})
    assert (whole.info.status, whole.data.params["kind"]) == ("FINISHED", "tfidf")
    log(tracker, one)
    assert len(runs(submitted)) == 2


@with_mlflow
def test_a_server_that_is_away_is_one_warning_and_training_goes_on(two, monkeypatch, capsys):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    set_keys(two, tracking='"mlflow"', metric='"f1_micro"')
    assert main(["train", "small"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("warning: tracking")]
    assert len(lines) == 1
    assert lines[0].startswith('warning: tracking = "mlflow": nothing is logged: MlflowException: ')
    assert {read_json(two.scores(name))["metric"] for name in ("looks", "words")} == {"f1_micro"}


@with_wandb
def test_wandb_shows_the_same_offline(two):
    set_keys(two, tracking='"wandb"')
    track(two, ["looks"], two.run("words"), "looks")  # any file is a report here
    (folder,) = (tracking_dir(two.root) / "wandb").glob("offline-run-*-looks-*")
    shown = wandb_records(next(folder.glob("run-*.wandb")))
    assert shown["config"]["head.hidden"] == 8
    assert shown["config"]["tandem.key"] == read_json(two.run("looks"))["key"]
    assert shown["summary"]["score"] == read_json(two.scores("looks"))["score"]
    epochs = read_json(two.model("looks", 0, ".json"))["log"]
    assert [row["loss/fold0"] for row in shown["history"]] == [pytest.approx(entry["loss"]) for entry in epochs]
    assert (folder / "files" / "thresholds.json").read_text() == two.thresholds("looks").read_text()
    track(two, ["looks"])
    later = sorted((tracking_dir(two.root) / "wandb").glob("offline-run-*-looks-*"))[-1]
    assert wandb_records(next(later.glob("run-*.wandb")))["history"] == []  # scores only: the curves are known


@with_wandb
def test_wandb_does_not_wait_for_a_server_that_takes_connections_and_never_answers(submitted, monkeypatch, capsys):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("WANDB_MODE", "online")
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setattr(trackers, "WAIT", 0.3)
        set_keys(submitted, tracking='"wandb"')
        track(submitted, ["words"])
    line = capsys.readouterr().out
    assert line.startswith('warning: tracking = "wandb": nothing is logged: ReadTimeout: ')


def wandb_records(file: Path) -> dict:
    import json

    from wandb.proto.wandb_internal_pb2 import Record
    from wandb.sdk.internal.datastore import DataStore

    store, shown = DataStore(), {"config": {}, "summary": {}, "history": []}
    store.open_for_scan(str(file))

    def key(item) -> str:
        return item.key or ".".join(item.nested_key)

    while (data := store.scan_data()) is not None:
        record = Record.FromString(data)
        for name, items in (("config", record.config.update), ("config", record.run.config.update)):
            shown[name] |= {key(item): json.loads(item.value_json) for item in items}
        shown["summary"] |= {key(item): json.loads(item.value_json) for item in record.summary.update}
        if record.history.item:
            shown["history"].append({key(item): json.loads(item.value_json) for item in record.history.item})
    return shown


@pytest.mark.parametrize("kind", ["mlflow", "wandb"])
def test_a_tracker_that_is_not_installed_is_one_warning_that_says_what_to_install(submitted, kind, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, kind, None)  # as if it were not installed
    set_keys(submitted, tracking=f'"{kind}"', metric='"f1_micro"')
    assert main(["submit", "small", "EXPS=words"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("warning: tracking")]
    install = "run: .venv/bin/python -m pip install -r requirements-tracking.txt"
    assert lines == [f'warning: tracking = "{kind}": nothing is logged: {kind} is not installed; {install}']


def test_off_no_tracker_is_imported_nor_a_folder_made(submitted):
    set_keys(submitted, metric='"f1_micro"')
    code = (
        "import sys; from tandem.__main__ import main; status = main(['train', 'small', 'EXPS=words']); "
        "print(status, sorted({'mlflow', 'wandb', 'tandem.runtime.trackers'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert "words: out-of-fold f1_micro" in run.stdout
    assert run.stdout.splitlines()[-1] == "0 []", run.stderr
    assert not tracking_dir(submitted.root).exists()


def test_a_tracker_makes_nothing_stale_and_another_name_is_refused(submitted, capsys):
    def keys() -> list[str]:
        graph = Graph.open(submitted)
        return [artifact.key for task in graph.tasks(graph.goal("submit", [])).values() for artifact in task.artifacts]

    before = keys()
    set_keys(submitted, tracking='"wandb"')
    assert keys() == before
    set_keys(submitted, tracking='"mlfow"')
    assert main(["scores", "small"]) == 2
    assert "tracking: Input should be 'mlflow' or 'wandb', got 'mlfow'" in capsys.readouterr().err


def test_make_installs_a_tracker_only_for_a_competition_that_asks_for_one(tmp_path):
    changed = ("-W", "requirements-tracking.txt")  # as if it were new
    assert "requirements-tracking" not in make("train", "COMP=x", *changed).stdout
    for file in ("Makefile", "pyproject.toml", *(path.name for path in ROOT.glob("requirements*"))):
        shutil.copy(ROOT / file, tmp_path)
    write_text(tmp_path / "input" / "x" / "competition.toml", 'tracking = "mlflow"\n')
    for comp, wanted in (("x", True), ("y", False)):
        command = ["make", "-n", "-C", str(tmp_path), "train", f"COMP={comp}"]
        run = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert ("pip install --quiet --disable-pip-version-check -r requirements-tracking.txt" in run.stdout) == wanted
        assert f"-m tandem train {comp}" in run.stdout


def test_the_trackers_are_those_that_competition_toml_allows():
    from typing import get_args

    from tandem.config.competition import Competition
    from tandem.runtime.trackers import TRACKERS

    named = {name for kind in get_args(Competition.model_fields["tracking"].annotation) for name in get_args(kind)}
    assert set(TRACKERS) == named and TRACKERS["wandb"] is Wandb
