import numpy as np
import pytest

from tandem.artifacts.atomic_io import write_text
from tandem.artifacts.paths import Paths
from tandem.data.labelled_rows import read_labelled_rows
from tandem.data.split_tables import write_labels


@pytest.fixture
def paths(tmp_path):
    paths = Paths("toy", tmp_path)
    write_labels(paths.labels, ["a", "b", "c"], ("cat", "dog"), np.array([[1, 0], [0, 1], [1, 1]]))
    return paths


def test_folds_and_groups_are_joined_by_id(paths):
    write_text(paths.folds, "id,fold,group\nc,1,7\na,0,5\nb,1,6\n")
    rows = read_labelled_rows(paths)
    assert (rows.ids, rows.fold.tolist(), rows.group.tolist()) == (["a", "b", "c"], [0, 1, 1], [5, 6, 7])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "id,fold,group\na,0,0\nb,1,1\n",
            "2 rows, 3 training rows, 1 without a fold, first: c; correct it, or delete it and run make folds",
        ),
        (
            "id,fold,group\na,0,0\nb,1,1\nc,0,2\nd,0,3\n",
            "4 rows, 3 training rows, 0 without a fold; correct it, or delete it and run make folds",
        ),
        (
            "id,fold\na,0\nb,1\nc,0\n",
            "line 1: columns are id, fold, expected id, fold, group; correct it, or delete it and run make folds",
        ),
    ],
    ids=["missing id", "additional id", "missing column"],
)
def test_folds_of_other_rows_are_refused(paths, content, message):
    write_text(paths.folds, content)
    with pytest.raises(ValueError, match=message):
        read_labelled_rows(paths)
