"""The round trip with Kaggle: its real package, over HTTP, against a stub on loopback."""

import csv
import io
import json
import os
import re
import signal
import zipfile
from pathlib import Path

import pytest
from kaggle_stub import SLUG, TOKEN, Stub, serving, signed_in
from layouts import comp5329

from tandem.__main__ import main
from tandem.artifacts import journal
from tandem.artifacts.atomic_io import file_digest, write_json
from tandem.artifacts.paths import Paths
from tandem.kaggle_client import client
from tandem.kaggle_client.client import connect, remote_submissions
from tandem.kaggle_client.download import download
from tandem.kaggle_client.retries import LIMIT, Retries
from tandem.stages import upload

RULES = f"accept them at https://www.kaggle.com/competitions/{SLUG}/rules, then run the same command again"


class Clock:
    """Time passes where a test sleeps, and not else."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture(scope="module")
def server():
    with serving() as running:
        yield running


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def kaggle(server, clock, tmp_path, monkeypatch) -> Stub:
    """The stub as new, in an empty folder, with credentials."""
    server.reset()
    monkeypatch.chdir(tmp_path)
    signed_in(monkeypatch, tmp_path / "home")
    monkeypatch.setattr(client, "Retries", lambda: Retries(clock=clock, sleep=clock.sleep))
    monkeypatch.setattr(upload, "POLL", 0.01)
    return server


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> bytes:
    """A competition as Kaggle zips it."""
    folder, content = tmp_path_factory.mktemp("birds"), io.BytesIO()
    comp5329(folder)
    with zipfile.ZipFile(content, "w") as packed:
        for file in sorted(folder.rglob("*.*")):
            packed.write(file, file.relative_to(folder))
    return content.getvalue()


@pytest.fixture
def imported(kaggle, archive, tmp_path) -> Paths:
    """Already downloaded, with a submission."""
    paths = Paths("birds")
    with zipfile.ZipFile(io.BytesIO(archive)) as packed:
        packed.extractall(paths.input)
    assert main(["import", "birds", "--set", f"slug={SLUG} metric=f1_samples"]) == 0
    sample = (paths.input / "sample_submission.csv").read_text()
    for name in ("stack", "words"):
        paths.submission(name).parent.mkdir(parents=True, exist_ok=True)
        paths.submission(name).write_text(sample if name == "stack" else sample.replace(",1", ",3"))
    return paths


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one line of the error of a command that fails."""
    capsys.readouterr()
    assert main(words) == 2
    err = capsys.readouterr().err
    assert "Traceback" not in err
    lines = [line for line in err.splitlines() if not re.match(r"\d\d:\d\d:\d\d ", line)]
    (line,) = lines
    return line


def test_a_competition_is_downloaded_imported_and_its_slug_and_metric_kept(kaggle, archive, capsys):
    kaggle.archive, kaggle.competition["evaluationMetric"] = archive, "MicroFScore"
    assert main(["download", "birds", f"SLUG=https://www.kaggle.com/competitions/{SLUG}/data"]) == 0
    text = Paths("birds").competition.read_text()
    assert f'slug = "{SLUG}"' in text
    assert 'metric = "f1_micro"' in text
    assert (Paths("birds").input / "data" / "0.jpg").exists()
    assert not list(Path("build/birds").glob("download*")), "its files are in input/"
    assert "metric: f1_micro, Kaggle's 'MicroFScore'" in capsys.readouterr().out
    assert main(["download", "birds"]) == 0, "the slug is known now"


def test_a_metric_that_is_none_of_ours_stays_a_question_until_it_is_answered(kaggle, archive, capfd):
    kaggle.archive, kaggle.competition["evaluationMetric"] = archive, "Quadratic Weighted Kappa"
    assert main(["download", "birds", f"SLUG={SLUG}"]) == 0
    assert "Kaggle names the metric 'Quadratic Weighted Kappa': no metric here has this name" in capfd.readouterr().out
    text = Paths("birds").competition.read_text()
    assert re.search(r'metric = "\?" *# one of: f1_samples \(F1 per row\), ', text)
    assert main(["import", "birds"]) == 0
    assert 'metric = "?"' in Paths("birds").competition.read_text(), "no default takes its place"
    assert main(["import", "birds", "--metric", "f1_macro"]) == 0
    assert 'metric = "f1_macro"' in Paths("birds").competition.read_text()


def test_a_metric_that_the_user_set_stays(kaggle, archive, imported, capfd):
    main(["import", "birds", "--metric", "f1_macro"])
    kaggle.archive = archive
    assert main(["download", "birds"]) == 0
    assert "'Mean F1-Score', which is f1_samples; f1_macro, your own, stays" in capfd.readouterr().out
    assert 'metric = "f1_macro"' in imported.competition.read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["download", "birds"], "SLUG= is not given, and input/birds/competition.toml has no slug"),
        (["download", "birds", "SLUG=Toy Birds"], "SLUG='Toy Birds': expected the last part"),
        (["download", f"SLUG={SLUG}"], f"comes with Tandem; run: make download SLUG={SLUG} COMP=toy_birds"),
        (["leaderboard", "nope"], "COMP=nope: there is no such competition"),
    ],
)
def test_a_download_without_what_it_needs_says_so(kaggle, capsys, words, message):
    assert message in said(capsys, *words)
    assert kaggle.calls == []


# ---- every failure, in the words of what to do


@pytest.mark.parametrize(
    ("planned", "message"),
    [
        (403, f"Kaggle answers 403: You must accept this competition's rules: .*; {RULES}"),
        (404, f"SLUG={SLUG}: Kaggle has no such competition .*; the slug is the last part of"),
        (500, "Kaggle answers 500: Something is wrong, also after several tries; run the same command again later"),
        (418, f"{SLUG}: Kaggle answers 418: Something is wrong"),
        ("cut", r"the connection was cut \(ConnectionError\); look at the connection, then run the same command again"),
        (
            429,
            r"too many requests for Kaggle \(429: .*\); .* the quota of a day ends at 00:00 UTC \(in \d+ h \d+ min\)",
        ),
    ],
)
@pytest.mark.parametrize("words", [["download", "birds", f"SLUG={SLUG}"], ["leaderboard", "x", f"SLUG={SLUG}"]])
def test_each_failure_has_one_error_that_says_what_to_do(kaggle, clock, capsys, words, planned, message):
    kaggle.plan["GetCompetition"] = [planned] * 100
    Paths("x").input.mkdir(parents=True)
    Paths("x").competition.write_text("")
    assert re.search(message, said(capsys, *words))
    assert clock.now < LIMIT


def test_a_competition_whose_rules_are_not_accepted_names_their_page(kaggle, capsys):
    kaggle.competition["userHasEntered"] = False
    assert RULES in said(capsys, "download", "birds", f"SLUG={SLUG}")
    assert "DownloadDataFiles" not in kaggle.calls


def test_an_error_in_an_answer_that_claims_to_be_none_is_one(kaggle, capsys, monkeypatch):
    monkeypatch.setattr("kaggle_stub.Handler.refuse", lambda self, status: self.send({"code": 404, "message": "gone"}))
    kaggle.plan["GetCompetition"] = [404]
    assert "Kaggle has no such competition (404: gone)" in said(capsys, "download", "birds", f"SLUG={SLUG}")


def test_without_credentials_it_is_said_where_they_go(kaggle, capsys, monkeypatch):
    monkeypatch.delenv("KAGGLE_API_TOKEN")
    message = said(capsys, "download", "birds", f"SLUG={SLUG}")
    assert "no credentials for Kaggle: make a token at https://www.kaggle.com/settings" in message
    assert "KAGGLE_API_TOKEN" in message and "~/.kaggle/kaggle.json" in message
    assert kaggle.calls == []


def test_wrong_credentials_name_where_they_were_found(kaggle, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("KAGGLE_API_TOKEN", "wrong")
    assert "refuses the credentials of KAGGLE_API_TOKEN (401" in said(capsys, "download", "birds", f"SLUG={SLUG}")
    monkeypatch.delenv("KAGGLE_API_TOKEN")
    file = tmp_path / "home" / ".kaggle" / "kaggle.json"
    file.parent.mkdir(parents=True)
    file.write_text('{"username": "me", "key": "wrong"}')
    assert f"refuses the credentials of {file} (401" in said(capsys, "download", "birds", f"SLUG={SLUG}")
    file.write_text('{"user": "me"}')
    assert f"{file}: expected " in said(capsys, "download", "birds", f"SLUG={SLUG}")
    other = file.rename(file.with_name("credentials.json"))
    other.write_text('{"refresh_token": "r", "access_token_expiration": "soon"}')
    assert f"{other}: expected a session of kaggle auth login" in said(capsys, "download", "birds", f"SLUG={SLUG}")


SESSION = {"refresh_token": "r", "access_token": TOKEN, "access_token_expiration": "2099-01-01T00:00:00+00:00"}
IN_FILES = {
    "kaggle.json": '{"username": "me", "key": "good-key"}',
    "access_token": TOKEN,
    "credentials.json": json.dumps(SESSION),
}


@pytest.mark.parametrize("place", ["variables", *IN_FILES])
def test_credentials_are_found_in_each_place(kaggle, monkeypatch, tmp_path, place):
    monkeypatch.delenv("KAGGLE_API_TOKEN")
    folder = tmp_path / "home" / ".kaggle"
    folder.mkdir(parents=True)
    if place == "variables":
        monkeypatch.setenv("KAGGLE_USERNAME", "me")
        monkeypatch.setenv("KAGGLE_KEY", "good-key")
    else:
        (folder / place).write_text(IN_FILES[place])
    with connect(SLUG) as connection:
        assert connection.competition().title == "Toy birds"


# ---- retries


def test_what_fails_for_a_passing_reason_is_sent_again(kaggle, clock):
    kaggle.plan["GetCompetition"] = [503, "cut", 500, 429]
    with connect(SLUG) as connection:
        assert connection.competition().title == "Toy birds"
    assert clock.slept == [1, 2, 4, 8]


def test_all_retries_of_a_command_together_end_within_a_minute(kaggle, clock):
    kaggle.plan["GetCompetition"] = [503] * 3
    kaggle.plan["GetSubmissionLimits"] = ["cut"] * 100
    with connect(SLUG) as connection:
        connection.competition()
        with pytest.raises(ValueError, match="the connection was cut"):
            connection.quota(5)
    assert 30 < sum(clock.slept) < LIMIT


def test_a_wait_that_kaggle_asks_for_is_kept_where_the_limit_allows_it(kaggle, clock, capsys):
    kaggle.retry_after, kaggle.plan["GetCompetition"] = "7", [429]
    with connect(SLUG) as connection:
        connection.competition()
    assert clock.slept == [7]
    kaggle.retry_after, kaggle.plan["GetCompetition"] = "3600", [429]
    assert "run the same command again in 3600 s" in said(capsys, "download", "birds", f"SLUG={SLUG}")
    assert clock.slept == [7]


def test_a_server_that_is_silent_holds_no_command_for_ever(kaggle):
    kaggle.plan["GetCompetition"] = ["silent"] * 9
    with (
        connect(SLUG, Retries(limit=1.5)) as connection,
        pytest.raises(ValueError, match="no answer from Kaggle in time"),
    ):
        connection.competition()


# ---- the download


def fetch(target: Path, clock: Clock) -> bytes:
    with connect(SLUG, Retries(clock=clock, sleep=clock.sleep)) as connection:
        return download(connection, target).read_bytes()


CONTENT = bytes(range(256)) * 5000  # 1.28 MB


def test_a_download_that_is_cut_goes_on_where_it_stopped(kaggle, clock, tmp_path):
    kaggle.archive = CONTENT
    kaggle.plan["GET"] = [400_000, None, 100_000]  # the second of each pair asks what the file is
    assert fetch(tmp_path / "a.zip", clock) == CONTENT
    starts = [int(given[6:-1]) for given in kaggle.ranges if given]
    assert len(starts) == 2
    assert 380_000 < starts[0] <= 400_000 < starts[1] <= 500_000
    assert clock.slept == [1, 2]


def test_a_later_command_goes_on_too(kaggle, clock, tmp_path):
    kaggle.archive, kaggle.plan["GET"] = CONTENT, [900_000]
    with pytest.raises(ValueError, match="cut"), connect(SLUG, Retries(limit=0.5)) as connection:
        download(connection, tmp_path / "a.zip")
    kaggle.ranges.clear()
    assert fetch(tmp_path / "a.zip", clock) == CONTENT
    assert 0 < int(kaggle.ranges[1][6:-1]) <= 900_000


def test_a_file_that_changed_meanwhile_is_downloaded_anew(kaggle, clock, tmp_path):
    kaggle.archive, kaggle.plan["GET"] = CONTENT, [900_000]
    with pytest.raises(ValueError, match="cut"), connect(SLUG, Retries(limit=0.5)) as connection:
        download(connection, tmp_path / "a.zip")
    kaggle.archive, kaggle.tag = CONTENT[::-1], '"v2"'
    assert fetch(tmp_path / "a.zip", clock) == CONTENT[::-1]


def test_a_server_that_gives_no_parts_is_asked_for_all(kaggle, clock, tmp_path):
    kaggle.archive, kaggle.plan["GET"] = CONTENT, [900_000, None, "all"]
    assert fetch(tmp_path / "a.zip", clock) == CONTENT


def test_a_download_of_the_wrong_size_is_refused_and_removed(kaggle, clock, tmp_path):
    kaggle.archive, kaggle.plan["GET"] = CONTENT, [900_000, None, "too much"]
    with pytest.raises(ValueError, match=r"[\d,]+ bytes came, and Kaggle names 1,280,000; they are removed"):
        fetch(tmp_path / "a.zip", clock)
    assert not list(tmp_path.glob("a.*"))


def test_a_file_that_is_complete_is_not_downloaded_again(kaggle, clock, tmp_path):
    kaggle.archive = CONTENT
    fetch(tmp_path / "a.zip", clock)
    before = (tmp_path / "a.zip").stat()
    assert fetch(tmp_path / "a.zip", clock) == CONTENT
    assert (tmp_path / "a.zip").stat() == before


# ---- the upload


def row_of(paths: Paths) -> tuple[str, ...]:
    (row,) = journal.read(paths)
    return tuple(row[key] for key in ("name", "note", "public", "submission_id"))


def test_an_upload_is_validated_sent_scored_and_written_into_the_journal(kaggle, imported, capsys):
    kaggle.looks = 2
    digest = file_digest(imported.submission("stack"))
    made = {"experiment": "stack", "sha256": digest, "decoder": {"decoder": "shrunk"}}
    made |= {"out_of_fold": {"metric": "f1_samples", "score": 0.88123}}
    write_json(imported.submission("stack").with_suffix(".json"), made)
    journal.append(imported, {"name": "stack", "digest": digest, "score": 0.88123, "note": "first"})
    assert main(["upload", "birds"]) == 0
    out = capsys.readouterr().out
    assert "public score 0.87654; written into history/birds/journal.csv" in out
    assert re.search(r"submissions left: 1 today, until 00:00 UTC \(in \d+ h \d+ min\)", out)
    assert kaggle.submissions[0]["description"].startswith("stack f1_samples 0.8812")
    assert list(kaggle.blobs.values()) == [imported.submission("stack").read_bytes()]
    assert row_of(imported) == ("stack", "first", "0.87654", "1000")


def test_another_experiment_and_a_file_from_elsewhere_can_be_sent(kaggle, imported, tmp_path, capsys):
    kaggle.limits["numAllowedNow"] = 9
    assert main(["upload", "birds", "EXP=words", "NOTE=only words"]) == 0
    own = imported.submission("stack").rename(tmp_path / "mine.csv")
    assert main(["upload", "birds", f"FILE={own}"]) == 0
    assert [one["fileName"] for one in kaggle.submissions] == ["mine.csv", "words.csv"]
    assert [one["description"] for one in kaggle.submissions] == ["mine.csv", "only words"]
    assert [row["name"] for row in journal.read(imported)] == ["submissions/birds/words.csv", str(own)]
    assert "there are: words; run: make upload COMP=birds EXP=words" in said(capsys, "upload", "birds")
    assert "FILE=no.csv: no such file" in said(capsys, "upload", "birds", "FILE=no.csv")
    assert "expected one of the two" in said(capsys, "upload", "birds", "FILE=a.csv", "EXP=words")


def test_a_file_that_is_no_valid_submission_is_not_sent(kaggle, imported, capsys):
    with imported.submission("stack").open("a") as file:
        csv.writer(file).writerow(["no.jpg", "1"])
    assert "5 rows, expected 4" in said(capsys, "upload", "birds")
    assert kaggle.calls == []


def test_the_word_for_the_text_is_note(kaggle, imported, capsys):
    with pytest.raises(SystemExit):
        main(["upload", "birds", "MESSAGE=first try"])
    err = capsys.readouterr().err
    assert "not expected: MESSAGE=first try; tandem upload takes NOTE=" in err
    assert 'run: make upload COMP=birds NOTE="first try"' in err


def test_without_submissions_left_nothing_is_sent_and_it_is_said_when_the_day_ends(kaggle, imported, capsys):
    kaggle.limits |= {"numAllowedNow": 0, "numToday": 5}
    message = said(capsys, "upload", "birds", "YES=1")
    assert re.search(r"submissions left: 0 today, until 00:00 UTC \(in \d+ h \d+ min\)", message)
    kaggle.limits["limitedByTotal"] = True
    assert "submissions left: 0 for good: the competition's limit" in said(capsys, "upload", "birds", "YES=1")
    assert kaggle.submissions == [] and not imported.journal.exists()


def test_a_quota_that_a_team_mate_used_meanwhile_is_told_too(kaggle, imported, capsys, monkeypatch):
    monkeypatch.setattr(upload, "doubts", lambda *_: [])
    kaggle.limits |= {"numAllowedNow": 0, "numToday": 5}
    assert "submissions left: 0 today" in said(capsys, "upload", "birds")


def test_who_has_no_team_yet_is_not_told_that_none_is_left(kaggle, imported):
    kaggle.limits = {"numToday": 0, "numTotal": 0, "numAllowedNow": 0}
    assert main(["upload", "birds"]) == 0
    assert len(kaggle.submissions) == 1


def test_the_last_submission_of_the_day_needs_a_yes(kaggle, imported, capsys, monkeypatch):
    kaggle.limits["numAllowedNow"] = 1
    message = said(capsys, "upload", "birds")
    assert "submissions left: 1 today" in message
    assert (
        "this would be the last one; to send it all the same, add YES=1; run: make upload COMP=birds YES=1" in message
    )
    for stream in ("stdin", "stdout"):
        monkeypatch.setattr(f"sys.{stream}.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda _: "n")
    assert main(["upload", "birds"]) == 2
    assert "nothing was sent" in capsys.readouterr().err
    assert kaggle.submissions == []
    monkeypatch.setattr("builtins.input", lambda _: "y")
    assert main(["upload", "birds"]) == 0
    assert len(kaggle.submissions) == 1


def test_yes_sends_the_last_one_without_a_terminal(kaggle, imported):
    kaggle.limits["numAllowedNow"] = 1
    assert main(["upload", "birds", "YES=1"]) == 0
    assert len(kaggle.submissions) == 1


def test_the_same_file_is_not_sent_again_by_mistake(kaggle, imported, capsys):
    kaggle.limits["numAllowedNow"] = 9
    assert main(["upload", "birds"]) == 0
    message = said(capsys, "upload", "birds")
    assert "the same file was sent before, as submission 1000, public score 0.87654" in message
    assert message.endswith("run: make upload COMP=birds YES=1")
    assert main(["upload", "birds", "YES=1"]) == 0
    assert [row["submission_id"] for row in journal.read(imported)] == ["1000", "1001"]


def test_a_code_competition_takes_no_file_and_the_error_says_what_to_do_instead(kaggle, imported, capsys):
    kaggle.competition["isKernelsSubmissionsOnly"] = True
    assert "it takes notebooks, no files; run: make kernel COMP=birds PUSH=1" in said(capsys, "upload", "birds")
    assert kaggle.submissions == []


@pytest.fixture
def ctrl_c():
    """SIGINT is Ctrl-C, also where the tests were started with `&`, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_stops_the_waiting_and_not_the_submission(kaggle, imported, ctrl_c, capsys):
    kaggle.looks = 1000
    kaggle.on_look = lambda: os.kill(os.getpid(), signal.SIGINT) if kaggle.looks == 997 else None
    assert main(["upload", "birds"]) == 0
    assert kaggle.looks == 997
    out = capsys.readouterr().out
    assert "no longer waiting; the submission stays at Kaggle; its score: make journal COMP=birds REMOTE=1, or " in out
    assert row_of(imported)[2:] == ("", "1000")


def test_a_connection_lost_while_waiting_is_told_apart_from_a_submission_that_was_not_sent(kaggle, imported, capsys):
    kaggle.plan["GetSubmission"] = ["cut"] * 100
    message = said(capsys, "upload", "birds")
    assert "submission 1000 stays at Kaggle, do not send it again; its score: make journal COMP=birds" in message
    assert row_of(imported)[2:] == ("", "1000")


def test_waiting_ends_by_itself_and_looks_less_and_less_often(clock):
    pending = client.Submission(1, None, "a.csv", "", "pending", "", "", "", "")
    assert upload.wait_for_score(lambda: pending, clock, clock.sleep) is None
    assert upload.PATIENCE < clock.now < upload.PATIENCE + 2 * upload.POLL_AT_MOST
    assert clock.slept[0] < clock.slept[-1] == upload.POLL_AT_MOST


def test_a_submission_that_kaggle_cannot_score_says_why(kaggle, imported, capsys):
    kaggle.scored = {"status": "ERROR", "errorDescription": "Column Labels has nulls"}
    assert "Kaggle can't score submission 1000: Column Labels has nulls" in said(capsys, "upload", "birds")
    assert row_of(imported)[2:] == ("error", "1000")


@pytest.mark.parametrize("planned", ["lost", "cut", 503, "no id"])
def test_a_submission_whose_answer_is_lost_is_made_once(kaggle, imported, planned):
    kaggle.plan["CreateSubmission"] = [planned]
    assert main(["upload", "birds"]) == 0
    assert len(kaggle.submissions) == 1
    assert row_of(imported)[3] == "1000"


def test_a_submission_that_is_answered_by_a_web_page_is_not_sent_again(kaggle, imported, capsys):
    kaggle.plan["CreateSubmission"] = ["page"]
    assert "the answer is not Kaggle's" in said(capsys, "upload", "birds")
    assert kaggle.calls.count("CreateSubmission") == 1


def test_a_file_whose_upload_is_cut_is_uploaded_again(kaggle, imported):
    kaggle.plan["PUT"] = ["cut", "cut"]
    assert main(["upload", "birds"]) == 0
    assert list(kaggle.blobs.values()) == [imported.submission("stack").read_bytes()]


# ---- lists


def test_all_submissions_are_listed_over_several_pages(kaggle):
    kaggle.submissions = [{"ref": i, "fileName": "a.csv", "publicScore": "0.5"} for i in range(250)]
    found = remote_submissions(SLUG)
    assert [one.id for one in found] == list(range(250))
    assert (found[0].status, found[0].public, found[0].private, found[0].note) == ("pending", "0.5", "", "")


def test_the_journal_joined_with_the_list_at_kaggle_has_its_scores_and_what_was_sent_from_elsewhere(
    kaggle, imported, capsys
):
    assert main(["upload", "birds", "--note", "first"]) == 0
    (row,) = journal.read(imported)
    journal.add_public_score(imported, row["digest"], "0.5", row["submission_id"])  # as it was when the waiting ended
    elsewhere = kaggle.submissions[0] | {"ref": 7, "fileName": "by_hand.csv", "publicScore": "0.25"}
    kaggle.submissions.append(elsewhere)
    capsys.readouterr()
    assert main(["journal", "birds", "REMOTE=1"]) == 0
    shown = capsys.readouterr().out
    assert "0.8765*" in shown and "by_hand.csv" in shown and "0.2500" in shown and "sent from elsewhere" in shown
    assert [row["public"] for row in journal.read(imported)] == ["0.87654"]


def test_the_leaderboard_shows_our_place_those_around_it_and_what_medals_need(kaggle, imported, capsys):
    kaggle.teams = [(f"team {i}", 0.9 - i / 1000) for i in range(1, 301)]
    kaggle.teams[139] = ("us", 0.76)
    kaggle.competition |= {"teamCount": 300, "userRank": 140}
    kaggle.submissions = [{"ref": 1, "teamName": "us"}]
    assert main(["leaderboard", "birds"]) == 0
    out = capsys.readouterr().out
    places = [int(place) for place in re.findall(r"^ +(\d+) ", out, re.MULTILINE)]
    assert places == [1, 2, 3, 10, 50, 100, 138, 139, 140, 141, 142]
    assert "place 140 of 300 (46.7%)" in out
    assert "bronze: the first 100, now 0.80000, 0.04000 from your 0.76000" in out
    assert kaggle.calls.count("GetLeaderboard") == 2, "no more pages than needed"


def test_a_medal_that_is_reached_is_said_so_and_one_without_a_place_is_left_out(kaggle, imported, capsys):
    kaggle.teams = [("us", 0.9), ("them", 0.8), ("others", 0.7)]
    kaggle.competition |= {"teamCount": 3, "userRank": 1, "awardsPoints": False}
    kaggle.submissions = [{"ref": 1, "teamName": "us"}]
    assert main(["leaderboard", "birds"]) == 0
    out = capsys.readouterr().out
    assert "bronze: the first 1, now 0.90000, reached" in out
    assert "gold: " not in out
    assert "this competition gives no medals" in out


def test_without_a_submission_the_leaderboard_says_so(kaggle, imported, capsys):
    kaggle.teams = [("them", 0.8)]
    assert main(["leaderboard", "birds"]) == 0
    assert "no score of yours is on it yet: make upload COMP=birds" in capsys.readouterr().out
