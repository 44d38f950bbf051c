"""Odd values of every option of the commands that train nothing: an answer, never a traceback."""

from pathlib import Path

import pytest
from torture.tables import command, competition

from tandem.__main__ import make_parser

GIVEN = {  # what each command gets beside the odd value
    "scores": {},
    "report": {},
    "import": {},
    "new-model": {"--name": "mine"},
    "explain": {"--id": "1"},
    "blend": {"--files": "file.csv file.csv", "--out": "out.csv"},
    "add-features": {"--file": "file.csv", "--name": "mine"},
    "add-predictions": {"--name": "mine", "--oof": "file.csv"},
}
VALUES = (
    "", " ", "a" * 5_000, "é🐈", "-1", "9" * 30, "nan", "folder", "file.csv", "file.bin", "missing/x.csv", "\n",
    "\udcff", "[", "/dev/null", "file.csv/x", "--",
)  # fmt: skip


@pytest.mark.parametrize("stage", GIVEN)
def test_odd_values_are_answered(tmp_path, monkeypatch, stage):
    monkeypatch.chdir(tmp_path)
    competition(Path())
    Path("folder").mkdir()
    Path("file.csv").write_text("id,x\n1,2\n")
    Path("file.bin").write_bytes(bytes(range(256)))
    _, commands, _ = make_parser([stage])
    options = [action.option_strings[-1] for action in commands[stage]._actions if action.option_strings]
    takes = [
        option for option in options if option != "--help" and commands[stage]._option_string_actions[option].nargs != 0
    ]
    tries = [[stage, value] for value in VALUES]
    for option in takes:
        rest = [word for name, value in GIVEN[stage].items() if name != option for word in (name, value)]
        tries += [[stage, "toy", *rest, f"{option}={value}"] for value in VALUES]
    for words in tries:
        status, said = command(words)
        assert status in (0, 1, 2), (words, said)
        assert "Traceback" not in said, words
        assert len(said) < 20_000, words
        assert said.strip() or status != 2, words
