"""Weights, tables, models and tokenizers that would crash a parser or fill memory; and damaged ones."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import save

from tandem.ensemble.lightgbm import Boosted

HUGE = ("-1", "99999999999", "2147483647", "-2147483648", "1e999", "nan", "7", "", "4294967297", "0 " * 100_000)
VALUES: tuple[Any, ...] = (-1, 2**63, 2**31 - 1, None, "x", [], {}, True, 1.5, 10**30, "F99", "../../etc/passwd")
FEATURES = 5


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """Some bytes changed, cut off, repeated or taken out."""
    changed, how = bytearray(content), int(rng.integers(4))
    at = int(rng.integers(len(changed)))
    if how == 0:
        return bytes(changed[:at])
    if how == 1:
        return bytes(changed[:at] + changed[at // 2 :])
    if how == 2:
        return bytes(changed[:at] + changed[at + int(rng.integers(1, 64)) :])
    for at in rng.integers(0, len(changed), rng.integers(1, 5)):
        changed[at] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def safetensors_file(number: int, rng: np.random.Generator) -> tuple[bytes, str]:
    whole = save({"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(3, np.int64)}, {"format": "pt"})
    if number == 0:
        return whole, "read"
    length = int.from_bytes(whole[:8], "little")
    header, data = whole[8 : 8 + length], whole[8 + length :]
    kind = number % 6
    if kind == 1:
        return mutated(whole, rng), "either"
    if kind == 2:  # a length that is not that of the header
        wrong = int(rng.choice([0, 1, length - 1, length + 1, 100_000_000, 2**40, 2**63 - 1]))
        return wrong.to_bytes(8, "little") + header + data, "either" if abs(wrong - length) < 2 else "refused"
    if kind == 3:
        deep = int(rng.integers(200, 100_000))
        header = b'{"a":' + b'{"x":' * deep + b"1" + b"}" * deep + b"}"
        return len(header).to_bytes(8, "little") + header + data, "refused"
    if kind == 4:
        header = header.rstrip()[:-1] + b',"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}'
        return len(header).to_bytes(8, "little") + header + data, "refused"
    about = json.loads(header)
    one = about[("a", "b")[rng.integers(2)]]
    key = ("dtype", "shape", "data_offsets")[rng.integers(3)]
    value = VALUES[rng.integers(len(VALUES))]
    if key != "dtype" and rng.integers(2):
        one[key][rng.integers(len(one[key]))] = value
    else:
        one[key] = value
    header = json.dumps(about).encode()
    return len(header).to_bytes(8, "little") + header + data, "refused"


def parquet_file(number: int, rng: np.random.Generator) -> tuple[bytes, str]:
    out = pa.BufferOutputStream()
    n, kind = 200, number % 6
    table = pa.table({"id": [f"{i}.jpg" for i in range(n)], "a": np.arange(n) / 7, "l": [[i, None] for i in range(n)]})
    must = "read" if number == 0 else "either"
    if kind == 1:  # one text, in every row
        rows = pa.DictionaryArray.from_arrays(pa.array(np.zeros(100_000, np.int32)), pa.array(["x" * 2**20]))
        table, must = pa.table({"id": rows}), "refused"
    elif kind == 2:  # one number in every row
        table, must = pa.table({"a": pa.array(np.zeros(60_000_000, np.int8))}), "refused"
    elif kind == 3:
        cell, deep = pa.int8(), int(rng.integers(20, 150))
        for _ in range(deep):
            cell = pa.list_(cell) if rng.integers(2) else pa.struct([("x", cell)])
        table, must = pa.table({"a": pa.nulls(3, cell)}), "refused"
    pq.write_table(table, out, store_schema=False)  # texts are read as texts
    content = out.getvalue().to_pybytes()
    if number == 0 or kind in (1, 2, 3):
        return content, must
    if kind == 4:  # only the footer
        begin = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
        return content[:begin] + mutated(content[begin:-8], rng) + content[-8:], "either"
    return mutated(content, rng), "either"


def booster_text() -> str:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, FEATURES))
    fitted = Boosted.fit(x, (x[:, 0] + x[:, 1] > 0).astype(np.uint8), np.arange(200) % 3 == 0, 0, 0).booster
    assert fitted is not None
    return str(fitted.model_to_string())


def booster_file(text: str, number: int, rng: np.random.Generator) -> tuple[bytes, str]:
    if number == 0:
        return text.encode(), "read"
    if number % 4 == 1:
        return mutated(text.encode(), rng), "either"
    trees = text.index("parameters:")
    places = [found.span() for found in re.finditer(r"(?<=[= ])-?[0-9][-0-9.e+]*", text[:trees])]
    for _ in range(int(rng.integers(1, 4))):
        begin, end = places[rng.integers(len(places) // 3 if number % 2 else len(places))]
        if end <= len(text):
            text = text[:begin] + HUGE[rng.integers(len(HUGE))] + text[end:]
            places = [found.span() for found in re.finditer(r"(?<=[= ])-?[0-9][-0-9.e+]*", text[:trees])]
    return text.encode(), "either"


def tokenizer_text() -> str:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "cat", "dog"]
    added = [{"id": i, "content": word, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
              "special": True} for i, word in enumerate(words[:5])]  # fmt: skip
    model = {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
             "max_input_chars_per_word": 100, "vocab": {word: i for i, word in enumerate(words)}}  # fmt: skip
    return json.dumps({"version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
                       "normalizer": {"type": "Lowercase"}, "pre_tokenizer": {"type": "Whitespace"},
                       "post_processor": None, "decoder": None, "model": model})  # fmt: skip


def tokenizer_file(number: int, rng: np.random.Generator) -> tuple[bytes, str]:
    text = tokenizer_text()
    if number == 0:
        return text.encode(), "read"
    kind = number % 4
    if kind == 1:
        return mutated(text.encode(), rng), "either"
    about = json.loads(text)
    if kind == 2:
        nested: Any = {"type": "Lowercase"}
        for _ in range(int(rng.choice([15, 40, 400]))):
            nested = {"type": "Sequence", "normalizers": [nested]}
        about["normalizer"] = nested
        return json.dumps(about).encode(), "refused"
    parts: Any = about[("model", "added_tokens", "normalizer", "pre_tokenizer")[rng.integers(4)]]
    parts = parts[rng.integers(len(parts))] if isinstance(parts, list) else parts
    parts[sorted(parts)[rng.integers(len(parts))]] = VALUES[rng.integers(len(VALUES))]
    return json.dumps(about).encode(), "either"


def npy_file(path: Path, number: int, rng: np.random.Generator) -> tuple[bytes, str]:
    np.save(path, np.arange(12, dtype=np.float32).reshape(4, 3))
    content = path.read_bytes()
    if number == 0:
        return content, "read"
    if number % 3 == 1:
        return mutated(content, rng), "either"
    if number % 3 == 2:
        np.save(path, np.array([{"a": 1}], object), allow_pickle=True)
        return path.read_bytes(), "refused"
    shape = ("(2**40, 3)", "(1099511627776, 3)", "(-4, 3)", "(" * 3000, "(4, 3" + ", 1" * 70 + ")", "None")[
        rng.integers(6)
    ]
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (63 - (10 + len(header)) % 64) + b"\n"
    return content[:8] + len(header).to_bytes(2, "little") + header + content[-48:], "refused"
