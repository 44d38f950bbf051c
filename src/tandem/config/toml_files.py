"""TOML files: which one is experiment NAME, strict sections, merged values, errors that name the file and the key."""

import tomllib
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from tandem.artifacts.user_files import read_text
from tandem.config.own_code import in_sections

T = TypeVar("T")
_PACKAGE = Path(__file__).parents[1]


class Section(BaseModel):
    """A part of a TOML file: frozen, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def validate(form: TypeAdapter[T], values: dict[str, Any], path: Path) -> T:
    """The object; raises ValueError with a line for each fault: file, key, the expected and the given value."""
    try:
        return form.validate_python(values)
    except ValidationError as error:
        lines = []
        for e in error.errors():
            key = (
                ".".join(str(part) for part in e["loc"] if not str(part).startswith("<")) or "file"
            )  # <: a union's tag
            given = "" if e["type"] in ("missing", "extra_forbidden") else f", got {e['input']!r:.80}"
            message = "unknown key" if e["type"] == "extra_forbidden" else e["msg"].removeprefix("Value error, ")
            lines.append(f"{path}: {key}: {message}{given}")
        raise ValueError("\n".join(lines)) from error


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
    candidates = (path.with_name(f"{name}.toml"), packaged_configs() / f"{name}.toml")
    for file in candidates:
        if file.is_file():
            return file
    raise ValueError(f"{path}: base: there is no file {candidates[0]}")


def parse_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path}: not valid TOML: {error}") from error


def read_toml(path: Path, derived: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The file's values merged into those of its `base`; `derived`: the files that led here, to find a circle."""
    if path in derived:
        raise ValueError(f"{derived[0]}: base: comes back to {path.name}")
    values = in_sections(parse_toml(path))
    if "base" not in values:
        return values
    return merged(read_toml(base_file(path, values.pop("base")), (*derived, path)), values)
