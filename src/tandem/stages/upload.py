"""Upload: submissions/C/E.csv, or FILE -> a submission at Kaggle; its id and public score in history/C/journal.csv."""

import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import tandem
from tandem.artifacts import journal
from tandem.artifacts.atomic_io import file_digest, read_json
from tandem.artifacts.paths import Paths, local_path
from tandem.config.competition import load_competition
from tandem.data.submission import expected_rows, validate_submission
from tandem.graph.keys import STACK
from tandem.kaggle_client.client import Kaggle, Quota, Submission, connect
from tandem.report.origin import commit
from tandem.runtime.progress import CLEAR, log_line, on_terminal
from tandem.runtime.wrong_values import WrongValue, unknown
from tandem.stages._kaggle import slug_of

POLL = 3.0  # seconds between two looks at a submission, at first
POLL_AT_MOST = 30.0
PATIENCE = 3600.0  # seconds


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--file", type=local_path, help="a submission file of your own")
    parser.add_argument("--exp", default="", help=f"of submissions/COMP/EXP.csv (default: {STACK})")
    parser.add_argument("--note", default="", help="shown at Kaggle; default: experiment, score and commit")
    parser.add_argument(
        "--yes", action="store_true", help="send it also where it is the last one of the day, or was sent before"
    )
    parser.add_argument("--slug", default="", help="where competition.toml has none: of its address at Kaggle")


def main(args: Namespace) -> None:
    paths = Paths(args.comp)
    competition = load_competition(paths.competition)
    slug, file = slug_of(paths, args.slug), chosen_file(paths, args.file, args.exp)
    expected = expected_rows(competition, paths.input)
    validate_submission(file, competition, expected)
    print(f"{file}: {len(expected.ids):,} rows, valid against {expected.source}", flush=True)
    digest, about = file_digest(file), made_by(file)
    note = " ".join(args.note.split()) or default_note(file, about)
    with connect(slug) as kaggle:
        per_day = open_for_files(kaggle, args.comp)
        if (reasons := doubts(paths, digest, kaggle.quota(per_day))) and not args.yes:
            confirm(reasons)
        id = kaggle.submit(file, note)
        now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}"
        row = {"time": now, "name": about.get("name", str(file)), "note": note, **about}
        journal.add_public_score(paths, digest, None, id, about=row)
        print(f'sent as submission {id}, note "{note}"', flush=True)
        made = scored(kaggle, id, per_day, args.comp)
    if made is None:
        return
    journal.add_public_score(paths, digest, "error" if made.status == "error" else made.public, id, made.private)
    if made.status == "error":
        raise ValueError(
            f"{file}: Kaggle can't score submission {id}: {made.error or 'no reason given'}; {kaggle.page}"
        )
    print(f"public score {made.public or 'not shown by this competition'}; written into {paths.journal}")


def scored(kaggle: Kaggle, id: int, per_day: int, comp: str) -> Submission | None:
    """The submission with its score; None where the user stops waiting, or it takes too long."""
    later = f"its score: make journal COMP={comp} REMOTE=1, or {kaggle.page}/submissions"
    try:
        print(kaggle.quota(per_day).about, flush=True)
        made = wait_for_score(lambda: kaggle.submission(id))
    except KeyboardInterrupt:
        made = None
    except ValueError as error:
        raise ValueError(f"submission {id} stays at Kaggle, do not send it again; {later}; now: {error}") from error
    if made is None:
        print(f"\nno longer waiting; the submission stays at Kaggle; {later}")
    return made


def chosen_file(paths: Paths, file: Path | None, exp: str) -> Path:
    """FILE=, or the submission of EXP=, by default the stack; raises WrongValue where it does not exist."""
    if file and exp:
        raise WrongValue(f"FILE={file} EXP={exp}: expected one of the two", {"EXP": ""})
    found = file or paths.submission(exp or STACK)
    if found.is_file():
        return found
    if file:
        near = sorted(str(one) for one in file.parent.glob("*.csv"))
        raise unknown("FILE", str(file), "no such file; CSV files in this folder", near)
    there = sorted(one.stem for one in found.parent.glob("*.csv") if not one.name.endswith(".unchecked.csv"))
    if not there:
        raise ValueError(f"{found} does not exist; run: make submit COMP={paths.comp}")
    raise unknown("EXP", exp or STACK, f"{found} does not exist", there)


def made_by(file: Path) -> dict[str, Any]:
    """The columns of the journal that are known of a file that `make submit` wrote; empty for any other."""
    record = file.with_suffix(".json")
    made = read_json(record) if record.exists() else {}
    if made.get("sha256") != file_digest(file) or "out_of_fold" not in made:
        return {}
    score = made["out_of_fold"]
    return {
        "name": file.stem,
        "experiments": made["experiment"],
        "decoder": made["decoder"].get("decoder", ""),
        "metric": score["metric"],
        "score": score["score"],
        "digest": made["sha256"],
        "commit": commit(Path(tandem.__file__).parent),
    }


def default_note(file: Path, about: dict[str, Any]) -> str:
    """The experiment, its cross-fitted score and the commit; the name of a file from elsewhere."""
    if not about:
        return file.name
    return f"{about['name']} {about['metric']} {about['score']:.4f} {about['commit']}".strip()


def open_for_files(kaggle: Kaggle, comp: str) -> int:
    """The submissions that the competition allows a day; raises ValueError where it takes no file."""
    about = kaggle.competition()
    if about.is_kernels_submissions_only:
        raise ValueError(
            f"{kaggle.slug} is a code competition: it takes notebooks, no files; run: make kernel COMP={comp} PUSH=1"
        )
    if about.submissions_disabled:
        raise ValueError(f"{kaggle.slug} takes no submissions (any more): {kaggle.page}")
    return about.max_daily_submissions


def doubts(paths: Paths, digest: str, quota: Quota) -> list[str]:
    """Why it may be better not to send this file; raises ValueError where none can be sent."""
    if quota.left <= 0:
        raise ValueError(quota.about)
    found = [f"{quota.about}; this would be the last one"] if quota.left == 1 else []
    for row in journal.read(paths):
        if row["digest"] == digest and row["submission_id"]:
            score = f", public score {row['public']}" if row["public"] else ""
            return [*found, f"the same file was sent before, as submission {row['submission_id']}{score}"]
    return found


def confirm(reasons: list[str]) -> None:
    """Asks in a terminal whether to send it all the same; raises WrongValue without one."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise WrongValue(f"{'; '.join(reasons)}; to send it all the same, add YES=1", {"YES": "1"})
    print("\n".join(reasons))
    if input("send it? [y/N] ").strip().lower() not in ("y", "yes"):
        raise ValueError("nothing was sent")


def wait_for_score(
    look: Callable[[], Submission],
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Submission | None:
    """The submission once it is scored, or has failed; None where that takes too long."""
    started, pause = clock(), POLL
    while (made := look()).status == "pending":
        waited = clock() - started
        if waited > PATIENCE:
            return None
        text = f"waiting for the score, {waited:.0f} s (Ctrl-C: the submission stays)"
        if on_terminal():
            print(f"\r{text}{CLEAR}", end="", file=sys.stderr, flush=True)
        else:
            log_line(text)
        sleep(pause)
        pause = min(pause * 1.5, POLL_AT_MOST)
    if on_terminal():
        print(f"\r{CLEAR}", end="", file=sys.stderr, flush=True)
    return made
