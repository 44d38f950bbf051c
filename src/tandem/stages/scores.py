"""Scores: oof/C/*/{scores,run}.json, submissions/C/*.json -> a table in the terminal, best first."""

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from tandem.files import read_json
from tandem.paths import Paths

COLUMNS = {"f1_samples": "samples", "f1_micro": "micro", "f1_macro": "macro"}  # F1, or F-beta


def add_arguments(parser) -> None:
    del parser


def main(args) -> None:
    paths = Paths(args.comp)
    rows = [
        _row(paths, file.parent.name) for file in sorted(paths.experiment("x").parent.glob("*/scores.json"))
    ]
    if not rows:
        raise FileNotFoundError(
            f"nothing has been scored for {args.comp!r}; run: make train COMP={args.comp}"
        )
    rows.sort(key=lambda row: -row["score"])
    _console().print(_table(args.comp, rows))


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=120)


def _row(paths: Paths, name: str) -> dict:
    row = {"experiment": name, **read_json(paths.scores(name)), **read_json(paths.run(name))}
    submission = paths.submission(name).with_suffix(".json")
    local = read_json(submission)["local_leaderboard"] if submission.exists() else None
    row["local"] = local[row["metric"]] if local else None
    return row


def _table(comp: str, rows: list[dict]) -> Table:
    metric = rows[0]["metric"]
    table = Table(box=SIMPLE_HEAD, title=f"{comp}: out-of-fold F, cross-fitted, {rows[0]['rows']:,} rows")
    table.caption = (
        "* the competition's metric; optimism: in-sample minus cross-fitted; local: against the solution"
    )
    table.add_column("experiment", style="bold", no_wrap=True)
    for key, title in COLUMNS.items():
        table.add_column(title + (" *" if key == metric else ""), justify="right", no_wrap=True)
    for title in ("optimism", "± folds", "mAP", "log loss", "local", "s", "MB"):
        table.add_column(title, justify="right", no_wrap=True)
    for i, row in enumerate(rows):
        local = "" if row["local"] is None else f"{row['local']:.4f}"
        table.add_row(
            row["experiment"],
            *(f"{row[key]:.4f}" for key in COLUMNS),
            f"{row['optimism']:+.4f}",
            f"{row['fold_spread']:.4f}",
            f"{row['map']:.4f}",
            f"{row['log_loss']:.4f}",
            local,
            f"{row['seconds']:.0f}",
            f"{row['model_mb']:.1f}",
            style="green" if i == 0 else "",
        )
    return table
