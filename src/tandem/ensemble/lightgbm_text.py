"""The text of a LightGBM model, checked and written anew before LightGBM parses it.

Its parser trusts the sizes and indices of the text: a child or a feature out of range ends the process, and a large
count takes memory without a limit.
"""

import math
import re
from collections.abc import Sequence
from pathlib import Path

from lightgbm import Booster

MAX_BYTES = 64 * 2**20
MAX_TREES, MAX_LEAVES = 10_000, 10_000
MARK = "Tree="
END = "end of trees"
HEADER = {"version": "v[34]", "num_class": "1", "num_tree_per_iteration": "1", "objective": "binary sigmoid:1"}
WHOLE = re.compile(r"-?[0-9]{1,9}")
NUMBER = re.compile(r"[-+.0-9e]{1,32}")
DECISIONS = {str(default_left | missing) for default_left in (0, 2) for missing in (0, 4, 8)}  # none is categorical
OF_SPLITS = ("split_feature", "split_gain", "threshold", "decision_type", "left_child", "right_child",
             "internal_value", "internal_weight", "internal_count")  # fmt: skip
OF_LEAVES = ("leaf_value", "leaf_weight", "leaf_count")
FLOATS = ("threshold", "split_gain", "internal_value", "internal_weight", "leaf_value", "leaf_weight", "shrinkage")
COUNTS = ("internal_count", "leaf_count")
KEYS = ("num_leaves", "num_cat", *OF_SPLITS[:6], *OF_LEAVES, *OF_SPLITS[6:], "is_linear", "shrinkage")

Tree = dict[str, list[str]]


def read_booster(file: Path, n_features: int) -> Booster:
    """The booster of one label that `Booster.model_to_string` wrote; raises ValueError where it is none of
    `n_features` features."""
    if (size := file.stat().st_size) > MAX_BYTES:
        raise ValueError(f"{file}: {size} bytes; a LightGBM model has at most {MAX_BYTES}")
    try:
        text = checked_text(file.read_text(encoding="ascii"), n_features)
    except ValueError as error:
        what = "not a LightGBM model of this stack"
        raise ValueError(f"{file}: {what}: {error}; run make stack again, or get the bundle again") from error
    return Booster(model_str=text)


def checked_text(text: str, n_features: int) -> str:
    """The same trees in a text of our own, with sizes that were counted; raises ValueError where a part is wrong."""
    head, *blocks = re.split(f"^{MARK}", text, flags=re.MULTILINE)
    if not blocks or len(blocks) > MAX_TREES:
        raise ValueError(f"{len(blocks)} trees; expected 1 to {MAX_TREES}")
    last, end, _ = blocks[-1].partition(f"\n{END}\n")  # importances and parameters follow, which predict nothing
    if not end:
        raise ValueError(f"expected {END!r} after the last tree")
    _check_header(_pairs(head.removeprefix("tree\n")), n_features)
    trees = [_tree(i, block, n_features) for i, block in enumerate([*blocks[:-1], last])]
    about = {**HEADER, "version": "v4", "label_index": "0", "max_feature_idx": str(n_features - 1)}
    about["feature_names"] = " ".join(f"Column_{j}" for j in range(n_features))
    about["feature_infos"] = " ".join(["none"] * n_features)
    about["tree_sizes"] = " ".join(str(len(tree)) for tree in trees)
    lines = [f"{key}={value}" for key, value in about.items()]
    return "\n".join(["tree", *lines, "", "".join(trees) + END, ""])


def _pairs(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in filter(None, text.splitlines()):
        key, equals, value = line.partition("=")
        if not equals or key in found:
            raise ValueError(f"the line {line!r:.80}; expected each key once, as key=value")
        found[key] = value
    return found


def _check_header(header: dict[str, str], n_features: int) -> None:
    for key, expected in (HEADER | {"max_feature_idx": str(n_features - 1)}).items():
        if not re.fullmatch(expected, header.get(key, "")):
            raise ValueError(f"{key} is {header.get(key)!r:.80}; expected {expected}")


def _tree(i: int, block: str, n_features: int) -> str:
    number, _, lines = block.partition("\n")
    if number != str(i):
        raise ValueError(f"tree {number!r:.20} in place of tree {i}")
    found = _pairs(lines)
    if set(found) != set(KEYS):
        raise ValueError(f"tree {i}: its keys differ in {sorted(set(found) ^ set(KEYS))[:3]}; expected {list(KEYS)}")
    tree = {key: value.split() for key, value in found.items()}
    if problem := _problem(tree, n_features):
        raise ValueError(f"tree {i}: {problem}")
    return "\n".join([f"{MARK}{i}", *(f"{key}={' '.join(tree[key])}" for key in KEYS), "", "", ""])


def _problem(tree: Tree, n_features: int) -> str:
    """What is wrong with a tree, or ''."""
    leaves = _whole(tree["num_leaves"], range(1, MAX_LEAVES + 1))
    if leaves is None or len(leaves) != 1:
        return f"num_leaves is {_shown(tree['num_leaves'])}; expected 1 to {MAX_LEAVES}"
    if tree["num_cat"] != ["0"] or tree["is_linear"] != ["0"] or len(tree["shrinkage"]) != 1:
        return "expected num_cat=0, is_linear=0 and one shrinkage: trees of this stack have neither"
    (n,) = leaves
    one_leaf = {"leaf_weight": 0} if n == 1 and not tree["leaf_weight"] else {}
    lengths = dict.fromkeys(OF_SPLITS, n - 1) | dict.fromkeys(OF_LEAVES, n) | one_leaf
    if key := next((key for key, length in lengths.items() if len(tree[key]) != length), None):
        return f"{key} has {len(tree[key])} values; expected {lengths[key]}"
    if key := next((key for key in FLOATS if not all(map(_is_finite, tree[key]))), None):
        return f"{key} is {_shown(tree[key])}; expected finite numbers"
    if key := next((key for key in COUNTS if _whole(tree[key], range(1, 10**9)) is None), None):
        return f"{key} is {_shown(tree[key])}; expected numbers of rows"
    if not set(tree["decision_type"]) <= DECISIONS:
        return f"decision_type is {_shown(tree['decision_type'])}; expected {sorted(DECISIONS)}"
    if _whole(tree["split_feature"], range(n_features)) is None:
        return f"split_feature is {_shown(tree['split_feature'])}; expected 0 to {n_features - 1}"
    return _problem_of_children(tree, n)


def _problem_of_children(tree: Tree, n: int) -> str:
    """Each node but the first is the child of one before it, and each leaf of one node; leaf j is written -1 - j."""
    left, right = (_whole(tree[side], range(-n, n - 1)) for side in ("left_child", "right_child"))
    if left is None or right is None:
        return f"a child is none of the {n} leaves and {n - 1} nodes"
    later = all(child < 0 or child > node for side in (left, right) for node, child in enumerate(side))
    everyone = [*range(-n, 0), *range(1, n - 1)] if n > 1 else []
    return "" if later and sorted(left + right) == everyone else "its nodes make no tree"


def _whole(values: Sequence[str], allowed: range) -> list[int] | None:
    """The values as integers; None where one is none that is allowed."""
    found = [int(value) if WHOLE.fullmatch(value) else None for value in values]
    whole = [value for value in found if value is not None and value in allowed]
    return whole if len(whole) == len(values) else None


def _is_finite(value: str) -> bool:
    try:
        return bool(NUMBER.fullmatch(value)) and math.isfinite(float(value))
    except ValueError:
        return False


def _shown(values: Sequence[str]) -> str:
    return f"{' '.join(values)!r:.80}"
