"""Labelling new images: as the pipeline labels the test rows, whatever kind of file, with a caption or without."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import toy
from checked import changed_json, run_tasks, train
from PIL import Image
from torch.nn.modules.module import register_module_forward_hook

import tandem
from tandem import Labeler
from tandem.artifacts.atomic_io import read_json, write_text
from tandem.artifacts.contributions import TERMS
from tandem.artifacts.paths import Paths
from tandem.artifacts.predictions import Predictions
from tandem.data.split_tables import read_captions, read_images, write_captions
from tandem.ensemble.stacking import BOUND, load_no_caption_stack
from tandem.logits import logit, sigmoid


@pytest.fixture(scope="module")
def labeler(trained) -> Labeler:
    return Labeler.of(trained)


def pipeline_rows(paths: Paths) -> tuple[list[Path], list[str]]:
    files = read_images(paths.images("test"))["file"]
    return [paths.input / file for file in files], read_captions(paths.captions("test"))[1]


def probabilities(found) -> np.ndarray:
    return np.array([list(one.proba.values()) for one in found])


@pytest.mark.parametrize("name", ["stack", "join", "looks", "words"])
def test_new_images_are_labelled_as_the_pipeline_labels_the_test_rows(trained, name):
    found = list(Labeler.of(trained, name).label(*pipeline_rows(trained)))
    expected = Predictions.read(trained.test(name)).proba
    assert np.abs(probabilities(found) - expected).max() < 1e-4


def test_each_thread_that_labels_computes_alone_from_its_first_to_its_last_layer(trained, labeler, monkeypatch):
    files, captions = pipeline_rows(trained)
    monkeypatch.setenv("TANDEM_THREADS", "2")
    list(labeler.label(files[:1], captions[:1]))  # loads the encoders
    before, threads = torch.get_num_threads(), set()
    torch.set_num_threads(2)
    handle = register_module_forward_hook(lambda *_: threads.add(torch.get_num_threads()))
    try:
        list(labeler.label(files * 20, captions * 20))  # several chunks
    finally:
        handle.remove()
        after = torch.get_num_threads()
        torch.set_num_threads(before)
    assert threads == {1} and after == 2


def test_the_stack_that_learned_is_the_one_that_labels(trained, labeler):
    assert read_json(trained.run("stack"))["kept"] == "stack"
    assert labeler.predictor.stack.second.boosted and labeler.predictor.stack.reads_words


def test_terms_add_up_to_the_logit(trained, labeler):
    files, captions = pipeline_rows(trained)
    plain, explained = list(labeler.label(files, captions)), list(labeler.label(files, captions, terms=True))
    assert [one.labels for one in explained] == [one.labels for one in plain]
    for one, other in zip(explained, plain, strict=True):
        for name in labeler.names:
            assert set(one.terms[name]) == set(TERMS)
            assert sigmoid(sum(one.terms[name].values())) == pytest.approx(other.proba[name], abs=1e-4)
    assert plain[0].terms is None


def test_without_a_caption_the_members_that_need_none_label_together(trained, labeler):
    stack, names = load_no_caption_stack(trained, "stack")
    assert [m.name for m in labeler.no_caption.members] == names == ["join", "looks"]
    files, captions = pipeline_rows(trained)
    some = [captions[0], None, "  ", *captions[3:]]
    found = list(labeler.label(files, some))
    assert [one.without_caption for one in found] == [False, True, True, *[False] * (len(files) - 3)]
    alone = [logit(probabilities(list(Labeler.of(trained, name).label(files[1:3]))), BOUND) for name in names]
    mean = sum(weight * logits for weight, logits in zip(stack.second.weights, alone, strict=True))
    assert np.allclose(probabilities(found[1:3]), sigmoid(stack.shift + stack.scale * mean), atol=1e-5)
    whole = list(labeler.label(files, captions))
    assert np.allclose(probabilities(found[3:]), probabilities(whole[3:]), atol=1e-5)


def test_a_fusion_network_without_a_caption_has_a_decoder_of_its_own(trained):
    labeler = Labeler.of(trained, "join")
    assert labeler.no_caption.members == labeler.predictor.members and labeler.no_caption.without_captions
    assert read_json(trained.thresholds("join"))["without"]["captions"]["decoder"] == labeler.no_caption.decoder.name
    files, captions = pipeline_rows(trained)
    seen, read = list(labeler.label(files)), list(labeler.label(files, captions))
    assert not np.allclose(probabilities(seen), probabilities(read), atol=0.01)


@pytest.mark.parametrize("name", ["stack", "join"])
def test_a_submission_labels_rows_without_a_caption_as_predict_does(copied, name, monkeypatch):
    files, captions = pipeline_rows(copied)
    captions[0], captions[5] = "", " \t"
    ids = read_images(copied.images("test"))["id"]
    write_captions(copied.captions("test"), ids, captions)
    lines = (f"{row},{text.strip()}\n" for row, text in zip(ids, captions, strict=True))
    write_text(copied.input / "test.csv", "id,caption\n" + "".join(lines))
    monkeypatch.chdir(copied.root)
    train(Paths("toy"), *toy.MEMBERS)
    run_tasks(Paths("toy"), "stack", "decode stack", f"submit {name}")
    submitted = [set(line.split(",")[1].split("|")) - {""} for line in copied.submission(name).read_text().split()[1:]]
    found = list(Labeler.of(Paths("toy"), name).label(files, captions))
    assert [one.without_caption for one in found] == [i in (0, 5) for i in range(len(files))]
    assert [set(one.labels) for one in found] == submitted
    assert np.abs(probabilities(found) - Predictions.read(copied.test(name)).proba).max() < 1e-4


def test_where_every_experiment_needs_a_caption_a_missing_one_is_an_error_before_anything_is_labelled(trained):
    labeler = Labeler(trained, Labeler.of(trained, "words").predictor, no_caption=None)
    with pytest.raises(ValueError, match="a caption is missing, and every trained experiment needs one"):
        labeler.label(["a.jpg", "b.jpg"], ["a cat", ""])


@pytest.fixture
def copied(trained, tmp_path) -> Paths:
    """The trained competition, to be changed."""
    shutil.copytree(trained.root, tmp_path / "copied")
    return Paths("toy", tmp_path / "copied")


def set_seed(paths: Paths, name: str, old: int, new: int) -> None:
    file = paths.configs / f"{name}.toml"
    text = file.read_text()
    assert f"seed = {old}\n" in text
    file.write_text(text.replace(f"seed = {old}\n", f"seed = {new}\n"))


def test_models_of_other_settings_than_the_file_or_of_an_unfinished_training_label_nothing(copied):
    set_seed(copied, "looks", 0, 1)
    with pytest.raises(
        ValueError, match="'looks' is stale: configs/looks.toml seed 0 -> 1; run: make train COMP=toy EX"
    ):
        Labeler.of(copied, "looks")
    with pytest.raises(ValueError, match="'stack' is stale: its member looks: .* 0 -> 1; run: make submit COMP=toy"):
        Labeler.of(copied, "stack")
    set_seed(copied, "looks", 1, 0)
    changed_json(copied.model("looks", 1, ".json"), key="of a training that was interrupted")
    with pytest.raises(ValueError, match="its member looks: its training was interrupted"):
        Labeler.of(copied, "stack")


def test_a_stack_whose_member_was_trained_again_labels_nothing(copied):
    changed_json(copied.run("stack"), members=read_json(copied.run("stack"))["members"] | {"words": "before"})
    with pytest.raises(ValueError, match="its member words was trained again since; run: make submit COMP=toy"):
        Labeler.of(copied)


def test_a_decoder_for_another_metric_labels_nothing(copied):
    text = copied.competition.read_text()
    copied.competition.write_text(text.replace('"f1_samples"', '"f1_macro"'))
    with pytest.raises(ValueError, match="'stack' is stale: competition.toml metric 'f1_samples' -> 'f1_macro'"):
        Labeler.of(copied)


def test_an_experiment_on_other_labels_or_settings_does_not_label_images_without_a_caption(copied):
    assert [m.name for m in Labeler.of(copied, "words").no_caption.members] == ["looks"]
    changed_json(copied.thresholds("looks"), labels=["cat", "sea"])
    assert [m.name for m in Labeler.of(copied, "words").no_caption.members] == ["join"]
    set_seed(copied, "join", 0, 1)
    assert Labeler.of(copied, "words").no_caption is None


def test_a_stack_that_depends_on_the_length_of_captions_does_not_label_without(copied):
    labeler = Labeler.of(copied)
    looks = [m for m in labeler.predictor.members if m.name == "looks"]
    predictor = replace(labeler.predictor, members=looks)
    assert predictor.reads_captions and not replace(predictor, stack=None).reads_captions


def test_fewer_folds_are_fewer_models(trained):
    labeler = Labeler.of(trained, "stack", folds=1)
    assert {len(member.ensemble.models) for member in labeler.predictor.members} == {1}


def test_an_encoder_that_members_share_runs_once(trained):
    labeler, calls = Labeler.of(trained), []
    files, captions = pipeline_rows(trained)
    list(labeler.label(files[:1], captions[:1]))  # loads them
    made = labeler.encoders._loaded

    def counted(slug, encode):
        return lambda items: calls.append((slug, len(items))) or encode(items)

    labeler.encoders._loaded = {slug: counted(slug, encode) for slug, encode in made.items()}
    list(labeler.label(files, captions))
    assert sorted(n for _, n in calls) == [len(files)] * len(made)


def test_captions_that_are_not_one_an_image_are_refused(labeler):
    with pytest.raises(ValueError, match="2 images and 1 captions; expected one each"):
        labeler.label(["a.jpg", "b.jpg"], ["a cat"])


def test_what_is_not_trained_is_an_error_with_the_command_that_trains_it(trained, tmp_path):
    with pytest.raises(FileNotFoundError, match="run: make submit COMP=toy"):
        Labeler.of(Paths("toy", tmp_path))
    with pytest.raises(FileNotFoundError, match="run: make train COMP=toy EXPS=fast"):
        Labeler.of(trained, "fast")


def test_the_package_opens_without_torch():
    code = "import sys, tandem; print({'torch', 'numpy'} & set(sys.modules), tandem.__version__)"
    env = os.environ | {"PYTHONPATH": str(Path(tandem.__file__).parents[1])}
    run = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60)
    assert run.stdout == f"set() {tandem.__version__}\n", run.stderr
    assert tandem.Labeler is Labeler


# ---- kinds of image files


def saved(folder: Path, name: str, image: Image.Image, **options) -> Path:
    image.save(folder / name, **options)
    return folder / name


@pytest.fixture
def kinds(tmp_path) -> list[Path]:
    """The same blue photo in many kinds of files."""
    toy.draw(tmp_path / "plain.jpg", blue=True, seed=99)
    photo = Image.open(tmp_path / "plain.jpg").convert("RGB")
    turned = photo.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned back by 90 degrees
    see_through = photo.copy()
    see_through.putalpha(255)
    return [
        tmp_path / "plain.jpg",
        saved(tmp_path, "same.png", photo),
        saved(tmp_path, "same.webp", photo, lossless=True),
        saved(tmp_path, "cmyk.jpg", photo.convert("CMYK"), quality=100),
        saved(tmp_path, "alpha.png", see_through),
        saved(tmp_path, "turned.jpg", turned, exif=exif, quality=100, subsampling=0),
        saved(tmp_path, "palette.gif", photo.quantize(256)),
    ]


def test_one_photo_in_many_kinds_of_files_gets_the_same_labels(labeler, kinds):
    found = list(labeler.label(kinds, ["a cat"] * len(kinds)))
    assert [one.problem for one in found] == [""] * len(kinds)
    assert [set(one.labels) for one in found] == [set(found[0].labels)] * len(kinds)
    assert np.abs(probabilities(found) - probabilities(found[:1])).max() < 0.05


def test_grey_and_16_bit_photos_are_labelled(labeler, tmp_path):
    grey = np.random.default_rng(0).integers(0, 65536, (40, 48), np.uint16)
    deep, flat = tmp_path / "deep.png", tmp_path / "flat.jpg"
    Image.fromarray(grey).save(deep)
    Image.fromarray((grey // 257).astype(np.uint8)).save(flat, quality=100)
    found = list(labeler.label([deep, flat], ["a dog"] * 2))
    assert np.abs(probabilities(found[:1]) - probabilities(found[1:])).max() < 0.05


def test_an_unreadable_image_has_the_reason_and_the_others_are_labelled(trained, labeler, tmp_path):
    files, captions = pipeline_rows(trained)
    (tmp_path / "text.jpg").write_text("no photo")
    (tmp_path / "half.jpg").write_bytes(files[0].read_bytes()[:300])
    bad = [tmp_path / "text.jpg", tmp_path / "half.jpg", tmp_path / "gone.jpg", tmp_path]
    found = list(labeler.label([*bad, *files], [*["a cat"] * len(bad), *captions]))
    for one, why in zip(found, ("unreadable", "truncated", "missing", "unreadable"), strict=False):
        assert one.problem.startswith(why) and one.proba is None and one.labels == ()
    assert np.abs(probabilities(found[len(bad) :]) - Predictions.read(trained.test("stack")).proba).max() < 1e-4


def test_a_large_photo_is_decoded_small_and_gets_the_same_labels(labeler, tmp_path):
    toy.draw(tmp_path / "small.jpg", blue=True, seed=7)
    small = Image.open(tmp_path / "small.jpg")
    small.resize((1920, 1600), Image.Resampling.BICUBIC).save(tmp_path / "large.jpg", quality=95)
    found = list(labeler.label([tmp_path / "small.jpg", tmp_path / "large.jpg"], ["a cat"] * 2))
    assert np.abs(probabilities(found[:1]) - probabilities(found[1:])).max() < 0.05
