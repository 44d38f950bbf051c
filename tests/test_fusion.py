"""The fusion network on small problems with a known answer.

Two labels depend on the image, one on the caption, one on both.
"""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from tandem.artifacts.contributions import BOTH, NO_CAPTION, NO_IMAGE, TERMS
from tandem.config.encoders import CaptionEncoder, ImageEncoder, TokenEncoder, TrunkEncoder
from tandem.config.experiments import FusionExperiment
from tandem.config.training import Fusion, FusionTraining
from tandem.features import image_backbone_split as trunk
from tandem.features import image_encoder
from tandem.features import text_backbone_split as token_split
from tandem.features import text_encoder as token_encoder
from tandem.features.int8 import pack, unpack
from tandem.models.base import TrainingRun
from tandem.models.fusion import FusionModel
from tandem.models.fusion_network import FusionNetwork, LabelPooling, Outputs, Trunks, fusion_loss
from tandem.models.inputs import Inputs, Maps
from tandem.runtime import torch_setup as runtime

IMAGE, CAPTION, INTERACTION, BASE = (TERMS.index(t) for t in ("image", "caption", "fusion", "base"))
SMALL = {"hidden": 16, "rank": 4, "dropout": 0.0, "input_dropout": 0.0}
TRAIN = {"epochs": 12, "min_steps": 0, "batch": 32, "lr": 1e-2, "weight_decay": 0.0, "bfloat16": False}
IMAGES, CAPTIONS = ImageEncoder(), CaptionEncoder()
STILL = {"backbone_lr": 0.0, "caption_lr": 0.0}


@pytest.fixture(autouse=True)
def one_thread_and_full_precision(monkeypatch):
    monkeypatch.setenv("TANDEM_THREADS", "1")
    torch.set_num_threads(1)
    monkeypatch.setattr(runtime, "has_bfloat16", lambda kind: False)


def experiment(fusion=None, train=None, **parts) -> FusionExperiment:
    if not parts:
        parts = {"frozen": [IMAGES], "caption": CAPTIONS}
    fusion, train = Fusion(**SMALL | (fusion or {})), FusionTraining(**TRAIN | (train or {}))
    return FusionExperiment(kind="fusion", fusion=fusion, train=train, **parts)


def ids(n: int) -> list[str]:
    return [str(i) for i in range(n)]


def toy(n: int = 400) -> tuple[Inputs, np.ndarray]:
    """Labels: two image features positive, one caption feature, and one of each with the same sign."""
    x = np.random.default_rng(0).normal(size=(n, 1, 8)).astype(np.float16)
    image, caption = x[:, :, :4], x[:, :, 4:]
    y = np.stack(
        [image[:, 0, 0] > 0, image[:, 0, 1] > 0, caption[:, 0, 0] > 0, (image[:, 0, 2] > 0) == (caption[:, 0, 1] > 0)],
        1,
    )
    return Inputs(ids(n), {IMAGES.slug: image, CAPTIONS.slug: caption}), y.astype(np.uint8)


def without(inputs: Inputs, slug: str) -> Inputs:
    """The same rows with the features of one encoder in reverse order."""
    return replace(inputs, features={**inputs.features, slug: inputs.features[slug][::-1]})


@pytest.fixture(scope="module")
def learned() -> tuple[FusionModel, Inputs, np.ndarray]:
    torch.set_num_threads(1)
    inputs, y = toy()
    model = FusionModel(experiment({"modality_dropout": 0.5}, {"epochs": 40}), 4)
    model.fit(inputs, y, TrainingRun(0))
    return model, inputs, y


def test_it_learns_labels_of_the_image_of_the_caption_and_of_both(learned):
    model, inputs, y = learned
    assert (((model.predict_proba(inputs) > 0.5) == y).mean(0) > [0.95, 0.95, 0.95, 0.85]).all()


def test_an_untrained_network_predicts_the_rate_of_each_label():
    inputs, _ = toy()
    y = np.zeros((400, 4), np.uint8)
    y[:100, 0], y[:300, 1], y[:1, 2] = 1, 1, 1
    model = FusionModel(experiment(train={"epochs": 1, "lr": 1e-9}), 4)
    (entry,) = model.fit(inputs, y, TrainingRun(0))
    expected = [(n + 0.5) / 401 for n in (100, 300, 1, 0)]
    assert (1 / (1 + np.exp(-model.network.bias.detach().numpy()))).tolist() == pytest.approx(expected, rel=1e-3)
    # where all rows get label 1: 200 have it alone, 99 label 0 too, one has three labels, 100 none
    assert entry["f1"] == pytest.approx((200 + 99 * 2 / 3 + 1 * 2 / 4) / 400, abs=0.1)


def test_the_largest_term_is_that_of_the_modality_a_label_depends_on(learned):
    model, inputs, _ = learned
    share = np.abs(model.predict_terms(inputs)[BOTH]).mean(0)
    assert share[0, IMAGE] > 3 * share[0, CAPTION]
    assert share[2, CAPTION] > 3 * share[2, IMAGE]
    assert share[3, INTERACTION] > share[0, INTERACTION]


@pytest.mark.parametrize("how", ["gated", "concat", "film"])
def test_terms_add_up_to_the_logit_and_are_0_on_average(how):
    inputs, y = toy(100)
    model = FusionModel(experiment({"how": how}, {"epochs": 2}), 4)
    model.fit(inputs, y, TrainingRun(0))
    terms = model.predict_terms(inputs)[BOTH]
    assert np.allclose(1 / (1 + np.exp(-terms.sum(-1))), model.predict_proba(inputs), atol=1e-6)
    assert np.abs(terms[:, :, :BASE].mean(0)).max() < 1e-4
    assert (terms[0, :, BASE] == terms[1, :, BASE]).all()


@pytest.mark.parametrize(("setting", "missing"), [(NO_IMAGE, IMAGES.slug), (NO_CAPTION, CAPTIONS.slug)])
def test_a_missing_modality_has_no_influence_and_the_other_one_suffices_for_its_labels(learned, setting, missing):
    model, inputs, y = learned
    terms = model.predict_terms(inputs)[setting]
    assert (terms == model.predict_terms(without(inputs, missing))[setting]).all()
    right = ((terms.sum(-1) > 0) == y).mean(0)
    known = [2] if setting == NO_IMAGE else [0, 1]
    assert (right[known] > 0.9).all()


def test_it_survives_saving(learned, tmp_path):
    model, inputs, _ = learned
    model.save(tmp_path / "m.safetensors")
    back = FusionModel(model.cfg, 4).load(tmp_path / "m.safetensors")
    assert np.abs(back.predict_proba(inputs) - model.predict_proba(inputs)).max() < 0.01


def test_the_same_seed_gives_the_same_file_and_another_seed_another(tmp_path):
    inputs, y = toy(100)

    def file(seed: int) -> bytes:
        model = FusionModel(experiment(train={"epochs": 2}), 4)
        model.fit(inputs, y, TrainingRun(seed))
        model.save(tmp_path / "m.safetensors")
        return (tmp_path / "m.safetensors").read_bytes()

    first = file(1)
    torch.rand(3)
    assert file(1) == first != file(2)


def test_a_killed_fold_ends_in_the_same_predictions(tmp_path):
    inputs, y = toy(100)
    cfg = experiment({"dropout": 0.3}, {"epochs": 3})
    straight = FusionModel(cfg, 4)
    straight.fit(inputs, y, TrainingRun(0))

    def die(entry: dict) -> None:
        if entry["epoch"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        hours = itertools.count(0, 3600)
        FusionModel(cfg, 4).fit(inputs, y, TrainingRun(0, tmp_path / "c", die, clock=lambda: next(hours)))
    resumed, epochs = FusionModel(cfg, 4), []
    log = resumed.fit(inputs, y, TrainingRun(0, tmp_path / "c", lambda entry: epochs.append(entry["epoch"])))
    assert epochs == [2, 3] and [entry["epoch"] for entry in log] == [1, 2, 3]
    assert (resumed.predict_proba(inputs) == straight.predict_proba(inputs)).all()


@pytest.mark.parametrize(("part", "term"), [("frozen", IMAGE), ("caption", CAPTION)])
def test_with_one_modality_the_whole_logit_is_its_term(part, term):
    inputs, y = toy(100)
    parts = {"frozen": {"frozen": [IMAGES]}, "caption": {"caption": CAPTIONS}}[part]
    model = FusionModel(experiment(train={"epochs": 2}, **parts), 4)
    model.fit(inputs, y, TrainingRun(0))
    terms = model.predict_terms(inputs)
    assert list(terms) == [BOTH]
    assert {t for t in range(BASE) if terms[BOTH][:, :, t].any()} == {term}


# ---- with trunks


@pytest.fixture(scope="module")
def shapes(tmp_path_factory) -> tuple[list, np.ndarray]:
    """48 images: a red or a green half, left or right."""
    folder = tmp_path_factory.mktemp("shapes")
    files, y = [], np.random.default_rng(0).integers(0, 2, (48, 2)).astype(np.uint8)
    for i, (red, left) in enumerate(y):
        pixels = np.random.default_rng(i).integers(0, 60, (64, 64, 3), np.uint8)
        half = np.s_[:, :32] if left else np.s_[:, 32:]
        pixels[half + (0 if red else 1,)] += 190
        Image.fromarray(pixels).save(folder / f"{i}.png")
        files.append(folder / f"{i}.png")
    return files, y


def words(y: np.ndarray) -> list[str]:
    return [f"a {'red' if red else 'green'} thing" for red, _ in y]


def trunk_inputs(files: list, cfg: TrunkEncoder, tokens: TokenEncoder, captions: list[str]) -> Inputs:
    maps = np.concatenate(list(image_encoder.load_encoder(cfg)(files))).astype(np.float16)
    states = np.concatenate(list(token_encoder.load_encoder(tokens)(captions))).astype(np.float16)
    return Inputs(ids(len(files)), maps={cfg.slug: Maps((maps,)), tokens.slug: Maps((states,))})


TRUNK, TOKENS = TrunkEncoder(size=64, tune="blocks.6"), TokenEncoder(tune=1, max_tokens=8)


@pytest.mark.parametrize("how", ["gated", "attention"])
def test_late_stages_of_both_trunks_are_trained_and_saved(shapes, tmp_path, how):
    files, y = shapes
    inputs = trunk_inputs(files, TRUNK, TOKENS, words(y))
    cfg = experiment({"how": how}, {"epochs": 8, "batch": 16, "lr": 3e-3}, trunk=TRUNK, tokens=TOKENS)
    model = FusionModel(cfg, 2)
    model.fit(inputs, y, TrainingRun(0))
    proba = model.predict_proba(inputs)
    assert ((proba > 0.5) == y)[:, 0].mean() > 0.95
    late, before = model.network.trunks.late.named_parameters(), trunk.late_stages(TRUNK).parameters()
    kept = {name for (name, a), b in zip(late, before, strict=True) if torch.equal(a, b)}
    assert kept == {"1.conv_dw.convolution.weight", "1.conv_dw.convolution.bias"}
    model.save(tmp_path / "m.safetensors")
    back = FusionModel(cfg, 2).load(tmp_path / "m.safetensors")
    loaded = back.predict_proba(inputs)
    assert np.abs(loaded - proba).max() < 0.06  # saved in int8: 0.005 to 0.045 by seed
    back.save(tmp_path / "again.safetensors")  # rounded already: all of it is kept
    assert np.abs(FusionModel(cfg, 2).load(tmp_path / "again.safetensors").predict_proba(inputs) - loaded).max() < 1e-4


@pytest.mark.parametrize(("rates", "learns"), [({}, True), (STILL, False)])
def test_at_a_learning_rate_of_0_both_trunks_stay_unchanged(shapes, rates, learns):
    files, y = shapes
    inputs = trunk_inputs(files, TRUNK, TOKENS, words(y))
    train = {"epochs": 1, "batch": 16} | rates
    model = FusionModel(experiment(train=train, trunk=TRUNK, tokens=TOKENS), 2)
    model.fit(inputs, y, TrainingRun(0))
    trunks = model.network.trunks
    for now, before in ((trunks.late, trunk.late_stages(TRUNK)), (trunks.layers, token_split.late_layers(TOKENS))):
        pairs = zip(now.parameters(), before.parameters(), strict=True)
        assert any(not torch.equal(a, b) for a, b in pairs) == learns


def test_frozen_trunks_compute_each_row_once_whatever_the_number_of_epochs(shapes, monkeypatch):
    files, y = shapes
    inputs, forward, sizes = trunk_inputs(files, TRUNK, TOKENS, words(y)), Trunks.forward, []

    def counted(self, batch):
        sizes.append(len(batch["maps"]))
        return forward(self, batch)

    monkeypatch.setattr(Trunks, "forward", counted)
    total = {}
    for epochs in (1, 5):
        sizes.clear()
        train = {"epochs": epochs, "batch": 16} | STILL
        model = FusionModel(experiment({"label_pooling": False}, train, trunk=TRUNK, tokens=TOKENS), 2)
        log = model.fit(inputs, y, TrainingRun(0))
        assert len(log) == epochs
        total[epochs] = sum(sizes)
    assert total[1] == total[5] == 4 * 48  # two views to train from, two to predict


# ---- a map pooled for each label


def pooling(weight: list[list[float]], heads: int = 1) -> LabelPooling:
    """In evaluation, with means of 0 and deviations of 1."""
    pool = LabelPooling(Fusion(heads=heads), len(weight) // heads, len(weight[0])).eval()
    pool.weight.data = torch.tensor(weight)
    return pool


def test_a_label_is_pooled_by_the_softmax_of_its_own_scores():
    positions = torch.tensor([[[0.0, 9.0], [0.0, 9.0], [3.0, 9.0]]])  # channel 0 is strong at one of three positions
    own, none = pooling([[1.0, 0.0], [0.0, 0.0]])(positions)[0, 0].tolist()
    assert own == pytest.approx(3 * np.exp(3) / (2 + np.exp(3)))  # near the maximum 3, far from the mean 1
    assert none == 0


def test_contributions_of_the_positions_add_up_to_the_pooled_logits():
    positions = torch.randn(2, 9, 3, generator=torch.Generator().manual_seed(0))
    pool = pooling([[1.0, -2.0, 0.5]])
    torch.testing.assert_close(pool.contributions(positions).sum(-1), pool(positions))


def test_each_head_has_its_own_weights():
    positions = torch.ones(2, 4, 1)
    assert pooling([[1.0], [2.0], [3.0], [4.0]], heads=2)(positions).tolist() == [[[1, 2]] * 2, [[3, 4]] * 2]


def test_pooling_standardises_the_channels():
    positions = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0)) * 7 + 3
    pool = pooling([[0.5, -1.0, 0.2, 0.0]])
    pool.fit(positions.flatten(0, 1))
    scaled = (positions - pool.mean) / pool.deviation
    plain = pooling([[0.5, -1.0, 0.2, 0.0]])(scaled)
    torch.testing.assert_close(pool(positions), plain)


def test_the_pooled_map_is_part_of_the_image_term_and_needs_the_image(shapes):
    files, y = shapes
    inputs = trunk_inputs(files, TRUNK, TOKENS, words(y))
    cfg = experiment(train={"epochs": 1, "batch": 16}, trunk=TRUNK, tokens=TOKENS)
    model = FusionModel(cfg, 2)
    model.fit(inputs, y, TrainingRun(0))
    assert isinstance(model.network, FusionNetwork) and model.network.positions is not None
    with_map = model.predict_terms(inputs)
    model.network.positions.weight.data.zero_()
    without_map = model.predict_terms(inputs)
    for setting in (BOTH, NO_CAPTION):
        change = np.abs(with_map[setting] - without_map[setting]).max((0, 1))
        assert change[IMAGE] > 1e-4 and change[CAPTION] == change[INTERACTION] == 0
    np.testing.assert_array_equal(with_map[NO_IMAGE], without_map[NO_IMAGE])


def test_with_few_rows_no_map_is_pooled():
    cfg = experiment(train={"tune_from": 100}, trunk=TRUNK)
    assert cfg.as_trained(100).fusion.label_pooling
    assert not cfg.as_trained(99).fusion.label_pooling


@pytest.mark.parametrize("pooling", [True, False])
def test_a_file_says_itself_whether_its_network_pools_a_map_for_each_label(shapes, tmp_path, pooling):
    files, y = shapes
    inputs = trunk_inputs(files, TRUNK, TOKENS, words(y))
    train = {"epochs": 1, "batch": 16, "lr": 1e-3}
    model = FusionModel(experiment({"label_pooling": pooling}, train, trunk=TRUNK, tokens=TOKENS), 2)
    model.fit(inputs, y, TrainingRun(0))
    model.save(tmp_path / "m.safetensors")
    back = FusionModel(experiment(trunk=TRUNK, tokens=TOKENS), 2).load(tmp_path / "m.safetensors")
    assert (back.network.positions is not None) == pooling
    assert np.abs(back.predict_proba(inputs) - model.predict_proba(inputs)).max() < 0.02


def test_cached_maps_predict_what_the_network_predicts_from_pixels(shapes):
    files, y = shapes
    inputs = trunk_inputs(files, TRUNK, TOKENS, words(y))
    cfg = experiment(train={"epochs": 1, "batch": 16}, trunk=TRUNK, tokens=TOKENS)
    model = FusionModel(cfg, 2)
    model.fit(inputs, y, TrainingRun(0))
    pixels = torch.from_numpy(np.stack([np.asarray(Image.open(f)) for f in files]))
    early = trunk.early_stages(TRUNK)
    states = torch.from_numpy(inputs.maps[TOKENS.slug].parts[0][:, 0])
    with torch.inference_mode():
        logits = [
            model.network({"maps": early(view).permute(0, 2, 3, 1), "tokens": states}).terms[BOTH].sum(-1)
            for view in (pixels, pixels.flip(2))
        ]
    straight = torch.sigmoid(torch.stack(logits).mean((0, 1)) + model.network.bias).detach()
    assert np.abs(straight.numpy() - model.predict_proba(inputs)).max() < 0.005


def test_without_a_cache_the_whole_network_is_trained_from_pixels(shapes):
    files, y = shapes
    cfg = experiment(train={"epochs": 1, "batch": 16}, trunk=TrunkEncoder(size=64, tune=""), caption=CAPTIONS)
    captions = np.random.default_rng(0).normal(size=(48, 1, 5)).astype(np.float16)
    inputs = Inputs(ids(48), {CAPTIONS.slug: captions}, files=files)
    model = FusionModel(cfg, 2)
    model.fit(inputs, y, TrainingRun(0))
    assert model.predict_proba(inputs).shape == (48, 2)
    first = next(model.network.trunks.late[1].parameters())
    assert not torch.equal(first, next(trunk.late_stages(cfg.trunk)[1].parameters()))


# ---- on disk


def test_large_tensors_are_rounded_to_a_127th_of_each_row_and_small_ones_less():
    large = torch.randn(64, 80, generator=torch.Generator().manual_seed(0)) * torch.logspace(-3, 3, 64)[:, None]
    state = {
        "large": large,
        "small": torch.linspace(0, 1, 9),
        "mean": torch.tensor([1e-7, 70000.0]),
        "n": torch.tensor(3),
    }
    packed = pack(state, exact={"mean"})
    assert packed["large"].dtype == torch.int8 and packed["small"].dtype == torch.float16
    back = unpack(packed)
    assert back.keys() == state.keys()
    assert ((back["large"] - large).abs() <= large.abs().amax(1, keepdim=True) / 127 * 0.51).all()
    assert torch.allclose(back["small"].float(), state["small"], atol=1e-3)
    assert back["mean"].tolist() == state["mean"].tolist() and back["n"] == 3


# ---- loss and configuration


def outputs(both: float, no_caption: float, no_image: float, similarity: float = 1.0) -> Outputs:
    """One head, one row, one label."""

    def terms(logit: float) -> torch.Tensor:
        return torch.tensor([[[[logit, 0.0, 0.0]]]])

    settings = {BOTH: terms(both), NO_CAPTION: terms(no_caption), NO_IMAGE: terms(no_image)}
    none, like = torch.zeros(1, 1), torch.full((1, 1), similarity)
    return Outputs(settings, torch.zeros(1), none, like, torch.zeros(2))


def test_the_loss_weights_each_setting_by_its_probability():
    one = (torch.ones(1, 1), None)
    far = 50.0  # a logit whose loss is 0
    half = float(np.log(2))
    loss = fusion_loss(experiment({"modality_dropout": 0.4, "count": 0.0, "embedding": 0.0}))
    assert loss(outputs(0, far, far), one) == pytest.approx(0.6 * half)
    assert loss(outputs(far, 0, far), one) == pytest.approx(0.2 * half)
    assert loss(outputs(far, far, 0), one) == pytest.approx(0.2 * half)


def test_each_auxiliary_loss_has_its_weight():
    one, far = (torch.ones(1, 1), None), 50.0
    plain = fusion_loss(experiment({"count": 0.0, "embedding": 0.0}))
    aligned = fusion_loss(experiment({"count": 0.0, "embedding": 0.5}))
    counted = fusion_loss(experiment({"count": 0.5, "embedding": 0.0}))
    opposite = outputs(far, far, far, similarity=-1.0)
    assert aligned(opposite, one) - plain(opposite, one) == pytest.approx(0.5 * 2)
    assert counted(opposite, one) - plain(opposite, one) == pytest.approx(0.5)  # exp(0) - 1 * 0


def test_a_label_of_weight_0_has_no_loss():
    loss = fusion_loss(experiment({"modality_dropout": 0.0, "count": 0.0, "embedding": 0.0}))
    terms = torch.zeros(1, 2, 1, 3)
    predicted = Outputs({BOTH: terms}, torch.zeros(1), torch.zeros(1, 2), torch.ones(1, 2), torch.zeros(2))
    soft = torch.tensor([[1.0], [0.5]])
    for weights in ([[1.0], [0.0]], [[0.25], [0.25]]):
        assert loss(predicted, (soft, torch.tensor(weights))) == pytest.approx(float(np.log(2)))
    assert loss(predicted, (soft, torch.zeros(2, 1))) == 0


def test_learned_weights_are_learned():
    inputs, y = toy(100)
    model = FusionModel(experiment({"learned_weights": True}, {"epochs": 2}), 4)
    model.fit(inputs, y, TrainingRun(0))
    assert (model.network.log_weights != 0).all()


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({}, r"needs a \[trunk\]"),
        ({"fusion": Fusion(how="attention"), "trunk": TRUNK}, r"needs a \[trunk\] and a \[tokens\]"),
    ],
)
def test_an_experiment_without_its_parts_is_refused(parts, message):
    with pytest.raises(ValidationError, match=message):
        FusionExperiment(kind="fusion", **parts)
