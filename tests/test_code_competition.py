"""The submission that the notebook of make kernel writes: without images, and with captions in files of their own."""

import csv
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
import toy
from in_turn import in_turn

from tandem.__main__ import main
from tandem.artifacts.atomic_io import csv_text, write_text
from tandem.artifacts.paths import Paths
from tandem.bundling.bundle_writer import write_bundle, write_zip
from tandem.config.competition import load_competition
from tandem.graph.experiment_dir import Experiments
from tandem.inference import code_competition
from tandem.inference.code_competition import submit

N = 40
ANIMALS = ("cat", "dog")


def animals(i: int) -> list[str]:
    """One or both."""
    return [name for j, name in enumerate(ANIMALS) if (i % 3 + 1) >> j & 1]


def remark(i: int) -> str:
    return f"remark {i} of a {' and a '.join(animals(i))}"


def dataset(paths: Paths, experiment: str) -> Path:
    """Trains it on texts alone, and runs make kernel with its bundle."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TANDEM_THREADS", "1")
        patch.setattr("tandem.stages._run.run_in_new_process", in_turn)
        assert main(["submit", paths.comp, f"EXPS={experiment}"]) == 0
        write_bundle(Experiments(paths)[experiment], 0, paths.root / "bundle")
        write_zip(paths.root / "bundle", paths.root / "bundle.zip")
        assert main(["kernel", paths.comp, "BUNDLE=bundle.zip", "SLUG=remarks", "OWNER=me"]) == 0
    return paths.kernel / "dataset"


def submitted(dataset: Path, root: Path) -> tuple[dict[str, set[str]], list[str]]:
    """({id: labels}, what is printed) of the competition in the folder `root`."""
    said: list[str] = []
    submit(dataset, root, root / "submission.csv", said.append)
    rows = csv.DictReader((root / "submission.csv").open())
    return {row["id"]: set(row["labels"].split()) for row in rows}, said


def test_texts_without_images_are_labelled_and_an_empty_one_gets_the_most_common_labels(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [[f"r{i}", remark(i), " ".join(animals(i))] for i in range(N)]
    write_text(tmp_path / "files" / "train.csv", csv_text(["id", "text", "labels"], *rows))
    write_text(tmp_path / "files" / "test.csv", csv_text(["id", "text"], ["r40", remark(40)]))
    assert main(["import", "remarks", "DIR=files"]) == 0
    assert load_competition(Paths("remarks").competition).images is None
    made, root = dataset(Paths("remarks"), "text_tfidf"), tmp_path / "kaggle"
    hidden = [["r50", remark(0)], ["r51", ""], ["r52", "a dog"], ["r53", remark(2)]]
    write_text(root / "remarks" / "test.csv", csv_text(["id", "text"], *hidden))
    ticks = iter([100.0, 102.0])
    monkeypatch.setattr(code_competition.time, "perf_counter", lambda: next(ticks))
    found, said = submitted(made, root)
    assert {id: found[id] for id in ("r50", "r52", "r53")} == {"r50": {"cat"}, "r52": {"dog"}, "r53": {"cat", "dog"}}
    assert list(found) == ["r50", "r51", "r52", "r53"] and found["r51"]
    assert said[1].endswith("4 rows, valid against test.csv; 500.0 s per 1,000 rows")
    assert said[3] == "  'r51': the caption is empty; by the most common labels"


def test_captions_in_files_of_their_own_are_joined_to_the_hidden_images(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = tmp_path / "files"

    def annotate(file: Path, texts: dict[str, Sequence[str]]) -> None:
        images = [{"id": number, "file_name": name} for number, name in enumerate(texts)]
        notes = [{"image_id": one["id"], "caption": text} for one in images for text in texts[one["file_name"]]]
        write_text(file, json.dumps({"images": images, "annotations": notes}))

    ids = [f"{i}.jpg" for i in range(N + 4)]
    for i, id in enumerate(ids):
        toy.draw(files / "images" / id, bool(i % 2), i)
    write_text(files / "train.csv", csv_text(["id", "labels"], *([ids[i], " ".join(animals(i))] for i in range(N))))
    write_text(files / "test.csv", csv_text(["id"], *([id] for id in ids[N:])))
    annotate(files / "captions.json", {id: ["a photo", remark(i)] for i, id in enumerate(ids)})
    assert main(["import", "remarks", "DIR=files", "SET=duplicates=off"]) == 0
    assert load_competition(Paths("remarks").competition).captions == "captions.json"
    made, folder = dataset(Paths("remarks"), "text_tfidf"), tmp_path / "kaggle" / "remarks"
    shutil.copytree(files, folder)
    hidden = {"80.jpg": ["a photo", remark(0)], "81.jpg": [], "82.jpg": [remark(1)], "missing.jpg": [remark(2)]}
    write_text(folder / "test.csv", csv_text(["id"], *([id] for id in hidden)))
    annotate(folder / "captions.json", {id: [remark(i)] for i, id in enumerate(ids[:N])} | hidden)
    for id in list(hidden)[:3]:
        toy.draw(folder / "images" / id, False, 7)
    found, said = submitted(made, tmp_path / "kaggle")
    assert found.pop("81.jpg") and found == {"80.jpg": {"cat"}, "82.jpg": {"dog"}, "missing.jpg": {"cat", "dog"}}
    assert said[3:] == [
        "  '81.jpg': no caption, and every model needs one; by the most common labels",
        "  'missing.jpg': missing: does not exist; by the caption alone, by text_tfidf",
    ]
