"""A bundle predicts the same as its source, anywhere, and is refused where a file was changed."""

import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import toy
from safetensors.torch import load_file
from test_labeler import pipeline_rows, probabilities

from tandem import Labeler
from tandem.artifacts.atomic_io import file_digest, read_json, write_json, write_text
from tandem.artifacts.paths import Paths
from tandem.artifacts.predictions import Predictions
from tandem.bundling.bundle_writer import RECORD, pretrained_models, readme, write_bundle, write_zip
from tandem.bundling.choose import as_experiment
from tandem.bundling.ensemble_choice import Choice
from tandem.config.encoders import CaptionEncoder
from tandem.config.experiments import FinetuneExperiment, HeadExperiment
from tandem.ensemble.stacking import BOUND, fixed_stack, write_stack
from tandem.features.int8 import unpack
from tandem.features.pretrained_weights import load_sentences, save_sentences
from tandem.graph.experiment_dir import Experiments
from tandem.inference import bundle_cache
from tandem.inference.bundle_reader import open_bundle, sha256
from tandem.inference.bundle_seal import sealed
from tandem.logits import logit, sigmoid
from tandem.stages import bundle as stage
from tandem.stages.new_model import model_files


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "tandem"


@pytest.fixture
def folder(packed, tmp_path) -> Path:
    """The bundle unpacked, to be changed."""
    with zipfile.ZipFile(packed) as archive:
        archive.extractall(tmp_path / "toy")
    return tmp_path / "toy"


def test_predictions_of_the_bundle_are_the_pipelines_test_predictions(trained, packed):
    labeler = Labeler.load(packed)
    found = list(labeler.label(*pipeline_rows(trained)))
    expected = Predictions.read(trained.test("stack"))
    assert np.abs(probabilities(found) - expected.proba).max() < 0.01
    sets = labeler.predictor.decoder(expected.proba)
    assert [set(one.labels) for one in found] == [
        {name for name, chosen in zip(expected.names, row, strict=True) if chosen} for row in sets
    ]


def test_it_labels_in_a_fresh_process_with_its_own_code_far_from_the_checkout(trained, folder, tmp_path):
    files, captions = pipeline_rows(trained)
    (tmp_path / "captions.csv").write_text(
        "image,caption\n" + "".join(f"{f.name},{c}\n" for f, c in zip(files, captions, strict=True))
    )
    photos = tmp_path / "photos"
    photos.mkdir()
    for file in files:
        shutil.copy(file, photos)
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"PYTHONPATH": str(folder)}
    words = ["--bundle", folder, "--images", photos, "--captions", tmp_path / "captions.csv", "--out", "-"]
    code = "import sys, runpy, tandem; print(tandem.__file__, file=sys.stderr)"
    code += "; runpy.run_module('tandem', run_name='__main__')"
    run = subprocess.run(
        [sys.executable, "-c", code, "predict", *map(str, words)],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert str(folder / "tandem" / "__init__.py") in run.stderr
    assert run.returncode == 0, run.stderr
    rows = [line.split(",") for line in run.stdout.splitlines()]
    got = np.array([[float(cell) for cell in row[2:4]] for row in rows[1:]])
    order = [sorted(f.name for f in files).index(f.name) for f in files]
    assert np.abs(got[order] - Predictions.read(trained.test("stack")).proba).max() < 0.01


def test_weights_are_there_once_and_rounded(folder):
    files = [f.relative_to(folder).as_posix() for f in sorted((folder / "weights").rglob("*.safetensors"))]
    assert len(files) == 2  # of one image network and one caption model, though three experiments read them
    kinds = {}
    for file in files:
        state = load_file(folder / file)
        kinds[file.count("/") > 1] = {str(t.dtype) for t in state.values() if t.ndim > 1 and t.numel() >= 4096}
    assert kinds[False] == {"torch.float16"} and kinds[True] <= {"torch.int8"}


def test_a_packed_caption_model_encodes_nearly_as_the_whole_one(tmp_path):
    whole = load_sentences("all-MiniLM-L6-v2")
    save_sentences("all-MiniLM-L6-v2", tmp_path / "packed", set(whole.state_dict()))
    size = sum(f.stat().st_size for f in (tmp_path / "packed").rglob("*.safetensors"))
    assert size < 24e6  # 23 million numbers
    texts = ["A cat sleeps on a sofa.", "Two buses."]
    one, two = whole.encode(texts), load_sentences(str(tmp_path / "packed")).encode(texts)
    assert (one * two).sum(1).min() > 0.999  # cosines


def test_pretrained_tensors_that_every_fold_has_of_its_own_are_not_packed(fusion_toy, tmp_path, monkeypatch):
    monkeypatch.chdir(fusion_toy.root)  # which its weights are named from
    write_bundle(Experiments(fusion_toy)["join"], 0, tmp_path / "b")
    states = {f.parent.name: unpack(load_file(f)) for f in (tmp_path / "b" / "weights").rglob("*.safetensors")}
    backbone = states["weights"]
    (sentences,) = (state for name, state in states.items() if name != "weights")

    def empty(state: dict, part: str) -> bool:
        found = [tensor for name, tensor in state.items() if part in name]
        assert found
        return not any(tensor.any() for tensor in found)

    assert empty(backbone, "blocks.3.") and not empty(backbone, "blocks.2.")
    assert empty(sentences, "encoder.layer.5.") and not empty(sentences, "encoder.layer.4.")
    rows = pipeline_rows(fusion_toy)
    expected, found = (
        probabilities(list(labeler.label(*rows)))
        for labeler in (Labeler.of(fusion_toy, "join"), Labeler.load(tmp_path / "b"))
    )
    assert np.abs(found - expected).max() < 0.02


def test_the_readme_has_ten_lines_and_licences_are_named(folder):
    assert len((folder / "README.md").read_text().splitlines()) == 10
    licences = (folder / "LICENSES").read_text()
    assert "Apache License" in licences and "The weights of test_efficientnet" in licences
    pinned = (folder / "requirements.txt").read_text().split()
    assert all("==" in line and "+" not in line for line in pinned) and len(pinned) > 5


def test_the_readme_says_where_the_ensemble_was_chosen_on_the_rows_that_score_it(trained, tmp_path):
    chosen = write_bundle(Experiments(trained)["words"], 1, tmp_path / "words", chosen_from=7)
    assert chosen["score"]["chosen_from"] == 7
    text = (tmp_path / "words" / "README.md").read_text()
    assert "slightly optimistic: chosen on these rows, the best of 7" in text and len(text.splitlines()) == 10
    assert "optimistic" not in readme(chosen | {"score": chosen["score"] | {"chosen_from": 1}})


def test_a_network_that_was_trained_whole_has_its_licence_named_too():
    tuned = FinetuneExperiment(kind="finetune", model="tf_efficientnet_lite0")
    words = HeadExperiment(kind="head", caption=CaptionEncoder())
    assert pretrained_models([tuned, words]) == {"all-MiniLM-L6-v2": "text", "tf_efficientnet_lite0": "image"}


def test_the_same_models_make_the_same_zip(trained, packed, tmp_path):
    write_bundle(Experiments(trained)["stack"], 0, tmp_path / "again")
    write_zip(tmp_path / "again", tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == packed.read_bytes()


def test_nothing_of_the_training_rows_is_packed(packed):
    with zipfile.ZipFile(packed) as archive:
        names = archive.namelist()
    assert not [n for n in names if n.endswith((".parquet", ".jpg", ".npy")) or "train" in Path(n).suffixes]


def test_fewer_folds_and_one_experiment(trained, tmp_path):
    write_bundle(Experiments(trained)["looks"], 1, tmp_path / "small")
    labeler = Labeler.load(tmp_path / "small")
    assert [len(member.ensemble.models) for member in labeler.predictor.members] == [1]
    expected = list(Labeler.of(trained, "looks", folds=1).label(pipeline_rows(trained)[0]))
    found = list(labeler.label(pipeline_rows(trained)[0]))
    assert np.abs(probabilities(found) - probabilities(expected)).max() < 0.01


def in_cache(cache: Path) -> list[Path]:
    return sorted(cache.glob("[!.]*"))


def test_it_is_unpacked_once(packed, cache):
    open_bundle(packed)
    (made,) = in_cache(cache)
    before = (made / "bundle.json").stat().st_mtime_ns
    open_bundle(packed)
    assert [(d / "bundle.json").stat().st_mtime_ns for d in in_cache(cache)] == [before]


def test_two_processes_may_open_it_at_the_same_time(packed, cache):
    code = f"from tandem.inference.bundle_reader import *; print(open_bundle(Path({str(packed)!r}))[0].root)"
    both = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    found = {run.communicate(timeout=120)[0].strip() for run in both}
    assert found == {str(folder) for folder in in_cache(cache)} and len(found) == 1
    assert not list(cache.glob(".*.partial"))


def test_what_a_killed_opening_left_is_not_trusted_and_goes(packed, cache):
    half, other = cache / file_digest(packed), cache / ".0123456789abcdef.partial"
    for folder in (half, other, cache / "0123456789abcdef.123"):
        folder.mkdir(parents=True)
        (folder / "bundle.json").write_text("{")
    paths, _ = open_bundle(packed)
    assert in_cache(cache) == [paths.root] == [half] and not other.exists()
    (half / "requirements.txt").write_text("")  # cut off
    open_bundle(packed)
    assert (half / "requirements.txt").stat().st_size


def test_bundles_that_were_not_opened_for_long_or_take_too_much_room_go(packed, cache, monkeypatch):
    monkeypatch.setattr(bundle_cache, "KEPT_GB", 0.0)
    for name, days in {"aa": 40, "bb": 2, "cc": 0.5}.items():
        (cache / name).mkdir(parents=True)
        (cache / name / "bundle.json").write_text("{}")
        os.utime(cache / name, (stamp := time.time() - days * bundle_cache.DAY, stamp))
    paths, _ = open_bundle(packed)
    assert in_cache(cache) == sorted([paths.root, cache / "cc"])


# ---- the stage


def bundle(paths, monkeypatch, **changes) -> None:
    monkeypatch.chdir(paths.root)
    given = {"comp": "toy", "budget_mb": 100.0, "budget_ms": float("inf"), "exp": None, "folds": 0}
    stage.main(SimpleNamespace(**(given | changes)))


def test_the_best_that_fits_is_packed_and_the_trade_off_is_printed(trained, monkeypatch, capsys):
    bundle(trained, monkeypatch)
    printed = capsys.readouterr().out
    chosen = [line for line in printed.splitlines() if line.rstrip().endswith("*")]
    assert len(chosen) == 1 and "1.0000" in chosen[0] and " 3 " in chosen[0]  # three folds of each
    assert "rounding (captions in int8, images in float16): F1 per row 1.0000 → 1.0000" in printed
    assert " 0 of 120 labels change on 60 out-of-fold rows" in printed and "bundles/toy.zip" in printed
    assert Labeler.load(trained.root / "bundles" / "toy.zip").names == ("cat", "sky")


def test_a_smaller_budget_is_kept_and_one_that_is_too_small_names_the_smallest(trained, monkeypatch, capsys):
    bundle(trained, monkeypatch, budget_mb=1.05)  # without the image network, which is most of it
    assert (trained.root / "bundles" / "toy.zip").stat().st_size < 1.05 * 2**20
    assert "too much" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"nothing fits 0\.1 MB .* the smallest is words"):
        bundle(trained, monkeypatch, budget_mb=0.1)


def test_one_experiment_is_packed_where_it_is_named(trained, monkeypatch):
    bundle(trained, monkeypatch, exp="join", folds=2)
    (member,) = Labeler.load(trained.root / "bundles" / "toy.zip").predictor.members
    assert (member.name, len(member.ensemble.models)) == ("join", 2)


def test_where_every_member_needs_captions_a_fallback_is_packed(trained, tmp_path):
    experiments = Experiments(trained)
    write_bundle(experiments["words"], 0, tmp_path / "words", fallback=experiments["looks"])
    (found,) = Labeler.load(tmp_path / "words").label(pipeline_rows(trained)[0][:1])
    (alone,) = Labeler.of(trained, "looks").label(pipeline_rows(trained)[0][:1])
    assert found.without_caption and np.allclose(probabilities([found]), probabilities([alone]), atol=0.01)


def test_a_mean_of_members_labels_by_the_mean_of_their_logits(trained, tmp_path):
    recipe = read_json(trained.thresholds("join")), read_json(trained.scores("join"))
    choice = Choice("mean", ("join", "words"), 0.9, recipe=recipe)
    mean = as_experiment(Experiments(trained), choice, tmp_path / "chosen")
    write_bundle(mean, 0, tmp_path / "mean")
    files, captions = pipeline_rows(trained)
    found = list(Labeler.load(tmp_path / "mean").label(files, captions))
    logits = [logit(Predictions.read(trained.test(name)).proba, BOUND) for name in choice.members]
    assert np.abs(probabilities(found) - sigmoid(np.mean(logits, axis=0))).max() < 0.01


def test_a_mean_opens_where_a_file_of_configs_names_code_and_is_not_trained(trained, tmp_path):
    root = tmp_path / "checkout"
    shutil.copytree(trained.root, root)
    for file, text in model_files("mine", {"image", "caption"}).items():
        write_text(root / file, text)
    found = (read_json(file("looks")) for file in (trained.thresholds, trained.scores))
    decoder, scores = ({key: one[key] for key in one if key not in RECORD} for one in found)
    choice = Choice("mean", ("looks", "words"), 0.9, recipe=(decoder, scores))
    mean = as_experiment(Experiments(Paths("toy", root)), choice, tmp_path / "chosen")
    assert [member.name for member in Labeler.of(mean.paths, mean.name).predictor.members] == ["looks", "words"]


def test_what_is_not_trained_is_refused_with_what_to_run(trained, tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"'concat' is not trained; run: make train COMP=toy EXPS=concat"):
        bundle(trained, monkeypatch, exp="concat")
    with pytest.raises(FileNotFoundError, match=r"nothing is trained .* make submit COMP=toy"):
        bundle(Paths("toy", tmp_path), monkeypatch)


def test_what_another_metric_scored_is_not_packed(trained, tmp_path, monkeypatch):
    root = tmp_path / "other"
    shutil.copytree(trained.root, root)
    paths = Paths("toy", root)
    text = paths.competition.read_text()
    paths.competition.write_text(text.replace('metric = "f1_samples"', 'metric = "f1_macro"'))
    with pytest.raises(ValueError, match="(?s)nothing .* is current.*left out: looks, which is stale: .*metric"):
        bundle(paths, monkeypatch)


def test_settings_and_folds_are_in_the_run_record_and_no_build_folder_is_needed(folder):
    assert not (folder / "build").exists()
    run = read_json(folder / "oof/toy/looks/run.json")
    assert run["folds"] == [0, 1, 2] and run["config"]["kind"] == "head"


@pytest.mark.parametrize("version", [1, 2])
def test_a_bundle_of_an_older_format_labels_the_same(folder, version):
    """Its settings lie in build/, its run.json has seconds instead of folds, its stack no flag."""
    photo = folder.parent / "a.jpg"
    toy.draw(photo, blue=True, seed=0)
    (expected,) = Labeler.load(folder).label([photo], captions=["a cat"])
    for file in folder.glob("oof/toy/*/run.json"):
        run = read_json(file)
        if "config" in run:
            write_json(folder / "build/toy/experiments" / f"{file.parent.name}.json", run.pop("config"))
            run["seconds_per_fold"] = [0] * len(run.pop("folds"))
            write_json(file, run)
    for file in folder.rglob("stack.json"):
        write_json(file, {key: value for key, value in read_json(file).items() if key != "words"})
    relist(folder, format=version)
    (found,) = Labeler.load(folder).label([photo], captions=["a cat"])
    assert found == expected


# ---- bundles that were changed


def relist(folder: Path, **changes) -> None:
    """Makes the manifest agree with the files again, as somebody who changes them can."""
    manifest = json.loads((folder / "bundle.json").read_text()) | changes
    manifest.pop("sha256", None)  # as bundles of older versions have none
    files = [f for f in folder.rglob("*") if f.is_file() and f.name != "bundle.json"]
    manifest["files"] = {
        f.relative_to(folder).as_posix(): {"sha256": sha256(f), "bytes": f.stat().st_size} for f in files
    }
    (folder / "bundle.json").write_text(json.dumps(manifest))


def test_a_changed_file_is_refused(folder):
    weights = folder / "models/toy/looks/fold0.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(ValueError, match="fold0.safetensors: changed since it was packed"):
        open_bundle(folder)


def test_a_manifest_with_one_byte_changed_is_refused(folder):
    text = (folder / "bundle.json").read_bytes()
    write_sealed = sealed(json.loads(text)).encode()
    for at in (1, text.index(b'"labels"') + 3, len(write_sealed) - 40, len(write_sealed) - 1):
        changed = bytearray(write_sealed)
        changed[at] ^= 1
        (folder / "bundle.json").write_bytes(changed)
        with pytest.raises(ValueError, match=r"bundle.json: not what make bundle writes"):
            open_bundle(folder)


def test_a_zip_with_one_byte_changed_beside_its_files_is_refused(folder, tmp_path):
    write_zip(folder, tmp_path / "whole.zip")
    content = (tmp_path / "whole.zip").read_bytes()
    open_bundle(tmp_path / "whole.zip")
    end = content.rindex(b"PK\x05\x06")
    for at in (10, content.rindex(b"PK\x01\x02") + 12, end + 5, len(content) - 1, len(content) - 70):
        changed = bytearray(content)
        changed[at] ^= 1
        (tmp_path / "b.zip").write_bytes(changed)
        with pytest.raises(ValueError, match=r"b.zip: "):
            open_bundle(tmp_path / "b.zip")


def test_a_byte_changed_in_a_file_of_the_zip_names_the_file(folder, tmp_path):
    write_zip(folder, tmp_path / "b.zip")
    content = bytearray((tmp_path / "b.zip").read_bytes())
    content[content.index(b"fold0.safetensors") + 200] ^= 1
    (tmp_path / "b.zip").write_bytes(content)
    with pytest.raises(ValueError, match=r"b.zip: .*fold0.safetensors"):
        open_bundle(tmp_path / "b.zip")


def test_nothing_is_left_in_the_cache_of_a_zip_that_is_refused(folder, tmp_path, cache):
    (folder / "more.txt").write_text("")
    write_zip(folder, tmp_path / "b.zip")
    with pytest.raises(ValueError, match=r"b.zip: .*'more.txt' does not belong to the bundle"):
        open_bundle(tmp_path / "b.zip")
    assert [entry.name for entry in cache.iterdir()] == [".lock"]


def test_a_model_of_another_experiment_is_refused_with_its_file(folder):
    models = folder / "models/toy"
    shutil.copy(models / "words/fold0.safetensors", models / "looks/fold0.safetensors")
    relist(folder)
    with pytest.raises(ValueError, match=r"looks/fold0.safetensors: damaged, not a model of this experiment"):
        Labeler.load(folder)


def test_a_missing_and_an_added_file_are_refused(folder):
    (folder / "more.txt").write_text("")
    with pytest.raises(ValueError, match="'more.txt' does not belong to the bundle"):
        open_bundle(folder)
    (folder / "more.txt").unlink()
    hidden = folder / "oof" / "toy" / "__pycache__" / "run.json"
    hidden.parent.mkdir()
    hidden.write_text("{}")
    with pytest.raises(ValueError, match="'oof/toy/__pycache__/run.json' does not belong to the bundle"):
        open_bundle(folder)
    hidden.unlink()
    (folder / "LICENSES").unlink()
    with pytest.raises(ValueError, match="'LICENSES' is missing"):
        open_bundle(folder)


@pytest.mark.parametrize("name", ["../outside.txt", "/etc/hostname", "a\\..\\b"])
def test_a_manifest_that_lists_files_outside_is_refused(folder, name):
    manifest = json.loads((folder / "bundle.json").read_text())
    manifest["files"][name] = {"sha256": "", "bytes": 0}
    (folder / "bundle.json").write_text(sealed(manifest))
    with pytest.raises(ValueError, match="which is outside it"):
        open_bundle(folder)


def test_a_zip_that_leaves_its_folder_is_refused(packed, tmp_path, cache):
    shutil.copy(packed, tmp_path / "evil.zip")
    with zipfile.ZipFile(tmp_path / "evil.zip", "a") as archive:
        archive.writestr("../evil.txt", "x")
    with pytest.raises(ValueError, match="leaves the folder with"):
        Labeler.load(tmp_path / "evil.zip")
    assert not list(tmp_path.rglob("evil.txt"))


OUTSIDE = ("weights", "which is not in the bundle")
ELSEWHERE = ("model", "comes from outside the bundle")  # the hub or another folder describes the network


@pytest.mark.parametrize(
    "key, message, value",
    [(*OUTSIDE, name) for name in ("", "../tiny.safetensors", "/tmp/tiny.safetensors")]
    + [(*ELSEWHERE, name) for name in ("hf-hub:somebody/network", "local-dir:/tmp")],
)
def test_a_network_or_weights_from_outside_are_refused(folder, key, message, value):
    file = folder / "oof/toy/looks/run.json"
    run = json.loads(file.read_text())
    run["config"]["image"][key] = value
    file.write_text(json.dumps(run))
    relist(folder)
    with pytest.raises(ValueError, match=message):
        open_bundle(folder)


def test_an_experiment_that_the_manifest_does_not_list_is_checked_as_the_others(folder):
    file = folder / "oof/toy/looks/run.json"
    run = json.loads(file.read_text())
    run["config"]["image"]["model"] = "hf-hub:somebody/network"
    file.write_text(json.dumps(run))
    relist(folder, members=[])
    with pytest.raises(ValueError, match="comes from outside the bundle"):
        open_bundle(folder)


def test_a_stack_of_members_outside_the_bundle_is_refused(folder):
    file = folder / "oof/toy/stack/run.json"
    file.write_text(json.dumps({"members": {"../../../elsewhere/oof/toy/looks": ""}}))
    relist(folder)
    with pytest.raises(ValueError, match="expected lower-case letters"):
        open_bundle(folder)


@pytest.mark.parametrize(
    "module, message",
    [
        ({"path": "", "type": "os.system"}, r"has the class 'os\.system'"),
        ({"path": "", "type": "sentence_transformers.models.Router"}, "expected Dense, Normalize"),  # imports others
        ({"path": "", "type": "sentence_transformers.base.model.torch"}, "expected Dense, Normalize"),
        ({"path": "../../x", "type": "sentence_transformers.models.Pooling"}, "which is outside it"),
    ],
)
def test_a_caption_model_of_foreign_classes_or_places_is_refused(folder, module, message):
    (modules,) = folder.rglob("modules.json")
    modules.write_text(json.dumps([{"idx": 0, "name": "0"} | module]))
    relist(folder)
    with pytest.raises(ValueError, match=message):
        open_bundle(folder)


def test_a_link_to_a_folder_outside_is_refused(folder, tmp_path):
    (folder / "weights" / "more").symlink_to(tmp_path)
    with pytest.raises(ValueError, match="'weights/more' does not belong to the bundle"):
        open_bundle(folder)


def test_of_a_stack_that_kept_one_member_only_that_one_is_packed(trained, tmp_path):
    root = tmp_path / "kept"
    shutil.copytree(trained.root, root)
    paths, members = Paths("toy", root), list(read_json(trained.run("stack"))["members"])
    one = np.eye(len(members))[members.index("looks")]
    write_stack(paths.stack("stack").parent, fixed_stack(one, 2))
    write_bundle(Experiments(paths)["stack"], 1, tmp_path / "small")
    packed = tmp_path / "small" / "models" / "toy"
    assert sorted(folder.name for folder in packed.iterdir()) == ["looks", "stack"]
    labeler = Labeler.load(tmp_path / "small")
    assert [member.name for member in labeler.predictor.members] == ["looks"]
    found, alone = (list(each.label(pipeline_rows(trained)[0])) for each in (labeler, Labeler.of(trained, "looks", 1)))
    assert np.abs(probabilities(found) - probabilities(alone)).max() < 0.01


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"format": 5}, r"format 5; this version reads \(1, 2, 3, 4\)"),
        ({"members": "join"}, "members is 'join'"),
        ({"members": ["../join"]}, "expected lower-case letters"),
        ({"competition": "../toy"}, "expected lower-case letters"),
        ({"experiment": "/toy"}, "expected lower-case letters"),
    ],
)
def test_a_manifest_of_something_else_is_refused(folder, changes, message):
    relist(folder, **changes)
    with pytest.raises(ValueError, match=message):
        open_bundle(folder)


def test_a_path_that_is_no_bundle_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such bundle; run: make bundle"):
        open_bundle(tmp_path / "gone.zip")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="not a bundle"):
        open_bundle(tmp_path / "empty")
    (tmp_path / "text.zip").write_text("no zip")
    with pytest.raises(ValueError, match="not a zip file"):
        open_bundle(tmp_path / "text.zip")
