"""Which file is experiment NAME: the one in the working folder's `configs/`, else the one that the package carries."""

from pathlib import Path

_PACKAGE = Path(__file__).parents[1]


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
