import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tandem.data import csv_chunks, csv_reader
from tandem.data.csv_chunks import read_plain
from tandem.data.csv_reader import Table, read_table

CELLS = st.one_of(
    st.sampled_from(
        ["1", "a.jpg", "", " ", "a cat", "é", "id", '"x, y"', '"say ""hi"""', '5"', '"a\nb"', " b", "\ufeff"]
    ),
    st.text('ab,"\n\r ;é', max_size=4),
)
FILES = st.builds(
    lambda rows, end, last: end.join(map(",".join, rows)) + end * last,
    st.lists(st.one_of(st.lists(CELLS, min_size=2, max_size=2), st.lists(CELLS, max_size=3)), min_size=1, max_size=6),
    st.sampled_from(["\n", "\r\n"]),
    st.integers(0, 2),
)


def whole(path):
    """What `read_table` reads without parts, or its error."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_reader, "read_plain", lambda path, columns: None)
        try:
            return read_table(path)
        except ValueError as error:
            return str(error)


PLAIN = st.lists(st.tuples(st.integers(), st.sampled_from(["a cat", "é", "", '"x, y"', '"say ""hi"""'])), max_size=6)
TABLES = PLAIN.map(lambda rows: "id,text\n" + "".join(f"{id},{text}\n" for id, text in rows))


@settings(max_examples=150, deadline=None)
@given(st.one_of(FILES, FILES.map("id,text\n".__add__), TABLES), st.integers(1, 40))
def test_a_file_read_in_parts_has_the_rows_and_lines_of_one_read_whole(tmp_path_factory, text, chunk):
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    path.write_bytes(text.encode())
    parts = read_plain(path, chunk=chunk)
    assert parts is None or Table(*parts) == whole(path)


def test_quoted_captions_of_many_parts_are_read_with_their_lines(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_chunks, "CHUNK", 16)
    path = tmp_path / "train.csv"
    path.write_text('\ufeffid,caption\n1,"a cat, ""asleep"""\n\n2,a dog\n')
    assert read_plain(path) == (("id", "caption"), [("1", 'a cat, "asleep"'), ("2", "a dog")], [2, 4])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,text\n" + "1,a\n" * 9 + "2\n", "line 11: 1 columns, the header has 2"),
        ("id,text\n" + "1,a\n" * 9 + "id,text\n1,a\n", "line 11: repeats the header"),
        ("id,text\n" + "1,a\n" * 9 + '1,"a\n', "line 11: not valid CSV: unexpected end of data"),
        ("id,text\n" + "1,a\n" * 9 + "1,\0\n", "line 11: contains a NUL"),
        ("id,text\n" + "1,a\n" * 9 + "<<<<<<< HEAD\n", "line 11: <<<<<<< is a mark of an unfinished merge"),
    ],
)
def test_an_error_in_a_later_part_names_its_line(tmp_path, monkeypatch, text, message):
    monkeypatch.setattr(csv_chunks, "CHUNK", 16)
    path = tmp_path / "train.csv"
    path.write_text(text)
    with pytest.raises(ValueError) as error:
        read_table(path)
    assert message in str(error.value) and str(error.value).startswith(f"{path}: ")
