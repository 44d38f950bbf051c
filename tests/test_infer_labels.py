import pytest

from tandem.data.csv_reader import Table
from tandem.data.infer_labels import guess_labels
from tandem.data.label_separator import guess_separator


def table(**columns: str) -> Table:
    """A table with one cell for each part of a text cut at "/", below a header on line 1."""
    cells = {name: text.split("/") for name, text in columns.items()}
    rows = list(zip(*cells.values(), strict=True))
    return Table(tuple(cells), rows, list(range(2, len(rows) + 2)))


def guess(answers=None, named=(), **columns):
    return guess_labels(table(**columns), list(columns), answers, named)


def keys(found) -> list[str]:
    return [question.key for question in found.questions]


@pytest.mark.parametrize(
    ("cells", "separator", "candidates"),
    [
        (["1 3", "3", "10 1"], " ", ""),
        (["fire hydrant|dog", "dog", "fire hydrant|stop sign", "stop sign"], "|", ""),
        (["1, 2", "2, 3", "1"], ",", ""),
        (["a;b", "b", "a"], ";", ""),
        (["red, dark|blue", "blue|red, dark", "blue"], "|", ""),
        (["clear primary", "partly_cloudy primary", "cloudy", "clear partly_cloudy"], " ", ""),
        (["cat", "dog", "cat"], " ", ""),
        (["stop_sign", "traffic_light"], " ", ""),
        (["😀|🎉", "🎉", "😀"], "|", ""),
        (["a,b;c", "c;a,b", "a", "b", "c"], ";", ";,"),
        (["fire hydrant", "stop sign", "dog"], "|", "| "),
        (["dogs, small", "cats"], "|", "|,"),
        (["cat/dog", "dog", "cat"], "/", "/|"),
        (["cat+dog", "dog", "cat"], "+", "+|"),
        (["cat_dog", "dog", "cat"], "_", "_|"),
    ],
)
def test_a_separator_is_certain_where_it_alone_cuts_cells_into_names_that_come_again(cells, separator, candidates):
    found, open_candidates = guess_separator(cells)
    assert (found, list(open_candidates)) == (separator, list(candidates))


def test_names_joined_by_an_ampersand_are_a_question_that_shows_what_each_separator_gives():
    found = guess(labels="cat & hot dog/cat/hot dog/sea & cat")
    assert found.labels.names == ["cat", "hot dog", "sea"]
    assert keys(found) == ["labels.separator"]
    assert found.questions[0].candidates[" & "] == "'hot dog', 'sea', 'cat'"


@pytest.mark.parametrize(
    "forms", ["0/1", "0.0/1.0", "False/True", "no/YES", "N/y", "-1/1", "f/T"], ids=lambda forms: forms.replace("/", "-")
)
def test_flags_in_any_form_are_a_label_for_each_column(forms):
    no, yes = forms.split("/")
    found = guess(cat=f"{no}/{yes}/{yes}", dog=f"{yes}/{yes}/{no}")
    assert (found.labels.format, found.labels.names) == ("columns", ["cat", "dog"])
    assert (found.counts, found.least, found.most) == ({"cat": 2, "dog": 2}, 1, 2)
    assert found.questions == []
    assert bool(found.notes) == (no == "-1")


def test_one_column_of_flags_is_one_label():
    found = guess(cat="0/1/1")
    assert (found.labels.format, found.labels.names, found.questions) == ("columns", ["cat"], [])


def test_constant_flags_are_labels_beside_others():
    assert guess(all="1/1", never="0/0", cat="0/1").labels.names == ["all", "never", "cat"]


def test_blank_and_uncertain_flags_are_questions_that_name_the_first_cell():
    columns = {"sex": "M/F/M/F", "cat": "1.0//-1.0/0.0", "dog": "0.0/1.0//"}
    found = guess(**columns)
    assert (found.labels.names, keys(found)) == (["cat", "dog"], ["labels.blank", "labels.uncertain"])
    assert "line 3: column 'cat' is blank (1 such cell)" in found.questions[0].about
    assert "line 4: column 'cat' holds '-1.0'" in found.questions[1].about
    assert list(found.questions[1].candidates) == ["negative", "unknown", "positive"]
    answered = guess({"blank": "unknown", "uncertain": "positive"}, **columns)
    assert (answered.questions, answered.labels.blank, answered.counts) == ([], "unknown", {"cat": 2, "dog": 1})


def test_one_blank_cell_among_clean_columns_is_a_question_and_drops_no_label():
    found = guess(cat="1/0/1", sea="0//1", named=["cat", "sea"])
    assert found.labels.names == ["cat", "sea"]
    assert "line 3: column 'sea' is blank" in found.questions[0].about


@pytest.mark.parametrize(
    ("sea", "message"),
    [
        ("0/1/2/0/0/0/0/0/0/1", r"line 4: column 'sea' holds '2', its other cells are flags such as 0/1"),
        ("0/1/yes/0/0/0/0/0/0/1", r"line 4: column 'sea' holds '0' and 'yes'; expected one way of writing"),
    ],
)
def test_one_odd_cell_is_an_error_with_line_and_column_and_never_drops_the_label(sea, message):
    clean = {"cat": "0/1/1/0/0/0/0/0/0/1", "dog": "1/1/1/0/0/0/0/0/0/1"}
    with pytest.raises(ValueError, match=message):
        guess(**clean, sea=sea)
    assert guess({"names": ["cat", "dog"]}, **clean, sea=sea).labels.names == ["cat", "dog"]


def test_a_column_of_counts_is_no_flag():
    assert guess(cat="0/1/0", dog="1/0/1", n="3/0/2").labels.names == ["cat", "dog"]


@pytest.mark.parametrize("first", ["['Drama', 'Comedy']", '["Drama", "Comedy"]', "('Drama', 'Comedy')"])
def test_lists_in_cells_are_read_as_lists(first):
    found = guess(genre=f"{first}/['Drama']//['N, A']")
    assert (found.labels.format, found.labels.names) == ("list", ["Comedy", "Drama", "N, A"])
    assert (found.questions, found.least) == ([], 0)
    assert found.notes == ["column 'genre' is blank, so without a label, in 1 rows, first on line 4"]


@pytest.mark.parametrize("cell", ["['a' 'b']", "[{'id': 1}]", "[['a']]", "[a, b]", "[__import__('os')]"])
def test_what_is_no_flat_list_of_names_is_an_error_with_its_line(cell):
    with pytest.raises(ValueError, match="line 3: column 'labels': .*expected a list of names, such as"):
        guess(labels=f"['a']/{cell}/['b']")


def test_whole_numbers_with_and_without_decimals_are_one_label_and_it_is_said():
    found = guess(labels="1 2/1.0/2.0 3")
    assert (found.labels.names, found.counts) == (["1", "2", "3"], {"1": 2, "2": 2, "3": 1})
    assert found.notes == ["column 'labels': '1.0' and '1' are one label"]


def test_columns_of_a_first_and_a_second_label_are_joined_and_asked_about():
    columns = {"label_1": "sky/cat/cat", "label_2": "cat/sky/"}
    found = guess(**columns)
    assert (found.labels.format, found.labels.columns) == ("joined", ["label_1", "label_2"])
    assert (found.labels.names, found.least, found.most) == (["cat", "sky"], 1, 2)
    assert keys(found) == ["labels.format"] and set(found.questions[0].candidates) == {"joined", "separated"}
    assert guess({"format": "joined"}, **columns).questions == []
    assert guess({"columns": "label_1, label_2"}, **columns).questions == []
    assert guess(named=["label_1", "label_2"], **columns).questions == []
    assert keys(guess({"format": "separated"}, **columns)) == ["labels.column"]


def test_columns_with_other_names_in_them_are_not_joined():
    assert guess(label_1="cat/dog/cat", label_2="indoor/outdoor/indoor").labels.format == "separated"


def test_flags_beside_a_column_of_labels_are_a_question_unless_the_sample_says_which():
    columns = {"tags": "cat dog/dog/cat", "is_valid": "0/1/1", "male": "1/1/0"}
    found = guess(**columns)
    assert keys(found) == ["labels.format"]
    assert set(found.questions[0].candidates) == {"separated", "columns"}
    named = guess(named=["tags"], **columns)
    assert (named.labels.column, named.questions) == ("tags", [])
    assert guess({"column": "tags"}, **columns).questions == []
    assert guess({"names": ["is_valid", "male"]}, **columns).labels.format == "columns"


def test_flags_that_may_describe_the_row_are_a_question():
    found = guess(cat="0/1", dog="1/0", is_valid="1/0")
    assert keys(found) == ["labels.names"]
    assert list(found.questions[0].candidates) == ['["cat", "dog"]', '["cat", "dog", "is_valid"]']
    answer = list(found.questions[0].candidates)[0]
    assert guess({"names": answer}, cat="0/1", dog="1/0", is_valid="1/0").labels.names == ["cat", "dog"]
    assert guess(cat="0/1", dog="1/0", is_valid="1/0", named=["cat", "dog"]).questions == []


def test_a_column_of_single_words_is_no_rival_of_labels_but_of_another_one():
    assert keys(guess(labels="cat dog/dog/cat", source="a/b/a")) == []
    assert guess(labels="cat dog/dog/cat", source="a/b/a").labels.column == "labels"
    assert keys(guess(kind="cat/dog/cat", source="a/b/a")) == ["labels.column"]
    assert keys(guess(label="cat/dog/cat", tag="a b/b/a")) == ["labels.column"]


def test_a_column_in_which_most_names_occur_once_is_asked_about():
    cells = "/".join(f"p{i}" for i in range(30))
    assert keys(guess(patient=cells)) == ["labels.column"]
    assert guess(patient=cells, kind="/".join("ab" * 15)).labels.column == "kind"


def test_answers_are_never_overridden():
    columns = {"labels": "a,b/b/a", "other": "x y/y/x"}
    found = guess({"column": "other", "separator": "|", "names": ["y", "x"]}, **columns)
    assert (found.labels.column, found.labels.separator, found.labels.names) == ("other", "|", ["y", "x"])


def test_columns_without_labels_are_an_error_that_says_what_is_expected():
    with pytest.raises(ValueError, match=r"none of the columns \['kind'\] holds labels; expected one column of sep"):
        guess(kind="a/a")
