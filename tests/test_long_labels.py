import pytest

from tandem.config.labels import Labels
from tandem.data.csv_reader import Table
from tandem.data.infer_long_labels import guess_long
from tandem.data.label_codec import encode, raise_first
from tandem.data.long_labels import widen


def table(text: str) -> Table:
    """A table from lines of cells cut at commas, the first of them the header."""
    header, *lines = (tuple(line.split(",")) for line in text.split())
    return Table(header, lines, list(range(2, len(lines) + 2)))


def pivot_long(long: Table, id: str, labels):
    """(ids, y, known) of a long table."""
    wide, cells = widen(long, id, labels)
    y, known, issues = encode(labels, cells)
    raise_first(issues)
    return wide.column(id), y, known


PAIRS = table("id,label,site a,cat,x a,dog,x b,cat,y c,,y")
VALUES = table("id,label,value a,cat,1 a,dog,0 b,dog,1 b,cat,")
JOINED = table("ID,Label s1_cat,0 s1_dog,1 s1_sea,0 s_2_cat,1 s_2_dog,1 s_2_sea,0")


def no_images(cells):
    return False


def test_a_row_for_each_label_that_is_there_is_read_into_a_row_for_each_id():
    id, found = guess_long(PAIRS, no_images)
    assert (id, found.labels.column, found.labels.value, found.questions) == ("id", "label", "", [])
    assert (found.counts, found.least, found.most) == ({"cat": 2, "dog": 1}, 0, 2)
    ids, y, known = pivot_long(PAIRS, "id", found.labels)
    assert (ids, y.tolist(), known) == (["a", "b", "c"], [[1, 1], [1, 0], [0, 0]], None)


def test_a_row_with_a_value_for_each_id_and_label_is_read_with_blank_ones_as_told():
    id, found = guess_long(VALUES, no_images)
    assert (id, found.labels.column, found.labels.value) == ("id", "label", "value")
    assert [question.key for question in found.questions] == ["labels.blank"]
    id, found = guess_long(VALUES, no_images, {"blank": "unknown"})
    assert (found.questions, found.counts) == ([], {"cat": 1, "dog": 1})
    ids, y, known = pivot_long(VALUES, "id", found.labels)
    assert (ids, y.tolist(), known.tolist()) == (["a", "b"], [[1, 0], [0, 1]], [[True, True], [False, True]])


def test_some_pairs_with_flags_are_a_question():
    text = table("id,label,crowd a,cat,1 a,dog,0 b,cat,0 c,dog,1 c,cat,1")
    assert [question.key for question in guess_long(text, no_images)[1].questions] == ["labels.value", "labels.blank"]
    id, found = guess_long(text, no_images, {"value": ""})
    assert (found.questions, found.counts, found.least) == ([], {"cat": 3, "dog": 2}, 1)
    assert guess_long(text, no_images, {"format": "separated"}) is None


def test_id_and_label_in_one_cell_are_cut_at_the_last_joint():
    id, found = guess_long(JOINED, no_images)
    assert (id, found.labels.value, found.labels.separator) == ("ID", "Label", "_")
    assert found.labels.names == ["cat", "dog", "sea"]
    ids, y, known = pivot_long(JOINED, "ID", found.labels)
    assert (ids, y.tolist(), known) == (["s1", "s_2"], [[0, 1, 0], [1, 1, 0]], None)


@pytest.mark.parametrize(
    "text",
    [
        "id,labels,caption a,cat,x a,cat,y b,dog,z",  # captions, not labels, differ in a row
        "id,labels,caption a,cat,x a,cat,y b,dog,x b,dog,y",
        "id,who,label a,1,cat a,2,dog b,1,cat b,2,cat",  # two columns differ
        "id,cat v1_1,0 v1_2,1 v2_1,1 v2_2,0",  # frames of videos
        "id,bad 1_left,0 1_right,1 2_left,0 2_right,1",  # eyes of patients
        "id,label a,cat b,dog",
    ],
)
def test_other_tables_are_not_taken_for_long_ones(text):
    assert guess_long(table(text), no_images) is None


def test_cells_that_name_images_are_no_pairs_of_id_and_label():
    assert guess_long(JOINED, lambda cells: "s1_cat" in cells) is None


def test_a_table_that_is_long_either_way_round_has_the_images_in_its_column_of_ids():
    text = table("label,file cat,1.jpg cat,2.jpg dog,1.jpg dog,3.jpg sea,3.jpg sea,2.jpg")
    assert guess_long(text, lambda cells: cells[0].endswith(".jpg"))[0] == "file"


def test_the_other_cells_are_those_of_the_first_row_even_where_labels_have_the_names_of_columns():
    labels = Labels(format="long", column="label", names=["id", "site"])
    wide, cells = widen(table("id,label,site a,id,x a,site,y b,site,z"), "id", labels)
    assert (wide.columns, wide.rows, wide.lines) == (("id", "site"), [("a", "x"), ("b", "z")], [2, 4])
    assert cells == {"id": ["1", "0"], "site": ["1", "1"]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,label,value a,cow,1", "line 2: label 'cow' is not one of the 2 known labels"),
        ("id,label,value a,cat,1 a,cat,0", "line 3: '0' for 'a' and 'cat', but '1' on line 2"),
        ("id,label,value a,cat,2", "row 1: column 'cat' holds '2'"),
    ],
)
def test_a_wrong_row_is_named(text, message):
    with pytest.raises(ValueError, match=message):
        pivot_long(table(text), "id", Labels(format="long", column="label", value="value", names=["cat", "dog"]))
