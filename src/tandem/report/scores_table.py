"""The out-of-fold table in the terminal, best first."""

from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from tandem.artifacts.paths import Paths
from tandem.graph.experiment_dir import ExperimentDir, Experiments
from tandem.runtime.console import make_console

COLUMNS = {"f1_samples": "per row", "f1_micro": "micro", "f1_macro": "macro"}  # F1, or F-beta


def show_scores(paths: Paths) -> None:
    """Prints the table; raises FileNotFoundError where nothing is scored."""
    if not (rows := [_row(experiment) for experiment in Experiments(paths).scored()]):
        raise FileNotFoundError(f"nothing has been scored for {paths.comp!r}; run: make train COMP={paths.comp}")
    rows.sort(key=lambda row: (not row["comparable"], -row["score"]))
    console = make_console()
    console.print(_scores(paths.comp, rows))
    console.print(_decoders([row for row in rows if row["comparable"]] or rows))


def _row(experiment: ExperimentDir) -> dict[str, Any]:
    row = {**experiment.run, **experiment.scores, "experiment": experiment.name}
    local = (experiment.submission or {}).get("local_leaderboard")
    return row | {"comparable": not experiment.decoder_stale_reason, "local": local[row["metric"]] if local else None}


def _table(title: str, caption: str, *columns: str) -> Table:
    table = Table(box=SIMPLE_HEAD, title=title, caption=caption)
    table.add_column("experiment", style="bold", no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _scores(comp: str, rows: list[dict]) -> Table:
    caption = (
        "* the competition's metric; optimism: in-sample minus cross-fitted; local: against the solution; the first "
        "is the best on these rows, so its score is slightly optimistic"
    )
    if not all(row["comparable"] for row in rows):
        caption += "; †: not current, make train EXPS=NAME scores it again"
    metrics = [title + (" *" if key == rows[0]["metric"] else "") for key, title in COLUMNS.items()]
    title = f"{comp}: out-of-fold F, cross-fitted, {rows[0]['rows']:,} rows"
    table = _table(title, caption, *metrics, "optimism", "± folds", "mAP", "log loss", "local", "s", "MB")
    for i, row in enumerate(rows):
        local = "" if row["local"] is None else f"{row['local']:.4f}"
        cost = (f"{row['seconds']:.0f}", f"{row['model_mb']:.1f}")
        name = row["experiment"] + ("" if row["comparable"] else " †")
        table.add_row(name, *_numbers(row), local, *cost, style="" if i else "green")
        if few := row.get("rows_without_caption"):
            title = f"  on {few['rows']:,} rows without a caption"
            table.add_row(title, *(f"{few[key]:.4f}" for key in COLUMNS), style="dim")
        for missing, scores in row.get("without", {}).items():
            table.add_row(f"  without {missing}", *_numbers(scores), style="dim")
    return table


def _numbers(row: dict) -> list[str]:
    signs = dict.fromkeys(COLUMNS, "") | {"optimism": "+", "fold_spread": "", "map": "", "log_loss": ""}
    return [f"{row[key]:{sign}.4f}" for key, sign in signs.items()]


def _decoders(rows: list[dict]) -> Table:
    """Every decoder's score with every experiment, and what it gains over the default one."""
    names, default = list(rows[0]["decoders"]), rows[0].get("default_decoder", "the default")
    caption = (
        f"* in use; below: gain over {default} with its paired 95 % interval, and the score in sample. "
        f"In use is the best, or {default} where its gain may be chance."
    )
    table = _table(f"decoders: {rows[0]['metric']}, cross-fitted", caption, *names)
    for row in rows:
        table.add_row(row["experiment"], *(_cell(row, name) for name in names))
    return table


def _cell(row: dict, name: str) -> str:
    d = row["decoders"][name]
    half = (d["high"] - d["low"]) / 2
    gain = f"{d['gain']:+.3f}±{half:.3f}".replace("0.", ".") if d["gain"] or half else ""
    score = f"[green]{d['score']:.4f}*[/]" if row["decoder"] == name else f"{d['score']:.4f} "
    return f"{score}\n[dim]{gain}\nin {d['in_sample']:.4f} [/]"
