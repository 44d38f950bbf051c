"""Files that the graph made and that were changed since are found, and made again."""

import os
import shutil
from pathlib import Path

import pytest

from tandem.__main__ import main
from tandem.artifacts.atomic_io import read_json, write_json, write_text
from tandem.artifacts.made_files import MadeFiles
from tandem.artifacts.paths import Paths
from tandem.artifacts.predictions import Predictions
from tandem.artifacts.whole_files import DamagedFile, require_as_made
from tandem.data.split_tables import read_image_rows, read_labels
from tandem.graph.declared_stages import Graph
from tandem.graph.experiment_dir import Experiments
from tandem.graph.plan import steps

SUBMIT = ["submit", "small", "EXPS=words"]


def flip(file: Path, keep_time: bool = False) -> None:
    """Another byte in the middle."""
    data, status = bytearray(file.read_bytes()), file.stat()
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    if keep_time:
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.fixture
def made(tmp_path):
    """A record of one artifact with two files."""
    paths = Paths("toy", tmp_path)
    files = [write_text(paths.oof("a"), "predictions"), write_text(paths.run("a"), "{}")]
    record = MadeFiles(paths)
    record.keep("a out of fold", files)
    record.save()
    return paths


def why(paths: Paths) -> str:
    return MadeFiles(paths).why_changed("a out of fold")


def test_a_file_that_is_as_it_was_made_is_current_also_where_it_was_copied_or_touched(made, tmp_path):
    assert why(made) == ""
    os.utime(made.oof("a"))
    assert why(made) == "" and not MadeFiles(made).is_changed(made.oof("a"))
    shutil.copytree(tmp_path, tmp_path / "copy")
    assert why(Paths("toy", tmp_path / "copy")) == ""


def test_a_file_is_read_again_only_where_its_stamp_changed(made, monkeypatch):
    read = []
    monkeypatch.setattr("tandem.artifacts.made_files.file_digest", lambda file: read.append(file.name))
    assert why(made) == "" and read == []
    os.utime(made.run("a"))
    assert why(made) and read == ["run.json"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (flip, "oof/toy/a/oof.parquet was changed since it was made"),
        (lambda file: os.truncate(file, 3), "oof/toy/a/oof.parquet was changed since it was made"),
        (lambda file: os.truncate(file, 0), "oof/toy/a/oof.parquet was changed since it was made"),
        (os.unlink, "oof/toy/a/oof.parquet is missing"),
    ],
)
def test_a_change_is_named(made, change, reason):
    change(made.oof("a"))
    assert why(made) == reason == MadeFiles(made).why_changed_below(made.experiment("a"))
    assert MadeFiles(made).why_changed_below(made.experiment("b")) == ""


def test_a_damaged_file_is_not_recorded_as_made_until_it_is_written_again(made):
    flip(made.oof("a"))
    record = MadeFiles(made)
    assert record.why_changed("a out of fold")
    record.keep("a out of fold", [made.oof("a"), made.run("a")])
    assert record.why_changed("a out of fold")
    write_text(made.oof("a"), "others")
    record.keep("a out of fold", [made.oof("a"), made.run("a")])
    assert record.why_changed("a out of fold") == ""


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"version": 1, "artifacts": {"a": {"b": [1]}}}', "[" * 10**5])
def test_a_damaged_record_counts_as_none(made, content):
    made.made_files.write_text(content)
    flip(made.oof("a"))
    assert why(made) == ""


def test_a_change_that_keeps_size_and_time_is_found_when_the_file_is_read_and_then_by_the_graph(made):
    flip(made.oof("a"), keep_time=True)
    assert why(made) == ""
    with pytest.raises(DamagedFile, match="oof.parquet: damaged, its content is not what was written; run the same"):
        require_as_made(made.oof("a"))
    assert why(made) == "oof/toy/a/oof.parquet was changed since it was made"


def test_a_file_that_was_written_again_is_read_before_it_is_recorded(made):
    write_json(made.run("a"), {"new": 1})
    assert read_json(made.run("a")) == {"new": 1}


@pytest.mark.parametrize("content", [b'{"a": 1', b'{"a": N\xffN}', b"[" * 10**5, b"", b'{"a" 1}'])
def test_json_that_is_damaged_is_named_in_one_error(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(DamagedFile, match=r"a.json: damaged, not JSON \(.*\); delete it and run the same"):
        read_json(tmp_path / "a.json")


def planned(comp: str = "small") -> dict[str, str]:
    graph = Graph.open(Paths(comp))
    return {step.task.name: step.why for step in steps(graph, graph.goal("submit", ["words"]), ["words"])}


def swap(file: Path) -> None:
    """With the file of another fold."""
    shutil.copyfile(file.with_name(file.name.replace("fold0", "fold1")), file)


@pytest.mark.parametrize(
    ("name", "change", "task"),
    [
        ("models/small/words/fold0.safetensors", swap, "train words"),
        ("models/small/words/fold0.parquet", flip, "train words"),
        ("oof/small/words/run.json", lambda file: file.write_bytes(b'{"key": N\xffN}'), "train words"),
        ("oof/small/words/scores.json", flip, "decode words"),
        ("build/small/train.labels.parquet", lambda file: os.truncate(file, 40), "check"),
        ("submissions/small/words.csv", lambda file: os.truncate(file, 40), "submit words"),
    ],
    ids=lambda value: value.rpartition("/")[2] if isinstance(value, str) else "",
)
def test_what_was_damaged_is_made_again_and_nothing_else(submitted, name, change, task):
    whole = {file: file.read_bytes() for file in (Path(name), submitted.oof("words"), submitted.submission("words"))}
    assert planned() == {}
    change(Path(name))
    assert planned().items() >= {(task, f"{name} was changed since it was made")}
    if task in ("train words", "decode words"):
        with pytest.raises(ValueError, match=f"'words' is stale: {name} was changed since it was made|{name}: damaged"):
            Experiments(submitted)["words"].require_current()
    assert main(SUBMIT) == 0
    assert planned() == {}
    for file, content in whole.items():
        if file.suffix != ".json":
            assert file.read_bytes() == content, file


def test_predictions_that_were_changed_without_a_trace_are_not_used(submitted, capsys):
    assert main(SUBMIT) == 0  # the record knows the copied files
    flip(submitted.oof("words"), keep_time=True)
    assert planned() == {}
    with pytest.raises(DamagedFile, match=r"oof/small/words/oof.parquet: damaged, its content is not what was written"):
        Predictions.read(submitted.oof("words"))
    assert planned() == {"train words": "oof/small/words/oof.parquet was changed since it was made"}
    assert main(SUBMIT) == 0 and Predictions.read(submitted.oof("words"))


def test_a_fold_that_is_trained_with_other_settings_has_no_old_digest_meanwhile(submitted, monkeypatch):
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    write_text(Path("configs/words.toml"), 'kind = "tfidf"\nseed = 3\n')
    with monkeypatch.context() as patch:
        patch.setattr("tandem.artifacts.made_files.MadeFiles.keep", killed)
        main(SUBMIT)
    assert read_json(Path("models/small/words/fold0.json"))["key"] in str(Graph.open(submitted).fold("words", 0).key)
    assert (
        MadeFiles(submitted).why_changed("words fold 0") == "" and "words fold 0" not in MadeFiles(submitted).artifacts
    )
    assert "was changed since" not in str(planned())


def test_folds_that_are_no_more_are_not_missed(submitted):
    toml = submitted.competition.read_text().replace("n = 3", "n = 2")
    write_text(submitted.competition, toml)
    assert main(SUBMIT) == 0
    assert Experiments(submitted)["words"].why_not_current == "" and planned() == {}


def test_scores_that_were_changed_are_not_shown(submitted, capsys):
    shutil.copyfile(submitted.run("words"), submitted.scores("words"))
    capsys.readouterr()
    assert main(["scores", "small"]) == 2
    out = capsys.readouterr().out
    assert out == (
        "words is left out: oof/small/words/scores.json was changed since it was made; "
        "run: make train COMP=small EXPS=words\n"
    )


def test_another_table_in_the_place_of_labels_is_named(submitted):
    shutil.copyfile(submitted.captions("train"), submitted.labels)
    with pytest.raises(DamagedFile, match="train.labels.parquet: damaged, not a table of labels"):
        read_labels(submitted.labels)


def test_an_empty_table_without_a_record_is_named(submitted):
    submitted.made_files.unlink()
    submitted.labels.write_bytes(b"")
    with pytest.raises(DamagedFile, match="train.labels.parquet: damaged, not a parquet file"):
        _ = Graph.open(submitted).sources.labelled_rows


def test_an_empty_file_without_a_record_is_made_again(submitted):
    submitted.made_files.unlink()
    submitted.oof("words").write_bytes(b"")
    assert planned()["train words"] == f"{submitted.oof('words')} is empty"


def test_a_file_that_a_first_reader_found_damaged_is_not_read_by_the_next_one(submitted):
    flip(submitted.run("words"), keep_time=True)
    for _ in range(2):
        with pytest.raises(DamagedFile, match="run.json: damaged, its content is not what was written"):
            read_json(submitted.run("words"))


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_later_run_in_the_same_process_makes_what_was_found_damaged(submitted, split):
    assert main(SUBMIT) == 0  # the record knows the copied files
    flip(submitted.images(split), keep_time=True)
    with pytest.raises(DamagedFile, match=f"{split}.images.parquet: damaged, its content is not what was written"):
        read_image_rows(submitted.images(split))
    assert main(SUBMIT) == 0
    assert read_image_rows(submitted.images(split))["id"]


def test_another_record_in_the_place_of_a_run_is_named(submitted):
    shutil.copyfile(submitted.scores("words"), submitted.run("words"))
    with pytest.raises(DamagedFile, match="run.json: damaged, not the record of a training"):
        _ = Experiments(submitted)["words"].config


def test_a_competition_without_a_record_is_current(submitted):
    submitted.made_files.unlink()
    assert planned() == {}


def test_folds_may_be_changed_by_people(submitted):
    assert not any(name.startswith("folds/") for files in MadeFiles(submitted).artifacts.values() for name in files)
