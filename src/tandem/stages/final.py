"""Final: history/C, oof/C, submissions/C -> printed: the two files to choose for the end, and why."""

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from tandem.artifacts import journal
from tandem.artifacts.atomic_io import file_digest
from tandem.artifacts.paths import Paths
from tandem.config.competition import require_competition
from tandem.runtime.console import make_console
from tandem.runtime.tables import Column, fitting, table_of
from tandem.stages._links import loading

if TYPE_CHECKING:
    from tandem.report.final_choice import Candidate


def main(args: Namespace) -> None:
    require_competition(args.comp)
    loading(f"the predictions of {args.comp}")
    from tandem.data.labelled_rows import read_labelled_rows
    from tandem.decoding import Rule
    from tandem.graph.experiment_dir import Experiments
    from tandem.report.final_choice import candidates, choose_two, sides

    paths = Paths(args.comp)
    experiments = Experiments(paths)
    given, gone = sides(experiments)
    if not given:
        raise FileNotFoundError(f"no submission file with out-of-fold predictions; run: make submit COMP={args.comp}")
    rule = Rule.of(experiments.competition, paths.input)
    found = candidates(experiments, given, read_labelled_rows(paths), rule)
    first, second, why = choose_two(found)
    console = make_console()
    console.print(table(found, rule.title, {id(one) for one in (first, second)}, console.width))
    if gone:
        print(f"left out, their files are gone or were made elsewhere: {', '.join(gone)}")
    chosen = [one.side for one in (first, second) if one]
    sent = at_kaggle(journal.read(paths), [one.submission for one in chosen])
    print(f"1. {first.side.submission}: {first.side.title}: the best cross-fitted score, {first.score:.4f}{sent[0]}")
    if second is None:
        print(f"2. none: {why}; another model makes one: make submit COMP={args.comp} EXPS=NAME")
    else:
        low, high = second.gain.low, second.gain.high
        interval = f"{second.gain.gain:+.4f} against it, paired 95 % interval {low:+.4f} to {high:+.4f}"
        print(f"2. {second.side.submission}: {second.side.title}: {second.score:.4f}, {interval}; {why}{sent[1]}")
    for one in (one for one, known in zip(chosen, sent, strict=True) if not known):
        print(f"not sent yet: make upload COMP={args.comp} FILE={one.submission}")
    print(f"next: choose {'both' if second else 'it'} on the competition's page of submissions")


def at_kaggle(rows: Sequence[journal.Row], files: Sequence[Path | None]) -> list[str]:
    """What the journal knows of each file at Kaggle; "" where it was not sent."""
    sent = {
        row["digest"]: f"; submission {row['submission_id']}, public score {row['public'] or 'unknown'}"
        for row in rows
        if row["submission_id"]
    }
    return [sent.get(file_digest(file), "") if file else "" for file in files]


def table(found: "Sequence[Candidate]", metric: str, chosen: set[int], width: int) -> Table:
    names = [escape(one.side.title) for one in found]
    gains = [f"{one.gain.gain:+.4f} ({one.gain.low:+.4f} to {one.gain.high:+.4f})" for one in found]
    columns = [
        Column("score", 0, [f"{one.score:.4f}" for one in found]),
        Column("against the best, paired 95 %", 2, gains),
        Column("correlation", 1, [f"{one.correlation:.3f}" for one in found]),
        Column("within noise", 3, ["yes" if one.may_be_as_good else "no" for one in found]),
    ]
    styles = ["green" if id(one) in chosen else "" for one in found]
    caption = f"score: {metric}, cross-fitted; correlation: of the out-of-fold errors with those of the best"
    return table_of("submission files", caption, names, fitting(columns, names, width), styles, "submission")
