"""The terms of a stack: each member's own split, carried through all levels; their sum is the logit."""

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file, save_file

from tandem import Labeler
from tandem.artifacts.atomic_io import read_json
from tandem.artifacts.contributions import BOTH, TERMS, read_contributions, stream_contributions, write_contributions
from tandem.artifacts.predictions import Predictions
from tandem.config.encoders import CaptionEncoder, ImageEncoder
from tandem.config.experiments import FinetuneExperiment, FusionExperiment, HeadExperiment, TfidfExperiment
from tandem.config.training import Head, HeadTraining
from tandem.data.split_tables import read_captions, read_images
from tandem.ensemble.fit_stack import LEARNED, MEAN, WEIGHTED, fit_no_caption_stack, fit_stack
from tandem.ensemble.left_out import agreement, agreement_lines
from tandem.ensemble.member_terms import cross_fitted_terms, fit_split, share_out, single_term, stack_terms
from tandem.ensemble.stacking import StackInputs, TermSplit, fixed_stack, read_stack, write_stack
from tandem.logits import logit, sigmoid
from tandem.models.base import TrainingRun
from tandem.models.fold_ensemble import FoldEnsemble
from tandem.models.inputs import Inputs
from tandem.models.mlp_head import HeadModel

IMAGE, CAPTION = ImageEncoder(), CaptionEncoder()
IDX = {term: i for i, term in enumerate(TERMS)}
N, C = 400, 3
FOLD = np.arange(N) % 4


# ---- a head on image and caption features


@pytest.fixture(scope="module")
def joined() -> tuple[HeadModel, Inputs]:
    """Labels: in the image, in the caption, and in both at once."""
    rng = np.random.default_rng(0)
    image, caption = (rng.normal(1, 2, (300, 1, 4)).astype(np.float16) for _ in range(2))
    i, c = image[:, 0, 0] > 1, caption[:, 0, 0] > 1
    y = np.stack([i, c, i == c], 1).astype(np.uint8)
    inputs = Inputs([str(k) for k in range(300)], {IMAGE.slug: image.repeat(2, 1), CAPTION.slug: caption})
    train = HeadTraining(epochs=30, min_steps=0, batch=32, lr=1e-2, bfloat16=False)
    small = Head(hidden=16, dropout=0.0, input_dropout=0.0)
    model = HeadModel(HeadExperiment(kind="head", image=IMAGE, caption=CAPTION, head=small, train=train), 3)
    model.fit(inputs, y, TrainingRun(0))
    return model, inputs


def test_the_terms_of_a_head_add_up_to_its_logit(joined):
    model, inputs = joined
    terms = model.predict_terms(inputs)[BOTH]
    assert np.abs(sigmoid(terms.sum(-1)) - model.predict_proba(inputs)).max() < 1e-12
    assert not terms[:, :, [IDX["joint"], IDX["context"]]].any()
    assert np.ptp(terms[:, :, IDX["base"]], axis=0).max() == 0


def test_each_term_is_what_the_head_predicts_with_the_other_modality_at_its_training_mean(joined):
    model, inputs = joined
    mean = model.mean.numpy()[4:].astype(np.float32)
    at_mean = {**inputs.features, CAPTION.slug: np.broadcast_to(mean, (300, 1, 4))}
    alone = logit(model.predict_proba(Inputs(inputs.ids, at_mean)))
    terms = model.predict_terms(inputs)[BOTH]
    assert np.allclose(terms[:, :, IDX["image"]] + terms[:, :, IDX["base"]], alone, atol=1e-4)


def test_a_head_names_the_modality_that_a_label_is_in(joined):
    model, inputs = joined
    sizes = np.abs(model.predict_terms(inputs)[BOTH]).mean(0)
    assert [TERMS[j] for j in sizes[:, :4].argmax(1)] == ["image", "caption", "fusion"]


def test_the_logits_of_an_ensemble_of_heads_do_not_depend_on_their_terms(joined):
    model, inputs = joined
    ensemble = FoldEnsemble(model.cfg, [model])
    assert np.array_equal(ensemble.logits(inputs), logit(model.predict_proba(inputs)))
    assert np.allclose(ensemble.terms(inputs)[BOTH].sum(-1), ensemble.logits(inputs), atol=1e-9)


# ---- the part of a member


def test_what_a_member_can_not_split_belongs_to_its_one_modality_or_is_joint():
    head = HeadExperiment(kind="head", image=IMAGE, caption=CAPTION)
    fusion = FusionExperiment(kind="fusion", frozen=[IMAGE], caption=CAPTION)
    assert single_term(FinetuneExperiment(kind="finetune")) == "image"
    assert single_term(TfidfExperiment(kind="tfidf")) == "caption"
    assert single_term(FusionExperiment(kind="fusion", frozen=[IMAGE])) == "image"
    assert single_term(head) == single_term(fusion) == ""


def test_a_part_that_is_not_linear_is_shared_by_absolute_size_and_keeps_its_sum():
    centred = np.array([[[3.0, -1.0, 0, 0, 0, 0]]])
    (terms,) = share_out(np.array([[2.5]]), centred, np.array([1.0]))[0]
    assert terms.tolist() == [3.375, -0.875, 0, 0, 0, 0]  # 2.5 = 1 x (3 - 1) + 0.5, of which 3/4 and 1/4
    (none,) = share_out(np.array([[2.5]]), 0 * centred, np.array([1.0]))[0]
    assert none.tolist() == [0, 0, 0, 2.5, 0, 0]


# ---- all forms of a stack


@pytest.fixture(scope="module")
def simulated() -> tuple[dict[str, np.ndarray], np.ndarray, list]:
    """(probabilities, y, sources) of an image model, a caption model, and one on both, with terms that often cancel."""
    rng = np.random.default_rng(0)
    y = (rng.random((N, C)) < [0.6, 0.4, 0.3]).astype(np.uint8)
    seen = {k: 0.7 * (2.0 * y - 1) + rng.normal(size=(N, C)) for k in ("photo", "text")}
    terms = np.zeros((N, C, len(TERMS)), np.float32)
    terms[:, :, IDX["image"]], terms[:, :, IDX["caption"]] = 0.5 * (2.0 * y - 1) + rng.normal(size=(2, N, C))
    terms[:, :, IDX["caption"]] -= 1
    terms[:, :, IDX["fusion"]], terms[:, :, IDX["base"]] = rng.normal(size=(N, C)), -0.5
    halves = [(np.arange(0, N, 2), terms[::2]), (np.arange(1, N, 2), terms[1::2])]
    probas = {k: sigmoid(v) for k, v in (seen | {"both": terms.sum(-1)}).items()}
    return probas, y, ["image", "caption", halves]


FORMS = [(LEARNED, 40), (LEARNED, 1), (WEIGHTED, 40), (MEAN, 40), ("both", 40)]


@pytest.mark.parametrize(("kept", "many"), FORMS, ids=["boosted trees", "many labels", "weighted", "mean", "one"])
def test_the_terms_of_every_form_of_stack_add_up_to_its_logit_in_and_out_of_fold(simulated, kept, many, monkeypatch):
    probas, y, sources = simulated
    monkeypatch.setattr("tandem.ensemble.second_level_fit.MANY_LABELS", many)
    monkeypatch.setattr("tandem.ensemble.fit_stack._choose_of", lambda *_: (kept, {}, {}))
    fitted = fit_stack(probas, None, y, FOLD, 0, 1)
    assert fitted.summary["kept"] == kept
    terms = cross_fitted_terms(fitted.contributions, fitted.inputs, fitted.fold, sources)
    assert np.allclose(terms.sum(-1), logit(fitted.proba, 1e-12), atol=1e-4)
    split = fit_split(fitted.stack, fitted.inputs, sources)
    whole = stack_terms(fitted.stack.contributions(fitted.inputs), sources, split)
    assert np.allclose(whole.sum(-1), logit(fitted.stack.predict_proba(fitted.inputs), 1e-12), atol=1e-4)
    assert not terms[:, :, IDX["joint"]].any() and np.abs(terms[:, :, IDX["fusion"]]).mean() > 0.01
    assert (kept == LEARNED) == bool(terms[:, :, IDX["context"]].any())


def test_in_a_weighted_mean_the_terms_of_a_member_are_scaled_by_its_weight(simulated):
    probas, _, sources = simulated
    inputs, terms = StackInputs.of(list(probas.values()), None), np.zeros((N, C, len(TERMS)), np.float32)
    for rows, part in sources[2]:
        terms[rows] = part
    stack = fixed_stack(np.array([0.25, 0.0, 0.75]), C, inputs)
    found = stack_terms(stack.contributions(inputs), sources, fit_split(stack, inputs, sources))
    expected = 0.75 * (terms - terms.mean(0))
    expected[:, :, IDX["image"]] += 0.25 * (inputs.logits[:, 0] - inputs.logits[:, 0].mean(0))
    exact = (np.abs(terms.sum(-1)) < 9).all(1)  # elsewhere the stack clips the member's logit
    assert exact.mean() > 0.9 and np.allclose(found[exact][:, :, :4], expected[exact][:, :, :4], atol=0.01)


def test_a_stack_without_captions_has_the_image_alone(simulated):
    probas, y, _ = simulated
    _, contributions = fit_no_caption_stack({0: probas["photo"], 2: probas["both"]}, y, FOLD, seed=0)
    terms = stack_terms(contributions, ["image", "image"], None)
    assert np.allclose(terms.sum(-1), contributions.sum(-1), atol=1e-5)
    assert set(np.flatnonzero(np.abs(terms).max((0, 1)))) == {IDX["image"], IDX["base"]}


def test_a_stack_of_an_older_version_has_no_split_and_calls_such_members_joint(simulated, tmp_path):
    probas, _, sources = simulated
    inputs = StackInputs.of(list(probas.values()), None)
    split = TermSplit(np.full((3, C, 6), 0.5, np.float32), np.full((3, C), 0.3, np.float32))
    stack = fixed_stack(np.array([0.2, 0.2, 0.6]), C, inputs)
    write_stack(tmp_path, type(stack)(**{**vars(stack), "split": split}))
    assert np.array_equal(read_stack(tmp_path).split.means, split.means)
    tensors = load_file(tmp_path / "stack.safetensors")
    save_file({k: t for k, t in tensors.items() if not k.startswith("term_")}, tmp_path / "stack.safetensors")
    old = read_stack(tmp_path)
    terms = stack_terms(old.contributions(inputs), sources, old.split)
    assert np.allclose(terms.sum(-1), inputs.logits.swapaxes(1, 2) @ [0.2, 0.2, 0.6], atol=1e-4)
    assert terms[:, :, IDX["joint"]].any() and not terms[:, :, IDX["fusion"]].any()


# ---- files


def test_contributions_are_read_some_rows_at_a_time_and_files_without_a_joint_column_too(tmp_path, monkeypatch):
    terms = np.arange(5 * 3 * len(TERMS), dtype=np.float32).reshape(5, 3, len(TERMS))
    terms[:, :, IDX["joint"]] = 0
    path, ids = tmp_path / "contributions.parquet", list("abcde")
    write_contributions(path, ("x", "y", "z"), [("test", ids, -terms), ("train", ids, terms)])
    table = pd.read_parquet(path)
    assert list(table.columns) == ["split", "id", "label", *TERMS, "logit"]
    table.drop(columns="joint").to_parquet(path)
    monkeypatch.setattr("tandem.artifacts.contributions.CELLS", 4)  # rows of the file: never whole images
    chunks = list(stream_contributions(path, "train", 3))
    assert len(chunks) > 2 and [id for own, _ in chunks for id in own] == ids
    assert np.concatenate([part for _, part in chunks]).tolist() == terms.tolist()
    assert {split: part.tolist() for split, _, part in read_contributions(path)}["train"] == terms.tolist()


# ---- the trained toy


def test_new_images_get_the_terms_of_the_test_rows(trained):
    parts = {split: (ids, terms) for split, ids, terms in read_contributions(trained.contributions("stack"))}
    files = [trained.input / file for file in read_images(trained.images("test"))["file"]]
    captions = read_captions(trained.captions("test"))[1]
    found = list(Labeler.of(trained).label(files, captions, terms=True))
    values = np.array([[list(terms.values()) for terms in one.terms.values()] for one in found])
    assert np.abs(values - parts["test"][1]).max() < 1e-3
    assert np.abs(values[:, :, IDX["fusion"]]).max() > 0 and not values[:, :, IDX["joint"]].any()
    assert np.allclose(sigmoid(parts["train"][1].sum(-1)), Predictions.read(trained.oof("stack")).proba, atol=1e-4)


def test_the_stack_keeps_how_its_terms_agree_with_leaving_out_a_modality(trained):
    found = read_json(trained.run("stack"))["left_out"]
    assert set(found) == {"captions", "photos"} and set(found["captions"]) == {"cat", "sky"}
    assert found["captions"]["cat"] > 0.5 and found["photos"]["sky"] > 0.5


def test_terms_that_are_the_change_of_the_logit_agree_fully_and_the_median_is_printed():
    terms = np.random.default_rng(0).normal(size=(50, 2, len(TERMS)))
    without = terms.sum(-1) - terms[:, :, IDX["caption"]]
    found = agreement(["cat", "dog"], terms, {"captions": without, "photos": None})
    assert found == {"captions": {"cat": 1.0, "dog": 1.0}}
    (line,) = agreement_lines(found)
    assert "the caption term against the change of the logit without captions" in line
    assert "median 1.00; cat 1.00, dog 1.00" in line


def test_a_head_on_both_keeps_its_terms_and_is_no_network_that_can_do_without_captions():
    head = HeadExperiment(kind="head", image=IMAGE, caption=CAPTION)
    assert head.has_terms and head.needs_captions and not head.explains
    assert not HeadExperiment(kind="head", image=IMAGE).has_terms
