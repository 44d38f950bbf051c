"""Tables and settings of others: right rows, or a message with the file and the line, in bounded time."""

import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_config import competition

from tandem.config.competition import load_competition, to_toml
from tandem.config.labels import Labels
from tandem.config.load_experiments import load_experiment
from tandem.config.toml_files import DEEPEST, parse_document, parse_toml
from tandem.data.csv_reader import read_table
from tandem.data.user_table import read_user_table

SECONDS = 5.0  # of the processor; each of these took minutes or never ended


def write(folder: Path, name: str, content: str | bytes) -> Path:
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def refused(file: Path, read=read_table) -> str:
    with pytest.raises(ValueError) as error:
        read(file)
    assert str(file) in str(error.value)
    return str(error.value).replace(f"{file}: ", "")


NESTED = "not a row: lists or objects are nested too deeply"
TABLES = [
    ("a.jsonl", '{"id": 1}\n{"id": ' + "[" * 900 + "]" * 900 + "}\n", f"line 2: {NESTED}"),
    ("a.json", "[" * 100_000, f"line 1: {NESTED}"),
    ("a.jsonl", '{"id": 1}\n{"\\ud800": 1}\n', r"line 2: a key holds a NUL or a half of a surrogate pair: '\ud800'"),
    ("a.jsonl", '{"id": 1, "\\u0000": 2}\n', "line 1: a key holds a NUL"),
    ("a.jsonl", '{"id": "\\ud800"}\n', "line 1: a text holds a NUL or a half of a surrogate pair"),
    ("a.jsonl", '{"id": 1, "  ": 2}\n', "line 1: a key has no name"),
    ("a.jsonl", '{"id": 1, "id ": 2}\n', "line 1: a key is there twice, with and without spaces: 'id'"),
    ("a.csv", "id, id\n1,2\n", "line 1: the header repeats ['id']"),
    ("a.csv", b"id\0,x\n1,2\n", "line 1: contains a NUL"),
    ("a.csv", ",".join("c" * 50_000) + "\n" + ",".join("1" * 50_000) + "\n", "line 1: the header repeats ['c']"),
    ("a.jsonl", "".join(f'{{"k{i}": 1}}\n' for i in range(20_000)), "20,000 different keys in 20,000 objects"),
    ("a.jsonl", "{" + ",".join('"k": 1' for _ in range(50_000)) + "}", "line 1: not valid JSON: an object repeats"),
    ("a.csv", "id,x\n1," + "é" * 10, None),
    ("a.csv", b"id,x\n1,\xe9" + b"x" * 200_000, "line 2: byte 0xe9 is not UTF-8"),
    ("a.csv", ("id,x\n1," + "é" * 200_000).encode("latin-1"), "line 2: byte 0xe9 is not UTF-8"),
]


@pytest.mark.parametrize(("name", "content", "message"), TABLES, ids=[str(i) for i in range(len(TABLES))])
def test_a_table_that_cannot_be_read_is_refused_with_its_line_and_soon(tmp_path, name, content, message):
    file, before = write(tmp_path, name, content), time.process_time()
    if message is None:
        assert read_table(file).rows == [("1", "é" * 10)]
    else:
        assert message in refused(file)
    assert time.process_time() - before < SECONDS


def test_a_text_of_any_length_is_read(tmp_path):
    long = "a" * 200_000
    assert read_table(write(tmp_path, "a.csv", f"id,x\n1,{long}\n")).rows == [("1", long)]
    assert read_table(write(tmp_path, "a.csv", f'id;x\n1;"{long}, ""b"""\n')).rows == [("1", f'{long}, "b"')]


def test_a_byte_order_mark_inside_quotes_is_no_part_of_the_name(tmp_path):
    for text in ('"\ufeffid",x\n1,2\n', '\ufeff"\ufeffid",x\n1,2\n'):
        assert read_table(write(tmp_path, "a.csv", text)).columns == ("id", "x")


def test_thirty_thousand_columns_and_a_text_of_all_private_characters_are_read_at_once(tmp_path):
    before, n = time.process_time(), 30_000
    wide = read_table(write(tmp_path, "a.csv", ";".join(f"c{i}" for i in range(n)) + "\n" + ";".join("1" * n)))
    assert len(wide.rows[0]) == n
    odd = "".join(map(chr, range(0xE000, 0xF900)))
    assert read_table(write(tmp_path, "b.csv", f"id;x\n1,5;{odd}\n")).rows == [("1,5", odd)]
    assert time.process_time() - before < SECONDS


def test_a_folder_is_no_table(tmp_path):
    (tmp_path / "train.csv").mkdir()
    assert refused(tmp_path / "train.csv").endswith("is a folder; expected a regular file")


def test_values_of_parquet_that_python_cannot_hold_are_refused_by_column(tmp_path):
    file = tmp_path / "a.parquet"
    far = pa.array([2**62], pa.timestamp("us"))
    pq.write_table(pa.table({"id": ["1"], "when": far, "gone": pa.array([10**6], pa.date32())}), file)
    assert read_user_table(file).texts("id") == ["1"]
    assert "column 'when' of timestamp[us] can't be read (" in refused(
        file, lambda file: read_user_table(file).texts("when")
    )


# settings

NUMBER = "a whole number of more than 64 bits"
SETTINGS = [
    (b'kind = "tfidf"\nseed = \xff', "line 2: byte 0xff is not UTF-8; save the file as UTF-8"),
    (b'kind = "tfidf"\nseed = 1\x00', "not valid TOML: "),
    ('kind = "tfidf"\nseed = ' + "9" * 30, f"seed: {NUMBER}"),
    ('kind = "tfidf"\nseed = 0x' + "f" * 9_000, f"seed: {NUMBER}"),
    ('kind = "tfidf"\nseed = ' + "9" * 5_000, "not valid TOML: "),
    ('kind = "tfidf"\nseed = -1', "seed: Input should be greater than or equal to 0"),
    ('kind = "tfidf"\n[tfidf]\nc = nan', "tfidf.c: Input should be a finite number"),
    ('kind = "tfidf"\n[tfidf]\nc = 1e999', "tfidf.c: Input should be a finite number"),
    ('kind = "tfidf\\u0000"', "kind: the text holds a NUL character"),
    ('kind = "tfidf"\nseed = 2001-01-01', "seed: Input should be a valid integer"),
    ("a = " + "[" * 100_000, f"within each other more than {DEEPEST} deep"),
    ("a = " + "[" * 60 + "]" * 60, f"a: lists, sections or parts of a key within each other more than {DEEPEST} deep"),
    ("\n" + ".".join("a" * 100_000) + " = 1", "line 2: lists, sections or parts of a key"),
    ('base = "' + "a" * 300 + '"', "base: expected the name of a file beside it"),
    ('base = "../../words"', "base: expected the name of a file beside it, without .toml, got '../../words'"),
    ('["' + '"."'.join("a" * 100_000) + '"]', "line 1: lists, sections or parts of a key"),
    ('kind = "tfidf"\nseed = 1\nseed = 2\n', "not valid TOML: Cannot overwrite a value (at line 3"),
    ('kind = "fusion"\nfrozen = [' + "1," * 20_000 + "]", "and 19,980 more"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "message"), SETTINGS, ids=[str(i) for i in range(len(SETTINGS))])
def test_an_experiment_that_cannot_be_read_is_refused_with_its_file_and_soon(tmp_path, content, message):
    file, before = write(tmp_path, "mine.toml", content), time.process_time()
    said = refused(file, load_experiment)
    assert message in said
    assert len(said) < 10_000
    assert time.process_time() - before < SECONDS


def test_settings_may_begin_with_a_byte_order_mark_and_have_any_line_ends(tmp_path):
    file = write(tmp_path, "a.toml", b"\xef\xbb\xbfa = 1\r\nb = 2\r\n")
    assert parse_toml(file) == {"a": 1, "b": 2}
    assert parse_document(file).unwrap() == {"a": 1, "b": 2}


def test_many_label_names_are_read_and_repeated_ones_are_found_at_once():
    before, names = time.process_time(), [str(i) for i in range(200_000)]
    Labels(format="list", column="tags", names=names)
    with pytest.raises(ValueError, match=r"label names are repeated: \['0'"):
        Labels(format="list", column="tags", names=names * 2)
    assert time.process_time() - before < SECONDS


@pytest.mark.parametrize("path", ["../..", "/etc/passwd", "a/../../b", " ", "a\\b"])
def test_a_path_that_leaves_the_folder_of_the_competition_is_refused(tmp_path, path):
    for key in ("train", "images", "solution"):
        text = to_toml(competition(train="x.csv", solution="y.csv"))
        lines = [f"{key} = '{path}'" if line.startswith(f"{key} =") else line for line in text.splitlines()]
        said = refused(write(tmp_path, "competition.toml", "\n".join(lines)), load_competition)
        assert said.startswith(f"{key}")
        assert "the competition's folder" in said
