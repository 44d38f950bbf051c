"""Every submit that writes a new CSV adds one row to the journal, and keeps its files."""

import os
import re
import subprocess
import sys

import pytest
from words_competition import set_keys

from tandem.__main__ import main
from tandem.artifacts import journal
from tandem.artifacts.atomic_io import file_digest, read_json
from tandem.artifacts.paths import Paths


def test_a_new_csv_gets_a_row_with_score_interval_and_digest(submitted):
    (row,) = journal.read(submitted)
    made = read_json(submitted.submission("words").with_suffix(".json"))
    assert (row["name"], row["experiments"], row["changes"]) == ("words", "words", "the first row")
    assert row["digest"] == made["sha256"] == file_digest(submitted.submission("words"))
    assert float(row["score"]) == made["out_of_fold"]["score"] and float(row["low"]) < float(row["score"])
    assert row["decoder"] == made["decoder"]["decoder"] and 0 <= float(row["minutes"]) < 5


def test_a_submit_that_does_nothing_and_one_that_makes_the_same_csv_again_add_no_row(submitted):
    assert main(["submit", "small", "EXPS=words"]) == 0
    submitted.submission("words").with_suffix(".json").unlink()
    assert main(["submit", "small", "EXPS=words", "NOTE=again"]) == 0
    assert len(journal.read(submitted)) == 1


def test_a_row_names_the_settings_that_changed_and_the_note(submitted):
    (submitted.configs / "words.toml").write_text('kind = "tfidf"\n[tfidf]\nc = 2.0\n')
    set_keys(submitted, submission='"labels"')
    assert main(["submit", "small", "EXPS=words", "NOTE=label sets"]) == 0
    first, second = journal.read(submitted)
    assert "competition.toml submission 'probabilities' -> 'labels'" in second["changes"]
    assert "words tfidf.c 4.0 -> 2.0" in second["changes"]
    assert second["note"] == "label sets" and second["digest"] != first["digest"]


def test_a_submission_killed_before_its_record_was_written_gets_its_row_once(submitted, monkeypatch):
    submitted.journal.unlink()
    submitted.submission("words").with_suffix(".json").unlink()  # written after the row
    for _ in range(2):
        assert main(["submit", "small", "EXPS=words"]) == 0
    assert [row["name"] for row in journal.read(submitted)] == ["words"]


@pytest.mark.slow  # two commands that load torch
def test_two_commands_at_once_each_add_their_row(submitted):
    set_keys(submitted, submission='"labels"')
    command = [sys.executable, "-m", "tandem", "submit", "small", "EXPS=words"]
    both = [subprocess.Popen([*command, f"DECODER={name}", f"NOTE={name}"]) for name in ("fixed", "gfm")]
    assert [one.wait(120) for one in both] == [0, 0]
    found = [(row["name"], row["note"]) for row in journal.read(submitted)]
    assert sorted(name for name, _ in found) == ["words", "words", "words.fixed", "words.gfm"]
    assert {("words.fixed", "fixed"), ("words.gfm", "gfm")} < set(found)


def test_another_decoder_is_another_submission(submitted):
    set_keys(submitted, submission='"labels"')
    assert main(["submit", "small", "EXPS=words", "DECODER=fixed"]) == 0
    row = journal.last_of(journal.read(submitted), "words.fixed")
    assert row is not None and row["decoder"] == "fixed" and row["low"] == ""


def test_old_files_stay_by_digest_and_nothing_is_stored_twice(submitted):
    oof, csv = submitted.oof("words"), submitted.submission("words")
    for file in (oof, submitted.test("words"), csv):
        assert submitted.kept(f"{file_digest(file)}{file.suffix}").read_bytes() == file.read_bytes()
    set_keys(submitted, submission='"labels"')
    assert main(["submit", "small", "EXPS=words"]) == 0
    assert main(["clean", "small"]) == 0
    rows = journal.read(submitted)
    assert len(rows) == 2
    for row in rows:
        files = read_json(submitted.journal_record(f"words.{row['digest']}"))["files"]
        assert (
            file_digest(submitted.kept(files["submission"])) == row["digest"] and submitted.kept(files["oof"]).exists()
        )


def test_a_kept_file_is_a_hard_link_or_a_copy_where_there_are_none(tmp_path, monkeypatch):
    from tandem.artifacts.kept_files import freed_bytes, keep_file, kept_files

    paths, file = Paths("toy", tmp_path), tmp_path / "a.csv"
    file.write_text("id\n1\n")
    kept = paths.kept(keep_file(paths, file))
    assert kept.samefile(file) and freed_bytes(kept_files(paths)) == 0
    file.unlink()
    assert freed_bytes(kept_files(paths)) == 5

    def refused(*_):
        raise OSError

    monkeypatch.setattr(os, "link", refused)
    file.write_text("id\n2\n")
    copy = paths.kept(keep_file(paths, file))
    assert copy.read_text() == "id\n2\n" and not copy.samefile(file)


@pytest.mark.parametrize("width", [40, 80, 200])
def test_the_table_fits_the_terminal_and_marks_the_best(submitted, capsys, monkeypatch, width):
    row = journal.read(submitted)[0]
    journal.append(submitted, row | {"score": 0.99, "public": 0.7, "digest": "ff", "changes": "words lr 1 -> 2 [bold]"})
    monkeypatch.setenv("COLUMNS", str(width))
    assert main(["journal", "small"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= width
    assert any("0.9900*" in line for line in lines) and "[bold]" in "".join(lines)


def test_of_a_long_journal_the_last_rows_and_the_best_one_are_shown(submitted, capsys):
    row = journal.read(submitted)[0]
    submitted.journal.unlink()
    for i in range(40):
        journal.append(submitted, row | {"score": 0.9 if i == 2 else 0.5, "digest": f"{i:016x}"})
    assert main(["journal", "small"]) == 0
    out = capsys.readouterr().out
    numbers = [int(number) for number in re.findall(r"^ (\d+) words", out, re.MULTILINE)]
    assert numbers == [3, *range(11, 41)] and "9 older rows are in the file" in out


def test_a_competition_without_rows_is_told_what_to_run(submitted, capsys):
    submitted.journal.unlink()
    assert main(["journal", "small"]) == 2
    assert capsys.readouterr().err.endswith("no submission file was written yet; run: make submit COMP=small\n")
    assert main(["journal", "smal"]) == 2
    assert "small" in capsys.readouterr().err
