"""A photo of the training set is labelled by the models that were not trained on it, and says so."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from checked import changed_json
from PIL import Image
from starlette.testclient import TestClient

from tandem import Labeler
from tandem.artifacts.paths import Paths
from tandem.artifacts.predictions import Predictions
from tandem.bundling.bundle_writer import write_bundle
from tandem.data.image_scan import inspect_image
from tandem.data.split_tables import read_captions, read_images, write_images
from tandem.graph.experiment_dir import ExperimentDir, Experiments
from tandem.inference.training_photos import TrainingPhotos
from tandem.stages.predict import main
from tandem.web.app import make_app
from tandem.web.service import LabelService


@pytest.fixture(scope="module", autouse=True)
def never_stale():
    """The toy is trained with made-up digests of its photos; with the true ones it would have to be trained again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ExperimentDir, "stale_reason", "")
        yield


@pytest.fixture(scope="module")
def scanned(trained, tmp_path_factory) -> Paths:
    """The trained toy with the digests that `make check` finds; the photo of row 4, in fold 1, lies twice: row 7's, in
    the same fold, has its bytes, and so has row 3's, in fold 0, those of row 5, in fold 2."""
    root = tmp_path_factory.mktemp("scanned") / "toy"
    shutil.copytree(trained.root, root)
    paths = Paths("toy", root)
    for source, copy in ((4, 7), (5, 3)):
        shutil.copyfile(paths.input / f"data/{source}.jpg", paths.input / f"data/{copy}.jpg")
    columns = read_images(paths.images("train"))
    infos = [inspect_image(paths.input / file) for file in columns["file"]]
    write_images(paths.images("train"), columns | {"sha": [i.sha for i in infos], "hash": [i.hash for i in infos]})
    return paths


@pytest.fixture(scope="module")
def labelers(scanned) -> dict[str, Labeler]:
    return {name: Labeler.of(scanned, name) for name in ("stack", "join", "looks")}


def rows_of(paths: Paths, rows: list[int]) -> tuple[list[Path], list[str]]:
    caption = dict(zip(*read_captions(paths.captions("train")), strict=True))
    return [paths.input / f"data/{i}.jpg" for i in rows], [caption[f"{i}.jpg"] for i in rows]


def probabilities(found) -> np.ndarray:
    return np.array([list(one.proba.values()) for one in found])


@pytest.mark.parametrize("name", ["stack", "join", "looks"])
def test_training_photos_get_the_out_of_fold_probabilities(scanned, labelers, name):
    rows = [0, 1, 2, 10, 23, 41]  # of all three folds
    files, captions = rows_of(scanned, rows)
    found = list(labelers[name].label(files, captions, terms=True))
    expected = Predictions.read(scanned.oof(name)).aligned_to([f"{i}.jpg" for i in rows])
    assert np.abs(probabilities(found) - expected).max() < 1e-4
    assert [(one.training.id, one.training.fold) for one in found] == [(f"{i}.jpg", i % 3) for i in rows]
    assert found[1].training.note == (
        "training photo 1.jpg (the same file): labelled by the models of fold 1, which were not trained on it"
    )
    usual = list(labelers[name].label(files, captions, held_out=False))
    assert {one.training for one in usual} == {None}
    assert not np.allclose(probabilities(usual), expected, atol=1e-3)


def test_without_its_caption_the_stack_without_captions_of_its_fold_labels_it(scanned, labelers):
    (found,) = labelers["stack"].label(rows_of(scanned, [10])[0])
    assert found.without_caption and found.training.fold == 1 and "slightly" not in found.training.note


def test_a_photo_that_was_saved_again_without_loss_is_known_by_its_pixels(scanned, labelers, tmp_path):
    (file,), captions = rows_of(scanned, [10])
    photo = Image.open(file)
    photo.save(tmp_path / "again.png")
    photo.save(tmp_path / "lossy.jpg", quality=50)
    again, lossy, array = labelers["looks"].label(
        [tmp_path / "again.png", tmp_path / "lossy.jpg", np.asarray(photo)], captions * 3
    )
    assert again.training.note.startswith("training photo 10.jpg (the same pixels): labelled by the models of fold 1")
    assert lossy.training is None and array.training == again.training


def test_copies_in_one_fold_are_held_out_together_and_those_of_several_folds_are_called_too_good(scanned, labelers):
    one, several = labelers["looks"].label(*rows_of(scanned, [7, 3]))
    assert one.training.fold == 1
    assert several.training.fold is None and "no model here was trained without it" in several.training.note


def test_a_stack_of_an_older_version_says_that_it_was_fitted_on_the_photo_too(scanned, tmp_path):
    shutil.copytree(scanned.root, tmp_path / "old")
    paths = Paths("toy", tmp_path / "old")
    for folder in paths.stack("stack").parent.glob("fold*/"):
        shutil.rmtree(folder)
    (found,) = Labeler.of(paths).label(*rows_of(paths, [10]))
    assert found.training.fold == 1 and found.training.note.endswith("so its labels look slightly better")


def test_fewer_fold_models_do_not_change_what_labels_a_training_photo(scanned, labelers):
    few = list(Labeler.of(scanned, "looks", folds=1).label(*rows_of(scanned, [0, 1])))
    assert np.allclose(probabilities(few), probabilities(labelers["looks"].label(*rows_of(scanned, [0, 1]))), atol=1e-6)


def test_a_bundle_knows_training_photos_without_their_ids_and_says_where_it_lacks_the_fold(scanned, tmp_path):
    write_bundle(Experiments(scanned)["looks"], 1, tmp_path / "bundle")
    first, second = Labeler.load(tmp_path / "bundle").label(*rows_of(scanned, [0, 1]))
    assert (first.training.id, first.training.fold) == ("", 0) and second.training.fold is None
    assert second.training.note.startswith("training photo (the same file): no model here was trained without it")
    assert b".jpg" not in (tmp_path / "bundle" / "training.safetensors").read_bytes()
    changed_json(tmp_path / "bundle" / "bundle.json", files={})  # a bundle of before has no such file
    (tmp_path / "bundle" / "training.safetensors").unlink()
    assert TrainingPhotos.of(Paths("toy", tmp_path / "bundle")).files == []


def test_serve_and_explain_use_the_models_of_the_fold(scanned, labelers):
    client = TestClient(make_app(LabelService(labelers["join"])), base_url="http://127.0.0.1")
    (file,), (caption,) = rows_of(scanned, [10])
    sent = {"photo": ("a.jpg", file.read_bytes())}
    body = client.post("/label", files=sent, data={"caption": caption}).json()
    expected = dict(zip(("cat", "sky"), Predictions.read(scanned.oof("join")).aligned_to(["10.jpg"])[0], strict=True))
    assert {row["label"]: row["proba"] for row in body["all"]} == pytest.approx(expected, abs=1e-4)
    assert body["training"]["id"] == "10.jpg" and body["training"]["fold"] == 1
    words = client.post("/explain", files=sent, data={"caption": caption, "label": "cat"}).json()["words"]
    without = client.post("/label", files=sent, data={"caption": words[0]["text"]}).json()
    terms = [sum(next(r for r in one["all"] if r["label"] == "cat")["terms"].values()) for one in (body, without)]
    assert words[-1]["effect"] == pytest.approx(terms[0] - terms[1], abs=1e-3)


def test_predict_says_how_many_are_training_photos_and_by_what_they_are_labelled(
    scanned, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(scanned.root)
    (tmp_path / "photos").mkdir()
    for i in (3, 10):
        shutil.copyfile(scanned.input / f"data/{i}.jpg", tmp_path / "photos" / f"x{i}.jpg")
    given = {"comp": "toy", "bundle": None, "images": tmp_path / "photos", "captions": None, "exp": "looks"}
    assert main(SimpleNamespace(**given, out=str(tmp_path / "out.jsonl"), fast=False, folds=0)) == 0
    said = capsys.readouterr().err
    assert "2 of 2 are training photos:\n  1 labelled by the models of the fold that was not trained on them" in said
    assert "  1 by models that were trained on them: these labels look too good" in said
    found = [json.loads(line)["training"] for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [one["fold"] for one in found] == [1, None]  # x10.jpg, x3.jpg
