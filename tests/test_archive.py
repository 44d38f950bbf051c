import gzip
import io
import os
import random
import stat
import tarfile
import zipfile

import pytest

from tandem.data import archive
from tandem.data.archive import copy_folder, unpack_archive, unpack_zip


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
        ("a\x9bb", "invalid name"),
        ("gpj.\u202eexe", "invalid name"),
        ("data/aux.txt", "Windows reserves or changes; rename it, or unpack the archive by hand"),
        ("CON", "Windows reserves"),
        ("com1 .jpg", "Windows reserves"),
        ("data./1.jpg", "Windows reserves or changes"),
        ("1.jpg ", "Windows reserves or changes"),
        ("1.jpg:stream", "Windows reserves or changes"),
        ("x" * 256, "longer than 255 bytes"),
        ("d/" * 64 + "x", "or 64 folders"),
        ("TRAIN.csv", "members 'train.csv' and 'TRAIN.csv' would be one file on Windows and macOS"),
        ("TRAIN.csv/x", "is both a file and a folder"),
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


def test_names_that_differ_in_how_unicode_writes_their_letters_are_refused(tmp_path):
    with pytest.raises(ValueError, match="would be one file"):
        unpack_zip(make_zip(tmp_path / "a.zip", [("\u00e9.jpg", "1"), ("e\u0301.jpg", "2")]), tmp_path / "a")


def test_names_that_are_only_long_or_look_like_reserved_ones_are_unpacked(tmp_path):
    names = ["console.txt", "auxiliary/com10.txt", ".hidden", "a..b", "emoji\U0001f469\u200d\U0001f52c.jpg", "x" * 255]
    assert unpack_zip(make_zip(tmp_path / "a.zip", [(name, "1") for name in names]), tmp_path / "a") == len(names)


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


def test_a_zip_whose_member_begins_before_the_file_is_named(tmp_path):
    source = make_zip(tmp_path / "a.zip", [("train.csv", "some text")])
    content = bytearray(source.read_bytes())
    content[-6] += 5  # its directory is said to begin 5 bytes later, so its members seem to be cut off
    source.write_bytes(content)
    with pytest.raises(ValueError, match=r"a.zip: member 'train.csv' is damaged \(OSError.*\); download it again"):
        unpack_zip(source, tmp_path / "input" / "a")
    assert nothing_left(tmp_path)


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


# tar files, and archives inside


def make_tar(path, members, mode="w:gz"):
    with tarfile.open(path, mode) as opened:
        for name, text in members:
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.size = len(text) if info.isreg() else 0
            opened.addfile(info, io.BytesIO(text.encode()) if info.isreg() else None)
    return path


def as_text(path):
    return path.read_bytes().decode("latin-1")


def zip_of(tmp_path, **members):
    """A zip of other archives, each a path."""
    with zipfile.ZipFile(tmp_path / "outer.zip", "w") as opened:
        for name, path in members.items():
            opened.write(path, name.replace("__", "."))
    return tmp_path / "outer.zip"


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("a.tar", "w"),
        ("a.tar.gz", "w:gz"),
        ("a.tgz", "w:gz"),
        ("a.tar.bz2", "w:bz2"),
        ("a.tar.xz", "w:xz"),
        ("a", "w:gz"),
    ],
)
def test_a_tar_file_is_unpacked_like_a_zip(tmp_path, name, mode):
    members = [("./c/train.csv", "x"), ("./c/data/1.jpg", "one"), ("./c/._train.csv", "junk"), ("./c/empty", "")]
    assert unpack_archive(make_tar(tmp_path / name, members, mode), tmp_path / "input") == 3
    assert contents(tmp_path / "input") == {"train.csv": "x", "data/1.jpg": "one", "empty": ""}


def test_a_header_that_would_be_read_into_memory_or_steps_back_is_refused(tmp_path):
    long_name, back = tarfile.TarInfo("x"), tarfile.TarInfo("train.csv")
    long_name.type, long_name.size, back.size = tarfile.GNUTYPE_LONGNAME, 2**20 + 1, -1024
    for info in (long_name, back):
        content = info.tobuf(tarfile.GNU_FORMAT) + bytes(2**20 + 2048)
        (tmp_path / "a.tar.gz").write_bytes(gzip.compress(content))
        with pytest.raises(ValueError, match=r"a.tar.gz: damaged, or not a tar file: .*a header of -?\d+ bytes"):
            unpack_archive(tmp_path / "a.tar.gz", tmp_path / "input" / "a")
        assert nothing_left(tmp_path)


def test_folders_count_too_and_a_small_archive_holds_few(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "FREE_MEMBERS", 5)
    monkeypatch.setattr(archive, "MEMBER_BYTES", 10**6)
    folders = [tarfile.TarInfo(f"{i}") for i in range(6)]
    for folder in folders:
        folder.type = tarfile.DIRTYPE
    source = make_tar(tmp_path / "a.tar", [("train.csv", "x"), *((folder, "") for folder in folders)])
    with pytest.raises(ValueError, match="more than 5 files and folders"):
        unpack_archive(source, tmp_path / "input" / "a")


def test_a_pipe_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "a.zip")
    with pytest.raises(ValueError, match=r"a.zip is a named pipe; expected a regular file"):
        unpack_archive(tmp_path / "a.zip", tmp_path / "a")


def special(kind, name="data/1.jpg"):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, "/etc/passwd"
    return info


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../evil.txt", "leaves the folder"),
        ("data/../../evil.txt", "leaves the folder"),
        ("/etc/evil", "absolute path"),
        ("C:/evil", "absolute path"),
        ("data\\..\\evil", "backslash"),
        (special(tarfile.SYMTYPE), "is a link or a device"),
        (special(tarfile.LNKTYPE), "is a link or a device"),
        (special(tarfile.CHRTYPE), "is a link or a device"),
        (special(tarfile.FIFOTYPE), "is a link or a device"),
        ("train.csv", "occurs twice"),
        ("train.csv/x", "is both a file and a folder"),
    ],
)
def test_an_unsafe_member_of_a_tar_file_is_refused_alone_and_inside_a_zip(tmp_path, name, reason):
    source = make_tar(tmp_path / "a.tar.gz", [("train.csv", "x"), (name, "evil")])
    for archive_file in (source, zip_of(tmp_path, a__tar__gz=source)):
        with pytest.raises(ValueError, match=reason):
            unpack_archive(archive_file, tmp_path / "input" / "a")
        assert nothing_left(tmp_path)
    assert not list(tmp_path.rglob("evil*"))


@pytest.mark.parametrize("cut", [300, 60_000])
@pytest.mark.parametrize(
    ("name", "mode"), [("a.tar", "w"), ("a.tar.gz", "w:gz"), ("a.tar.bz2", "w:bz2"), ("a.tar.xz", "w:xz")]
)
def test_a_tar_file_that_is_cut_off_leaves_nothing(tmp_path, name, mode, cut):
    text = "".join(random.Random(0).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=200_000))
    source = make_tar(tmp_path / name, [("train.csv", text), ("b.csv", text)], mode)
    source.write_bytes(source.read_bytes()[:-cut])
    if (name, cut) != ("a.tar", 300):  # these are zeros after the last member
        with pytest.raises(ValueError, match=r"damaged, or not a tar file|damaged: "):
            unpack_archive(source, tmp_path / "input" / "a")
        assert nothing_left(tmp_path)


def test_a_tar_file_that_unpacks_to_much_more_is_refused_before_it_is_read_to_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "FREE_BYTES", 1000)
    source = make_tar(tmp_path / "a.tar.gz", [("train.csv", "0" * 1_000_000)])
    with pytest.raises(ValueError, match="'train.csv' unpacks to more bytes than allowed"):
        unpack_archive(source, tmp_path / "input" / "a")
    assert nothing_left(tmp_path)


def test_an_archive_inside_becomes_a_folder_of_its_name_beside_it(tmp_path):
    images = make_zip(tmp_path / "train.zip", [("train/1.jpg", "one"), ("train/2.jpg", "two")])
    flat = make_tar(tmp_path / "test.tar.gz", [("./3.jpg", "three"), ("./deep/4.jpg", "four")])
    table = make_zip(tmp_path / "train.csv.zip", [("train.csv", "x")])
    (tmp_path / "test.csv.gz").write_bytes(gzip.compress(b"y"))
    (tmp_path / "scan.nii.gz").write_bytes(gzip.compress(b"volume"))
    source = zip_of(
        tmp_path,
        train__zip=images,
        test__tar__gz=flat,
        train__csv__zip=table,
        test__csv__gz=tmp_path / "test.csv.gz",
        scan__nii__gz=tmp_path / "scan.nii.gz",
    )
    assert unpack_archive(source, tmp_path / "a") == 7
    (tmp_path / "a" / "scan.nii.gz").unlink()
    assert contents(tmp_path / "a") == {
        "train/1.jpg": "one",
        "train/2.jpg": "two",
        "test/3.jpg": "three",
        "test/deep/4.jpg": "four",
        "train.csv": "x",
        "test.csv": "y",
    }


def test_two_levels_of_archives_are_unpacked_and_a_third_stays(tmp_path):
    source = make_zip(tmp_path / "d.zip", [("1.jpg", "one")])
    for name in ("c", "b", "a"):
        outer = tmp_path / f"{name}.zip"
        with zipfile.ZipFile(outer, "w") as opened:
            opened.write(source, source.name)
            opened.writestr("note.txt", name)
        source = outer
    assert unpack_archive(source, tmp_path / "input") == 4
    found = {p.relative_to(tmp_path / "input").as_posix() for p in (tmp_path / "input").rglob("*") if p.is_file()}
    assert found == {"note.txt", "b/note.txt", "b/c/note.txt", "b/c/d.zip"}


@pytest.mark.parametrize(
    ("limit", "message"), [("MAX_MEMBERS", "more than"), ("MAX_TOTAL_BYTES", "than allowed|the limit is")]
)
def test_the_limits_count_all_levels_together(tmp_path, monkeypatch, limit, message):
    inner = make_zip(tmp_path / "b.zip", [("1.jpg", "one"), ("2.jpg", "two")])
    source = zip_of(tmp_path, b__zip=inner)
    monkeypatch.setattr(archive, limit, 2 if limit == "MAX_MEMBERS" else inner.stat().st_size + 5)
    with pytest.raises(ValueError, match=message):
        unpack_archive(source, tmp_path / "input" / "a")
    assert nothing_left(tmp_path)
    monkeypatch.setattr(archive, limit, 3 if limit == "MAX_MEMBERS" else inner.stat().st_size + 6)
    assert unpack_archive(source, tmp_path / "input" / "a") == 2


def test_an_archive_inside_may_not_unpack_to_more_than_its_outer_archive_allows(tmp_path, monkeypatch):
    inner = make_zip(tmp_path / "b.zip", [("1.bin", "0" * 1_000_000)])
    monkeypatch.setattr(archive, "FREE_BYTES", 1000)
    monkeypatch.setattr(archive, "MAX_RATIO", 100)
    with pytest.raises(ValueError, match=r"outer.zip: b.zip: member '1.bin' unpacks to more bytes than allowed"):
        unpack_archive(zip_of(tmp_path, b__zip=inner), tmp_path / "input" / "a")
    assert nothing_left(tmp_path)


def test_an_archive_whose_files_are_there_already_stays_and_one_that_would_replace_others_is_refused(tmp_path):
    source = tmp_path / "source"
    (source / "train").mkdir(parents=True)
    (source / "train" / "1.jpg").write_text("one")
    (source / "train.csv").write_text("x")
    make_zip(source / "train.zip", [("train/1.jpg", "one")])
    make_zip(source / "all.zip", [("train/1.jpg", "one"), ("train.csv", "x")])
    assert copy_folder(source, tmp_path / "a") == 4
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == ["all.zip", "train", "train.csv", "train.zip"]
    (source / "train" / "1.jpg").write_text("two")
    with pytest.raises(ValueError, match=r"source: all.zip|train.zip: would replace 'train/1.jpg'"):
        copy_folder(source, tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_a_7z_archive_in_a_folder_stays_because_it_may_be_unpacked_there(tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "train.7z").write_bytes(b"7z\xbc\xaf'\x1c")
    assert copy_folder(tmp_path / "source", tmp_path / "a") == 1


def test_archives_in_a_folder_are_unpacked_in_the_copy(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "train.csv").write_text("x")
    make_tar(source / "images.tgz", [("images/1.jpg", "one")])
    assert copy_folder(source, tmp_path / "a") == 2
    assert contents(tmp_path / "a") == {"train.csv": "x", "images/1.jpg": "one"}
    assert sorted(p.name for p in source.iterdir()) == ["images.tgz", "train.csv"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.rar", b"Rar!\x1a\x07\x01\x00", r"is a RAR archive \(unrar x\); unpack it with that program, then run"),
        ("a.7z", b"7z\xbc\xaf'\x1c\x00\x04", r"is a 7z archive \(7z x\); unpack it"),
        ("a.zip", b"7z\xbc\xaf'\x1c\x00\x04", r"is a 7z archive"),
        ("a.zip", b"<!DOCTYPE html><html>", "a web page .such as a sign-in page., not a zip file"),
        ("a.zip", b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
    ],
)
def test_what_cannot_be_unpacked_is_named_with_what_to_do_alone_and_inside_a_zip(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    for archive_file in (tmp_path / name, zip_of(tmp_path, **{name.replace(".", "__"): tmp_path / name})):
        with pytest.raises(ValueError, match=message):
            unpack_archive(archive_file, tmp_path / "input" / "a")
        assert nothing_left(tmp_path)


def test_a_bundle_is_unpacked_without_the_archives_in_it(tmp_path):
    source = zip_of(tmp_path, b__zip=make_zip(tmp_path / "b.zip", [("1.jpg", "one")]))
    assert unpack_zip(source, tmp_path / "a") == 1
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["b.zip"]
