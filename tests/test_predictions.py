import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tandem.artifacts.predictions import Predictions, read_provenance
from tandem.logits import logit, sigmoid

PROBA = np.array([[0.25, 0.5], [0.75, 1.0]], np.float32)


def made(ids=("b.jpg", "a.jpg"), names=("cat", "dog"), proba=PROBA, folds="f0") -> Predictions:
    return Predictions(list(ids), tuple(names), proba, {"folds": folds, "key": "k0"})


def test_what_is_written_is_read_back(tmp_path):
    made().write(tmp_path / "oof.parquet")
    back = Predictions.read(tmp_path / "oof.parquet")
    assert (back.ids, back.names, back.provenance) == (made().ids, made().names, made().provenance)
    assert back.proba.tolist() == PROBA.tolist()
    assert read_provenance(tmp_path / "oof.parquet") == {"folds": "f0", "key": "k0"}


def test_the_file_opens_in_pandas_as_id_and_float32_columns(tmp_path):
    made(proba=PROBA.astype(np.float64)).write(tmp_path / "oof.parquet")
    table = pd.read_parquet(tmp_path / "oof.parquet")
    assert list(table.columns) == ["id", "cat", "dog"]
    assert table["id"].tolist() == ["b.jpg", "a.jpg"]
    assert (table.dtypes[["cat", "dog"]] == np.float32).all()


def test_a_wrong_shape_is_refused():
    with pytest.raises(ValueError, match="proba is 2x2 but there are 2 ids and 3 labels"):
        made(names=("cat", "dog", "sea"))


def test_repeated_ids_are_refused():
    with pytest.raises(ValueError, match="ids are repeated: 2 ids, 1 of them distinct"):
        made(ids=("a", "a"))


@pytest.mark.parametrize("odd", [-0.1, 1.5, np.nan])
def test_what_is_no_probability_is_refused(odd):
    with pytest.raises(ValueError, match=r"expected \[0, 1\]"):
        made(proba=np.array([[0.5, odd], [0.5, 0.5]]))


def test_rows_are_found_by_id():
    assert made().aligned_to(["a.jpg"]).tolist() == [[0.75, 1.0]]
    assert made().aligned_to(["a.jpg", "b.jpg"]).tolist() == PROBA[::-1].tolist()


def test_an_id_without_prediction_is_named():
    with pytest.raises(ValueError, match="1 ids have no prediction, first: z.jpg"):
        made().aligned_to(["a.jpg", "z.jpg"])


def test_a_file_that_is_no_parquet_is_named(tmp_path):
    (tmp_path / "oof.parquet").write_bytes(b"garbage")
    with pytest.raises(ValueError, match="oof.parquet: damaged, not a parquet file .*; delete it and run"):
        Predictions.read(tmp_path / "oof.parquet")
    assert read_provenance(tmp_path / "oof.parquet") == {}
    assert read_provenance(tmp_path / "absent.parquet") == {}


def test_a_parquet_file_without_ids_is_refused(tmp_path):
    pq.write_table(pa.table({"name": ["a"], "cat": [0.5]}), tmp_path / "oof.parquet")
    with pytest.raises(ValueError, match="expected id, then one per label"):
        Predictions.read(tmp_path / "oof.parquet")


def test_sigmoid_undoes_logit_and_certainty_stays_finite():
    p = np.array([0.001, 0.5, 0.999])
    assert sigmoid(logit(p)) == pytest.approx(p)
    assert np.isfinite(logit(np.array([0.0, 1.0]))).all()
