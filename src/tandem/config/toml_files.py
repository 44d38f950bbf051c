"""TOML files: which one is experiment NAME, strict sections, merged values, errors that name the file and the key."""

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from tandem.artifacts.paths import NAME
from tandem.artifacts.user_files import read_text
from tandem.config.own_code import in_sections

if TYPE_CHECKING:
    from tomlkit import TOMLDocument

T = TypeVar("T")
_PACKAGE = Path(__file__).parents[1]
DEEPEST = 50  # sections, lists and parts of a key within each other
# parsing takes the square of the number of parts of a key
_LONG_KEY = re.compile(rf"""(?<![\w"'-])(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){{{DEEPEST}}}""")
_INTEGERS = range(-(2**63), 2**63)  # of TOML
SHOWN = 20  # faults of one file


class Section(BaseModel):
    """A part of a TOML file: frozen, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def validate(form: TypeAdapter[T], values: dict[str, Any], path: Path) -> T:
    """The object; raises ValueError with a line for each fault: file, key, the expected and the given value."""
    try:
        return form.validate_python(values)
    except ValidationError as error:
        raise ValueError(_message(error.errors(include_url=False), path)) from error


def require_types(form: TypeAdapter[Any], values: dict[str, Any], path: Path) -> None:
    """Raises ValueError as `validate` where a value has another type than its key; other keys may be missing."""
    try:
        form.validate_python(values)
    except ValidationError as error:
        whole = ((), *((name,) for name in values if isinstance(values[name], dict)))  # what keys say together
        wrong = [e for e in error.errors(include_url=False) if e["type"] != "missing"]
        if wrong := [e for e in wrong if e["type"] != "value_error" or e["loc"] not in whole]:
            raise ValueError(_message(wrong, path)) from error


def _message(errors: Sequence[Mapping[str, Any]], path: Path) -> str:
    """A line for each fault; of more than SHOWN, how many more there are."""
    lines = []
    for e in errors[:SHOWN]:
        key = ".".join(str(part) for part in e["loc"] if not str(part).startswith("<")) or "file"  # <: a union's tag
        given = "" if e["type"] in ("missing", "extra_forbidden") else f", got {e['input']!r:.80}"
        message = "unknown key" if e["type"] == "extra_forbidden" else e["msg"].removeprefix("Value error, ")
        lines.append(f"{path}: {key:.200}: {message:.1000}{given}")
    more = [f"{path}: and {len(errors) - SHOWN:,} more"] if len(errors) > SHOWN else []
    return "\n".join(lines + more)


def merged(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`values` updated by `changes`, section by section; None removes a section.

    >>> merged({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": 4}, "d": None})
    {'a': {'b': 4, 'c': 2}}
    """
    out = values | changes
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(values.get(key), dict):
            out[key] = merged(values[key], value)
    return {key: value for key, value in out.items() if changes.get(key, value) is not None}


def packaged_configs() -> Path:
    """`tandem/default_configs` of an installed wheel, `configs` of a checkout."""
    installed = _PACKAGE / "default_configs"
    return installed if installed.is_dir() else _PACKAGE.parents[1] / "configs"


def config_files(folder: Path) -> dict[str, Path]:
    """Experiment name -> its TOML file, sorted by name; a file in `folder` replaces the package's of the same name."""
    files = {file.stem: file for place in (packaged_configs(), folder) for file in place.glob("*.toml")}
    return dict(sorted(files.items()))


def base_file(path: Path, name: str) -> Path:
    """The file that `base = "NAME"` in `path` means: beside `path`, else the package's; raises ValueError."""
    if not (isinstance(name, str) and len(name) <= 200 and NAME.fullmatch(name)):
        raise ValueError(f"{path}: base: expected the name of a file beside it, without .toml, got {name!r:.80}")
    candidates = (path.with_name(f"{name}.toml"), packaged_configs() / f"{name}.toml")
    for file in candidates:
        if file.is_file():
            return file
    raise ValueError(f"{path}: base: there is no file {candidates[0]}")


def parse_toml(path: Path) -> dict[str, Any]:
    """The values; raises ValueError with the file, and the line or the key, where it is no TOML or holds a number that
    is too large."""
    text = _text(path)
    try:
        values = tomllib.loads(text)
    except RecursionError:
        raise ValueError(f"{path}: {_nested()}") from None
    except ValueError as error:  # also of a number of thousands of digits
        raise ValueError(f"{path}: not valid TOML: {str(error):.300}") from error
    _require_plain(values, path)
    return values


def parse_document(path: Path) -> "TOMLDocument":
    """The file with its comments, to be changed; raises ValueError as `parse_toml`."""
    import tomlkit  # only where a file is written

    parse_toml(path)
    try:
        return tomlkit.parse(_text(path))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not valid TOML: {str(error):.300}") from error


def _text(path: Path) -> str:
    """Raises ValueError with file and line also where a key has so many parts that parsing would take hours."""
    text = read_text(path)
    if key := _LONG_KEY.search(text):
        line = text.count("\n", 0, key.start()) + 1
        raise ValueError(f"{path}: line {line}: {_nested()}")
    return text


def _nested() -> str:
    return f"lists, sections or parts of a key within each other more than {DEEPEST} deep"


def _require_plain(values: dict[str, Any], path: Path) -> None:
    """Raises ValueError with file and key where a value is nested too deeply, a whole number has more than 64 bits, or
    a text holds a NUL."""
    left: list[tuple[tuple[str, ...], Any]] = [((key,), value) for key, value in values.items()]
    while left:
        key, value = left.pop()
        if isinstance(value, dict | list):
            if len(key) > DEEPEST:
                raise ValueError(f"{path}: {key[0]:.80}: {_nested()}")
            inner = value.items() if isinstance(value, dict) else enumerate(value)
            left += [((*key, str(name)), one) for name, one in inner]
        elif isinstance(value, int) and value not in _INTEGERS:
            raise ValueError(f"{path}: {'.'.join(key):.200}: a whole number of more than 64 bits")
        elif isinstance(value, str) and "\0" in value:
            raise ValueError(f"{path}: {'.'.join(key):.200}: the text holds a NUL character; remove it")


def read_toml(path: Path, derived: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The file's values merged into those of its `base`; `derived`: the files that led here, to find a circle."""
    if path in derived:
        raise ValueError(f"{derived[0]}: base: comes back to {path.name}")
    values = in_sections(parse_toml(path))
    if "base" not in values:
        return values
    return merged(read_toml(base_file(path, values.pop("base")), (*derived, path)), values)
