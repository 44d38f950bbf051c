import os

import numpy as np
import pytest
from PIL import Image

from tandem.data import image_scan as scanning
from tandem.data.image_scan import folder_state, inspect_image, read_cache, scan_images


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("a", "b", "c"):
        noise = rng.integers(256, size=(20, 30, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{name}.jpg", quality=90)
    return tmp_path


def test_an_image_info_has_the_size_of_the_image(folder):
    info = inspect_image(folder / "a.jpg")
    assert (info.width, info.height, info.problem) == (30, 20, "")
    assert info.size == (folder / "a.jpg").stat().st_size
    assert len(info.sha) == 16


def test_the_problem_of_an_image_is_reported(folder):
    whole = (folder / "a.jpg").read_bytes()
    (folder / "a.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "b.jpg").write_text("<html>not found</html>")
    (folder / "c.jpg").write_bytes(b"")
    Image.new("1", (9000, 9000)).save(folder / "d.png")
    problems = [inspect_image(folder / name).problem for name in ("a.jpg", "b.jpg", "c.jpg", "d.png", "e.jpg")]
    assert [p.split(":")[0] for p in problems] == ["truncated", "unreadable", "unreadable", "oversized", "missing"]
    assert "0x" not in "".join(problems[:3])  # no addresses of objects: a message is the same on every run


def test_a_second_scan_opens_only_what_changed(folder):
    cache, files = folder / "build" / "scan.parquet", ["a.jpg", "b.jpg", "c.jpg"]
    first, opened = scan_images(folder, files, cache)
    assert opened == 3
    assert scan_images(folder, files, cache) == (first, 0)
    Image.new("RGB", (7, 5)).save(folder / "b.jpg")
    second, opened = scan_images(folder, files, cache)
    assert opened == 1
    assert second["b.jpg"].width == 7
    assert second["a.jpg"] == first["a.jpg"]


def test_a_missing_image_is_looked_for_again(folder):
    cache = folder / "scan.parquet"
    assert scan_images(folder, ["z.jpg"], cache)[0]["z.jpg"].problem.startswith("missing")
    Image.new("RGB", (7, 5)).save(folder / "z.jpg")
    assert scan_images(folder, ["z.jpg"], cache)[0]["z.jpg"].problem == ""


def test_a_stopped_scan_goes_on_where_it_was(folder, monkeypatch):
    cache, files = folder / "scan.parquet", ["a.jpg", "b.jpg", "c.jpg"]
    monkeypatch.setenv("TANDEM_THREADS", "1")

    def stopped(path):
        if path.name == "c.jpg":
            raise KeyboardInterrupt
        return inspect_image(path)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(scanning, "inspect_image", stopped)
        scan_images(folder, files, cache)
    assert set(read_cache(cache)) == {"a.jpg", "b.jpg"}
    assert scan_images(folder, files, cache)[1] == 1


def test_a_damaged_cache_or_one_of_another_version_counts_as_none(folder, monkeypatch):
    cache = folder / "scan.parquet"
    cache.write_bytes(b"PAR1 nonsense")
    assert read_cache(cache) == {}
    assert scan_images(folder, ["a.jpg"], cache)[1] == 1
    monkeypatch.setattr(scanning, "VERSION", "another")
    assert read_cache(cache) == {}


def test_files_no_longer_scanned_are_removed_from_the_cache(folder):
    cache = folder / "scan.parquet"
    scan_images(folder, ["a.jpg", "b.jpg"], cache)
    scan_images(folder, ["b.jpg", "c.jpg"], cache)
    assert set(read_cache(cache)) == {"b.jpg", "c.jpg"}


def test_a_folder_state_changes_with_each_change_of_a_file_and_only_then(folder):
    (folder / "inner").mkdir()
    states = [folder_state(folder)]
    for change in (
        lambda: (folder / "inner" / "d.jpg").write_text("new"),
        lambda: (folder / "inner" / "d.jpg").write_text("longer"),
        lambda: os.utime(folder / "a.jpg", ns=(1, 1)),
        lambda: (folder / "a.jpg").rename(folder / "inner" / "a.jpg"),
        lambda: (folder / "b.jpg").unlink(),
    ):
        assert folder_state(folder) == states[-1]
        change()
        states.append(folder_state(folder))
    assert len(set(states)) == len(states)


def test_a_missing_folder_has_the_state_of_an_empty_one(tmp_path):
    assert folder_state(tmp_path / "none") == folder_state(tmp_path)


def test_a_folder_state_does_not_follow_links_to_folders(folder, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside")
    (folder / "loop").symlink_to(folder)
    (folder / "out").symlink_to(outside)
    (folder / "dangling.jpg").symlink_to(folder / "none.jpg")
    before = folder_state(folder)
    (outside / "x.jpg").write_text("x")
    assert folder_state(folder) == before


def test_a_folder_state_sees_a_rewritten_target_of_a_linked_image(folder, tmp_path_factory):
    target = tmp_path_factory.mktemp("outside") / "x.jpg"
    target.write_text("x")
    (folder / "x.jpg").symlink_to(target)
    before = folder_state(folder)
    target.write_text("longer")
    assert folder_state(folder) != before


def test_a_scan_writes_parts_that_become_one_file_at_the_end(folder, monkeypatch):
    cache, files, seen = folder / "scan.parquet", ["a.jpg", "b.jpg", "c.jpg"], []
    monkeypatch.setattr(scanning, "FLUSH", 2)
    monkeypatch.setenv("TANDEM_THREADS", "1")
    whole = scan_images(folder, files, folder / "whole.parquet")[0]

    def written(path, rows, write=scanning.write_cache):
        seen.append((path.name, len(rows)))
        write(path, rows)

    monkeypatch.setattr(scanning, "write_cache", written)
    assert scan_images(folder, files, cache)[0] == whole
    assert seen == [("scan.part000001.parquet", 2), ("scan.part000002.parquet", 1), ("scan.parquet", 3)]
    assert scanning.parts_of(cache) == []
    assert scan_images(folder, files, cache) == (whole, 0)


def test_the_parts_of_a_stopped_scan_are_read_by_the_next(folder, monkeypatch):
    cache, files = folder / "scan.parquet", ["a.jpg", "b.jpg", "c.jpg"]
    info = {"a.jpg": inspect_image(folder / "a.jpg")}
    scanning._Parts(cache).add(info, {"a.jpg": scanning.file_stamp(folder / "a.jpg")})
    (folder / "scan.part000002.parquet").write_bytes(b"PAR1 nonsense")
    assert scan_images(folder, files, cache)[1] == 2
    assert scanning.parts_of(cache) == []


def test_a_hash_in_a_file_is_equal_to_its_bytes(folder):
    (stored,) = scan_images(folder, ["a.jpg"], folder / "scan.parquet")[0].values()
    assert not isinstance(stored.hash, bytes)
    assert bytes(stored.hash) == inspect_image(folder / "a.jpg").hash and stored == inspect_image(folder / "a.jpg")
