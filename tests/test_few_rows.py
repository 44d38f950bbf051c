"""Every kind of model on one to five training rows, and on labels that none, one or all of them have."""

import numpy as np
import pytest
import torch
from test_trainer import steps_of_the_optimiser
from toy import tiny_backbone

from tandem.config.encoders import CaptionEncoder, ImageEncoder, TokenEncoder, TrunkEncoder
from tandem.config.experiments import FinetuneExperiment, FusionExperiment, HeadExperiment, TfidfExperiment
from tandem.config.training import Augment, FinetuneTraining, Fusion, FusionTraining, Head, HeadTraining, Tfidf
from tandem.explain.attribution import heat_maps
from tandem.features.image_backbone_split import Normalise
from tandem.models.base import TrainingRun
from tandem.models.fold_ensemble import FoldEnsemble
from tandem.models.fusion import FusionBatches
from tandem.models.inputs import Inputs, Maps
from tandem.models.mlp_head import HeadModel, mean_and_deviation
from tandem.models.registry import make_model

IMAGE, CAPTION, TOKENS = ImageEncoder(mirror=True), CaptionEncoder(), TokenEncoder(tune=1, max_tokens=4)
FEW = {"epochs": 2, "min_steps": 0}


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> str:
    return tiny_backbone(tmp_path_factory.mktemp("weights") / "tiny.safetensors")


def experiments(weights: str) -> dict:
    network = {"model": "test_efficientnet", "weights": weights, "size": 32}  # its last map is 1 x 1
    small = Fusion(hidden=8, rank=2)
    train = FusionTraining(**FEW, tune_from=0)
    fusion = {"kind": "fusion", "fusion": small, "train": train}
    return {
        "head": HeadExperiment(
            kind="head", image=IMAGE, caption=CAPTION, head=Head(hidden=8), train=HeadTraining(**FEW)
        ),
        "tfidf": TfidfExperiment(kind="tfidf", tfidf=Tfidf(min_rows=1)),
        "finetune": FinetuneExperiment(kind="finetune", **network, train=FinetuneTraining(**FEW)),
        "fusion": FusionExperiment(**fusion, frozen=[IMAGE], caption=CAPTION),
        "pixels": FusionExperiment(**fusion, trunk=TrunkEncoder(**network, tune=""), caption=CAPTION),
        "tokens": FusionExperiment(**fusion, frozen=[IMAGE], tokens=TOKENS),
    }


KINDS = ("head", "tfidf", "finetune", "fusion", "pixels")


def rows(n: int, experiment) -> Inputs:
    """Random features and images, and captions of few words."""
    rng = np.random.default_rng(n)
    features = {e.slug: rng.normal(size=(n, 1 + getattr(e, "mirror", False), 6)) for e in experiment.encoders}
    return Inputs(
        [str(i) for i in range(n)],
        {e.slug: features[e.slug].astype(np.float16) for e in experiment.encoders if not e.cached_map},
        {e.slug: Maps((np.zeros((n, 1, 4, 384), np.float16),)) for e in experiment.encoders if e.cached_map},
        captions=[("a cat", "the dog", "")[i % 3] for i in range(n)],
        files=list(rng.integers(0, 255, (n, 32, 32, 3), np.uint8)),
    )


def labels(n: int) -> np.ndarray:
    """A label that no row has, one that every row has, one of the first row, and one of the first two."""
    row = np.arange(n)
    return np.stack([row < 0, row >= 0, row < 1, row < 2], 1).astype(np.uint8)


@pytest.mark.parametrize(("kind", "n"), [(kind, n) for kind in KINDS for n in (1, 2, 3, 5)] + [("tokens", 1)])
def test_probabilities_are_finite_however_few_the_rows_or_positives(kind, n, weights, tmp_path):
    experiment = experiments(weights)[kind]
    model = make_model(experiment, 4)
    log = model.fit(rows(n, experiment), labels(n), TrainingRun(0))
    assert all(np.isfinite(entry["loss"]) for entry in log)
    model.save(tmp_path / "fold0.safetensors")
    new = rows(7, experiment)
    for one in (model, make_model(experiment, 4).load(tmp_path / "fold0.safetensors")):
        proba = one.predict_proba(new)
        assert proba.shape == (7, 4) and np.isfinite(proba).all() and ((proba >= 0) & (proba <= 1)).all()


def test_attention_of_few_rows_is_read_with_the_settings_that_were_declared(weights, tmp_path):
    """Few rows pool no map for each label; `run.json` holds the declared settings, which do."""
    train, network = FusionTraining(**FEW), {"model": "test_efficientnet", "weights": weights, "size": 32}
    small, trunk = Fusion(hidden=8, rank=2, how="attention"), TrunkEncoder(**network, tune="")
    declared = FusionExperiment(kind="fusion", fusion=small, train=train, trunk=trunk, tokens=TOKENS)
    model, new = make_model(declared.as_trained(5), 4), rows(7, declared)
    model.fit(rows(5, declared), labels(5), TrainingRun(0))
    model.save(tmp_path / "fold0.safetensors")
    loaded = make_model(declared, 4).load(tmp_path / "fold0.safetensors")
    np.testing.assert_allclose(loaded.predict_proba(new), model.predict_proba(new), atol=0.02)


def test_a_constant_column_is_centred_and_not_scaled():
    mean, deviation = mean_and_deviation(torch.tensor([[1.0, 1000.1], [3.0, 1000.1], [5.0, 1000.1]]))
    assert mean.tolist() == pytest.approx([3, 1000.1]) and deviation.tolist() == [2, 1]
    assert mean_and_deviation(torch.tensor([[5.0, -7.0]]))[1].tolist() == [1, 1]


def test_one_row_alone_does_not_push_other_rows_to_the_ends_of_the_scale(weights):
    """Divided by a deviation of 0.000001, every difference from the only row would be clamped to -6 or 6."""
    experiment = experiments(weights)["head"]
    model = HeadModel(experiment, 4)
    model.fit(rows(1, experiment), labels(1), TrainingRun(0))
    assert model._view(rows(7, experiment), 0).abs().max() < 6


@pytest.mark.parametrize("captions", [[""], ["", "", ""], ["a cat"]])
def test_captions_without_a_common_n_gram_are_an_error_that_says_what_to_do(captions):
    model = make_model(TfidfExperiment(kind="tfidf"), 4)
    inputs = Inputs([str(i) for i in range(len(captions))], captions=captions)
    with pytest.raises(ValueError, match=r"no n-gram in 2 or more of . captions.*; lower tfidf\.min_rows, or leave"):
        model.fit(inputs, labels(len(captions)), TrainingRun(0))


def test_single_characters_are_n_grams_too():
    model = make_model(TfidfExperiment(kind="tfidf", tfidf=Tfidf(characters=1, min_rows=1)), 4)
    model.fit(Inputs(["0", "1"], captions=["a cat", "a dog"]), labels(2), TrainingRun(0))
    assert set(model.vectorizers[1].vocabulary_) == set(" acdgot")


# ---- what all kinds of networks have in common

NETWORKS = ("head", "finetune", "fusion", "pixels")


@pytest.mark.parametrize("kind", NETWORKS)
def test_no_norm_and_no_bias_has_weight_decay(kind, weights):
    experiment, decays = experiments(weights)[kind], set()

    def record(optimiser):
        decays.update((p.ndim > 1, group["weight_decay"]) for group in optimiser.param_groups for p in group["params"])

    with steps_of_the_optimiser(record):
        make_model(experiment, 4).fit(rows(4, experiment), labels(4), TrainingRun(0))
    assert decays == {(True, experiment.train.weight_decay), (False, 0.0)}


@pytest.mark.parametrize("kind", NETWORKS)
def test_saving_leaves_the_network_where_and_as_it_is(kind, weights, tmp_path, monkeypatch):
    experiment = experiments(weights)[kind]
    model = make_model(experiment, 4)
    model.fit(rows(4, experiment), labels(4), TrainingRun(0))
    before = model.predict_proba(rows(3, experiment))
    with monkeypatch.context() as patch:
        patch.setattr(torch.nn.Module, "_apply", None)  # what cpu(), half() and to() change a module with
        model.save(tmp_path / "fold0.safetensors")
    assert (model.predict_proba(rows(3, experiment)) == before).all()


# ---- mirrored images


def mirrored(inputs: Inputs) -> Inputs:
    return Inputs(inputs.ids, inputs.features, inputs.maps, inputs.captions, [file[:, ::-1] for file in inputs.files])


def of_pixels(kind: str, weights: str, flip: bool, mirror: bool = True):
    """A network trained from pixels that draws no other change of an image."""
    augment = Augment(scale=1.0, colour=0.0, erase=0.0, flip=flip)
    experiment = experiments(weights)[kind].model_copy(update={"augment": augment})
    if kind == "pixels":
        trunk = experiment.trunk.model_copy(update={"mirror": mirror})
        experiment = experiment.model_copy(update={"trunk": trunk})
    return experiment


def test_a_frozen_encoder_of_mirrored_images_mirrors_none_for_the_network_beside_it(weights):
    experiment = of_pixels("pixels", weights, flip=False).model_copy(update={"frozen": (IMAGE,)})
    inputs = rows(3, experiment)
    batches = FusionBatches(experiment, inputs)
    first, second = batches.each_view(np.arange(3), batches.views)
    assert torch.equal(first["maps"], second["maps"]) and not torch.equal(first["frozen"], second["frozen"])


def test_the_heat_map_of_a_mirrored_image_is_mirrored(weights):
    experiment = of_pixels("pixels", weights, flip=True)
    model, inputs = make_model(experiment, 4), rows(6, experiment)
    model.fit(inputs, labels(6), TrainingRun(0))
    one = inputs.take(np.array([4]))
    ensemble = FoldEnsemble(experiment, [model])
    heat, turned = (heat_maps(ensemble, row, [2, 3], False) for row in (one, mirrored(one)))
    assert np.allclose(heat, turned[:, :, ::-1], atol=1e-5)


OFF = [("finetune", False, True), ("pixels", False, True), ("pixels", True, False)]


@pytest.mark.parametrize(("kind", "flip", "mirror"), [("finetune", True, True), ("pixels", True, True), *OFF])
def test_one_setting_decides_whether_training_and_prediction_see_mirrored_images(kind, flip, mirror, weights):
    experiment = of_pixels(kind, weights, flip, mirror)
    model, inputs = make_model(experiment, 4), rows(6, experiment)
    seen = []

    def see(module, arguments):
        if isinstance(module, Normalise):
            seen.extend(image.tobytes() for image in arguments[0].numpy())

    handle = torch.nn.modules.module.register_module_forward_pre_hook(see)
    try:
        model.fit(inputs, labels(6), TrainingRun(0))
    finally:
        handle.remove()
    mirror_images = {file[:, ::-1].tobytes() for file in inputs.files}
    views = model.predict_proba(inputs), model.predict_proba(mirrored(inputs))
    if (kind, flip, mirror) in OFF:
        assert not mirror_images & set(seen) and {file.tobytes() for file in inputs.files} <= set(seen)
        assert not np.allclose(*views, atol=1e-4)  # a left hand is not a right hand
    else:
        assert mirror_images & set(seen)
        assert np.allclose(*views, atol=1e-5)
