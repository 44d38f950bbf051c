"""The small competition, submitted by a text model that takes a second; no model reads its photos."""

from pathlib import Path

from small_competition import write_small

from tandem.__main__ import main
from tandem.artifacts.atomic_io import write_text
from tandem.artifacts.paths import Paths


def submit_words(folder: Path, monkeypatch, capsys, **keys: str) -> Paths:
    """In the folder, which becomes the current one; `keys` of competition.toml are as TOML writes their values."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr("tandem.stages._run.run_in_new_process", lambda function, *args: function(*args))
    write_small(folder)
    paths = Paths("small")
    set_keys(paths, experiments='["words"]', **keys)
    assert main(["submit", "small", "EXPS=words"]) == 0, capsys.readouterr().err
    capsys.readouterr()
    return paths


def set_keys(paths: Paths, **keys: str) -> None:
    """Sets top-level keys of competition.toml."""
    lines = [line for line in paths.competition.read_text().splitlines() if line.split(" = ")[0] not in keys]
    write_text(paths.competition, "\n".join([*(f"{key} = {value}" for key, value in keys.items()), *lines]) + "\n")


def set_corrections(paths: Paths, value: str) -> None:
    set_keys(paths, corrections=value)
