"""Reading TOML files: strict sections, merged values, errors that name the file and the key."""

import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from tandem.config.config_folder import base_file


class Section(BaseModel):
    """A part of a TOML file: frozen, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def explain(path: Path, error: ValidationError) -> ValueError:
    """Turns pydantic's errors into one line each: file, key, the expected and the given value."""
    lines = []
    for e in error.errors():
        key = ".".join(str(part) for part in e["loc"]) or "file"
        given = "" if e["type"] in ("missing", "extra_forbidden") else f", got {e['input']!r:.80}"
        message = e["msg"].removeprefix("Value error, ")
        if e["type"] == "extra_forbidden":
            message = "unknown key"
        lines.append(f"{path}: {key}: {message}{given}")
    return ValueError("\n".join(lines))


def merged(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`values` updated by `changes`, section by section; None removes a section.

    >>> merged({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": 4}, "d": None})
    {'a': {'b': 4, 'c': 2}}
    """
    out = dict(values)
    for key, value in changes.items():
        if value is None:
            out.pop(key, None)
        elif isinstance(value, dict) and isinstance(out.get(key), dict):
            out[key] = merged(out[key], value)
        else:
            out[key] = value
    return out


def read_toml(path: Path, derived: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The file's values merged into those of its `base`; `derived`: the files that led here, to find a circle."""
    if path in derived:
        raise ValueError(f"{derived[0]}: base: comes back to {path.name}")
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path}: not valid TOML: {error}") from error
    if "base" not in values:
        return values
    base = base_file(path, values.pop("base"))
    return merged(read_toml(base, (*derived, path)), values)
