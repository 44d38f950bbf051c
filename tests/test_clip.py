"""CLIP-like pairs as frozen encoders and zero-shot experiments: tiny random towers, and real weights if there are."""

import os
import tomllib
from pathlib import Path

import numpy as np
import pytest
import toy
from checked import run_tasks, train, write_competition, write_experiment, write_folds, write_split
from clip_toy import SIZE, hugging_face_pair, open_clip_pair
from huggingface_hub import constants, try_to_load_from_cache
from PIL import Image
from safetensors.torch import load_file, save_file
from sklearn.metrics import roc_auc_score

from tandem.artifacts.atomic_io import read_json, write_json, write_text
from tandem.artifacts.contributions import BOTH, NO_CAPTION, NO_IMAGE
from tandem.artifacts.paths import Paths
from tandem.artifacts.predictions import Predictions
from tandem.bundling.bundle_writer import write_bundle
from tandem.bundling.packing import as_opened
from tandem.bundling.rounding import RoundingCheck
from tandem.config.clip import ZeroShotExperiment
from tandem.config.competition import Competition, to_toml
from tandem.config.encoders import ClipCaptionEncoder, ClipImageEncoder, Crop
from tandem.config.experiments import FusionExperiment, HeadExperiment, TfidfExperiment, make_experiment
from tandem.config.labels import Labels
from tandem.config.load_experiments import load_experiment, load_experiments
from tandem.config.training import Fusion, FusionTraining, Head, HeadTraining
from tandem.data.image_loader import squares
from tandem.data.split_tables import write_labels
from tandem.features.clip_encoder import load_encoder, prompt_directions
from tandem.features.clip_weights import load_pair, save_pair, used_tensors
from tandem.features.weights_identity import weights_identity
from tandem.graph.declared_stages import Graph
from tandem.graph.experiment_dir import Experiments
from tandem.inference.bundle_reader import open_bundle, sha256
from tandem.inference.bundle_seal import sealed
from tandem.inference.labeler import Labeler
from tandem.logits import sigmoid
from tandem.models.base import TrainingRun
from tandem.models.inputs import Inputs
from tandem.models.zeroshot import ZeroShotModel, fit_calibration
from tandem.training.fold_job import FoldJob

PROMPTS = (("a photo of cat", "cat"), ("a photo of sky",))
WEIGHTS = "TANDEM_CLIP"  # a folder of a pair with real weights
HUB_NAME = "laion/CLIP-ViT-B-32-laion2B-s34B-b79K"  # of configs/zeroshot.toml
CACHE = constants.HF_HUB_CACHE
MEMBERS = ("zero", "joined", "fused", "words")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("pairs")
    made = {"open_clip": open_clip_pair, "clip": hugging_face_pair}
    folders = {name: write(_new(root / name)) for name, write in made.items()}
    return folders | {"siglip": hugging_face_pair(_new(root / "siglip"), "siglip")}


def _new(folder: Path) -> Path:
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def trained(pairs, tmp_path_factory) -> Paths:
    """A competition with images, captions and four members, three of which read the pair."""
    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("clip")
        patch.chdir(root)
        patch.setenv("TANDEM_THREADS", "1")
        paths, y = Paths("toy"), np.random.default_rng(0).integers(0, 2, (48, 2)).astype(np.uint8)
        write_competition(paths, toy.NAMES, least=0, zero_division=1, experiments=list(MEMBERS))
        for split, rows in (("train", range(40)), ("test", range(40, 48))):
            for i in rows:
                toy.draw(paths.input / "data" / f"{i}.jpg", bool(y[i, 1]), i)
            captions = ["" if i % 9 == 5 else "a cat" if y[i, 0] else "a dog" for i in rows]
            write_split(paths, split, [f"{i}.jpg" for i in rows], captions, folder="data/", size=(48, 40))
        ids = [f"{i}.jpg" for i in range(40)]
        write_labels(paths.labels, ids, toy.NAMES, y[:40])
        write_folds(paths, ids, [n % 2 for n in range(40)])
        image = ClipImageEncoder(model=pairs["open_clip"], size=SIZE)
        caption = ClipCaptionEncoder(model=pairs["open_clip"])
        small, head = Fusion(hidden=8, rank=2, heads=1), Head(hidden=8, bags=1)
        fused = FusionTraining(epochs=2, batch=16, min_steps=0)
        made = {
            "zero": ZeroShotExperiment(kind="zeroshot", image=image, captions=True),
            "joined": HeadExperiment(
                kind="head", image=image.model_copy(update={"prompts": True}), caption=caption, head=head,
                train=HeadTraining(epochs=2, min_steps=0),
            ),
            "fused": FusionExperiment(kind="fusion", frozen=(image,), caption=caption, fusion=small, train=fused),
            "words": TfidfExperiment(kind="tfidf"),
        }  # fmt: skip
        for name, experiment in made.items():
            write_experiment(paths, name, experiment)
        train(paths, *MEMBERS)
        run_tasks(paths, "stack", "decode stack")
        return Paths("toy", root)


# ---- encoders


def images(n: int = 3) -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 255, (n, SIZE, SIZE, 3)).astype(np.uint8))


def encoded(encoder, items) -> np.ndarray:
    return np.concatenate(list(load_encoder(encoder)(items)))


@pytest.mark.parametrize("kind", ["open_clip", "clip", "siglip"])
def test_both_towers_give_vectors_of_length_1_in_one_space_and_similarities_to_the_prompts(pairs, kind):
    settings = {"model": pairs[kind], "prompts": True, "label_prompts": PROMPTS}
    resize = "square" if kind == "siglip" else "crop"
    pair = load_pair(pairs[kind])
    directions = prompt_directions(pair, PROMPTS).numpy()
    cases = (
        (ClipImageEncoder(size=SIZE, resize=resize, **settings), images()),
        (ClipCaptionEncoder(**settings), ["a cat", "", "a dog"]),
    )
    for encoder, items in cases:
        found = encoded(encoder, items)[:, 0]
        vectors, similarities = found[:, :-2], found[:, -2:]
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
        np.testing.assert_allclose(similarities, pair.logit_scale * vectors @ directions.T, atol=1e-4)
        assert np.ptp(found, axis=0).max() > 1e-3  # the rows differ


def test_open_clip_and_this_encoder_see_the_same_image(pairs):
    import open_clip
    import torch

    photo = Image.fromarray(np.random.default_rng(1).integers(0, 255, (4, 6, 3), np.uint8)).resize((96, 64))
    network, _, transform = open_clip.create_model_and_transforms(f"local-dir:{pairs['open_clip']}")
    with torch.inference_mode():
        expected = network.eval().encode_image(transform(photo)[None], normalize=True)[0].numpy()
    square = squares(photo, [Crop(SIZE)])[Crop(SIZE)]
    found = encoded(ClipImageEncoder(model=pairs["open_clip"], size=SIZE), [square])[0, 0]
    assert float(expected @ found) > 0.999


def test_the_mirrored_view_and_each_caption_are_views_of_a_row(pairs):
    image = ClipImageEncoder(model=pairs["open_clip"], size=SIZE, mirror=True)
    photo = images(1)[0]
    one, two = encoded(image, [photo, photo[:, ::-1].copy()])
    np.testing.assert_allclose(one[::-1], two, atol=1e-5)
    captions = ClipCaptionEncoder(model=pairs["open_clip"], each_caption=True)
    assert encoded(captions, [["a cat", "a dog"], ["a", "b"]]).shape == (2, 2, 16)


def test_a_wide_image_is_cropped_to_its_middle_or_squeezed_into_a_square():
    photo = Image.new("RGB", (60, 20), "red")
    photo.paste((0, 0, 255), (20, 0, 40, 20))
    found = squares(photo, [Crop(20), 20])
    assert (found[Crop(20)] == [0, 0, 255]).all() and found[20][10, 0].tolist() == [255, 0, 0]


def test_other_images_than_the_pairs_own_are_refused_with_the_lines_to_write(pairs):
    with pytest.raises(ValueError, match=r'size = 224, resize = .crop.; .* write size = 32 and resize = "square"'):
        load_encoder(ClipImageEncoder(model=pairs["siglip"]))


def test_prompts_are_part_of_the_name_of_the_features():
    with_prompts = [ClipImageEncoder(prompts=True, label_prompts=p) for p in (PROMPTS, PROMPTS[::-1])]
    assert len({encoder.slug for encoder in (ClipImageEncoder(), *with_prompts)}) == 3
    assert ClipImageEncoder().slug.startswith("vit-b-32-laion2b-s34b-b79k-224-")
    with pytest.raises(ValueError, match="the labels have no prompts"):
        load_encoder(ClipImageEncoder(prompts=True))


def test_only_the_tower_that_is_used_is_saved_and_what_is_saved_predicts_the_same(pairs, tmp_path):
    for kind in ("open_clip", "clip"):
        image = ClipImageEncoder(model=pairs[kind], size=SIZE)
        save_pair(pairs[kind], tmp_path / kind, set(used_tensors(image)))
        state = load_file(next((tmp_path / kind).glob("*.safetensors")))
        used = {name for name, tensor in state.items() if tensor.any()}
        assert used and used <= used_tensors(image).keys() and len(state) > len(used_tensors(image))
        there, here = (encoded(one, images())[:, 0] for one in (image.with_weights(str(tmp_path / kind)), image))
        assert (there * here).sum(1).min() > 0.999


# ---- weights that are not there, or don't fit


@pytest.fixture
def copied(pairs, tmp_path) -> Path:
    folder = _new(tmp_path / "copied")
    for file in Path(pairs["open_clip"]).iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


def test_weights_that_do_not_fit_are_refused_with_the_first_tensors_that_differ(copied):
    file = copied / "open_clip_model.safetensors"
    state = load_file(file)
    del state["visual.proj"]
    save_file(state, file)
    with pytest.raises(ValueError, match=r"1 tensors differ: visual\.proj: got nothing, expected \(32, 16\)"):
        load_pair(str(copied))


def test_a_pickle_is_never_read(copied):
    (copied / "open_clip_model.safetensors").rename(copied / "open_clip_pytorch_model.bin")
    with pytest.raises(ValueError, match=r"has no open_clip_model\.safetensors; .*no pickles"):
        load_pair(str(copied))


def test_code_that_comes_with_weights_is_not_run_even_where_its_settings_ask_for_it(copied):
    ran = copied / "ran"
    (copied / "code.py").write_text(f"open({str(ran)!r}, 'w')\nclass Mine: pass\n")
    write_json(copied / "tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["code.Mine", None]}})
    settings = read_json(copied / "open_clip_config.json")
    settings["model_cfg"]["text_cfg"] |= {"hf_tokenizer_name": "mine", "tokenizer_kwargs": {"trust_remote_code": True}}
    write_json(copied / "open_clip_config.json", settings)
    with pytest.raises((ValueError, OSError), match="trust_remote_code"):
        load_pair(str(copied))
    assert not ran.exists()


def test_a_folder_without_a_description_and_an_unknown_name_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"has neither open_clip_config\.json nor config\.json"):
        load_pair(str(tmp_path))
    with pytest.raises(FileNotFoundError, match="there is no such folder"):
        load_pair("local-dir:nowhere")
    with pytest.raises(ValueError, match=r"expected ARCHITECTURE/TAG such as .'ViT-B-32/openai'"):
        load_pair("ViT-B-32")


def test_a_changed_file_of_weights_is_another_identity(copied):
    encoder = ClipImageEncoder(model=str(copied))
    before = weights_identity(encoder)
    write_json(copied / "open_clip_config.json", read_json(copied / "open_clip_config.json") | {"a": 1})
    assert before.startswith("folder:") and weights_identity(encoder) != before
    assert weights_identity(ClipImageEncoder()) == "open_clip:ViT-B-32/laion2b_s34b_b79k"


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """A hub that has nothing."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.mark.parametrize("model", ["ViT-B-32/laion2b_s34b_b79k", "vit_base_patch16_clip_224.openai", "hf-hub:a/b"])
def test_where_weights_can_not_be_fetched_the_message_says_how_to_get_them(offline, model):
    with pytest.raises(ValueError, match=r"no weights .* ship with Tandem.* hf download \S+/\S+ --local-dir FOLDER"):
        load_pair(model)


# ---- prompts


def test_names_become_prompts_and_several_prompts_of_a_label_are_averaged(pairs):
    labels = Labels(
        format="list", column="x", names=["traffic_light", "2"], prompt="one {}", prompts={"2": ["two", "2"]}
    )
    assert labels.each_prompts() == (("one traffic light",), ("two", "2"))
    assert labels.model_copy(update={"prompts": ["a", "b"]}).each_prompts() == (("a",), ("b",))
    pair = load_pair(pairs["open_clip"])
    single = prompt_directions(pair, (("two",), ("2",))).numpy()
    mean = single.mean(0) / np.linalg.norm(single.mean(0))
    np.testing.assert_allclose(prompt_directions(pair, (("two", "2"),))[0].numpy(), mean, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompts": {"3": "x"}}, "prompts: '3' is not among the label names"),
        ({"prompts": ["x"]}, "prompts: 1 for 2 names"),
        ({"prompts": {"1": [""]}}, "prompts: that of label '1' is empty"),
        ({"prompt": "a photo"}, "expected {} in it"),
    ],
)
def test_prompts_that_do_not_fit_the_labels_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Labels(format="list", column="x", names=["1", "b"], **changes)


def competition(**labels) -> Competition:
    names = {"format": "list", "column": "x", "names": ["1", "2"]} | labels
    return Competition(id="id", images="data", most=2, experiments=["zeroshot"], labels=Labels(**names))


def test_prompts_survive_the_file_and_leave_other_files_as_they_are():
    plain, made = competition(), competition(prompts={"1": ["one", "1"], "2": "two"}, prompt="a {}")
    assert "prompt" not in to_toml(plain)
    assert Competition.model_validate(tomllib.loads(to_toml(made))) == made


def test_labels_that_are_numbers_are_asked_for_their_prompts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r'\[labels\.prompts\]\n"1" = "a photo of \.\.\."\n"2" = '):
        load_experiments(Path("configs"), competition(), Path("competition.toml"))
    other = competition().model_copy(update={"experiments": ["image_lite0"]})
    graph = Graph(Paths("x"), other, load_experiments(Path("configs"), other, Path("competition.toml")))
    with pytest.raises(ValueError, match=r"labels '1', '2' are numbers, and experiment 'zeroshot'"):
        graph.goal("train", ["zeroshot"])
    named = competition(prompts=["one", "two"])
    found = load_experiments(Path("configs"), named, Path("competition.toml"))["zeroshot"]
    assert found.image.label_prompts == (("one",), ("two",))


def test_a_competition_without_images_or_captions_says_that_zero_shot_can_not_work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    texts = competition(prompts=["one", "two"]).model_copy(update={"images": None, "caption": "text"})
    with pytest.raises(ValueError, match=r"experiments \['zeroshot'\] read images; no folder of images is named"):
        load_experiments(Path("configs"), texts, Path("competition.toml"))
    texts = texts.model_copy(update={"experiments": ["text_tfidf"]})
    graph = Graph(Paths("x"), texts, load_experiments(Path("configs"), texts, Path("competition.toml")))
    with pytest.raises(ValueError, match="'zeroshot' reads images, which this competition lacks"):
        graph.chosen(["zeroshot"])
    write_experiment(Paths("x"), "both", ZeroShotExperiment(kind="zeroshot", captions=True))
    photos = competition(prompts=["one", "two"]).model_copy(update={"experiments": ["both"]})
    with pytest.raises(ValueError, match=r"experiments \['both'\] read captions; no caption column is named"):
        load_experiments(Path("configs"), photos, Path("competition.toml"))


def test_a_section_of_another_kind_is_refused_and_keys_are_named_as_they_are_written(tmp_path):
    with pytest.raises(ValueError, match=r'x\.toml: head\.image: expected a section with .*kind = "clip"'):
        make_experiment({"kind": "head", "image": {"kind": "magic"}}, Path("x.toml"))
    with pytest.raises(ValueError, match=r"x\.toml: head\.image\.pool: unknown key"):
        make_experiment({"kind": "head", "image": {"kind": "clip", "pool": "avg"}}, Path("x.toml"))
    with pytest.raises(ValueError, match=r"x\.toml: head\.image\.prompts: unknown key"):
        make_experiment({"kind": "head", "image": {"prompts": True}}, Path("x.toml"))


# ---- zero-shot


def test_the_calibration_of_a_label_with_few_positives_follows_the_other_labels():
    rng = np.random.default_rng(0)
    y = np.stack([rng.random(400) < rate for rate in (0.5, 0.3, 0.005)], 1).astype(np.uint8)
    x = rng.normal(size=y.shape) + 2.0 * y
    slope, shift = fit_calibration(x, y, np.ones(y.shape))
    assert np.abs(slope - 2).max() < 0.6
    np.testing.assert_allclose(sigmoid(slope * x + shift).mean(0), y.mean(0), atol=0.01)
    backwards, _ = fit_calibration(-x, y, np.ones(y.shape))
    assert (backwards == 0).all()  # more similar is never less likely


def test_labels_that_never_or_always_occur_or_are_unknown_get_finite_calibrations():
    y, weights = np.array([[0, 1, 0]] * 20, np.uint8), np.ones((20, 3))
    weights[:, 2] = 0
    slope, shift = fit_calibration(np.random.default_rng(0).normal(size=y.shape), y, weights)
    assert np.isfinite([slope, shift]).all() and shift[0] < -2 and shift[1] > 2


def similarity_inputs(cfg: ZeroShotExperiment, *values, captioned=None) -> Inputs:
    features = {e.slug: np.array(v, np.float16)[:, None] for e, v in zip(cfg.encoders, values, strict=True)}
    return Inputs(list(map(str, range(len(values[0])))), features, captioned=captioned)


def test_without_calibration_the_probability_is_the_softmax_over_the_labels():
    cfg = ZeroShotExperiment(kind="zeroshot", calibration="none")
    model, inputs = ZeroShotModel(cfg, 2), similarity_inputs(cfg, [[9, 2.0, 0.0], [9, 0.0, 0.0]])
    model.fit(inputs, np.zeros((2, 2)), TrainingRun(0))
    np.testing.assert_allclose(model.predict_proba(inputs), [[0.881, 0.119], [0.5, 0.5]], atol=1e-3)
    with pytest.raises(ValueError, match="needs two or more"):
        ZeroShotModel(cfg, 1)


def test_a_row_without_a_caption_is_predicted_from_the_image_alone(tmp_path):
    cfg = ZeroShotExperiment(kind="zeroshot", captions=True)
    y = np.array([[1, 0], [0, 1]] * 10, np.uint8)
    captioned = np.arange(20) < 18
    inputs = similarity_inputs(cfg, 3.0 * y + 1, 2.0 * y, captioned=captioned)
    model = ZeroShotModel(cfg, 2)
    model.fit(inputs, y, TrainingRun(0))
    terms = model.predict_terms(inputs)
    assert not terms[BOTH][18:, :, 1].any() and terms[BOTH][:18, :, 1].any()
    assert (terms[BOTH][18:] == terms[NO_CAPTION][18:]).all() and not terms[NO_IMAGE][:, :, 0].any()
    model.save(tmp_path / "m.safetensors")
    again = ZeroShotModel(cfg, 2).load(tmp_path / "m.safetensors")
    assert (again.predict_proba(inputs) == model.predict_proba(inputs)).all()
    assert (model.predict_proba(inputs) > 0.5).tolist() == (y == 1).tolist()


def test_no_label_of_a_fold_is_used_for_its_own_rows(trained, monkeypatch):
    monkeypatch.chdir(trained.root)
    job = FoldJob(trained, "zero", Experiments(trained)["zero"].config)
    rows, inputs = job.rows, job.inputs
    probabilities = []
    for y in (rows.y, np.where((rows.fold == 0)[:, None], 1 - rows.y, rows.y)):  # the labels of fold 0 are turned round
        model = ZeroShotModel(job.experiment, len(rows.names))
        train_rows, held_out = np.flatnonzero(rows.fold != 0), np.flatnonzero(rows.fold == 0)
        model.fit(inputs.take(train_rows), y[train_rows], TrainingRun(0))
        probabilities.append(model.predict_proba(inputs.take(held_out)))
    assert (probabilities[0] == probabilities[1]).all()
    oof = Predictions.read(trained.oof("zero")).aligned_to([rows.ids[i] for i in held_out])
    np.testing.assert_allclose(oof, probabilities[0], atol=1e-5)


def test_a_pair_goes_from_features_to_a_stack_new_images_a_bundle_and_a_report(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(trained.root)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    experiments = Experiments(trained)
    assert all(experiments[name].require_current() for name in ("stack", *MEMBERS))
    files, captions = [trained.input / "data" / f"{i}.jpg" for i in range(40, 48)], ["a cat"] * 8
    for name in ("stack", "joined", "fused"):
        assert np.isfinite(Labeler.of(trained, name).predict_proba(files, captions)).all()
    manifest = write_bundle(experiments["zero"], 0, tmp_path / "zero")
    assert "open_clip_torch==" in (tmp_path / "zero" / "requirements.txt").read_text()
    assert len([file for file in manifest["files"] if file.endswith("open_clip_model.safetensors")]) == 1
    found = RoundingCheck(Labeler.of(trained, "zero"), trained).measure(as_opened(tmp_path / "zero", manifest))
    assert not found.matters and found.changed == 0 and found.rows == 36  # four have no caption
    blind = list(Labeler.of(trained, "zero").label(files, [None] * 8))  # images alone
    assert all(one.proba for one in blind)


def test_a_bundle_that_would_fetch_a_tower_from_elsewhere_is_refused(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(trained.root)
    write_bundle(Experiments(trained)["joined"], 1, tmp_path / "b")
    (file,) = (tmp_path / "b" / "weights").rglob("open_clip_config.json")
    settings = read_json(file)
    settings["model_cfg"]["vision_cfg"]["timm_model_name"] = "hf-hub:someone/else"
    write_json(file, settings)
    manifest = read_json(tmp_path / "b" / "bundle.json")
    manifest["files"][file.relative_to(tmp_path / "b").as_posix()]["sha256"] = sha256(file)
    write_text(tmp_path / "b" / "bundle.json", sealed(manifest))
    with pytest.raises(ValueError, match="'hf-hub:someone/else' comes from outside the bundle"):
        open_bundle(tmp_path / "b")


@pytest.mark.usefixtures("offline")
def test_zero_shot_beats_chance_with_real_weights_where_there_are_any_else_says_that_none_ship(tmp_path, monkeypatch):
    """Weights in the folder that TANDEM_CLIP names, or those of `configs/zeroshot.toml` in the hub's cache."""
    model = load_experiment(Path(__file__).parents[1] / "configs" / "zeroshot.toml").image.model
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", CACHE)
    model, cached = (
        os.environ.get(WEIGHTS, model),
        try_to_load_from_cache(HUB_NAME, "open_clip_model.safetensors", CACHE),
    )
    if WEIGHTS not in os.environ and not isinstance(cached, str):
        with pytest.raises(ValueError, match="no weights of a CLIP-like pair ship with Tandem"):
            load_pair(model)
        return
    pixels, blue = load_pair(model).pixels, np.arange(20) % 2
    for i, is_blue in enumerate(blue):
        toy.draw(tmp_path / f"{i}.jpg", bool(is_blue), i)
    resize, prompts = "crop" if pixels.crop else "square", (("a red picture",), ("a blue picture",))
    image = ClipImageEncoder(model=model, size=pixels.size, resize=resize, prompts=True, label_prompts=prompts)
    found = encoded(image, [tmp_path / f"{i}.jpg" for i in range(20)])[:, 0, -2:]
    assert roc_auc_score(blue, found[:, 1] - found[:, 0]) > 0.9
