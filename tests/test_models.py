import itertools
import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from safetensors.torch import save_file
from torch import nn

from tandem.config.encoders import CaptionEncoder, ImageEncoder, TrunkEncoder
from tandem.config.experiments import FinetuneExperiment, FusionExperiment, HeadExperiment, TfidfExperiment
from tandem.config.training import Augment, FinetuneTraining, Head, HeadTraining, Tfidf, Training
from tandem.features import image_encoder
from tandem.features.image_backbone_split import prepare
from tandem.features.pretrained_weights import load_backbone, load_sentences
from tandem.features.weights_identity import weights_identity
from tandem.models.augmenter import Augmenter
from tandem.models.base import TrainingRun
from tandem.models.finetune import FinetunedModel
from tandem.models.inputs import Inputs, Maps, build_inputs
from tandem.models.losses import LOSSES, Targets, make_loss
from tandem.models.mlp_head import HeadModel
from tandem.models.optimisation import averaged
from tandem.models.tfidf import TfidfModel
from tandem.models.trainer import Task, fit
from tandem.runtime.torch_setup import import_timm

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # read when the hub's client is first imported, inside a test
LITE0, IMAGES = "tf_efficientnet_lite0", ImageEncoder()


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """Threads that wait for each other on a busy machine take far longer than these small problems."""
    monkeypatch.setenv("TANDEM_THREADS", "1")
    torch.set_num_threads(1)


def ids(n: int) -> list[str]:
    return [str(i) for i in range(n)]


def toy(views: int = 1) -> tuple[Inputs, np.ndarray]:
    """200 rows of 8 numbers; label j where number j is positive."""
    x = np.random.default_rng(0).normal(size=(200, 1, 8)).astype(np.float16)
    return Inputs(ids(200), {IMAGES.slug: np.repeat(x, views, 1)}), (x[:, 0, :3] > 0).astype(np.uint8)


def head(**changes) -> HeadExperiment:
    train = HeadTraining(epochs=15, min_steps=0, batch=32, lr=1e-2, bfloat16=False)
    small = Head(hidden=16, dropout=0.0, input_dropout=0.0)
    return HeadExperiment(**{"kind": "head", "image": IMAGES, "head": small, "train": train} | changes)


# ---- head


def test_a_head_learns_a_separable_problem_and_survives_saving(tmp_path):
    inputs, y = toy()
    model = HeadModel(head(), 3)
    log = model.fit(inputs, y, TrainingRun(0))
    proba = model.predict_proba(inputs)
    assert ((proba > 0.5) == y).mean() > 0.97
    assert len(log) == 2 * 15 and log[14]["loss"] < log[0]["loss"] / 2
    model.save(tmp_path / "fold0.safetensors")
    back = HeadModel(head(), 3).load(tmp_path / "fold0.safetensors")
    assert np.abs(back.predict_proba(inputs) - proba).max() < 0.01


def test_a_head_depends_on_the_seed_alone():
    inputs, y = toy()
    cfg = head(train=HeadTraining(epochs=2, batch=32), head=Head(hidden=8))

    def proba(seed: int) -> list:
        model = HeadModel(cfg, 3)
        model.fit(inputs, y, TrainingRun(seed))
        return model.predict_proba(inputs).tolist()

    first = proba(1)
    torch.rand(3)
    assert proba(1) == first != proba(2)


def test_a_linear_head_and_two_views_and_two_encoders_fit_too():
    inputs, y = toy(views=2)
    other = np.ones((200, 1, 5), np.float16)  # constant columns must not divide by zero
    train = HeadTraining(epochs=15, batch=32, lr=5e-2, bfloat16=False)
    linear = Head(hidden=0, bags=1, input_dropout=0.0)
    caption = CaptionEncoder()
    both = replace(inputs, features={**inputs.features, caption.slug: other})
    model = HeadModel(head(head=linear, train=train, caption=caption), 3)
    model.fit(both, y, TrainingRun(0))
    assert ((model.predict_proba(both) > 0.5) == y).mean() > 0.95


def test_inputs_take_rows_in_the_given_order():
    numbers = np.arange(3)[:, None, None]
    maps = {"m": Maps((numbers,))}
    inputs = Inputs(["x", "y", "z"], {"f": numbers}, maps, ["a", "b", "c"], ["0", "1", "2"])
    taken = inputs.take(np.array([2, 0]))
    assert (len(taken), taken.ids, taken.captions, taken.files) == (2, ["z", "x"], ["c", "a"], ["2", "0"])
    assert taken.features["f"].ravel().tolist() == [2, 0]
    assert taken.maps["m"].read(np.array([0, 1]), 0).ravel().tolist() == [2, 0]


def test_rows_that_follow_others_are_read_from_their_own_maps():
    first, second = (Inputs([name], maps={"m": Maps((np.full((3, 1, 1), v),))}) for name, v in (("x", 1), ("y", 2)))
    rows = np.array([1])
    both = replace(first, maps={"m": first.maps["m"].take(rows)}).followed_by(
        replace(second, maps={"m": second.maps["m"].take(rows)})
    )
    assert both.ids == ["x", "y"]
    assert both.take(np.array([1, 0])).maps["m"].read(np.array([0, 1]), 0).ravel().tolist() == [2, 1]


class Rows:
    """A source of two rows whose features are all 0."""

    ids, captions = ["x", "y"], ["a", "b"]

    def images(self, size):
        return [f"{name}-{size}" for name in self.ids]

    def features(self, encoder):
        return np.zeros((2, 1, 4), np.float16)


def test_an_experiment_has_only_the_inputs_that_it_reads():
    trunk = TrunkEncoder(size=64)
    fusion = FusionExperiment(kind="fusion", trunk=trunk, caption=CaptionEncoder())
    built = build_inputs(fusion, Rows())
    assert (list(built.maps), list(built.features)) == ([trunk.slug], [CaptionEncoder().slug])
    assert (built.captions, built.files) == (None, None)
    assert build_inputs(TfidfExperiment(kind="tfidf"), Rows()).captions == ["a", "b"]
    pixels = FusionExperiment(kind="fusion", trunk=TrunkEncoder(size=64, tune=""))
    assert build_inputs(pixels, Rows()).files == ["x-64", "y-64"]


# ---- tfidf

CAPTIONS = ["a red cat", "the cat sleeps", "one dog", "a dog runs", "cat and dog", "the sea"] * 5
ANIMALS = np.array([["cat" in c, "dog" in c, False] for c in CAPTIONS], np.uint8)


def test_tfidf_learns_words_and_survives_saving(tmp_path):
    model = TfidfModel(TfidfExperiment(kind="tfidf"), 3)
    model.fit(Inputs(ids(30), captions=CAPTIONS), ANIMALS, TrainingRun(0))
    new = Inputs(ids(3), captions=["my dog", "that cat there", "größe, unseen"])
    proba = model.predict_proba(new)
    assert proba[0, 1] > 0.5 > proba[0, 0] and proba[1, 0] > 0.5 > proba[1, 1]
    model.save(tmp_path / "fold0.safetensors")
    back = TfidfModel(TfidfExperiment(kind="tfidf"), 3).load(tmp_path / "fold0.safetensors")
    assert np.allclose(back.predict_proba(new), proba, atol=1e-6)


def test_a_label_that_never_occurs_gets_its_smoothed_rate():
    model = TfidfModel(TfidfExperiment(kind="tfidf"), 3)
    model.fit(Inputs(ids(30), captions=CAPTIONS), ANIMALS, TrainingRun(0))
    proba = model.predict_proba(Inputs(ids(1), captions=["a cat"]))
    assert proba[0, 2] == pytest.approx(0.5 / 31)


def test_tfidf_without_a_common_word_is_an_error():
    model = TfidfModel(TfidfExperiment(kind="tfidf", tfidf=Tfidf(characters=0, min_rows=2)), 2)
    with pytest.raises(ValueError, match="no n-gram in 2 or more of 2 captions"):
        model.fit(Inputs(ids(2), captions=["one", "two"]), np.eye(2, dtype=np.uint8), TrainingRun(0))


# ---- trainer


def small_network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 3))


def train(network, cfg: Training, checkpoint=None, on_epoch=lambda entry: None) -> list[dict]:
    """Trains on `toy`; an hour passes in each epoch, so that each leaves a checkpoint."""
    inputs, y = toy()
    x, targets = (torch.from_numpy(inputs.features[IMAGES.slug][:, 0].astype(np.float32)), torch.from_numpy(y).float())

    def batches(epoch):
        order = np.random.default_rng(epoch).permutation(200)
        return ((x[rows], Targets(targets[rows])) for rows in np.array_split(order, 5))

    groups = [{"params": list(network.parameters()), "lr": cfg.lr}]
    loss = make_loss(cfg.loss, cfg.smoothing)
    task = Task(network, batches, 5, groups, lambda logits, batch: loss(logits, *batch))
    hours = itertools.count(0, 3600)
    return fit(task, cfg, TrainingRun(0, checkpoint, on_epoch, clock=lambda: next(hours)))


def weights(network) -> list[list[float]]:
    return [p.flatten().tolist() for p in network.state_dict().values()]


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_a_killed_run_continues_from_its_checkpoint_and_ends_in_the_same_weights(tmp_path, ema):
    cfg = Training(epochs=4, batch=40, lr=1e-2, ema=ema, accumulate=2)

    def kill(entry):
        if entry["epoch"] == 3:
            raise KeyboardInterrupt

    whole, killed, resumed = small_network(), small_network(), small_network()
    log = train(whole, cfg)
    with pytest.raises(KeyboardInterrupt):
        train(killed, cfg, tmp_path / "checkpoint", kill)
    torch.rand(3)
    epochs = []
    assert train(resumed, cfg, tmp_path / "checkpoint", lambda entry: epochs.append(entry["epoch"])) == log
    assert epochs == [3, 4]
    assert weights(resumed) == weights(whole)


def test_the_learning_rate_warms_up_and_then_falls_to_zero():
    log = train(small_network(), Training(epochs=10, batch=40, lr=1.0, warmup=0.2, weight_decay=0))
    rates = [entry["lr"] for entry in log]
    assert rates[0] < rates[1] == max(rates) == 1.0
    assert rates[1:] == sorted(rates[1:], reverse=True) and rates[-1] == pytest.approx(0)


def test_the_averaged_weights_are_the_ones_used():
    start, plain, mean = small_network(), small_network(), small_network()
    train(plain, Training(epochs=2, batch=40, lr=1e-2))
    train(mean, Training(epochs=2, batch=40, lr=1e-2, ema=0.99))
    moved = [np.abs(np.concatenate(weights(one)) - np.concatenate(weights(start))).mean() for one in (plain, mean)]
    assert 0 < moved[1] < moved[0]


def test_averaged_weights_lie_between_the_old_and_the_new_ones():
    network = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(network.weight)
    average = averaged(network, 0.5)
    average.update_parameters(network)
    nn.init.ones_(network.weight)
    average.update_parameters(network)
    assert 0 < average.module.weight.item() < 1


@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_every_loss_falls_on_a_learnable_problem(loss):
    log = train(small_network(), Training(epochs=8, batch=40, lr=1e-2, loss=loss))
    assert log[-1]["loss"] < 0.8 * log[0]["loss"]


def test_losses_are_lower_where_the_logits_are_right():
    targets = torch.tensor([[1.0, 0.0]])
    for name in LOSSES:
        loss = make_loss(name)
        assert loss(torch.tensor([[3.0, -3.0]]), targets) < loss(torch.tensor([[-3.0, 3.0]]), targets)


def test_an_unknown_loss_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"loss 'mse' is not one of \['asl', 'bce', 'focal'\]"):
        make_loss("mse")


def test_a_loss_that_is_not_finite_is_an_error():
    network = small_network()
    nn.init.constant_(network[0].weight, float("inf"))
    with pytest.raises(ValueError, match=r"in epoch 1; lower train\.lr"):
        train(network, Training(epochs=1, batch=40, bfloat16=False))


# ---- images


@pytest.fixture(scope="module")
def drawings(tmp_path_factory) -> tuple[list, np.ndarray]:
    """24 drawings: red squares (label 0) and blue circles (label 1), a little apart."""
    folder, rng = tmp_path_factory.mktemp("drawings"), np.random.default_rng(0)
    files = []
    for i in range(24):
        image = Image.new("RGB", (48, 40), "white")
        x, y = rng.integers(2, 12, 2)
        draw = ImageDraw.Draw(image)
        (draw.rectangle if i % 2 == 0 else draw.ellipse)((x, y, x + 24, y + 24), "red" if i % 2 == 0 else "blue")
        files.append(folder / f"{i}.png")
        image.save(files[-1])
    return files, np.eye(2, dtype=np.uint8)[np.arange(24) % 2]


def test_a_network_is_trained_end_to_end_and_survives_saving(drawings, tmp_path):
    files, y = drawings
    train = FinetuneTraining(epochs=5, batch=8, ema=0.0, weight_decay=0.05, lr=1e-2, backbone_lr=1e-3, bfloat16=False)
    plain = Augment(scale=1.0, colour=0.0, erase=0.0)
    cfg = FinetuneExperiment(kind="finetune", size=32, dropout=0.0, train=train, augment=plain)
    model, inputs = FinetunedModel(cfg, 2), Inputs(ids(24), files=files)
    log = model.fit(inputs, y, TrainingRun(0))
    assert len(log) == 5 and log[4]["loss"] < log[0]["loss"]
    proba = model.predict_proba(inputs)
    assert proba.shape == (24, 2) and ((proba > 0.5) == y).mean() > 0.8
    model.save(tmp_path / "fold0.safetensors")
    back = FinetunedModel(cfg, 2).load(tmp_path / "fold0.safetensors")
    assert np.abs(back.predict_proba(inputs) - proba).max() < 0.05


def test_an_augmentation_depends_on_seed_epoch_and_row_alone(drawings):
    files, rows = drawings[0], np.array([0, 1])
    first = Augmenter(Augment(), 32, seed=0).batch(files, rows, epoch=0)
    assert first.shape == (2, 32, 32, 3) and first.dtype == np.uint8
    again = Augmenter(Augment(), 32, seed=0)
    again.batch(files, np.array([5]), epoch=3)
    assert (again.batch(files, rows[::-1], epoch=0)[::-1] == first).all()
    assert (again.batch(files, rows, epoch=1) != first).any()
    assert (Augmenter(Augment(), 32, seed=1).batch(files, rows, epoch=0) != first).any()


def test_encoding_gives_a_vector_for_the_image_and_one_for_its_mirror_image(drawings):
    cfg = ImageEncoder(size=64, mirror=True)
    (block,) = image_encoder.load_encoder(cfg)(drawings[0][:3])
    assert block.shape == (3, 2, 2 * 1280) and block.dtype == np.float32
    assert np.isfinite(block).all() and (block[:, 0] != block[:, 1]).any()
    (plain,) = image_encoder.load_encoder(ImageEncoder(size=64, pool="avg"))(drawings[0][:3])
    assert plain.shape == (3, 1, 1280)
    assert np.allclose(plain[:, 0], block[:, 0, :1280], atol=0.05)


def test_a_prepared_network_has_no_batch_norms_and_computes_the_same():
    network = load_backbone(LITE0, "").eval()
    prepared = prepare(network)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in prepared.modules())
    pixels = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected, got = network.forward_features(pixels), prepared.forward_features(pixels)
    assert torch.allclose(expected, got, rtol=1e-3, atol=1e-3)


# ---- weights


def test_timm_imports_with_this_torch():
    assert LITE0 in import_timm().list_models()


def test_weights_of_another_shape_are_an_error_that_names_the_tensor(tmp_path):
    state = {k: t.contiguous() for k, t in import_timm().create_model("resnet10t").state_dict().items()}
    save_file(state, tmp_path / "right.safetensors")
    network = load_backbone("resnet10t", str(tmp_path / "right.safetensors"), n_outputs=2)
    assert torch.equal(network.state_dict()["conv1.0.weight"], state["conv1.0.weight"])
    save_file(state | {"conv1.0.weight": torch.zeros(1, 2)}, tmp_path / "wrong.safetensors")
    with pytest.raises(ValueError, match=r"first conv1\.0\.weight: got \(1, 2\), expected \(24, 3, 3, 3\)"):
        load_backbone("resnet10t", str(tmp_path / "wrong.safetensors"))


@pytest.mark.parametrize("name", ["model.bin", "model.pth"])
def test_pickled_weights_are_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(ValueError, match=r"expected a \.safetensors file \(no pickles\)"):
        weights_identity(ImageEncoder(weights=str(tmp_path / name)))


def test_absent_weights_are_named():
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        weights_identity(ImageEncoder(weights="absent.safetensors"))


def test_weights_that_neither_package_nor_hub_has_are_an_error_with_a_remedy(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # else its client retries for a while
    with pytest.raises(ValueError, match=r"'resnet10t': the weights could not be fetched.*path\.safetensors"):
        load_backbone("resnet10t", "")


def test_an_unknown_network_lists_similar_names():
    with pytest.raises(ValueError, match=r"'resnet_of_mine' is no timm network; similar names: \['.*resnet"):
        load_backbone("resnet_of_mine", "")


def test_the_same_weights_in_another_file_have_the_same_identity(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.safetensors").write_bytes(b"same")
    (tmp_path / "c.safetensors").write_bytes(b"other")
    a, b, c = (weights_identity(ImageEncoder(weights=str(tmp_path / f"{name}.safetensors"))) for name in "abc")
    assert a == b != c


def test_a_digest_that_is_known_is_not_computed_again():
    assert weights_identity(ImageEncoder(), lambda file: file.suffix) == "shipped:.pth"


@pytest.mark.parametrize(
    ("cfg", "folder"),
    [
        (CaptionEncoder(model="bge"), "models--sentence-transformers--bge"),
        (ImageEncoder(model="resnet10t"), "models--timm--resnet10t.c3_in1k"),
        (ImageEncoder(model="hf-hub:you/net"), "models--you--net"),
    ],
)
def test_a_hub_name_is_known_by_the_revision_in_the_local_cache(tmp_path, monkeypatch, cfg, folder):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert weights_identity(cfg) == f"hub:{cfg.model}@unresolved"
    (tmp_path / folder / "refs").mkdir(parents=True)
    (tmp_path / folder / "refs" / "main").write_text("abc\n")
    assert weights_identity(cfg) == f"hub:{cfg.model}@abc"


def test_loading_a_local_caption_model_changes_no_environment_variable(monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    before = dict(os.environ)
    load_sentences("all-MiniLM-L6-v2")
    assert dict(os.environ) == before
