import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tandem.data.label_codec import LabelCodec, natural_key

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
