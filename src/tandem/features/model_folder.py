"""The files of a folder of pretrained weights, checked before libraries parse them: sizes, nesting, what is claimed."""

import json
from pathlib import Path
from typing import Any

from tandem.artifacts.read_errors import naming
from tandem.artifacts.tensor_file import check_header

MAX_JSON = 64 * 2**20  # bytes of a vocabulary; descriptions have some kB
MAX_DEPTH = 24  # of lists and objects: the parser of tokenizers tries each kind at each level
MAX_VALUE = 10_000_000  # of a number in config.json, such as the words of a vocabulary
MAX_LAYERS = 1_000
CURE = "get the folder again from its authors"
TEXTS = (".txt", ".model", ".json")


def check_model_folder(folder: Path) -> None:
    """Raises ValueError where a file of it is none, is too large or nested too deep, or claims what no network has."""
    for file in sorted(folder.rglob("*")):
        if file.is_dir():
            continue
        if not file.is_file():
            raise ValueError(f"{file}: not a regular file; {CURE}")
        if file.suffix == ".safetensors":
            check_header(file)
        elif file.suffix == ".json":
            found = read_limited_json(file)
            if file.name == "config.json":
                _check_claims(file, found, "")
        elif file.suffix in TEXTS and file.stat().st_size > MAX_JSON:
            raise ValueError(f"{file}: {file.stat().st_size} bytes; at most {MAX_JSON}; {CURE}")


def read_limited_json(file: Path) -> Any:
    """The content; raises ValueError where it is no JSON, too large or nested too deep."""
    with naming(file, "not read", CURE):
        if (size := file.stat().st_size) > MAX_JSON:
            raise ValueError(f"{size} bytes; at most {MAX_JSON}")
        found = json.loads(file.read_text(encoding="utf-8"))
        if _depth(found) > MAX_DEPTH:
            raise ValueError(f"lists and objects nested more than {MAX_DEPTH} deep")
        return found


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level := [item for item in level if isinstance(item, dict | list)]:
        level = [child for item in level for child in (item.values() if isinstance(item, dict) else item)]
        depth += 1
    return depth


def _check_claims(file: Path, found: Any, key: str) -> None:
    """Raises ValueError for a number that would make the network larger than memory before its weights are compared."""
    for name, value in found.items() if isinstance(found, dict) else ():
        limit = MAX_LAYERS if "layers" in name else MAX_VALUE
        numbers = value if isinstance(value, list) else [value]
        if any(isinstance(n, int) and abs(n) > limit for n in numbers):
            raise ValueError(f"{file}: {key}{name} is {value!r:.80}; expected at most {limit}; {CURE}")
        _check_claims(file, value, f"{key}{name}.")


def check_vocabulary(folder: Path, tokenizer: Any, network: Any) -> None:
    """Raises ValueError where a word's number is beyond the rows of the network's embedding."""
    rows = network.get_input_embeddings().weight.shape[0]
    highest = max(tokenizer.get_vocab().values(), default=-1)
    if highest >= rows:
        what = f"its tokenizer numbers words up to {highest}, the network has {rows}"
        raise ValueError(f"{folder}: {what}: the files belong to different models; {CURE}")
