from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tandem.artifacts.paths import Paths
from tandem.config.competition import Competition
from tandem.data.check_competition import check_competition, content_digests, write_checked
from tandem.data.split_tables import read_captions, read_images, read_labels

LABELS = {"format": "separated", "column": "labels", "names": ["cat", "dog"]}


@pytest.fixture
def paths(tmp_path):
    """Two training rows and one test row, each with an image."""
    paths = Paths("toy", tmp_path)
    (paths.input / "data").mkdir(parents=True)
    for i in range(3):
        noise = np.random.default_rng(i).integers(256, size=(20, 30, 3), dtype=np.uint8)
        Image.fromarray(noise).save(paths.input / "data" / f"{i}.png")
    (paths.input / "train.csv").write_text("id,labels,caption\n0,cat,a cat\n1,cat dog,both\n")
    (paths.input / "test.csv").write_text("id,caption\n2,unknown\n")
    return paths


def check(paths, **options):
    fields = {"id": "id", "caption": "caption", "images": "data", "suffix": ".png", "most": 2, "labels": LABELS}
    fields |= {"experiments": ["x"], "folds": {"n": 2}} | options
    return check_competition(Competition.model_validate(fields), paths.input, paths.scan_cache)


def test_a_check_returns_all_tables_and_writes_only_the_scan_cache(paths):
    checked = check(paths)
    assert checked.rows == {"train": 2, "test": 1}
    assert checked.captions == {"train": ["a cat", "both"], "test": ["unknown"]}
    assert checked.images["train"]["file"] == ["data/0.png", "data/1.png"]
    assert (checked.names, checked.y.tolist()) == (("cat", "dog"), [[1, 0], [1, 1]])
    assert (checked.n_images, checked.n_opened, checked.n_errors) == (3, 3, 0)
    assert [file.name for file in paths.build.iterdir()] == ["scan.parquet"]
    assert check(paths).n_opened == 0


def test_what_is_written_is_what_was_checked(paths):
    checked = check(paths)
    write_checked(paths, checked)
    assert read_images(paths.images("test")) == checked.images["test"]
    assert read_captions(paths.captions("train")) == (["0", "1"], ["a cat", "both"])
    assert read_labels(paths.labels)[2].tolist() == checked.y.tolist()
    write_checked(paths, check(paths, caption=""))
    assert not paths.captions("train").exists()


def test_tables_with_errors_are_not_written(paths):
    checked = check(paths, most=1)
    assert [issue.kind for issue in checked.issues] == ["rare label", "too many labels"][::-1]
    with pytest.raises(ValueError, match="1 errors; run: make check COMP=toy"):
        write_checked(paths, checked)


def test_a_missing_column_ends_the_check_before_any_image(paths):
    checked = check(paths, caption="title")
    assert (checked.n_errors, checked.n_images, dict(checked.images)) == (2, 0, {})


def test_an_unsafe_id_has_no_image(paths):
    (paths.input / "test.csv").write_text("id,caption\na/../2,unknown\n")
    checked = check(paths)
    assert [issue.kind for issue in checked.issues if issue.file.endswith("test.csv")] == ["unsafe id"]
    assert checked.images["test"]["sha"] == [""]


def changed_digests(before, after):
    before, after = content_digests(before), content_digests(after)
    return {key for key in before | after if before.get(key) != after.get(key)}


def test_a_digest_changes_with_its_own_content_only(paths):
    first = check(paths)
    assert set(content_digests(first)) == {
        "train.images", "train.captions", "train.labels", "test.images", "test.captions"
    }  # fmt: skip
    assert changed_digests(first, check(paths)) == set()
    (paths.input / "test.csv").write_text("id,caption\n2,another\n")
    second = check(paths)
    assert changed_digests(first, second) == {"test.captions"}
    (paths.input / "train.csv").write_text("id,labels,caption\n0,dog,a cat\n1,cat dog,both\n")
    third = check(paths)
    assert changed_digests(second, third) == {"train.labels"}
    Image.new("RGB", (5, 5)).save(paths.input / "data" / "0.png")
    assert changed_digests(third, check(paths)) == {"train.images"}


def test_digests_tell_apart_captions_that_join_to_the_same_text(paths):
    first = check(paths)
    moved = replace(first, captions=first.captions | {"train": ["a catb", "oth"]})
    assert changed_digests(first, moved) == {"train.captions"}
