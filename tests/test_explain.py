"""Explanations: heat maps and word effects with a known answer, and a toy competition through the stage."""

import io
import re
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fusion_toy import IDS, NAMES, TEST, N
from PIL import Image
from rich.console import Console
from torch import nn

from tandem.artifacts.atomic_io import read_json, write_json
from tandem.artifacts.contributions import BOTH, NO_CAPTION, NO_IMAGE, TERMS, write_contributions
from tandem.artifacts.paths import Paths
from tandem.artifacts.predictions import Predictions
from tandem.config.encoders import Crop, TrunkEncoder
from tandem.config.experiments import FusionExperiment
from tandem.config.training import Fusion
from tandem.data.image_loader import squares
from tandem.explain.attribution import heat_maps, pooled_map
from tandem.explain.explain_image import explain_image
from tandem.explain.explanation import (
    ExperimentPrediction,
    Explanation,
    best_of_captions,
    default_experiment,
    find_row,
    shown_labels,
)
from tandem.explain.grad_cam import grad_cam
from tandem.explain.occlusion import RUNS, covered, covered_squares, map_of_drops
from tandem.explain.page import percent, render, segments, signed
from tandem.explain.pictures import overlay
from tandem.explain.terminal import lines
from tandem.explain.words import word_effects
from tandem.features.image_backbone_split import LateStages
from tandem.features.image_layout import Layout
from tandem.features.text_encoder import load_encoder
from tandem.graph.experiment_dir import Experiments
from tandem.logits import logit, sigmoid
from tandem.models.fold_ensemble import FoldEnsemble
from tandem.models.fusion_network import FusionNetwork, Trunks
from tandem.models.inputs import Maps
from tandem.models.registry import make_model
from tandem.runtime import torch_setup as runtime
from tandem.stages import clean_cache, explain
from tandem.training.fold_job import FoldJob
from tandem.training.split_inputs import read_inputs


@pytest.fixture(autouse=True)
def one_thread_and_full_precision(monkeypatch):
    monkeypatch.setenv("TANDEM_THREADS", "1")
    torch.set_num_threads(1)
    monkeypatch.setattr(runtime, "has_bfloat16", lambda kind: False)


# ---- heat maps


class Means(nn.Module):
    """Logit 0 is the mean of channel 1, logit 1 minus that of channel 0."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Identity()

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        means = self.layer(maps).mean((2, 3))
        return torch.stack([means[:, 1], -means[:, 0]], 1)


def test_the_heat_map_of_a_channels_mean_is_the_channel():
    maps = torch.tensor([[[[1.0, -8.0], [0.0, 0.0]], [[0.0, 0.0], [4.0, -4.0]]]])
    network = Means()
    found = grad_cam(network.layer, lambda: network(maps), [0, 1])
    assert found.tolist() == [[[[0, 0], [1, 0]], [[0, 2], [0, 0]]]]  # each channel over the 4 positions


def test_grad_cam_leaves_the_network_as_it_was_and_works_where_nothing_is_trained():
    network, maps = Means(), torch.ones(1, 2, 2, 2)
    with torch.no_grad():
        grad_cam(network.layer, lambda: network(maps), [0])
    assert not network.layer._forward_hooks
    assert not network(maps).requires_grad


def test_an_overlay_is_most_opaque_where_the_map_is_highest():
    heat = np.zeros((4, 4))
    heat[3, 0] = 7
    image = np.asarray(overlay(heat, 200, 100))
    assert image.shape == (48, 96, 4)
    alpha = image[:, :, 3]
    y, x = np.unravel_index(alpha.argmax(), alpha.shape)
    assert y > 36 and x < 24
    assert alpha[:12, 48:].max() == 0


def test_the_heat_map_of_a_network_that_pools_for_each_label_is_what_each_position_adds():
    maps = torch.zeros(1, 4, 4, 2)
    maps[0, 3, 1] = torch.tensor([5.0, -5.0])  # evidence for label 0, and against label 1
    cfg, late = Fusion(label_pooling=True, hidden=4, heads=1), LateStages(nn.Identity(), [], Layout("channels last"))
    network = FusionNetwork(cfg, 2, Trunks(late, None), {"image": 4, "positions": 2}).eval()
    network.positions.weight.data = torch.eye(2)
    heat = pooled_map(network, {"maps": maps}, [1, 0])
    assert heat.shape == (2, 4, 4)
    assert heat[0].max() == 0
    assert np.unravel_index(heat[1].argmax(), (4, 4)) == (3, 1) and np.count_nonzero(heat[1]) == 1


# ---- words


def cats(captions: list[str]) -> np.ndarray:
    """Label 0: +2 for a cat; label 1: -1 a word."""
    return np.array([[2.0 * ("cat" in c), -1.0 * len(c.split())] for c in captions])


def test_only_words_that_matter_have_an_effect():
    words = word_effects("a  cat here ", cats)
    assert words.pieces == ("a", "  cat", " here", " ")
    assert words.effects.tolist() == [[0, -1], [2, -1], [0, -1]]


def test_the_model_is_called_once_and_a_long_caption_is_cut():
    calls = []
    words = word_effects("w " * 1000, lambda captions: (calls.append(len(captions)), cats(captions))[1])
    assert calls == [65]
    assert len(words.effects) == 64 and "".join(words.pieces) == "w " * 1000


# ---- what is shown


def test_terms_end_to_end_reach_their_sum():
    parts = segments(np.array([2.0, -1.0, 0.0, 0.0, 1.0, -1.0]), -2.0, 3.0)
    assert parts == [
        ("image", 40, 40), ("caption", 20, 20), ("context", 80, 20), ("base", 0, 20)
    ]  # fmt: skip


def test_predicted_and_true_labels_are_shown_before_the_most_probable_others():
    proba, pred = np.array([0.1, 0.9, 0.4, 0.3, 0.2]), np.array([0, 1, 0, 0, 0], bool)
    prediction = ExperimentPrediction("join", proba, pred, None)
    assert shown_labels([prediction], np.array([1, 0, 0, 0, 0], bool)) == (1, 2, 0)
    assert shown_labels([prediction], None) == (1, 2, 3)


def test_an_unknown_id_is_an_error_with_similar_ids():
    with pytest.raises(ValueError, match=r"ID='12.jpeg'.* 1 of train or 1 of test; similar: 12.jpg"):
        find_row("12.jpeg", {"train": ["12.jpg"], "test": ["zz"]})
    assert find_row("zz", {"train": ["12.jpg"], "test": ["zz"]}) == ("test", 0)


def test_probabilities_near_0_and_1_are_not_rounded_to_them():
    assert [percent(p) for p in (0.0, 0.5, 1.0)] == ["<0.1 %", "50.0 %", ">99.9 %"]


@pytest.mark.parametrize("image", ["../../etc/passwd", "a/b.jpg", "..", "a\x00b", "x" * 300])
def test_a_page_of_any_id_stays_in_its_folder(image):
    path = Paths("toy").explanation(image, "join")
    assert path.parent.as_posix() == "reports/toy/explain"
    assert len(path.name) < 80 and not path.name.startswith(".")
    assert path != Paths("toy").explanation(image.replace("/", "_") + "_", "join")


# ---- the stage


@pytest.fixture
def paths(fusion_toy, monkeypatch) -> Paths:
    monkeypatch.chdir(fusion_toy.root)
    return fusion_toy


def job_of(paths: Paths) -> FoldJob:
    return FoldJob(paths, "join", Experiments(paths)["join"].config)


def explained(paths: Paths, image: str, capsys, exp: str = "join") -> tuple[str, str]:
    """(page, what is printed)."""
    explain.main(SimpleNamespace(comp="toy", id=image, exp=exp))
    printed = capsys.readouterr().out
    page = Paths("toy").explanation(image, exp or "join")
    assert printed.splitlines()[-1] == str(page)
    return page.read_text(encoding="utf-8"), printed


def test_a_training_image_is_explained_by_the_model_of_its_held_out_fold(paths, capsys):
    page, printed = explained(paths, "3.png", capsys)
    assert "the model of fold 1, not trained on this image" in printed and "fold 1" in page
    found = explain_image(paths, "3.png", "join")
    held_out = Predictions.read(paths.model("join", 1, ".parquet")).aligned_to(["3.png"])[0]
    assert found.predictions[0].proba.tolist() == held_out.tolist()
    assert found.truth.tolist() == [True, False]
    model = make_model(job_of(paths).experiment, 2).load(paths.model("join", 1, ".safetensors"))
    row = job_of(paths).inputs.take(np.array([3]))
    terms = model.predict_terms(row)
    assert np.allclose(found.predictions[0].terms, terms[BOTH][0], atol=1e-4)
    for name in (NO_CAPTION, NO_IMAGE):
        assert np.allclose(found.single_input[name], terms[name][0].sum(-1), atol=1e-4)


def test_its_terms_add_up_to_the_probability_and_the_page_says_so(paths, capsys):
    found = explain_image(paths, "3.png", "join")
    assert np.allclose(sigmoid(found.predictions[0].terms.sum(-1)), found.predictions[0].proba, atol=1e-6)
    page, printed = explained(paths, "3.png", capsys)
    (difference,) = re.findall(r"probabilities of join by (\S+) at most", re.sub(r"\s+", " ", page))
    assert float(difference) < 1e-6
    assert f"largest difference between these sums and the probabilities of join: {difference}" in printed


def test_a_test_image_is_explained_by_all_fold_models_and_has_no_truth(paths, capsys):
    page, printed = explained(paths, "99.png", capsys)
    assert "the mean of 2 fold models" in printed and "<th>true</th>" not in page
    found = explain_image(paths, "99.png", "join")
    assert np.allclose(found.predictions[0].proba, Predictions.read(paths.test("join")).aligned_to(["99.png"])[0])
    experiment = job_of(paths).experiment
    row = read_inputs(paths, experiment, "test").take(np.array([1]))
    files = [paths.model("join", k, ".safetensors") for k in (0, 1)]
    each = [heat_maps(FoldEnsemble.load(experiment, 2, [file]), row, found.shown, False) for file in files]
    assert np.allclose(found.heat, np.mean(each, axis=0), atol=1e-6)


def test_the_effect_of_a_word_is_the_change_of_the_logit_without_it(paths):
    found = explain_image(paths, "3.png", "join")
    assert found.words.pieces == ("a", " red", " thing")
    job = job_of(paths)
    (states,) = load_encoder(job.experiment.tokens)(["a thing"])
    row = job.inputs.take(np.array([3]))
    model = make_model(job.experiment, 2).load(paths.model("join", 1, ".safetensors"))
    states = Maps((states.astype(np.float16),))
    without = replace(row, maps={**row.maps, job.experiment.tokens.slug: states})
    change = model.predict_proba(row)[0], model.predict_proba(without)[0]
    assert np.allclose(found.words.effects[1], logit(change[0]) - logit(change[1]), atol=1e-4)
    read = explain_image(paths, "3.png", "words").words
    assert read.effects[:, 0].argmax() == 1 and read.effects[1, 0] > 0 > read.effects[1, 1]


def test_the_mirrored_view_is_turned_back(paths):
    experiment = job_of(paths).experiment
    model = make_model(experiment, 2).load(paths.model("join", 0, ".safetensors"))
    row = job_of(paths).inputs.take(np.array([1]))
    plain, mirrored = (batch["maps"].numpy() for batch in model.each_view(row))
    assert not np.array_equal(plain, mirrored)
    slug, ensemble = experiment.trunk.slug, FoldEnsemble(experiment, [model])
    maps = row.maps[slug]
    swapped = replace(row, maps={**row.maps, slug: replace(maps, parts=(maps.parts[0][:, ::-1],))})
    once, turned = (heat_maps(ensemble, part, [0, 1], False) for part in (row, swapped))
    assert np.allclose(once, turned[:, :, ::-1], atol=1e-5)


def test_code_in_a_caption_is_escaped_on_the_page_and_in_the_terminal(paths, capsys):
    page, printed = explained(paths, "0.png", capsys)
    assert "<script" not in page and "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "blue &lt;b&gt;&amp;" in page and "<b>&" not in page
    for text in (page, printed):
        assert "\x1b[2J" not in text and "\u202e" not in text
    assert "[bold]thing[/bold]" in printed
    assert set(re.findall(r'(?:src|href)="([^":]*:[^";,]*)', page)) <= {"data:image/png"}
    assert "http" not in page.replace('http-equiv="Content-Security-Policy"', "")


def test_what_is_not_shown_is_listed_with_its_reason(paths, capsys):
    page, printed = explained(paths, "98.png", capsys)
    assert "words: this image has no caption" in printed and "this image has no caption" in page
    assert "Heat maps" in page and "Word effects" not in page
    page, printed = explained(paths, "3.png", capsys, exp="words")
    assert "heat map: words, of kind tfidf, does not use images" in printed
    assert "Heat maps" not in page and "Word effects" in page
    assert "there is no stack yet, run make stack COMP=toy" in page


def test_with_a_stack_its_terms_are_shown_as_well(paths, capsys):
    proba, terms = np.full((N, 2), 0.5), np.zeros((N, 2, len(TERMS)), np.float32)
    terms[:, :, 0], terms[:, :, 3] = 3, -3
    try:
        for file, ids in ((paths.oof("stack"), IDS), (paths.test("stack"), TEST)):
            Predictions(ids, NAMES, proba[: len(ids)]).write(file)
        write_contributions(paths.contributions("stack"), NAMES, [("train", IDS, terms)])
        write_json(paths.run("stack"), {"members": {"join": ""}})
        write_json(paths.thresholds("stack"), read_json(paths.thresholds("join")))
        page, printed = explained(paths, "3.png", capsys)
        assert "Terms of each logit: stack" in page and "stack: terms of each logit" in printed
        assert "other labels" in page and "−3.00" in page and "+3.00" in printed
        Predictions(IDS, ("red", "green"), proba).write(paths.oof("stack"))
        with pytest.raises(ValueError, match="made with another label list; run: make submit COMP=toy"):
            explain_image(paths, "3.png", "join")
    finally:
        for file in paths.experiment("stack").iterdir():
            file.unlink()


def test_stale_models_are_refused(paths):
    file = paths.model("join", 0, ".json")
    before = read_json(file)
    try:
        write_json(file, before | {"key": "another"})
        with pytest.raises(
            ValueError, match="'join' is stale: its training was interrupted; run: make train COMP=toy EXPS=join"
        ):
            explain_image(paths, "0.png", "join")
    finally:
        write_json(file, before)
    with pytest.raises(ValueError, match="EXP=nothing: .*; there are: join words"):
        explain_image(paths, "0.png", "nothing")


def test_without_a_name_a_trained_experiment_with_terms_is_explained(paths, tmp_path, capsys):
    assert (
        default_experiment(Experiments(paths)) == "join"
    )  # neither `words`, which has no terms, nor one that is not trained
    page, _ = explained(paths, "3.png", capsys, exp=None)
    assert page == render(explain_image(paths, "3.png", "join"))
    assert default_experiment(Experiments(Paths("toy", tmp_path))) == ""


def test_fusion_comes_before_the_first_by_name(tmp_path):
    paths = Paths("toy", tmp_path)
    for name in ("a", "fusion"):
        config = FusionExperiment(kind="fusion", trunk=TrunkEncoder()).model_dump()
        write_json(paths.run(name), {"config": config})
        write_json(paths.thresholds(name), {})
    write_json(paths.scores("a"), {})
    assert default_experiment(Experiments(paths)) == "a"
    write_json(paths.scores("fusion"), {})
    assert default_experiment(Experiments(paths)) == "fusion"


def test_the_same_image_gives_the_same_page(paths):
    assert render(explain_image(paths, "3.png", "join")) == render(explain_image(paths, "3.png", "join"))


def test_the_page_opens_in_a_browser_and_fits_a_phone(paths, capsys, page):
    explained(paths, "0.png", capsys)
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.set_viewport_size({"width": 390, "height": 800})
    page.goto(Paths("toy", paths.root).explanation("0.png", "join").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    heat = page.locator(".maps img").first
    assert heat.evaluate("image => image.naturalWidth") == 96
    assert page.locator(".words p").first.inner_text().startswith("<script>alert(1)</script>")
    assert page.locator("script, img[src=x]").count() == 0 and "{{ 7*7 }}" in page.locator("blockquote").inner_text()
    assert all(one.startswith("data:") or one == page.url for one in asked)


@pytest.mark.parametrize("width", [80, 120])
def test_the_tables_fit_the_terminal(paths, width):
    console = Console(width=width, file=io.StringIO())
    for line in lines(explain_image(paths, "3.png", "join"), width):
        console.print(line)
    printed = console.file.getvalue()
    assert "…" not in printed and max(map(len, printed.splitlines())) <= width


def test_a_stack_with_all_terms_long_names_and_labels_fits_80_columns():
    names, rng = ("horse", "traffic light", "surfboard"), np.random.default_rng(0)
    every = [rng.normal(size=(3, len(TERMS))) for _ in range(2)]
    made = ("image_lite0_finetune", "stack_without_captions")
    predictions = tuple(
        ExperimentPrediction(name, sigmoid(terms.sum(1)), np.array([1, 0, 0], bool), terms)
        for name, terms in zip(made, every, strict=True)
    )
    single = {NO_CAPTION: np.zeros(3), NO_IMAGE: np.zeros(3)}
    truth = np.array([0, 1, 0], bool)
    found = Explanation("toy", "a", "train", "", names, "a", None, truth, predictions, (0, 1, 2), single)
    console = Console(width=80, file=io.StringIO())
    for line in lines(found, 80):
        console.print(line)
    printed = console.file.getvalue()
    assert "…" not in printed and max(map(len, printed.splitlines())) <= 80
    assert printed.count("traffic light") >= 3  # a name is whole in each of the tables
    for terms in every:
        assert all(signed(value) in printed for value in terms.ravel())


def test_where_less_is_better_the_lowest_score_is_the_best_of_captions(trained, tmp_path):
    shutil.copytree(trained.experiment("words"), tmp_path / "oof" / "toy" / "words")
    shutil.copytree(trained.experiment("words"), tmp_path / "oof" / "toy" / "lower")
    for name, score in (("words", 0.3), ("lower", 0.2)):
        file = Paths("toy", tmp_path).scores(name)
        write_json(file, read_json(file) | {"score": score, "greater_is_better": False})
    assert best_of_captions(Experiments(Paths("toy", tmp_path))) == "lower"


# ---- verdict, file names, heat maps without a trunk


def one_of(pred: list[int], truth: list[int] | None, known: list[int] | None = None) -> list[str]:
    """The verdict on labels horse, cat, dog with falling probabilities."""
    prediction = ExperimentPrediction("join", np.array([0.9, 0.4, 0.3]), np.array(pred, bool), None)
    parts = (None if one is None else np.array(one, bool) for one in (truth, known))
    names = ("horse", "cat", "dog")
    found = Explanation("toy", "a", "train", "", names, None, None, next(parts), (prediction,), (0,), known=next(parts))
    return [f"{kind}: {words}" if kind else words for kind, words in found.verdict(prediction)]


def test_the_verdict_names_what_was_predicted_missed_and_wrong():
    assert one_of([1, 0, 0], [1, 1, 1]) == ["predicted horse", "FN: missed cat, dog"]
    assert one_of([1, 0, 1], [0, 1, 1]) == ["predicted horse, dog", "FN: missed cat", "FP: wrongly predicted horse"]
    assert one_of([1, 1, 0], [1, 1, 0]) == ["predicted horse, cat", "all right"]
    assert one_of([0, 0, 0], None) == ["predicted no label", "the true labels are not known"]
    assert one_of([1, 1, 0], [1, 0, 0], known=[1, 0, 1]) == ["predicted horse, cat", "all right"]


def test_an_image_is_found_by_its_id_its_file_name_or_a_path_to_it():
    ids = {"train": ["s1", "s2"], "test": ["t1", "t2"]}
    files = {"train": ["toy/train/1.jpg", "toy/train/2.jpg"], "test": ["toy/test/1.jpg", "toy/test/22.jpg"]}
    assert find_row("s2", ids, files) == find_row("2.jpg", ids, files) == ("train", 1)
    assert find_row("/data/input/toy/test/22.jpg", ids, files) == find_row("test/22.jpg", ids, files) == ("test", 1)
    with pytest.raises(ValueError, match="2 rows have an image of this name; expected one of the ids s1, t1"):
        find_row("1.jpg", ids, files)
    with pytest.raises(ValueError, match=r"ID='s11.jpg': .* of one of the 2 of train or 2 of test; similar: s1"):
        find_row("s11.jpg", ids, files)


def test_what_an_image_shows_is_found_by_covering_parts_of_it():
    image = np.zeros((16, 24, 3), np.uint8)
    image[4:8, 6:12] = 240  # cells 2 and 3 of 8, down and across
    drops = np.array([int(image.sum()) - int(one[4:8, 6:12].sum()) for one in covered(image)][1:], float)[:, None]
    (heat,) = map_of_drops(drops)
    assert heat.shape == (8, 8) and len(drops) == 49
    assert heat[2:4, 2:4].min() > heat[[0, 7]].max() and heat[5:, 5:].max() == 0


def test_the_squares_of_a_large_photo_are_those_of_the_photo_itself():
    row, column = np.mgrid[:500, :700]
    large = Image.fromarray(np.stack([row / 2, column / 3, (row + column) / 5], 2).astype(np.uint8))
    seen = covered_squares(large, {32, Crop(24)})
    assert {size: len(each) for size, each in seen.items()} == {32: RUNS, Crop(24): RUNS}
    for size, square in squares(large, seen).items():
        assert np.abs(seen[size][0].astype(int) - square).max() <= 2


def test_frozen_image_features_have_a_heat_map_too(small, monkeypatch):
    monkeypatch.chdir(small.root)
    found = explain_image(small, "4.jpg", "looks")
    assert found.covered and found.heat.shape == (len(found.shown), 8, 8) and found.heat.min() >= 0
    assert "falls when that part of the image is covered" in render(found)


def test_where_the_features_of_the_image_were_removed_it_is_said_how_to_make_them_again(small, tmp_path, monkeypatch):
    shutil.copytree(small.root, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    clean_cache.main(SimpleNamespace(comp="small"))
    with pytest.raises(FileNotFoundError, match="by make clean-cache; run: make features COMP=small EXPS=looks"):
        explain_image(Paths("small"), "4.jpg", "looks")


def test_the_page_links_to_the_report_where_there_is_one_and_is_accessible(paths, capsys, page, accessible):
    before, _ = explained(paths, "0.png", capsys)
    assert "index.html" not in before
    paths.report.write_text("the report")
    try:
        after, printed = explained(paths, "0.png", capsys)
    finally:
        paths.report.unlink()
    assert '<a href="../index.html">' in after and "join: predicted" in printed
    page.set_viewport_size({"width": 390, "height": 800})
    page.goto(Paths("toy", paths.root).explanation("0.png", "join").as_uri())
    assert "predicted" in page.locator("header .verdict").first.inner_text()
    page.locator("details").evaluate_all("all => all.forEach(one => one.open = true)")
    assert accessible(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_the_report_has_the_heat_maps_of_an_explanation(paths, capsys, monkeypatch):
    from tandem.report import collect

    page, _ = explained(paths, "3.png", capsys)
    shown = {"3.png": f"explain/{paths.explanation('3.png', 'join').name}"}
    heat = collect.heat_maps(paths.report, shown)["3.png"]
    assert heat and all(f'<img src="{uri}" alt="">' in page for uri in heat.values())
    monkeypatch.setattr(collect, "HEAT_BYTES", 10)
    assert collect.heat_maps(paths.report, shown) == {}


def test_the_report_knows_the_page_of_its_own_experiment_first(tmp_path):
    from tandem.report.collect import explain_pages

    paths = Paths("toy", tmp_path)
    for experiment in ("join", "words"):
        write_json(paths.explanation("0.png", experiment), {})
    assert explain_pages(paths, ["0.png", "1.png"], "words") == {"0.png": "explain/0.png.words.html"}
    assert explain_pages(paths, ["0.png"], "stack") == {"0.png": "explain/0.png.join.html"}
