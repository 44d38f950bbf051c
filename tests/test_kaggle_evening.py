"""An evening at Kaggle on the stub: from the download to two scored submissions, the final choice and a notebook."""

import csv
import re
import shutil
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from drawn_competition import build, labels
from in_turn import in_turn
from kaggle_stub import SLUG, serving, signed_in
from small_competition import LOOKS
from toy import NAMES, tiny_backbone

from tandem.__main__ import main
from tandem.artifacts import journal
from tandem.artifacts.atomic_io import file_digest
from tandem.artifacts.paths import Paths
from tandem.inference.code_competition import submit
from tandem.stages import upload

PATHS, ROWS = Paths("birds"), 45
Y = labels(ROWS + 6)
LABELLED = int(Y[:ROWS].any(1).sum())
SETS = {f"t{i}.jpg": {name for name, there in zip(NAMES, row, strict=True) if there} for i, row in enumerate(Y[ROWS:])}
ANSWERS = {id: names for id, names in SETS.items() if names}


@pytest.fixture
def kaggle(tmp_path, monkeypatch):
    """The stub offers the small competition; the working folder has two experiments, and no data."""
    signed_in(monkeypatch, tmp_path / "home")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(upload, "POLL", 0.01)
    monkeypatch.setattr("tandem.kaggle_client.push.POLL", 0.01)
    monkeypatch.setattr("tandem.stages._run.run_in_new_process", in_turn)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with serving() as stub:
        stub.archive = zipped(build(ROWS).input)
        shutil.rmtree(tmp_path / "input")
        (PATHS.configs / "looks.toml").write_text(LOOKS.format(weights=tiny_backbone(tmp_path / "tiny.safetensors")))
        stub.limits |= {"numAllowedNow": 5, "numToday": 0, "numTotal": 0}
        yield stub


def zipped(folder: Path) -> bytes:
    """The files as Kaggle gives them: with a sample submission, without competition.toml."""
    test = [row["id"] for row in csv.DictReader((folder / "test.csv").open())]
    content = BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for file in (*folder.glob("*.csv"), *folder.glob("data/*")):
            archive.write(file, file.relative_to(folder))
        archive.writestr("sample_submission.csv", "".join(["id,labels\n", *(f"{id},cat\n" for id in test)]))
    return content.getvalue()


@pytest.fixture
def run(capfd) -> Callable[..., str]:
    """Runs a command that succeeds; what it prints."""

    def command(stage: str, *words: str) -> str:
        capfd.readouterr()
        status = main([stage, "COMP=birds", *words])
        printed = "".join(capfd.readouterr())
        assert status == 0, printed
        assert "Traceback" not in printed
        return printed

    return command


def test_an_evening_ends_with_two_scored_submissions_a_final_choice_and_a_notebook(kaggle, run, tmp_path):
    assert "metric: f1_samples, Kaggle's 'Mean F1-Score'" in run("download", f"SLUG={SLUG}")
    run("import", "SET=folds.n=3 duplicates=off")  # what the answers of import are changed by
    run("submit", "EXPS=words", "NOTE=captions alone")
    kaggle.scored = {"status": "COMPLETE", "publicScore": "0.66667"}
    assert "public score 0.66667" in run("upload", "EXP=words")
    assert [row["public"] for row in journal.read(PATHS)] == ["0.66667"]

    run("submit", "EXPS=words looks")
    kaggle.scored = {"status": "COMPLETE", "publicScore": "0.83333"}
    assert "submissions left: 3 today" in run("upload")
    first, second = journal.read(PATHS)
    assert (first["name"], first["note"], first["public"], first["submission_id"]) == (
        "words", "captions alone", "0.66667", "1000")  # fmt: skip
    assert (second["name"], second["public"], second["submission_id"]) == ("stack", "0.83333", "1001")
    assert second["changes"] == "stack instead of words; looks added"
    sent = [PATHS.submission(name) for name in ("words", "stack")]
    assert [file_digest(file) for file in sent] == [first["digest"], second["digest"]]
    assert [*kaggle.blobs.values()] == [file.read_bytes() for file in sent]
    assert len(kaggle.submissions) == 2

    listed = run("journal", "REMOTE=1")
    assert "1 words" in listed and "0.6667" in listed and "0.8333*" in listed and "elsewhere" not in listed
    scores = [float(row["score"]) for row in (first, second)]
    assert scores[0] < scores[1] == pytest.approx(LABELLED / ROWS)  # of rows without a label, F1 is 0 by any label
    compared = run("compare", "A=1", "B=2")
    assert f"A {scores[0]:.4f}, B {scores[1]:.4f}, {ROWS} rows" in compared and "B is better" in compared
    chosen = run("final")
    kept = [PATHS.kept(f"{row['digest']}.csv") for row in (second, first)]
    assert re.findall(r"^[12]\. (\S+): .*submission (\d+), ", chosen, re.MULTILINE) == [
        (str(file), id) for file, id in zip(kept, ("1001", "1000"), strict=True)
    ]
    kaggle.teams, kaggle.competition["teamCount"] = [("them", 0.9), ("us", 0.83333)], 2
    kaggle.competition["userRank"] = 2
    assert "place 2 of 2" in run("leaderboard")

    run("kernel", "OWNER=me", "PUSH=1")
    files = {file.relative_to(PATHS.kernel).as_posix() for file in PATHS.kernel.rglob("*") if file.is_file()}
    assert files > {"predict.ipynb", "kernel-metadata.json", "dataset/bundle/bundle.json", "dataset/kernel.json"}
    assert PATHS.bundle.is_file() and list(kaggle.datasets) == ["me/tandem-birds"]
    assert [one["competitionDataSources"] for one in kaggle.kernels] == [[SLUG]]
    assert labels_by(PATHS.kernel / "dataset", tmp_path / "kaggle") == ANSWERS


def labels_by(dataset: Path, root: Path) -> dict[str, set[str]]:
    """What the notebook submits for the test rows that have labels."""
    shutil.copytree(PATHS.input, root / SLUG, ignore=shutil.ignore_patterns("competition.toml"))
    submit(dataset, root, root / "submission.csv")
    rows = csv.DictReader((root / "submission.csv").open())
    return {row["id"]: set(row["labels"].split("|")) for row in rows if row["id"] in ANSWERS}
