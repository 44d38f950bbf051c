import codecs
import csv
import io
import json

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tandem.data.csv_reader import read_table
from tandem.data.table_header import looks_headerless
from tandem.data.table_text import TableQuestion

ROWS = [
    ("0.jpg", "cat dog", 'A cat says "hi", and runs.'),
    ("007.jpg", "sea", "Two\nlines; one | two"),
    ("2.jpg", "", "plain"),
]
COLUMNS = ("image", "labels", "caption")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tables")


def read(folder, content, name="train.csv", **given):
    file = folder / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_table(file, **given)


def refused(folder, content, name="train.csv", **given):
    with pytest.raises(ValueError) as error:
        read(folder, content, name, **given)
    return str(error.value).removeprefix(f"{folder / name}: ")


def question(folder, content, **given):
    with pytest.raises(TableQuestion) as error:
        read(folder, content, **given)
    return error.value.question


def written(delimiter=",", line_end="\n", quoting=csv.QUOTE_MINIMAL, columns=COLUMNS, rows=ROWS):
    lines = []
    for row in [columns, *rows]:  # a writer of CRLF lines quotes both CR and LF
        out = io.StringIO()
        csv.writer(out, delimiter=delimiter, lineterminator="\r\n", quoting=quoting).writerow(row)
        lines.append(out.getvalue().removesuffix("\r\n") + line_end)
    return "".join(lines)


def spaced(text):
    return "".join(", ".join(line.split(",")) for line in text.splitlines(keepends=True))


SIMPLE = [("0.jpg", "cat dog", "a cat"), ("1.jpg", "sea", "a sea"), ("2.jpg", "", "no label")]
PLAIN = written(rows=SIMPLE)
CHANGES = {  # to train.csv, each of which leaves the cells as they are
    "semicolon": (written(";"), ".csv", ROWS),
    "tab": (written("\t"), ".csv", ROWS),
    "tab in tsv": (written("\t"), ".tsv", ROWS),
    "bar": (written("|"), ".csv", ROWS),
    "bar in psv": (written("|"), ".psv", ROWS),
    "txt": (written("\t"), ".txt", ROWS),
    "sep line": ("sep=;\r\n" + written(";", "\r\n"), ".csv", ROWS),
    "quoted sep line": ('"sep=;"\n' + written(";"), ".csv", ROWS),
    "mark": (codecs.BOM_UTF8 + written().encode(), ".csv", ROWS),
    "two marks": (codecs.BOM_UTF8 * 2 + written().encode(), ".csv", ROWS),
    "utf-16": (written().encode("utf-16"), ".csv", ROWS),
    "utf-16 big endian": (codecs.BOM_UTF16_BE + written().encode("utf-16-be"), ".csv", ROWS),
    "utf-16, tab": (written("\t", "\r\n").encode("utf-16"), ".txt", ROWS),
    "utf-32": (written().encode("utf-32"), ".csv", ROWS),
    "crlf": (written(line_end="\r\n"), ".csv", ROWS),
    "cr": (written(line_end="\r"), ".csv", ROWS),
    "cr, semicolon": (written(";", "\r"), ".csv", ROWS),
    "cr cr lf": (written(line_end="\r\r\n"), ".csv", ROWS),
    "no last line end": (written().removesuffix("\n"), ".csv", ROWS),
    "blank lines": (PLAIN.replace("\n", "\n\n"), ".csv", SIMPLE),
    "blank first lines": ("\n  \n" + PLAIN, ".csv", SIMPLE),
    "lines of spaces": (PLAIN.replace("\n", "\n   \n"), ".csv", SIMPLE),
    "empty rows at the end": (PLAIN + ",,\n,,\n", ".csv", SIMPLE),
    "an empty row inside": (PLAIN.replace("1.jpg", ",,\n1.jpg"), ".csv", SIMPLE),
    "all quoted": (written(quoting=csv.QUOTE_ALL), ".csv", ROWS),
    "all quoted, semicolon": (written(";", quoting=csv.QUOTE_ALL), ".csv", ROWS),
    "comma at every end": (PLAIN.replace("\n", ",\n"), ".csv", SIMPLE),
    "two commas at every end": (PLAIN.replace("\n", ",,\n"), ".csv", SIMPLE),
    "comma at the end of rows": (PLAIN.replace("\n", ",\n").replace(",\n", "\n", 1), ".csv", SIMPLE),
    "comma at the end of the header": (PLAIN.replace("\n", ",\n", 1), ".csv", SIMPLE),
    "semicolon at every end": (PLAIN.replace(",", ";").replace("\n", ";\n"), ".csv", SIMPLE),
    "spaces around names": (PLAIN.replace("image,labels,caption", " image , labels,caption "), ".csv", SIMPLE),
    "space after every comma": (spaced(PLAIN), ".csv", SIMPLE),
    "space before quotes": (PLAIN.replace("cat dog,a cat", 'cat dog, "a cat"'), ".csv", SIMPLE),
    "spaced bars": (PLAIN.replace(",", " | "), ".psv", SIMPLE),
    "json lines": ("\n".join(json.dumps(dict(zip(COLUMNS, row, strict=True))) for row in ROWS), ".jsonl", ROWS),
    "json list": (json.dumps([dict(zip(COLUMNS, row, strict=True)) for row in ROWS], indent=1), ".json", ROWS),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_a_harmless_change_of_the_file_changes_no_cell(folder, change):
    content, suffix, rows = CHANGES[change]
    table = read(folder, content, f"train{suffix}")
    assert table.columns == COLUMNS
    assert table.rows == rows
    assert not table.repaired


def test_a_space_after_each_comma_is_no_part_of_a_cell_also_before_quotes(folder):
    table = read(folder, 'ImageID, Labels, Caption\n0.jpg, sky, "In town, today"\n1.jpg, sea, ""\n')
    assert table.columns == ("ImageID", "Labels", "Caption")
    assert table.rows == [("0.jpg", "sky", "In town, today"), ("1.jpg", "sea", "")]


def test_spaces_of_some_cells_stay(folder):
    assert read(folder, "id,x\n1, a\n2,b\n").rows == [("1", " a"), ("2", "b")]
    assert read(folder, 'id,x\n1,"a, ""b"", c"\n2,"d, e"\n').rows == [("1", 'a, "b", c'), ("2", "d, e")]


def test_a_spaced_header_above_unescaped_quotes_changes_no_cell(folder):
    text = 'id, x, y\n1,a,"b"\n2,a,"says, "hi", there"\n'
    assert read(folder, text).rows == [("1", "a", "b"), ("2", "a", 'says, "hi", there')]


def test_unescaped_quotes_after_spaced_commas_are_refused_with_their_line(folder):
    text = 'id, x, y\n1, a, "b"\n2, a, "says "hi" there"\n'
    assert refused(folder, text).startswith("line 3: not valid CSV: ")


def test_quotes_without_escape_are_read_as_well_between_other_delimiters(folder):
    text = 'id;labels;text\n1.jpg;1,2;"plain; one"\n2.jpg;3;"a "b"; c, d"\n'
    table = read(folder, text)
    assert table.rows == [("1.jpg", "1,2", "plain; one"), ("2.jpg", "3", 'a "b"; c, d')]
    assert table.repaired == {3: '2.jpg;3;"a "b"; c, d"'}


def test_ids_numbers_and_words_for_nothing_stay_as_written(folder):
    cells = ["007", "-5", "1.0", "2e7", "2,5", "NA", "None", "null", "nan", "N/A", "True", "1_000"]
    table = read(folder, "id;x\n" + "".join(f"{cell};{cell}\n" for cell in cells))
    assert [row[0] for row in table.rows] == cells == [row[1] for row in table.rows]


def test_a_row_index_without_a_name_is_kept_and_known_as_one(folder):
    table = read(folder, ",image,labels\n0,3.jpg,cat\n1,1.jpg,dog\n")
    assert (table.columns, table.row_numbers) == (("Unnamed: 0", "image", "labels"), ("Unnamed: 0",))
    table = read(folder, ",Unnamed: 0,image\n0,5,3.jpg\n1,9,1.jpg\n")
    assert table.columns == ("Unnamed: 0.1", "Unnamed: 0", "image")
    assert table.row_numbers == ("Unnamed: 0.1", "Unnamed: 0")
    assert read(folder, ",labels\n3.jpg,cat\n1.jpg,dog\n").row_numbers == ()


def test_columns_without_a_name_and_cells_are_left_out_wherever_they_stand(folder):
    assert read(folder, ",id,,x,\n,1,,a,\n,2,,b,\n").columns == ("id", "x")
    assert refused(folder, "id,,x\n1,,a\n2,y,b\n").startswith("line 1: column 2 of the header has no name")


def test_a_delimiter_inside_labels_and_texts_separates_no_columns(folder):
    assert read(folder, "id,labels\n1,a|b\n2,c;d\n").rows == [("1", "a|b"), ("2", "c;d")]
    assert read(folder, "id|tags, all\n1|a,b\n2|c\n").columns == ("id", "tags, all")
    assert read(folder, "name\na;b\nc|d\n").rows == [("a;b",), ("c|d",)]
    assert read(folder, "name\na,b\n", "train.tsv").rows == [("a,b",)]


def test_a_file_that_two_delimiters_fit_is_refused_unless_its_suffix_or_first_line_tells(folder):
    text = "id;x,y;z\n1;2,3;4\n"
    assert refused(folder, text) == (
        "line 1: the columns may be separated by comma (id;x, y;z) or semicolon (id, x,y, z); "
        "write sep=, or sep=; as a line of its own above them"
    )
    assert read(folder, "sep=;\n" + text).rows == [("1", "2,3", "4")]
    assert read(folder, "id\tx,y\tz\n1\t2,3\t4\n", "train.tsv").rows == [("1", "2,3", "4")]
    message = refused(folder, "id;x,y\n1\n2;3\n")
    assert message.startswith(
        "line 1: the columns are separated not by comma (line 2: 1 columns, the header has 2), not"
    )


def test_json_cells_keep_their_text(folder):
    lines = [
        '{"id": "007", "n": 1.50, "tags": ["a b", "ç"], "ok": true, "x": null}',
        '{"id": "8", "n": 2e7, "tags": [], "more": "null", "ok": false}',
    ]
    table = read(folder, "\n\n".join(lines), "train.jsonl")
    assert table.columns == ("id", "n", "tags", "ok", "x", "more")
    assert table.rows == [("007", "1.50", '["a b", "ç"]', "true", "", ""), ("8", "2e7", "[]", "false", "", "null")]
    assert table.lines == [1, 3]
    assert read(folder, '[{"id": 1, "t": [1, 2.0]},\n\n{"id": 2, "t": {"a": null}}]', "a.json").rows == [
        ("1", "[1, 2.0]"),
        ("2", '{"a": null}'),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"id": 1}\n{"id": }\n', "line 2: not valid JSON"),
        ('{"id": 1}\n[1]\n', "line 2: [1] is not an object"),
        ('{"id": 1} {"id": 2}\n', "line 1: text follows the object"),
        ('[{"id": 1}, {"id": 2}', "line 1: after this object: expected a comma"),
        ('[{"id": 1},]', "line 1: after this object: expected a comma"),
        ('[{"id": 1}] x', "line 1: the list has no end, or text follows it"),
        ('{"id": 1, "id": 2}', "line 1: not valid JSON: an object repeats the key 'id'"),
        ('{"id": "\\ud800"}', "line 1: a text holds a NUL or a half"),
        ("[]", "line 1: there are no objects with keys"),
        ("{}", "line 1: there are no objects with keys"),
        ("[" * 100_000, "line 1: not a row: lists or objects are nested too deeply"),
    ],
)
def test_json_that_is_no_table_is_refused_with_its_line(folder, text, message):
    assert refused(folder, text, "train.jsonl").startswith(message)


def test_a_json_object_of_several_lists_is_no_table(folder):
    message = refused(folder, '{"images": [{"id": 1}], "annotations": []}', "captions.json")
    assert message.startswith("line 1: one object with the keys ['images', 'annotations']; expected a list of objects")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("\n<!DOCTYPE html>\n<html>\n", "the file is a web page (such as a sign-in page), not a table"),
        ("<html><body>Sign in</body></html>", "the file is a web page"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "the file is a Git LFS pointer"),
        ("id,x\n1,a\n<<<<<<< HEAD\n2,b\n=======\n2,c\n>>>>>>> other\n", "line 3: <<<<<<< is a mark of an unfinished"),
        ("id,x\n1,a\n>>>>>>> other\n", "line 3: >>>>>>> is a mark"),
        ("id,x\n1,a\nid,x\n2,b\n", "line 3: repeats the header"),
        ("id,x\n1,a\n\ufeffid,x\n2,b\n", "line 3: repeats the header"),
        ('"id";"x"\n"1";"a"\nid;x\n', "line 3: repeats the header"),
        ("", "the file is empty"),
        (",,\n", "line 1: the header has no names"),
        (b"PK\x03\x04\x14\0", "the file is a zip archive or an Excel workbook, not a table"),
        (b"PAR1\x15", "the file is a Parquet file"),
        (b"\x1f\x8b\x08", "the file is a gzip file"),
        (b"id,x\n1,\x00\n", "line 2: contains a NUL byte"),
        ('{"code": 403, "message": "You must accept the rules"}', "line 1: the file holds JSON"),
    ],
)
def test_a_file_that_is_no_table_is_named_as_what_it_is(folder, content, message):
    assert refused(folder, content).startswith(message)


def test_a_label_named_like_a_column_is_no_second_header(folder):
    assert read(folder, "id,label\n1,id\n2,label\nid,x\n").rows == [("1", "id"), ("2", "label"), ("id", "x")]


def test_another_encoding_is_a_question_that_shows_the_words(folder):
    asked = question(folder, "id,text\n1,plain\n2,un café\n3,schöne Größe\n".encode("cp1252"))
    assert asked.key == "encoding"
    assert asked.candidates == {"cp1252": '"café", "schöne", "Größe"'}
    assert "line 3: byte 0xe9 is not UTF-8" in asked.about


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("cp1252", "the man’s “dog” – déjà vu"),
        ("cp1252", "a\xa0soft\xadhyphen"),
        ("cp1252", "no\xa0break"),
        ("cp1250", "żółw i pies, łódź"),
        ("cp1251", "Кошка и собака"),
        ("cp1251", "КОШКА"),
        ("koi8-r", "Кошка и собака"),
        ("cp866", "Кошка и собака на траве"),
        ("cp1253", "γάτα και σκύλος"),
        ("cp1254", "köpeği şişe"),
        ("cp1255", "חתול וכלב"),
        ("cp1256", "قطة وكلب"),
        ("cp874", "แมวและสุนัข"),
        ("gb18030", "一只狗在草地上奔跑"),
        ("big5", "一隻狗在草地上奔跑"),
        ("shift_jis", "草の上を走る犬"),
        ("euc_jp", "草の上を走る犬"),
        ("euc_kr", "풀밭을 달리는 개"),
        ("mac_roman", "café naïve"),
        ("utf-16-le", "un café"),
        ("utf-16-be", "un café"),
    ],
)
def test_the_encoding_of_the_writer_is_among_those_that_fit_and_reads_its_words(folder, encoding, text):
    content = f"id;text\n1;a plain one\n2;{text}\n".encode(encoding)
    assert encoding in question(folder, content).candidates
    assert read(folder, content, encoding=encoding).rows[1] == ("2", text)


def test_an_encoding_is_for_files_that_are_not_utf8_and_names_the_line_where_it_does_not_fit(folder):
    assert read(folder, "id,x\n1,café\n", encoding="cp1252").rows == [("1", "café")]
    assert refused(folder, "id,x\n1,a\n2,é\n".encode("cp1252"), encoding="shift_jis").startswith(
        "line 3: the bytes there are not shift_jis"
    )
    assert "encoding 'klingon' is unknown" in refused(folder, b"id,x\n1,\xe9\n", encoding="klingon")


def test_one_line_in_another_encoding_than_the_rest_is_refused(folder):
    content = "id,x\n1,café\n2,naïve\n3,".encode() + "é\n".encode("cp1252")
    assert refused(folder, content).startswith("line 4: byte 0xe9 is not UTF-8, the rest of the file is")


# no header line

HEADERLESS = [
    "0.jpg,sky,Look at a sky\n1.jpg,sea,One can see a sea\n2.jpg,sea,A photo of a sea\n",
    "7,cat dog,A cat with a small dog\n8,dog,A dog that runs on grass\n9,cat,A cat that sits on chairs\n",
    "img_1,0,1\nimg_2,1,0\nimg_3,1,1\n",
    "train_0,haze primary\ntrain_1,primary clear\ntrain_2,haze\n",
    "5\n6\n7\n",
]
WITH_HEADER = [
    "ImageID,Labels,Caption\n0.jpg,1,A cat\n1.jpg,2,A dog\n",
    "id,0,1,2\n7.jpg,0,1,0\n8.jpg,1,1,0\n",
    "cat,dog\n1,0\n0,1\n",
    "image,labels\na.jpg,labels\nb.jpg,image\n",
    "id,label_1,label_2\n1,cat,dog\n2,dog,\n",
    "image\n1.jpg\n2.jpg\n",
    "id,text\n1,a text\n2,an id of a text\n",
]


@pytest.mark.parametrize("text", HEADERLESS)
def test_a_first_line_like_the_others_is_asked_about_with_its_cells(folder, text):
    table = read(folder, text)
    asked = looks_headerless(table.columns, table.rows)
    assert asked and asked.key == "columns"
    first = next(iter(asked.candidates))
    assert asked.candidates[first] == ", ".join(text.split("\n")[0].split(","))
    again = read(folder, text, columns=json.loads(first))
    assert again.rows == [tuple(line.split(",")) for line in text.splitlines()]
    assert again.lines[0] == 1


@pytest.mark.parametrize("text", WITH_HEADER)
def test_a_header_is_not_taken_for_a_row(folder, text):
    table = read(folder, text)
    assert looks_headerless(table.columns, table.rows) is None


def test_names_of_another_table_tell_a_header_from_a_row():
    rows = [("7.jpg", "dog"), ("8.jpg", "cat")]
    assert looks_headerless(("5.jpg", "bird"), rows, ["5.jpg"]) is None
    assert looks_headerless(("a7", "bird"), [("a8", "dog"), ("a9", "cat")]) is None
    assert looks_headerless(("a7", "bird"), [("a8", "dog"), ("a9", "cat")], ["image", "labels"]) is not None


def test_the_guessed_names_are_for_the_cells_of_their_columns():
    asked = looks_headerless(("A long text of words", "cat", "1.jpg"), [("Another long text of words", "dog", "2.jpg")])
    assert list(asked.candidates) == ['["caption", "labels", "image"]']


def test_a_row_that_cannot_be_a_header_is_asked_about(folder):
    asked = question(folder, "0.jpg,sky,sky,\n1.jpg,sea,sea,a\n")
    assert list(asked.candidates.values()) == ["0.jpg, sky, sky, "]


def test_given_names_are_used_and_a_first_line_of_some_of_them_is_the_header(folder):
    names = ["id", "labels"]
    assert read(folder, "1.jpg,cat\n2.jpg,dog\n", columns=names).rows == [("1.jpg", "cat"), ("2.jpg", "dog")]
    assert read(folder, "id,labels\n2.jpg,dog\n", columns=names).rows == [("2.jpg", "dog")]
    assert read(folder, "labels\ndog\n", columns=names).rows == [("dog",)]
    assert read(folder, "labels,id\ndog,2.jpg\n", columns=names).columns == ("labels", "id")
    assert read(folder, "1.jpg;cat, dog\n2.jpg;dog\n", columns=names).rows[0] == ("1.jpg", "cat, dog")
    message = refused(folder, "1.jpg,cat,a\n2.jpg,dog,b\n", columns=names)
    assert message == "line 1: 3 columns, the header has 2; columns are given as id, labels"


# properties

cells = st.text(st.sampled_from("ab7 ,;|\t\"'\n\ré．-"), max_size=8)
tables = st.integers(1, 4).flatmap(lambda n: st.lists(st.tuples(*[cells] * n), min_size=1, max_size=5))


@settings(max_examples=400, deadline=None)
@given(
    tables,
    st.sampled_from([",", ";", "\t", "|"]),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    st.booleans(),
)
def test_cells_come_back_the_same_in_every_form_or_the_file_is_refused(
    folder, rows, delimiter, line_end, quoting, encoding, header
):
    assume(all(any(cell.strip() for cell in row) for row in rows))
    columns = tuple(f"c{j}" for j in range(len(rows[0])))
    text = written(delimiter, line_end, quoting, columns, rows)
    text = text if header else text.partition(line_end)[2]
    try:
        table = read(folder, text.encode(encoding), columns=None if header else columns)
    except ValueError as error:
        assert str(folder) in str(error)
    else:
        assert (table.columns, table.rows) == (columns, rows)


@settings(max_examples=100, deadline=None)
@given(tables, st.booleans())
def test_cells_come_back_the_same_from_json(folder, rows, as_list):
    columns = tuple(f"c{j}" for j in range(len(rows[0])))
    objects = [dict(zip(columns, row, strict=True)) for row in rows]
    text = json.dumps(objects) if as_list else "\n".join(map(json.dumps, objects))
    table = read(folder, text, "train.json" if as_list else "train.jsonl")
    assert (table.columns, table.rows) == (columns, rows)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=40) | st.text(st.sampled_from('a1,;|\t"\n\r {}[]:'), max_size=40), st.sampled_from(
    ["a.csv", "a.tsv", "a.txt", "a.jsonl", "a.json"]
))  # fmt: skip
def test_garbage_is_read_or_refused_with_a_value_error(folder, content, name):
    try:
        table = read(folder, content, name)
    except ValueError as error:
        assert str(folder) in str(error)
    else:
        assert {len(row) for row in table.rows} <= {len(table.columns)}
