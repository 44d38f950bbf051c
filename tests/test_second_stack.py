"""A stack with external members labels new images by a second stack, fitted without them."""

import shutil
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import toy
from checked import run_tasks
from test_labeler import pipeline_rows, probabilities

from tandem import Labeler
from tandem.__main__ import main
from tandem.artifacts.atomic_io import read_json
from tandem.artifacts.contributions import NO_EXTERNAL, read_contributions
from tandem.artifacts.paths import Paths
from tandem.artifacts.predictions import Predictions
from tandem.bundling.bundle_writer import write_bundle
from tandem.bundling.choose import select_ensemble
from tandem.bundling.ensemble_choice import Cost
from tandem.ensemble import fit_stack
from tandem.ensemble.stacking import load_stack
from tandem.graph.experiment_dir import Experiments
from tandem.inference.bundle_reader import open_bundle
from tandem.logits import sigmoid
from tandem.stages import predict
from tandem.web.service import LabelService

MEMBERS = [*toy.MEMBERS, "notebook"]


def stack(paths: Paths, *members: str) -> None:
    """As toy.make does: the learned stack is kept."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit_stack, "choose", toy.keep_learned)
        run_tasks(paths, "stack", "decode stack", members=members)


def add(paths: Paths, name: str, source: str) -> None:
    """Copies of our predictions as if they were made elsewhere, their folds unknown."""
    for copy, own in ((paths.external_oof(name), paths.oof(source)), (paths.external_test(name), paths.test(source))):
        found = Predictions.read(own)
        Predictions(found.ids, found.names, found.proba**1.1).write(copy)
    run_tasks(paths, f"train {name}", f"decode {name}")


@pytest.fixture(scope="module")
def stacked(trained, tmp_path_factory) -> Paths:
    """The toy with the external member `notebook`, stacked; not to be changed."""
    root = tmp_path_factory.mktemp("second") / "copy"
    shutil.copytree(trained.root, root)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setenv("TANDEM_THREADS", "1")
        paths = Paths("toy")
        add(paths, "notebook", "join")
        stack(paths, *MEMBERS)
    return Paths("toy", root)


@pytest.fixture
def copied(stacked, tmp_path, monkeypatch) -> Paths:
    shutil.copytree(stacked.root, tmp_path / "copied")
    monkeypatch.chdir(tmp_path / "copied")
    return Paths("toy")


def test_both_scores_are_kept_and_said(stacked):
    one = Experiments(stacked)["stack"]
    scores = one.scores
    second = scores["without"]["external"]["score"]
    assert one.about_new_images == (
        f"stack {scores['score']:.4f}; new images are labelled by the stack without notebook: {second:.4f}"
    )
    assert (one.unable, one.marks) == (["notebook"], ("other folds",))
    assert one.why_not_current == ""


def test_the_second_stack_is_the_stack_of_the_other_members(trained, stacked, copied):
    stack(copied, *toy.MEMBERS)
    alone = read_json(copied.scores("stack"))
    both = read_json(stacked.scores("stack"))["without"]["external"]
    assert {key: both[key] for key in ("score", "log_loss", "map")} == pytest.approx(
        {key: alone[key] for key in ("score", "log_loss", "map")}, abs=1e-6
    )
    terms = next(t for setting, _, t in read_contributions(stacked.contributions("stack")) if setting == NO_EXTERNAL)
    assert np.abs(sigmoid(terms.sum(-1)) - Predictions.read(copied.oof("stack")).proba).max() < 1e-5
    assert not copied.no_external_stack("stack").exists() and not read_json(copied.run("stack"))["external"]


def test_new_images_are_labelled_as_the_stack_of_the_other_members_labels_them(stacked, copied):
    stack(copied, *toy.MEMBERS)
    labeler, expected = Labeler.of(stacked), Labeler.of(copied)
    files, captions = pipeline_rows(stacked)
    captions[0] = ""
    found, wanted = (list(one.label(files, captions)) for one in (labeler, expected))
    assert [member.name for member in labeler.predictor.members] == toy.MEMBERS
    assert np.abs(probabilities(found) - probabilities(wanted)).max() < 1e-5
    assert [one.labels for one in found] == [one.labels for one in wanted]
    assert "without notebook" in labeler.note and expected.note == ""
    assert LabelService(labeler).about["note"] == labeler.note


def test_predict_says_which_stack_labels(copied, tmp_path, capsys):
    args = {"comp": "toy", "exp": "stack", "fast": False, "decoder": "", "folds": 0, "bundle": None, "captions": None}
    predict.main(Namespace(**args, images=copied.input / "data", out=str(tmp_path / "out.csv")))
    assert "new images are labelled by the stack without notebook" in capsys.readouterr().err


def test_a_bundle_holds_the_second_stack_and_its_score(stacked, tmp_path, monkeypatch):
    monkeypatch.chdir(stacked.root)
    paths = Paths("toy")
    manifest = write_bundle(Experiments(paths)["stack"], 0, tmp_path / "bundle")
    second = read_json(paths.scores("stack"))["without"]["external"]["score"]
    assert manifest["members"] == toy.MEMBERS and manifest["score"]["cross_fitted"] == second
    packed, source = Labeler.of(*open_bundle(tmp_path / "bundle")), Labeler.of(paths)
    rows = pipeline_rows(paths)
    assert np.abs(probabilities(packed.label(*rows)) - probabilities(source.label(*rows))).max() < 0.01
    assert packed.note == source.note


def test_the_ensemble_to_bundle_is_chosen_among_what_can_label_new_images(stacked, monkeypatch):
    monkeypatch.chdir(stacked.root)
    _, choices, left_out = select_ensemble(Experiments(Paths("toy")), Cost(1000, float("inf")))
    assert not any("notebook" in choice.members for choice in choices)
    assert any(choice.kind == "stack" for choice in choices)
    assert (
        "left out: notebook, which can't label new images: it is external, only its predictions are known" in left_out
    )


def test_what_has_no_models_says_so_and_stops(copied, capsys):
    with pytest.raises(ValueError, match="'notebook' can't label new images: it is external"):
        Labeler.of(copied, "notebook")
    assert main(["bundle", "toy", "--exp", "notebook"]) == 2
    assert main(["explain", "toy", "--id", "0.jpg", "--exp", "notebook"]) == 2
    assert "there are: join looks words" in capsys.readouterr().err
    add(copied, "second", "words")
    stack(copied, "notebook", "second")
    with pytest.raises(ValueError, match="all members of 'stack' are external: it can't"):
        Labeler.of(copied)
    assert not copied.no_external_stack("stack").exists()


def test_an_explanation_of_a_row_shows_the_whole_stack_and_says_what_labels_new_images(copied, capsys):
    assert main(["explain", "toy", "--id", "0.jpg"]) == 0
    assert "new images are labelled by the stack without notebook" in capsys.readouterr().out


def test_a_row_without_a_caption_is_predicted_without_external_members(stacked):
    assert Path(stacked.no_caption_stack("stack")).exists()
    assert Experiments(stacked)["notebook"].captioned("train", ["0.jpg"]).all()


def test_a_bundle_of_a_stack_that_uses_a_caption_model_alone_has_its_member_that_needs_no_caption(copied, tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit_stack, "choose", lambda losses, group: (next(iter(losses)), {}))  # the best member alone
        run_tasks(copied, "stack", "decode stack", members=("looks", "words"))
    assert load_stack(copied, "stack")[1] == ["words"]
    assert main(["bundle", "toy", "--exp", "stack"]) == 0
    packed, source = Labeler.load(copied.bundle), Labeler.of(copied)
    photo = pipeline_rows(copied)[0][:1]
    (found,), (expected,) = packed.label(photo), source.label(photo)
    assert found.without_caption and np.abs(probabilities([found]) - probabilities([expected])).max() < 0.01


def test_a_bundle_without_a_model_for_missing_captions_says_so(copied):
    assert main(["bundle", "toy", "--exp", "words"]) == 0
    with pytest.raises(ValueError, match="every experiment in this bundle needs one; caption every image$"):
        Labeler.load(copied.bundle).label(pipeline_rows(copied)[0][:1])
