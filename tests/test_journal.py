"""The journal: no row is lost or torn, by two commands at once or by one that is killed."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tandem.artifacts import journal
from tandem.artifacts.paths import Paths

SRC = Path(__file__).parents[1] / "src"


@pytest.fixture
def paths(tmp_path) -> Paths:
    return Paths("toy", tmp_path)


def of(rows: list[journal.Row], *columns: str) -> list[tuple[str, ...]]:
    return [tuple(row[column] for column in columns) for row in rows]


def test_a_competition_without_a_journal_has_no_rows(paths):
    assert journal.read(paths) == []


def test_rows_come_back_in_order_with_every_cell_as_text_on_one_line(paths):
    journal.append(paths, {"name": "stack", "score": 0.8812, "note": 'a "quoted", note\nof two lines'})
    journal.append(paths, {"name": "words", "digest": "d2"})
    first, second = journal.read(paths)
    assert (first["name"], first["score"], first["note"]) == ("stack", "0.8812", 'a "quoted", note of two lines')
    assert second == dict.fromkeys(journal.COLUMNS, "") | {"name": "words", "digest": "d2"}


def test_a_public_score_goes_to_the_last_row_of_the_file(paths):
    for name, digest in (("a", "x"), ("b", "y"), ("c", "x")):
        journal.append(paths, {"name": name, "digest": digest})
    journal.add_public_score(paths, "x", None, 77)
    journal.add_public_score(paths, "x", 0.5, 77, private=0.25)
    found = of(journal.read(paths), "name", "public", "private", "submission_id")
    assert found == [("a", "", "", ""), ("b", "", "", ""), ("c", "0.5", "0.25", "77")]


def test_a_file_submitted_twice_has_two_rows_and_one_from_elsewhere_gets_one(paths):
    journal.append(paths, {"name": "a", "digest": "x"})
    for id in (1, 2):
        journal.add_public_score(paths, "x", id / 10, id)
    journal.add_public_score(paths, "y", 0.9, 3, about={"name": "mine"})
    found = of(journal.read(paths), "name", "digest", "public", "submission_id")
    assert found == [("a", "x", "0.1", "1"), ("a", "x", "0.2", "2"), ("mine", "y", "0.9", "3")]


def test_a_column_of_the_users_own_stays(paths):
    paths.history.mkdir(parents=True)
    paths.journal.write_text("digest,mood\nx,good\n")
    journal.append(paths, {"digest": "y"})
    assert of(journal.read(paths), "digest", "mood") == [("x", "good"), ("y", "")]


@pytest.mark.parametrize(("text", "why"), [("digest\nx,y\n", "more cells than columns"), ("a,b\n1,2\n", "no digest")])
def test_a_file_that_is_no_journal_is_refused_and_stays(paths, text, why):
    paths.history.mkdir(parents=True)
    paths.journal.write_text(text)
    with pytest.raises(ValueError, match=f"journal.csv: row 2: {why}"):
        journal.append(paths, {"digest": "y"})
    assert paths.journal.read_text() == text


def test_an_unknown_column_is_refused(paths):
    with pytest.raises(ValueError, match="'scroe'.* there are time, name"):
        journal.append(paths, {"scroe": 1})


WRITER = """
import sys
from pathlib import Path
from tandem.artifacts import journal
from tandem.artifacts.paths import Paths
for i in range(int(sys.argv[3])):
    journal.append(Paths("toy", Path(sys.argv[1])), {"name": sys.argv[2], "digest": i, "note": "word " * 400})
    print(i, flush=True)
"""


def writer(paths: Paths, name: str, n: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", WRITER, str(paths.root), name, str(n)]
    return subprocess.Popen(command, env={"PYTHONPATH": str(SRC)}, stdout=subprocess.PIPE, text=True)


def test_two_writers_at_once_lose_no_row(paths):
    both = [writer(paths, name, 30) for name in "ab"]
    assert [process.wait(60) for process in both] == [0, 0]
    rows = journal.read(paths)
    for name in "ab":
        assert [row["digest"] for row in rows if row["name"] == name] == [str(i) for i in range(30)]


def test_a_killed_writer_tears_no_row_loses_none_and_leaves_no_lock(paths):
    written = 0
    for delay in (0.002, 0.02, 0.05):
        process = writer(paths, "a", 10_000)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(delay)
        process.kill()
        said = 1 + len(process.stdout.read().splitlines())
        rows = journal.read(paths)
        assert said <= len(rows) - written <= said + 1  # one may be written and not said yet
        assert {row["note"] for row in rows} == {("word " * 400).strip()}
        written = len(rows)
    journal.append(paths, {"name": "b"})
    assert len(journal.read(paths)) == written + 1
