import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tandem.config.competition import Competition, load_competition, to_toml
from tandem.config.labels import Labels
from tandem.data.label_codec import LabelCodec, decode, encode, natural_key

NAMES = ["1", "2", "cat", "traffic light", "größe"]
rows = st.lists(st.lists(st.integers(0, 1), min_size=5, max_size=5), max_size=6)


@settings(max_examples=50, deadline=None)
@given(rows, st.sampled_from([",", ";", "|", " | "]))
def test_decoding_and_encoding_gives_the_same_rows(y, separator):
    codec = LabelCodec(NAMES, separator)
    y = np.array(y, np.uint8).reshape(-1, 5)
    assert codec.encode(codec.decode(y)).tolist() == y.tolist()


def test_order_repeats_and_white_space_in_a_cell_do_not_matter():
    codec = LabelCodec(["cat", "dog"], ",")
    assert codec.encode(["dog, cat", " cat,dog,cat ", ",cat,"]).tolist() == [[1, 1], [1, 1], [1, 0]]


def test_cells_are_decoded_in_column_order():
    assert LabelCodec(["dog", "cat"]).decode(np.array([[1, 1], [0, 1], [0, 0]])) == ["dog cat", "cat", ""]


def test_an_unknown_label_is_named_with_its_row():
    with pytest.raises(ValueError, match=r"row 2: label '9' is not one of the 2 known labels \(1 \.\.\. 2\)"):
        LabelCodec(["1", "2"]).encode(["1", "2 9"])


def test_natural_order_takes_numbers_as_numbers_and_before_words():
    assert sorted(["b", "10", "a", "9", "1"], key=natural_key) == ["1", "9", "10", "a", "b"]


NAME = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=6)
HARD = ["id", "label", "split", "a,b", 'x[1]{y}:"q"', "日本語 😀", "é", "é", " cat", "1", "1.0", "null", "'", "\\", "-"]


@st.composite
def labels(draw):
    """Labels of any format with any names that it can hold, and y (n, c)."""
    form = draw(st.sampled_from(["separated", "list", "joined", "columns", "long"]))
    names = draw(st.lists(st.one_of(NAME, st.sampled_from(HARD)), min_size=1, max_size=5, unique=True))
    separator = draw(st.sampled_from([" ", ",", "|", " & ", "/", "_"]))
    if form in ("separated", "joined"):
        names = list(dict.fromkeys(name.strip() for name in names)) if form == "joined" else names
        names = [n for n in names if n.strip() == n and f"{n}{separator}{n}".split(separator) == [n, n] and n] or ["x"]
    place = {
        "joined": {"columns": [f"label_{i}" for i in range(len(names) + 1)]},
        "long": {"column": "l", "value": "v"},
    }
    place |= {"separated": {"column": "l", "separator": separator}, "list": {"column": "l"}}
    rows = draw(st.lists(st.lists(st.integers(0, 1), min_size=len(names), max_size=len(names)), max_size=5))
    y = np.array(rows, np.uint8).reshape(-1, len(names))
    return Labels(format=form, names=names, blank="unknown", uncertain="unknown", **place.get(form, {})), y


@settings(max_examples=300, deadline=None)
@given(labels(), st.data())
def test_what_is_written_in_any_format_is_read_back_with_any_names(made, data):
    labels, y = made
    known = None
    if labels.format in ("columns", "long"):
        bits = data.draw(st.lists(st.booleans(), min_size=y.size, max_size=y.size))
        known = np.array(bits, bool).reshape(y.shape)
        y = y & known
    else:
        y = y[y.any(1)]  # a row without labels is blank, so unknown here
    read, read_known, issues = encode(labels, decode(labels, y, known))
    assert (read.tolist(), issues) == (y.tolist(), [])
    assert (np.ones(y.shape, bool) if read_known is None else read_known).tolist() == (
        np.ones(y.shape, bool) if known is None else known
    ).tolist()


@settings(max_examples=50, deadline=None)
@given(labels())
def test_labels_of_any_format_and_names_are_written_to_toml_and_loaded_again(tmp_path_factory, made):
    path = tmp_path_factory.mktemp("toml") / "competition.toml"
    competition = Competition(id="id", images="i", least=0, most=1, experiments=["e"], labels=made[0])
    path.write_text(to_toml(competition), encoding="utf-8")
    assert load_competition(path).labels == made[0]


def read(cells, **changes):
    return encode(Labels(format="columns", names=list(cells), **changes), {k: v.split("/") for k, v in cells.items()})


def test_flags_that_are_blank_or_uncertain_are_read_as_told():
    cells = {"cat": "1//-1", "dog": "0/1/NaN"}
    y, known, issues = read(cells, blank="unknown", uncertain="positive")
    assert (y.tolist(), issues) == ([[1, 0], [0, 1], [1, 0]], [])
    assert known.tolist() == [[True, True], [False, True], [True, False]]
    y, known, issues = read(cells, blank="negative", uncertain="negative")
    assert (y.tolist(), known, issues) == ([[1, 0], [0, 1], [0, 0]], None, [])


def test_a_blank_or_uncertain_flag_without_an_answer_is_an_issue_of_its_column():
    issues = read({"cat": "1//-1/", "dog": "0/1/1/0"})[2]
    assert [(one.row, one.kind) for one in issues] == [(1, "blank label"), (2, "uncertain label")]
    assert issues[0].message == "column 'cat' is blank (2 such cells)"
    assert "holds '-1'" in issues[1].message


def test_minus_one_is_negative_where_no_flag_is_zero():
    assert read({"cat": "1/-1", "dog": "-1/1"})[0].tolist() == [[1, 0], [0, 1]]
    assert [one.kind for one in read({"cat": "1/-1", "dog": "-1/0"})[2]] == ["uncertain label"] * 2


def test_flags_in_two_forms_are_an_issue_that_names_both():
    (issue,) = read({"cat": "1/0/yes"})[2]
    assert (issue.row, issue.message) == (2, "column 'cat' holds '1' and 'yes'; expected one way of writing")


def test_a_whole_number_with_decimals_is_the_same_label():
    labels = Labels(format="separated", column="l", names=["1", "2"])
    assert encode(labels, {"l": ["1.0 2", "2.0"]})[0].tolist() == [[1, 1], [0, 1]]
    labels = Labels(format="separated", column="l", names=["1.0", "1"])
    assert encode(labels, {"l": ["1.0", "1"]})[0].tolist() == [[1, 0], [0, 1]]


def test_more_labels_than_joined_columns_cannot_be_written():
    labels = Labels(format="joined", columns=["a", "b"], names=["x", "y", "z"])
    assert decode(labels, np.array([[0, 1, 1]])) == {"a": ["y"], "b": ["z"]}
    with pytest.raises(ValueError, match=r"3 labels in one row \(x, y, z\), but 2 columns"):
        decode(labels, np.array([[1, 1, 1]]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"names": []}, "at least 1 item"),
        ({"names": ["a", "a"]}, "repeated"),
        ({"names": ["a b"]}, "contains the separator"),
        ({"names": ["a &"], "separator": " & "}, "contains the separator"),
        ({"names": ["a "], "separator": "|"}, "starts or ends with a space"),
        ({"separator": ""}, "needs separator"),
        ({"column": ""}, "needs column"),
        ({"format": "joined", "columns": ["a"]}, "needs columns"),
        ({"format": "long", "column": ""}, "needs column, or value"),
    ],
)
def test_labels_that_could_not_be_read_back_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Labels.model_validate({"format": "separated", "column": "l", "names": ["a"]} | changes)
