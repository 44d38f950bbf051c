"""Journal: history/C/journal.csv, with REMOTE=1 the list at Kaggle -> a table in the terminal, the best marked."""

from argparse import ArgumentParser, Namespace

from tandem.artifacts import journal
from tandem.artifacts.atomic_io import read_json
from tandem.artifacts.paths import Paths
from tandem.report.journal_table import journal_table, scores_at_kaggle, with_remote
from tandem.runtime.console import make_console


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--remote", action="store_true", help="also what was sent to Kaggle from elsewhere")
    parser.add_argument("--slug", default="", help="where competition.toml has none: of its address at Kaggle")


def main(args: Namespace) -> None:
    paths = Paths(args.comp)
    rows = journal.read(paths)
    if args.remote:
        rows = joined(paths, rows, args.slug)
    if not rows:
        raise FileNotFoundError(
            f"{paths.journal}: no submission file was written yet; run: make submit COMP={paths.comp}"
        )
    console = make_console()
    console.print(journal_table(paths.comp, rows, console.width, more_is_better(paths, rows)))


def joined(paths: Paths, rows: list[journal.Row], slug: str) -> list[journal.Row]:
    """The rows joined with the list at Kaggle; scores that the journal lacks are written into it."""
    from tandem.kaggle_client.client import remote_submissions  # slow to import
    from tandem.stages._kaggle import slug_of

    sent = remote_submissions(slug_of(paths, slug))
    for one in sent:
        for row in (row for row in rows if row["submission_id"] == str(one.id)):
            if (now := scores_at_kaggle(one, row)) != {"public": row["public"], "private": row["private"]}:
                journal.add_public_score(paths, row["digest"], now["public"], one.id, now["private"])
    return with_remote(rows, sent)


def more_is_better(paths: Paths, rows: list[journal.Row]) -> bool | None:
    """As the record of the last row has it, which also knows metrics of the user's; None where there is no record."""
    for row in reversed(rows):
        file = paths.journal_record(f"{row['name']}.{row['digest']}")
        if "/" not in row["name"] and file.is_file():
            return read_json(file).get("greater_is_better", True)
    return None
