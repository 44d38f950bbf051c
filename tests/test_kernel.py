"""The notebooks of make kernel, executed without network on a tree like Kaggle's."""

import contextlib
import csv
import json
import os
import re
import shutil
import sys
import zipfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
import toy
from kaggle_stub import Stub, serving, signed_in
from notebooks import execute, write_rows

from tandem.__main__ import main
from tandem.bundling.kaggle_wheels import Image, collect, lacking, needs_of, normalised, read_image
from tandem.config.competition import load_competition
from tandem.data.kaggle_folders import find_competition
from tandem.stages.kernel import TEMPLATES

SLUG = "toy-birds"
LOADED = """
import sys
from importlib.metadata import packages_distributions
packages = packages_distributions()
print("loaded:", *{name for module in list(sys.modules) for name in packages.get(module, ())})
"""
WHEEL = "import toy_package; print('toy_package', toy_package.VERSION, toy_package.__file__)"


@pytest.fixture(scope="module")
def kernel(trained, packed, tmp_path_factory) -> Path:
    """What make kernel writes of the toy's bundle."""
    folder = tmp_path_factory.mktemp("kernel")
    for name in ("build", "configs", "folds", "oof"):
        shutil.copytree(trained.root / name, folder / name)
    shutil.copytree(trained.input, folder / "input" / "toy")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("PIP_NO_INDEX", "1")
        assert main(["kernel", "COMP=toy", f"BUNDLE={packed}", f"SLUG={SLUG}", "OWNER=me"]) == 0
    return folder / "kernels" / "toy"


@pytest.fixture
def kaggle(kernel, monkeypatch, tmp_path):
    """A stub of Kaggle, with credentials in a copy of the folder of `kernel`."""
    shutil.copytree(kernel.parents[1], tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.setattr("tandem.kaggle_client.push.POLL", 0.01)
    signed_in(monkeypatch, tmp_path)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with serving() as server:
        yield server


def test_push_creates_dataset_and_notebook_and_then_new_versions_of_them(kaggle: Stub, kernel, packed, tmp_path):
    command = ["kernel", "COMP=toy", f"BUNDLE={packed}", f"SLUG={SLUG}", "OWNER=me", "PUSH=1"]
    kaggle.plan["CreateDataset"] = ["lost"]  # it was made, and the answer did not come
    assert main(command) == main(command) == 0
    (name, versions), (first, second) = next(iter(kaggle.datasets.items())), kaggle.kernels
    assert name == "me/tandem-toy" and len(versions) == 3  # the second try made a version of the same files
    assert kaggle.calls.index("SaveKernel") > kaggle.calls.index("GetDatasetStatus")
    assert first["slug"] == "me/tandem-toy-predict" and not first.get("enableInternet")
    assert "from tandem.inference.code_competition import submit" in first["text"] and second == first
    sent = {file["token"].split("-", 2)[2]: kaggle.blobs[file["token"]] for file in versions[0]["files"]}
    assert set(sent) == {"LICENSES", "bundle.zip", "code.zip", "kernel.json"}
    (tmp_path / "bundle.zip").write_bytes(sent["bundle.zip"])
    unpacked = zipfile.ZipFile(tmp_path / "bundle.zip").namelist()
    bundle = kernel / "dataset" / "bundle"
    assert set(unpacked) == {file.relative_to(bundle).as_posix() for file in bundle.rglob("*") if file.is_file()}


def test_what_kaggle_refuses_of_a_push_is_one_clear_line(kaggle: Stub, packed, capsys):
    command = ["kernel", "COMP=toy", f"BUNDLE={packed}", f"SLUG={SLUG}"]
    assert main([*command, "PUSH=1"]) == 2
    assert "PUSH=1 needs OWNER=, your user name at Kaggle" in capsys.readouterr().err
    kaggle.dataset_status = ["FAILED"]
    assert main([*command, "OWNER=me", "PUSH=1"]) == 2
    assert "dataset me/tandem-toy: failed after 0 s; look at https://www.kaggle.com" in capsys.readouterr().err
    kaggle.dataset_status = ["READY"]
    assert main(["kernel", "COMP=toy", f"BUNDLE={packed}", "SLUG=another", "OWNER=me", "PUSH=1"]) == 2
    assert "no such input, or not open to this account: another" in capsys.readouterr().err
    assert kaggle.kernels == []


HIDDEN = {"60.jpg": "a cat", "900.jpg": "a dog", "901.jpg": "", "902.jpg": "a cat", "missing.jpg": "a cat",
          "broken.jpg": "a dog", "bare.jpg": ""}  # fmt: skip


@pytest.fixture
def tree(kernel, tmp_path) -> Path:
    """/kaggle with the dataset, another competition, and the hidden test in place of the public one."""
    root = tmp_path / "kaggle"
    shutil.copytree(kernel / "dataset", root / "input" / "datasets" / "me" / "tandem-toy")
    folder = root / "input" / "competitions" / SLUG
    write_rows(folder / "test.csv", ("id", "caption"), *HIDDEN.items())
    write_rows(folder / "sample_submission.csv", ("id", "labels"), *((id, "cat") for id in [*HIDDEN, "unlisted.jpg"]))
    for number, name in enumerate(("60.jpg", "900.jpg", "901.jpg", "902.jpg")):
        toy.draw(folder / "data" / name, bool(number % 2), 7000 + number)
    (folder / "data" / "broken.jpg").write_bytes(b"\xff\xd8 no image")
    write_rows(root / "input" / "other" / "test.csv.gz", ("id",))
    (root / "working").mkdir()
    return root


def test_the_predict_notebook_labels_the_hidden_test_offline_as_make_predict_does(kernel, packed, tree, monkeypatch):
    wheel(tree / "input" / "datasets" / "me" / "tandem-toy" / "wheels", "toy_package", "1.2")
    printed = execute(kernel / "predict.ipynb", tree, LOADED, WHEEL)
    installed = re.search(r"^toy_package 1\.2 (.*)$", printed, re.MULTILINE)
    assert installed and not installed[1].startswith(sys.prefix)
    (loaded,) = re.findall("^loaded: (.*)$", printed, re.MULTILINE)
    assert {"numpy", "torch", "timm", "lightgbm"} < set(loaded.split())
    assert set(map(normalised, loaded.split())) - image_with_needs() == {"tandem"}, "the image lacks them"
    rows = list(csv.reader((tree / "working" / "submission.csv").open()))
    assert [row[0] for row in rows] == ["id", *HIDDEN, "unlisted.jpg"]
    assert rows[0] == ["id", "labels"]
    monkeypatch.chdir(tree)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tree / "home"))
    folder = tree / "input" / "competitions" / SLUG
    assert main(["predict", f"BUNDLE={packed}", f"IMAGES={folder / 'data'}", f"CAPTIONS={folder / 'test.csv'}",
                 "OUT=labels.csv"]) == 3  # fmt: skip
    labels = {row["image"]: row for row in csv.DictReader((tree / "labels.csv").open())}
    submitted = dict(rows[1:])
    usual = [id for id in HIDDEN if id in labels and not labels[id]["problem"]]
    assert len(usual) == 4
    assert {id: set(submitted[id].split("|")) for id in usual} == {
        id: set(labels[id]["labels"].split("|")) for id in usual
    }
    assert "cat" in submitted["missing.jpg"] and "cat" not in submitted["broken.jpg"]  # by the caption alone
    assert submitted["bare.jpg"] == submitted["unlisted.jpg"]
    assert re.search(r"\d s per 1,000 rows", printed)
    assert "4 rows without its own image or caption: 2 by the caption alone, by words, 2 by the most common" in printed
    assert "'missing.jpg': " in printed and "'unlisted.jpg': not in the test table; by the most common" in printed


def image_with_needs() -> set[str]:
    """The packages of Kaggle's image, what runs notebooks there, and what those that are installed here need."""
    left, found = ["ipykernel", *read_image(Path("none"), TEMPLATES / "kaggle_image.json").packages], set[str]()
    while left:
        if (name := left.pop()) not in found:
            found.add(name)
            with contextlib.suppress(PackageNotFoundError):
                left += map(normalised, needs_of(distribution(name)))
    return found


def test_the_next_command_has_all_that_was_given(kernel, packed, monkeypatch, capsys):
    monkeypatch.chdir(kernel.parents[1])
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    assert main(["kernel", "COMP=toy", f"BUNDLE={packed}", f"SLUG={SLUG}", "OWNER=me"]) == 0
    assert f"make kernel COMP=toy BUNDLE={packed} OWNER=me SLUG={SLUG} PUSH=1, which" in capsys.readouterr().out
    assert main(["kernel", "COMP=toy", f"BUNDLE={packed}", f"SLUG={SLUG}", "EXP=words"]) == 2
    err = capsys.readouterr().err
    assert "made already: expected no EXP= or BUDGET_MB=; run: make kernel COMP=toy SLUG=toy-birds EXP=words" in err


def test_the_kernel_folder_has_what_kaggles_own_command_reads(kernel):
    about = json.loads((kernel / "kernel-metadata.json").read_text())
    data = json.loads((kernel / "dataset" / "dataset-metadata.json").read_text())
    assert about["dataset_sources"] == [data["id"]] == ["me/tandem-toy"]
    assert about["competition_sources"] == [SLUG] and about["enable_internet"] is False
    assert (kernel / about["code_file"]).is_file()
    assert 6 <= len(data["title"]) <= 50
    assert "Tandem's code" in (kernel / "dataset" / "LICENSES").read_text()
    assert (kernel / "dataset" / "code" / "tandem" / "default_configs" / "fusion.toml").is_file()
    assert (kernel / "dataset" / "code" / "tandem" / "sets.toml").is_file()
    assert not list(kernel.rglob("*.pyc"))


def test_the_other_places_of_a_competition_are_found_too(trained, tmp_path):
    competition = load_competition(trained.competition)
    with pytest.raises(ValueError, match="no folder below .* has test.csv; attach the competition"):
        find_competition(tmp_path, competition)
    write_rows(tmp_path / "toy-birds" / "test.csv", ("id", "caption"))
    assert find_competition(tmp_path, competition) == tmp_path / "toy-birds"
    write_rows(tmp_path / "b" / "test.csv", ("id", "caption"))
    with pytest.raises(ValueError, match="detach the other competitions"):
        find_competition(tmp_path, competition)
    assert find_competition(tmp_path, competition.model_copy(update={"slug": "b"})) == tmp_path / "b"


def wheel(folder: Path, name: str, version: str) -> Path:
    file = folder / f"{name}-{version}-py3-none-any.whl"
    folder.mkdir(parents=True, exist_ok=True)
    about = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(f"{name}.py", f"VERSION = {version!r}\n")
        archive.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{about}/RECORD", "")
    return file


def test_the_wheels_that_the_image_lacks_come_with_what_they_need():
    image = Image(
        frozenset({"torch", "torchvision", "regex", "tqdm", "timm", "safetensors", "huggingface-hub"}), "3.12", ""
    )
    assert [one.partition("==")[0] for one in lacking(["open_clip_torch", "torch"], image)] == [
        "ftfy",
        "open-clip-torch",
        "wcwidth",
    ]


def test_wheels_are_taken_from_a_folder_and_without_one_the_error_names_them(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel(tmp_path / "links", "toy_package", "1.2").parent))
    image = Image(frozenset(), "3.12", "of 2026-06-01")
    (found,) = collect(["toy-package==1.2"], tmp_path / "wheels", image)
    assert found.name == "toy_package-1.2-py3-none-any.whl"
    with pytest.raises(ValueError, match=r"of 2026-06-01\) lacks none-such==1.0, and pip can't get their wheels"):
        collect(["none-such==1.0"], tmp_path / "other", image)
