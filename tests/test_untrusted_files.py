"""Weights, tables and models from elsewhere: what would crash a parser, or take memory without a limit, is refused."""

import json
from contextlib import suppress

import lightgbm as lgb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from tandem.artifacts import parquet_limits
from tandem.artifacts.array_file import map_array
from tandem.artifacts.atomic_io import read_json
from tandem.artifacts.column_names import read_parquet
from tandem.artifacts.parquet_footer import row_groups
from tandem.artifacts.parquet_limits import checked_parquet
from tandem.artifacts.read_errors import naming
from tandem.artifacts.tensor_file import MAX_HEADER, open_tensors, read_tensors
from tandem.ensemble.lightgbm import Boosted
from tandem.ensemble.lightgbm_text import checked_text, read_booster
from tandem.features.model_folder import check_model_folder, check_vocabulary

# ---- LightGBM


@pytest.fixture(scope="module")
def booster() -> lgb.Booster:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 4))
    fitted = Boosted.fit(x, (x[:, 0] > 0).astype(np.uint8), np.arange(200) % 3 == 0, 0, 0).booster
    assert fitted is not None
    return fitted


def test_a_checked_booster_predicts_and_explains_to_the_last_bit_as_before(booster, tmp_path):
    (tmp_path / "label0.txt").write_text(booster.model_to_string())
    again, x = read_booster(tmp_path / "label0.txt", 4), np.random.default_rng(1).normal(size=(50, 4))
    for how in ({"raw_score": True}, {"pred_contrib": True}):
        assert np.array_equal(booster.predict(x, **how), again.predict(x, **how))


def test_a_booster_without_a_split_is_read(tmp_path):
    constant = Boosted.fit(np.zeros((60, 2)), np.arange(60) % 2, np.arange(60) % 3 == 0, 0, 0).booster
    (tmp_path / "label0.txt").write_text(constant.model_to_string())
    assert read_booster(tmp_path / "label0.txt", 2).predict(np.zeros((1, 2)), raw_score=True) == [0]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("left_child=", "left_child=9999999 ", "left_child has"),
        ("left_child=-1", "left_child=7777", "is none of the|make no tree"),
        ("left_child=-1", "left_child=0", "make no tree"),
        ("split_feature=", "split_feature=9", "split_feature is"),
        ("num_leaves=", "num_leaves=99999999", "num_leaves is '"),
        ("num_leaves=", "num_leaves=-", "num_leaves is '-"),
        ("num_cat=0", "num_cat=1000000", "expected num_cat=0"),
        ("leaf_value=", "leaf_value=nan", "leaf_value is"),
        ("leaf_value=", "leaf_value=1e999", "leaf_value is"),
        ("leaf_count=", "leaf_count=-", "leaf_count is"),
        ("decision_type=2", "decision_type=1", "decision_type is"),
        ("num_class=1", "num_class=100000", "num_class is '100000'"),
        ("max_feature_idx=3", "max_feature_idx=2147483647", "max_feature_idx is"),
        ("objective=binary sigmoid:1", "objective=custom", "objective is 'custom'"),
        ("Tree=0", "Tree=5", "tree '5' in place of tree 0"),
        ("shrinkage=", "tree_sizes=5\nshrinkage=", "its keys differ in"),
        ("end of trees", "", "expected 'end of trees'"),
    ],
)
def test_a_booster_that_would_crash_lightgbm_is_refused(booster, tmp_path, old, new, message):
    (tmp_path / "label0.txt").write_text(booster.model_to_string().replace(old, new, 1))
    with pytest.raises(ValueError, match=rf"label0.txt: not a LightGBM model of this stack: .*{message}"):
        read_booster(tmp_path / "label0.txt", 4)


def test_the_sizes_and_the_parameters_of_a_booster_are_not_taken_from_its_text(booster):
    text = booster.model_to_string().replace("tree_sizes=", "tree_sizes=9").replace("[seed: 0]", "[machines: 1.2.3.4]")
    checked = checked_text(text, 4)
    assert checked == checked_text(booster.model_to_string(), 4) and "machines" not in checked


# ---- safetensors


def with_header(path, header: bytes, data: bytes = b"", length: int | None = None):
    path.write_bytes((len(header) if length is None else length).to_bytes(8, "little") + header + data)
    return path


def tensor(begin: int, end: int, shape: list, kind: str = "F32") -> dict:
    return {"dtype": kind, "shape": shape, "data_offsets": [begin, end]}


@pytest.mark.parametrize(
    ("header", "length", "message"),
    [
        ("{}", 2**62, "its header should have"),
        ('{"a":' * 5000 + "1" + "}" * 5000, None, "RecursionError|recursion"),
        ('{"a":{"x":1},"a":{"x":1}}', None, "has a key twice"),
        ("[]", None, "no JSON object"),
        ("{" + ",".join(f'"{i}":1' for i in range(500_001)) + "}", None, "a header of 500001 keys"),
        (json.dumps({"a": tensor(0, 8, [4])}), None, "SafetensorError"),
        (json.dumps({"a": tensor(0, 16, [4]), "b": tensor(8, 16, [2])}), None, "SafetensorError"),
        (json.dumps({"a": tensor(-16, 0, [4])}), None, "SafetensorError"),
        (json.dumps({"a": tensor(0, 16, [2**60, 2**60])}), None, "SafetensorError"),
        (json.dumps({"a": tensor(0, 16, [4], "F99")}), None, "SafetensorError"),
    ],
)
def test_a_hostile_safetensors_header_is_refused(tmp_path, header, length, message):
    file = with_header(tmp_path / "a.safetensors", header.encode(), bytes(16), length)
    with pytest.raises(ValueError, match=rf"a.safetensors: no safetensors file \(.*({message})"):
        read_tensors(file)


def test_a_header_is_not_read_beyond_the_limit(tmp_path):
    file = tmp_path / "a.safetensors"
    with file.open("wb") as opened:
        opened.write((MAX_HEADER + 1).to_bytes(8, "little"))
        opened.truncate(2 * MAX_HEADER)  # takes no room
    with pytest.raises(ValueError, match=f"a header of {MAX_HEADER + 1} bytes; at most"), open_tensors(file, "np"):
        pass


def test_tensors_are_read_as_they_were_written(tmp_path):
    save_file({"a": np.arange(4, dtype=np.float32)}, tmp_path / "a.safetensors", {"key": "value"})
    assert read_tensors(tmp_path / "a.safetensors")["a"].tolist() == [0, 1, 2, 3]


# ---- parquet


def test_a_parquet_file_with_a_footer_of_any_length_or_none_is_refused(tmp_path):
    file = tmp_path / "a.parquet"
    for content in (b"", b"PAR1", b"PAR1" + bytes(20) + (2**31).to_bytes(4, "little") + b"PAR1", b"x" * 100):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=r"a.parquet: damaged, not a parquet file .no footer in its"):
            read_parquet(file)


def test_a_footer_with_any_flipped_bit_is_read_or_refused_and_does_not_end_the_process(tmp_path):
    """In 13 of these the claims of a column, asked of pyarrow, ended it: C++ exceptions that nothing caught."""
    file, refused = tmp_path / "a.parquet", 0
    pq.write_table(pa.table({"id": ["a", "b", None]}), file)
    intact = file.read_bytes()
    footer = len(intact) - 8 - int.from_bytes(intact[-8:-4], "little")
    for at in range(footer, len(intact) - 8):
        for bit in range(8):
            file.write_bytes(intact[:at] + bytes([intact[at] ^ 1 << bit]) + intact[at + 1 :])
            try:
                read_parquet(file)
            except ValueError as error:
                assert "a.parquet" in str(error)
                refused += 1
    assert 500 < refused < 8 * (len(intact) - footer)


@pytest.mark.parametrize("rows", [0, 3, 5000])
def test_the_claims_of_a_footer_are_those_that_pyarrow_reads(tmp_path, rows):
    columns = {"id": ["x"] * rows, "number": np.arange(rows), "flag": [True] * rows, "list": [[1.5, 2.5]] * rows}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet", row_group_size=2000)
    with checked_parquet(tmp_path / "a.parquet") as checked:
        about = checked.file.metadata
        groups = [about.row_group(i) for i in range(about.num_row_groups)]
        expected = [group.column(j) for group in groups for j in range(about.num_columns)]
        assert len(expected) >= 4 * (rows > 0)
        assert [(c.kind, c.values, c.size) for c in checked.claims] == [
            (c.physical_type, c.num_values, c.total_uncompressed_size) for c in expected
        ]


@given(st.binary(max_size=200))
def test_a_footer_of_any_bytes_is_row_groups_or_an_error(content):
    with suppress(ValueError):
        assert all(rows >= 0 for rows, _ in row_groups(content))


def test_a_text_that_stands_in_every_row_is_counted_as_often(tmp_path, monkeypatch):
    pq.write_table(pa.table({"id": pa.array(["x" * 10_000] * 5000)}), tmp_path / "a.parquet")
    assert (tmp_path / "a.parquet").stat().st_size < 2000
    assert read_parquet(tmp_path / "a.parquet").num_rows == 5000
    monkeypatch.setattr(parquet_limits, "MAX_BYTES", 2**24)
    with pytest.raises(ValueError, match=r"a.parquet: .*its texts have more than 16,777,216 bytes"):
        read_parquet(tmp_path / "a.parquet")


def test_numbers_are_counted_before_they_are_decoded(tmp_path, monkeypatch):
    pq.write_table(pa.table({"a": np.zeros(5_000_000)}), tmp_path / "a.parquet", compression="zstd")
    monkeypatch.setattr(parquet_limits, "MAX_BYTES", 2**24)
    with pytest.raises(ValueError, match=r"5,000,000 rows of 40,000,000 bytes; at most 16,777,216"):
        read_parquet(tmp_path / "a.parquet")


def test_columns_nested_too_deep_are_refused(tmp_path):
    cell, kind = 1, pa.int8()
    for _ in range(40):
        cell, kind = [cell], pa.list_(kind)
    pq.write_table(pa.table({"a": pa.array([cell], kind)}), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="is nested; at most 16 levels"):
        read_parquet(tmp_path / "a.parquet")


def test_a_column_that_is_missing_is_named(tmp_path):
    pq.write_table(pa.table({"a": [1]}), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"a.parquet: .*no column 'id'"):
        read_parquet(tmp_path / "a.parquet", columns=["id"])


# ---- folders of models


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("tokenizer.json", '{"a":' * 30 + "1" + "}" * 30, "nested more than 24 deep"),
        ("tokenizer.json", "[" * 100_000, "RecursionError"),
        ("tokenizer.json", "{", "JSONDecodeError"),
        ("config.json", '{"text_config": {"vocab_size": 99999999999}}', "text_config.vocab_size is 99999999999"),
        ("config.json", '{"num_hidden_layers": 5000}', "num_hidden_layers is 5000; expected at most 1000"),
        ("config.json", '{"depths": [1, 99999999999]}', r"depths is \[1, 99999999999\]"),
        ("model.safetensors", "x", "no safetensors file"),
    ],
)
def test_a_model_folder_with_a_hostile_file_is_refused(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=rf"{name}: .*{message}"):
        check_model_folder(tmp_path)


def test_a_tokenizer_with_more_words_than_its_network_is_refused(tmp_path):
    torch = pytest.importorskip("torch")

    class Known:
        def get_vocab(self):
            return {"a": 0, "cat": 8}

        def get_input_embeddings(self):
            return torch.nn.Embedding(8, 2)

    with pytest.raises(ValueError, match="numbers words up to 8, the network has 8"):
        check_vocabulary(tmp_path, Known(), Known())


# ---- arrays, JSON and the errors of parsers


def test_an_npy_file_is_mapped_and_objects_are_not_unpickled(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(3))
    assert map_array(tmp_path / "a.npy", "save it").tolist() == [0, 1, 2]
    np.save(tmp_path / "o.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"o.npy: not an array of numbers .*; save it"):
        map_array(tmp_path / "o.npy", "save it")


def test_json_that_is_damaged_or_nested_too_deep_is_named(tmp_path):
    for text in ("{", "[" * 100_000, "\xff"):
        (tmp_path / "a.json").write_text(text, encoding="latin-1")
        with pytest.raises(ValueError, match=r"a.json: damaged, not JSON"):
            read_json(tmp_path / "a.json")


def test_errors_of_the_system_and_our_own_keep_their_words():
    for error in (FileNotFoundError(2, "gone", "x"), ValueError("a.bin: has no label")):
        with pytest.raises(type(error)) as caught, naming("a.bin", "damaged", "get it again"):
            raise error
        assert caught.value is error
    with (
        pytest.raises(ValueError, match=r"^a.bin: damaged \(KeyError: 'x'\); get it again$"),
        naming("a.bin", "damaged", "get it again"),
    ):
        raise KeyError("x")
