import os

import pytest

from tandem.artifacts import digest_cache
from tandem.artifacts.atomic_io import file_digest
from tandem.artifacts.digest_cache import DigestCache


def old_file(path, text, mtime_s=1000):
    path.write_text(text)
    os.utime(path, (mtime_s, mtime_s))
    return path


@pytest.fixture
def read_files(monkeypatch):
    """The names of the files whose content is read, in order."""
    names = []
    monkeypatch.setattr(digest_cache, "file_digest", lambda path: names.append(path.name) or file_digest(path))
    return names


def test_a_file_is_read_once_over_several_runs(tmp_path, read_files):
    file = old_file(tmp_path / "a", "text")
    for _ in range(2):
        cache = DigestCache(tmp_path / "cache.json")
        assert cache.digest_of(file) == cache.digest_of(file) == file_digest(file)
        cache.save()
    assert read_files == ["a"]


def test_a_file_of_another_size_time_or_inode_is_read_again(tmp_path, read_files):
    file, cache = old_file(tmp_path / "a", "text"), DigestCache(tmp_path / "cache.json")
    cache.digest_of(file)
    old_file(file, "texts")
    assert cache.digest_of(file) == file_digest(file)
    old_file(file, "taxes", mtime_s=2000)
    assert cache.digest_of(file) == file_digest(file)
    old_file(tmp_path / "b", "tales", mtime_s=2000).replace(file)
    assert cache.digest_of(file) == file_digest(file)
    assert read_files == ["a"] * 4


def test_the_digest_of_a_file_written_just_now_is_not_kept(tmp_path, read_files):
    (tmp_path / "a").write_text("text")
    cache = DigestCache(tmp_path / "cache.json")
    assert cache.digest_of(tmp_path / "a") == cache.digest_of(tmp_path / "a")
    cache.save()
    assert read_files == ["a", "a"]
    assert not (tmp_path / "cache.json").exists()


def test_nothing_is_written_where_no_digest_was_added(tmp_path):
    file, place = old_file(tmp_path / "a", "text"), tmp_path / "cache.json"
    cache = DigestCache(place)
    cache.digest_of(file)
    cache.save()
    place.unlink()
    cache.digest_of(file)
    cache.save()
    assert not place.exists()


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"version": 1, "files": {"a": [1]}}', '{"version": 1, "files": []}', "\xff"]
)
def test_a_damaged_cache_counts_as_empty(tmp_path, content):
    file = old_file(tmp_path / "a", "text")
    (tmp_path / "cache.json").write_bytes(content.encode("latin-1"))
    assert DigestCache(tmp_path / "cache.json").digest_of(file) == file_digest(file)


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        DigestCache(tmp_path / "cache.json").digest_of(tmp_path / "none")
