import csv
import io
import os

import numpy as np
import pytest
from safetensors.numpy import save_file

from tandem.artifacts.atomic_io import (
    csv_text,
    digest,
    file_digest,
    read_json,
    write_if_changed,
    write_json,
    write_text,
    write_with,
)


def test_a_file_is_as_readable_as_others_where_a_library_lets_its_owner_alone_read_it(tmp_path):
    write_with(tmp_path / "a.safetensors", lambda partial: save_file({"a": np.zeros(2)}, partial))
    (tmp_path / "b").touch()
    assert (tmp_path / "a.safetensors").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_a_writer_that_fails_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    def fail(partial):
        partial.write_text("half")
        raise OSError("disk full")

    target = write_text(tmp_path / "a.txt", "whole")
    with pytest.raises(OSError, match="disk full"):
        write_with(target, fail)
    assert target.read_text() == "whole"
    with pytest.raises(OSError, match="disk full"):
        write_with(tmp_path / "new.txt", fail)
    assert [f.name for f in tmp_path.iterdir()] == ["a.txt"]


def test_folders_are_made_on_the_way(tmp_path):
    assert write_text(tmp_path / "a" / "b" / "c.txt", "größe").read_text(encoding="utf-8") == "größe"


def test_an_equal_file_keeps_its_time_stamp(tmp_path):
    path = tmp_path / "a.json"
    assert write_if_changed(path, lambda partial: partial.write_text("0.1"))
    os.utime(path, (1000, 1000))
    assert not write_if_changed(path, lambda partial: partial.write_text("0.1"))
    assert path.stat().st_mtime == 1000
    assert write_if_changed(path, lambda partial: partial.write_text("0.2"))
    assert path.stat().st_mtime > 1000
    assert [f.name for f in tmp_path.iterdir()] == ["a.json"]


def test_an_empty_file_is_written_where_there_was_none(tmp_path):
    assert write_if_changed(tmp_path / "empty", lambda partial: partial.write_bytes(b""))
    assert (tmp_path / "empty").read_bytes() == b""


def test_json_comes_back_as_it_was(tmp_path):
    value = {"größe": [1, 2.5, None, True], "text": 'a "b"\n'}
    assert read_json(write_json(tmp_path / "a.json", value)) == value


def test_digests_see_content_and_not_the_order_of_keys(tmp_path):
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1}) != digest({"a": 2, "b": 1})
    assert digest([1, 2]) != digest([2, 1])
    assert file_digest(write_text(tmp_path / "a", "x")) == file_digest(write_text(tmp_path / "b", "x"))
    assert len(digest("")) == 16


def test_a_cell_with_a_line_end_of_any_kind_is_quoted_and_read_back():
    cells = ["a\rb", "a\nb", "a\r\nb", "a,b", 'a"b', "\r\n"]
    text = csv_text(["x"], *([cell] for cell in cells))
    assert [row[0] for row in csv.reader(io.StringIO(text, newline=""))] == ["x", *cells]
    assert text.endswith('"\r\n"\n') and text.startswith("x\n")
