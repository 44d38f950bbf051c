"""Random changes of TOML files: odd values of keys that there are, odd keys, and broken text."""

import re

import numpy as np

VALUES = (
    "1", "0", "-1", "1.5", "inf", "-inf", "nan", "1e999", "9" * 30, "9" * 5_000, "0x" + "f" * 40, "true", '""', '" "',
    '"?"', '"x"', '"../.."', '"/etc/passwd"', '"a/../../b"', '"\\u0000"', '"a\\u0000.csv"', '"{id}"',
    '"{id:99999999d}"', '"{"', '"{id.__class__}"', '"{}{}"', '"."', '"data"', '"train.csv"', '"**"',
    "'" + "a" * 300 + "'", '"' + "é" * 100_000 + '"', "[]", "[[]]", "{}", '[""]', "[1, 2]", '["a", "a"]', '["?"]',
    "{a = 1}", "1979-05-27", "07:32:00", "1979-05-27T07:32:00Z", "[" * 2_000, "[" * 60 + "]" * 60,
    "{a=" * 500 + "1" + "}" * 500, "[" + "1," * 20_000 + "]", "[" + '"a",' * 20_000 + "]", '"""\nlong\n"""',
    '"\\ud800"', '"unended', "'''", "+1", "1_000", "1__0", '"my_x.py:f"', '"\\U0001F408"', '"id"', '"labels"',
    '["train.csv", "../x.csv"]', '{train = "a", test = ".."}', '"cuda:99"', '"f1_macro"', "4", "2.0", '"words"',
    '["words", 1]',
)  # fmt: skip
LINES = (
    "unknown_key = 1", "[labels]", "[[labels]]", "[folds.n]", "x.y.z = 1", "id.x = 1", "= 1", "[", "]", '"" = 1',
    "'a b' = 2", ".".join("a" * 5_000) + " = 1", "[" + ".".join("b" * 3_000) + "]", "\x00", "\ufeff",
    "# " + "c" * 100_000, "\r", "\x0b", 'base = "words"', 'base = "../words"', "kind = 5", "[tune]\nseed = [1, 2]",
    '[tune]\n"train.lr" = {low = nan, high = 1}', "[labels.prompts]\nx = 1", "most = 1",
    "[train]\nepochs = 100000000000000000000", "[train]\nlr = inf", "seed = -1",
)  # fmt: skip


def changed(text: str, rng: np.random.Generator) -> bytes:
    """One to three changes; in one of eight the bytes are broken too."""
    for _ in range(int(rng.integers(1, 4))):
        lines = text.split("\n")
        keys = [i for i, line in enumerate(lines) if re.match(r"[A-Za-z_.]+ *=", line)]
        kind = int(rng.integers(0, 7))
        if kind <= 3 and keys:
            i = int(rng.choice(keys))
            lines[i] = f"{lines[i].partition('=')[0]}= {VALUES[int(rng.integers(len(VALUES)))]}"
        elif kind == 4:
            lines.insert(int(rng.integers(len(lines) + 1)), LINES[int(rng.integers(len(LINES)))])
        elif kind == 5 and keys:
            del lines[int(rng.choice(keys))]
        elif keys:
            lines.insert(int(rng.integers(len(lines))), lines[int(rng.choice(keys))])
        text = "\n".join(lines)
    data = text.encode()
    if rng.random() < 0.125:
        at = int(rng.integers(len(data) + 1))
        broken = (b"\xff", b"\xef\xbb\xbf", b"\0", b"\xed\xa0\x80", b"\r", data[:at])[int(rng.integers(6))]
        data = broken + data if rng.random() < 0.3 else data[:at] + broken + data[at:]
    return data
