import os
from pathlib import Path

import numpy as np
import pytest

from tandem.artifacts.atomic_io import read_json
from tandem.features import feature_store as store
from tandem.features.feature_store import Parts, PartWriter, read_features, write_features
from tandem.graph.keys import read_record

IDS = [f"{i}.jpg" for i in range(11)]
VALUES = np.arange(11 * 2 * 3, dtype=np.float32).reshape(11, 2, 3)


class Encoder:
    """Yields the rows of VALUES two at a time, remembers where it was started, and can be stopped by an error."""

    def __init__(self, dies_at: int = 99):
        self.dies_at = dies_at
        self.started: list[int] = []

    def __call__(self, start: int):
        self.started.append(start)
        for row in range(start, len(VALUES), 2):
            if row >= self.dies_at:
                raise RuntimeError("killed")
            yield VALUES[row : row + 2]


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(store, "CHUNK", 4)


def write(path, key, encode, ids=IDS):
    write_features(path, ids, encode, {"key": key, "inputs": {"encoder": "toy"}}, "rows")


def key_of(path) -> str:
    """The key that a record holds; "" without a record."""
    return read_record(path.with_suffix(".meta.json")).get("key", "")


def test_features_are_kept_with_ids_key_and_shape(tmp_path):
    path = tmp_path / "c" / "toy.train.npy"
    write(path, "k1", Encoder())
    assert read_features(path, IDS).tolist() == VALUES.tolist()
    assert read_features(path, IDS).dtype == np.float16
    assert key_of(path) == "k1"
    record = read_json(path.with_suffix(".meta.json"))
    assert record.pop("seconds") >= 0
    assert record == {"key": "k1", "inputs": {"encoder": "toy"}, "shape": [11, 2, 3], "rows": 11}
    assert sorted(f.suffix for f in path.parent.iterdir()) == [".json", ".json", ".npy"]


def test_a_killed_run_continues_after_the_last_saved_chunk_and_ends_in_the_same_array(tmp_path):
    path, encoder = tmp_path / "toy.train.npy", Encoder(dies_at=6)
    with pytest.raises(RuntimeError, match="killed"):
        write(path, "k1", encoder)
    assert key_of(path) == "" and not path.exists()
    encoder.dies_at = 99
    write(path, "k1", encoder)
    assert encoder.started == [0, 4]
    assert read_features(path, IDS).tolist() == VALUES.tolist()


def test_a_run_killed_before_its_first_chunk_starts_over(tmp_path):
    encoder = Encoder(dies_at=2)
    with pytest.raises(RuntimeError):
        write(tmp_path / "toy.train.npy", "k1", encoder)
    encoder.dies_at = 99
    write(tmp_path / "toy.train.npy", "k1", encoder)
    assert encoder.started == [0, 0]


def test_another_key_starts_over(tmp_path):
    path, encoder = tmp_path / "toy.train.npy", Encoder(dies_at=10)
    with pytest.raises(RuntimeError):
        write(path, "k1", encoder)
    encoder.dies_at = 99
    write(path, "k2", encoder)
    assert encoder.started == [0, 0]
    assert key_of(path) == "k2"


def test_a_run_that_is_killed_while_its_files_are_put_together_computes_only_what_is_gone(tmp_path):
    path, encoder = tmp_path / "toy.train.npy", Encoder(dies_at=10)
    with pytest.raises(RuntimeError):
        write(path, "k1", encoder)
    (tmp_path / "toy.train.partial" / "k1" / "4.npy").unlink()
    encoder.dies_at = 99
    write(path, "k1", encoder)
    assert encoder.started == [0, 4]
    assert read_features(path, IDS).tolist() == VALUES.tolist()


def test_a_run_that_is_killed_between_two_files_that_are_put_together_computes_nothing_again(tmp_path, monkeypatch):
    path, made_from = tmp_path / "toy.train.npy", {"key": "k1"}
    parts = Parts(path, 10, "k1")
    writer = PartWriter(parts, 0)
    writer.add(np.arange(30, dtype=np.float32).reshape(10, 1, 3))

    def killed(file: Path) -> None:
        if file.name == "4.npy":
            raise KeyboardInterrupt
        os.unlink(file)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "unlink", killed)
        parts.put_together([str(i) for i in range(10)], made_from)
    with parts.whole.open("ab") as half:
        half.write(b"123")  # of the next file
    assert not parts.file(0).exists() and parts.missing() == []
    parts.put_together([str(i) for i in range(10)], made_from)
    assert np.load(path).ravel().tolist() == list(range(30))
    assert [file.name for file in tmp_path.glob("*partial*")] == []


def test_a_value_beyond_float16_is_an_error_that_names_its_row(tmp_path):
    def encode(start):
        yield VALUES[:4]
        with np.errstate(over="ignore"):
            yield np.full((4, 2, 3), 1e6, np.float32)

    with pytest.raises(ValueError, match=r"toy\.train\.npy: features of row 5 or after are not finite"):
        write(tmp_path / "toy.train.npy", "k1", encode)
    assert key_of(tmp_path / "toy.train.npy") == ""


def test_an_encoder_that_stops_early_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="the encoder returned 4 rows, expected 11"):
        write(tmp_path / "toy.train.npy", "k1", lambda start: iter([VALUES[:4]]))
    assert not (tmp_path / "toy.train.npy").exists()


def test_rows_are_found_by_id_and_a_missing_one_is_named(tmp_path):
    path = tmp_path / "toy.train.npy"
    write(path, "k1", Encoder())
    assert read_features(path, ["7.jpg", "2.jpg"]).tolist() == VALUES[[7, 2]].tolist()
    with pytest.raises(ValueError, match="1 ids have no features, first: 99.jpg; run make features"):
        read_features(path, ["7.jpg", "99.jpg"])


def test_a_run_that_is_killed_between_its_last_files_leaves_no_old_features(tmp_path):
    path = tmp_path / "toy.train.npy"
    write(path, "k1", Encoder())
    path.with_suffix(".meta.json").unlink()
    path.with_suffix(".meta.json").mkdir()  # so that writing it fails
    with pytest.raises(OSError):
        write(path, "k2", Encoder())
    assert not path.exists()
