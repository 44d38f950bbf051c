"""Files that a user gave: only regular ones are opened, and never more bytes than a limit are read."""

import os
import pickle
import socket
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tandem.artifacts import user_files
from tandem.artifacts.digest_cache import DigestCache
from tandem.artifacts.user_files import LargeFile, MissingFile, UnusableFile
from tandem.config.toml_files import parse_toml
from tandem.data.archive import copy_folder, unpack_archive
from tandem.data.caption_files import read_caption_table
from tandem.data.corrections import read_corrections
from tandem.data.csv_reader import read_table
from tandem.data.feature_file import read_feature_file
from tandem.data.image_io import BadImage, load_rgb
from tandem.data.image_scan import folder_state
from tandem.data.user_table import read_user_table

READERS = {
    "c.toml": parse_toml,
    "x.csv": read_table,
    "x.json": read_caption_table,
    "x.parquet": read_user_table,
    "x.npy": lambda path: read_feature_file(path, ["id"]),
    "x.zip": lambda path: unpack_archive(path, path.with_name("unpacked")),
    "corrections.csv": read_corrections,
    "x.png": load_rgb,
    "digests": lambda path: DigestCache(path.with_name("cache.json")).digest_of(path),
}


def odd(path: Path, kind: str) -> Path:
    """What is no file, under the name of one."""
    match kind:
        case "named pipe":
            os.mkfifo(path)
        case "socket":
            with socket.socket(socket.AF_UNIX) as made:
                made.bind(str(path))
        case "folder":
            path.mkdir()
        case "link to a device":
            path.symlink_to("/dev/zero")
        case "link to nowhere":
            path.symlink_to("nowhere")
        case "link to itself":
            path.symlink_to(path.name)
    return path


REASONS = {
    "named pipe": "is a named pipe; expected a regular file",
    "socket": "is a socket; expected a regular file",
    "folder": "is a folder; expected a regular file",
    "link to a device": "is a link to a device; expected a regular file",
    "link to nowhere": "is a link to a file that does not exist",
    "link to itself": "cannot be read: Too many levels of symbolic links",
}


@pytest.mark.parametrize("kind", REASONS)
def test_only_a_regular_file_is_read(tmp_path, kind):
    path = odd(tmp_path / "x", kind)
    with pytest.raises(UnusableFile) as error:
        user_files.read_bytes(path, 10)
    assert str(error.value) == f"{path} {REASONS[kind]}"
    assert isinstance(error.value, FileNotFoundError) == (kind == "link to nowhere")


@pytest.mark.parametrize("kind", ["named pipe", "link to a device"])
@pytest.mark.parametrize("name", READERS)
def test_no_reader_of_a_users_files_waits_for_a_pipe_or_reads_a_device(tmp_path, name, kind):
    with pytest.raises((ValueError, OSError), match=kind if name != "x.npy" else f"{kind}|does not exist"):
        READERS[name](odd(tmp_path / name, kind))


def test_a_file_of_the_limit_is_read_and_a_larger_one_is_not(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"abc")
    assert user_files.read_bytes(path, 3) == b"abc"
    with pytest.raises(LargeFile, match="has 3 bytes; at most 2 are read"):
        user_files.read_bytes(path, 2)
    assert user_files.read_start(path, 2) == b"ab"


def test_a_file_that_grows_or_tells_no_size_is_read_up_to_the_limit(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"a")
    with user_files.open_file(path, 10) as file:
        path.write_bytes(b"a" * 11)
        with pytest.raises(LargeFile, match="more than 10 bytes"):
            file.read()
    with pytest.raises(LargeFile):  # its size is 0
        user_files.read_bytes(Path("/proc/self/maps"), 10)


class Replaced(type(Path())):
    """A file that is replaced by another one after it was looked at."""

    def stat(self, **_):
        return Path(__file__).stat()


def test_a_name_that_is_another_file_by_the_time_it_is_opened_is_refused(tmp_path):
    with pytest.raises(UnusableFile, match="is a named pipe"):
        user_files.read_bytes(Replaced(odd(tmp_path / "x", "named pipe")), 10)


def test_names_that_no_file_can_have_and_a_file_without_permission_are_named(tmp_path):
    for name, reason in (("a" * 300, "File name too long"), ("a\0b", "embedded null byte")):
        with pytest.raises(UnusableFile, match=f"cannot be read: {reason}"):
            user_files.read_bytes(tmp_path / name, 10)
    with pytest.raises(MissingFile, match="x does not exist"):
        user_files.read_bytes(tmp_path / "x", 10)


def test_a_settings_file_that_is_no_utf_8_is_refused_with_its_line(tmp_path):
    (tmp_path / "c.toml").write_bytes(b"a = 1\nb = '\xff'\n")
    with pytest.raises(ValueError, match="c.toml: line 2: byte 0xff is not UTF-8"):
        parse_toml(tmp_path / "c.toml")


def test_the_error_passes_between_processes(tmp_path):
    error = pickle.loads(pickle.dumps(MissingFile(tmp_path, "does not exist")))
    assert isinstance(error, MissingFile) and error.reason == "does not exist"


def test_parquet_and_arrays_are_read_from_the_file_that_was_checked(tmp_path):
    pq.write_table(pa.table({"id": ["1"], "a": [0.5]}), tmp_path / "x.parquet")
    assert read_user_table(tmp_path / "x.parquet").column("a") == [0.5]
    np.save(tmp_path / "x.npy", np.ones((2, 3), np.float32))
    (tmp_path / "x.ids.txt").write_text("1\n2\n")
    assert read_feature_file(tmp_path / "x.npy", ["id"]).values.tolist() == [[1] * 3] * 2


def test_an_image_that_is_no_file_has_its_reason(tmp_path):
    for kind, reason in REASONS.items():
        path = odd(tmp_path / f"{kind}.jpg", kind)
        problem = "missing" if kind == "link to nowhere" else "unreadable"
        with pytest.raises(BadImage) as error:
            load_rgb(path)
        assert str(error.value) == f"{path}: {problem}: {reason}"


def test_links_to_nowhere_and_to_themselves_end_no_listing(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    odd(folder / "a.jpg", "link to itself")
    odd(folder / "b.jpg", "link to nowhere")
    (folder / "again").symlink_to(folder)
    assert folder_state(folder) == folder_state(folder)
    with pytest.raises(ValueError, match=r"again is a link to .*; put the real files there"):
        copy_folder(folder, tmp_path / "copy")
    (folder / "again").unlink()
    with pytest.raises(ValueError, match=r"[ab].jpg is not a regular file; remove it"):
        copy_folder(folder, tmp_path / "copy")
