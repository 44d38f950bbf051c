import os
import stat
import zipfile

import pytest

from tandem.data import archive
from tandem.data.archive import copy_folder, unpack_zip


def make_zip(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, text in members:
            opened.writestr(name, text)
    return path


def contents(folder):
    return {p.relative_to(folder).as_posix(): p.read_text() for p in folder.rglob("*") if p.is_file()}


def nothing_left(tmp_path):
    return not (tmp_path / "input").exists() or list((tmp_path / "input").iterdir()) == []


def test_files_and_folders_come_out_as_they_are(tmp_path):
    source = make_zip(tmp_path / "a.zip", [("train.csv", "x"), ("data/1.jpg", "one"), ("data/deep/2.jpg", "two")])
    assert unpack_zip(source, tmp_path / "input" / "a") == 3
    assert contents(tmp_path / "input" / "a") == {"train.csv": "x", "data/1.jpg": "one", "data/deep/2.jpg": "two"}
    assert [p.name for p in (tmp_path / "input").iterdir()] == ["a"]


def test_one_folder_around_everything_is_dropped(tmp_path):
    source = make_zip(tmp_path / "a.zip", [("comp/train.csv", "x"), ("comp/data/1.jpg", "one")])
    unpack_zip(source, tmp_path / "a")
    assert set(contents(tmp_path / "a")) == {"train.csv", "data/1.jpg"}


def test_a_folder_of_images_alone_is_kept(tmp_path):
    unpack_zip(make_zip(tmp_path / "a.zip", [("data/1.jpg", "one")]), tmp_path / "a")
    assert set(contents(tmp_path / "a")) == {"data/1.jpg"}


def test_what_operating_systems_leave_behind_is_skipped(tmp_path):
    junk = [("__MACOSX/c/._train.csv", "j"), ("c/.DS_Store", "j"), ("c/data/._1.jpg", "j"), ("c/data/Thumbs.db", "j")]
    unpack_zip(make_zip(tmp_path / "a.zip", [("c/train.csv", "x"), *junk]), tmp_path / "a")
    assert set(contents(tmp_path / "a")) == {"train.csv"}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../evil.txt", "leaves the folder"),
        ("data/../../evil.txt", "leaves the folder"),
        ("/etc/evil", "absolute path"),
        ("C:/evil", "absolute path"),
        ("data\\..\\evil", "backslash"),
        ("a\nb", "invalid name"),
    ],
)
def test_a_member_that_lands_elsewhere_is_refused(tmp_path, name, reason):
    source = make_zip(tmp_path / "a.zip", [("train.csv", "x"), (name, "evil")])
    with pytest.raises(ValueError, match=reason):
        unpack_zip(source, tmp_path / "input" / "a")
    assert nothing_left(tmp_path)
    assert not list(tmp_path.rglob("evil*"))


def test_a_link_is_refused(tmp_path):
    link = zipfile.ZipInfo("data/1.jpg")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with pytest.raises(ValueError, match="is a link"):
        unpack_zip(make_zip(tmp_path / "a.zip", [(link, "/etc/passwd")]), tmp_path / "a")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_comes_twice_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"member 'a//b' occurs twice"):
        unpack_zip(make_zip(tmp_path / "a.zip", [("a/b", "1"), ("a//b", "2")]), tmp_path / "a")


def test_a_name_that_is_file_and_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match="'a' is both a file and a folder"):
        unpack_zip(make_zip(tmp_path / "a.zip", [("a", "1"), ("a/b", "2")]), tmp_path / "a")


def test_an_encrypted_member_is_refused(tmp_path):
    source = make_zip(tmp_path / "a.zip", [("train.csv", "x")])
    content = bytearray(source.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    source.write_bytes(content)
    with pytest.raises(ValueError, match="is encrypted; unpack the archive by hand"):
        unpack_zip(source, tmp_path / "a")


def test_bytes_are_counted_as_they_come_out(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "FREE_BYTES", 1000)
    source = make_zip(tmp_path / "a.zip", [("train.csv", "0" * 1_000_000)])
    with pytest.raises(ValueError, match="'train.csv' unpacks to more bytes than allowed"):
        unpack_zip(source, tmp_path / "input" / "a")
    assert nothing_left(tmp_path)


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        ("MAX_MEMBERS", "more than 1 files"),
        ("MAX_MEMBER_BYTES", "the limit is 1"),
        ("MAX_TOTAL_BYTES", "the limit is 1"),
    ],
)
def test_more_than_the_limits_is_refused(tmp_path, monkeypatch, limit, message):
    monkeypatch.setattr(archive, limit, 1)
    with pytest.raises(ValueError, match=message):
        unpack_zip(make_zip(tmp_path / "a.zip", [("train.csv", "xy"), ("test.csv", "x")]), tmp_path / "a")


def test_a_damaged_zip_leaves_nothing_and_says_what_to_do(tmp_path):
    source = make_zip(tmp_path / "a.zip", [("train.csv", "some text" * 100)])
    content = bytearray(source.read_bytes())
    content[45] ^= 0xFF
    source.write_bytes(content)
    with pytest.raises(ValueError, match="damaged, or not a zip file: .*; download it again"):
        unpack_zip(source, tmp_path / "input" / "a")
    assert nothing_left(tmp_path)
    source.write_text("<html>please log in</html>")
    with pytest.raises(ValueError, match="not a zip file"):
        unpack_zip(source, tmp_path / "a")


def test_a_missing_or_empty_zip_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none.zip does not exist"):
        unpack_zip(tmp_path / "none.zip", tmp_path / "a")
    with pytest.raises(ValueError, match="contains no files"):
        unpack_zip(make_zip(tmp_path / "a.zip", []), tmp_path / "a")


def test_a_folder_with_files_is_never_overwritten(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="holds other files; remove it, or choose another COMP"):
        unpack_zip(make_zip(tmp_path / "a.zip", [("train.csv", "x")]), tmp_path / "a")
    assert contents(tmp_path / "a") == {"mine.txt": "mine"}


def test_what_a_killed_run_left_is_replaced(tmp_path):
    (tmp_path / ".a.partial").mkdir()
    (tmp_path / ".a.partial" / "half.jpg").write_text("half")
    unpack_zip(make_zip(tmp_path / "a.zip", [("train.csv", "x")]), tmp_path / "a")
    assert contents(tmp_path / "a") == {"train.csv": "x"}


def test_a_folder_is_copied_with_the_links_inside_it_as_files(tmp_path):
    source = tmp_path / "source"
    (source / "data").mkdir(parents=True)
    (source / "train.csv").write_text("x")
    (source / "data" / "1.jpg").write_text("one")
    os.symlink("1.jpg", source / "data" / "2.jpg")
    assert copy_folder(source, tmp_path / "a") == 3
    assert contents(tmp_path / "a") == {"train.csv": "x", "data/1.jpg": "one", "data/2.jpg": "one"}
    assert not (tmp_path / "a" / "data" / "2.jpg").is_symlink()


@pytest.mark.parametrize("target", ["secret.txt", "elsewhere"])
def test_a_link_out_of_the_folder_is_refused(tmp_path, target):
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "source").mkdir()
    os.symlink(tmp_path / target, tmp_path / "source" / "link")
    with pytest.raises(ValueError, match="is a link to .*; put the real files there"):
        copy_folder(tmp_path / "source", tmp_path / "a")


def test_a_folder_is_not_copied_into_itself(tmp_path):
    with pytest.raises(ValueError, match="lies inside"):
        copy_folder(tmp_path, tmp_path / "input" / "a")
    with pytest.raises(FileNotFoundError, match="is not a folder"):
        copy_folder(tmp_path / "none", tmp_path / "a")
