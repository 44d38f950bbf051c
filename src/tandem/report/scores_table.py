"""The out-of-fold table in the terminal, best first."""

from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from tandem.artifacts.paths import Paths
from tandem.graph.experiment_dir import ExperimentDir, Experiments
from tandem.runtime.console import make_console

COLUMNS = {"f1_samples": "samples", "f1_micro": "micro", "f1_macro": "macro"}  # F1, or F-beta


def show_scores(paths: Paths) -> None:
    """Prints the table; raises FileNotFoundError where nothing is scored."""
    rows = [_row(experiment) for experiment in Experiments(paths).scored()]
    if not rows:
        raise FileNotFoundError(f"nothing has been scored for {paths.comp!r}; run: make train COMP={paths.comp}")
    rows.sort(key=lambda row: (not row["comparable"], -row["score"]))
    console = make_console()
    console.print(_table(paths.comp, rows))
    console.print(_decoders([row for row in rows if row["comparable"]] or rows))


def _row(experiment: ExperimentDir) -> dict[str, Any]:
    row = {**experiment.run, **experiment.scores, "experiment": experiment.name}
    local = (experiment.submission or {}).get("local_leaderboard")
    row["comparable"] = not experiment.undecoded
    row["local"] = local.get(row["metric"]) if local else None
    return row


def _table(comp: str, rows: list[dict]) -> Table:
    metric = rows[0]["metric"]
    table = Table(box=SIMPLE_HEAD, title=f"{comp}: out-of-fold F, cross-fitted, {rows[0]['rows']:,} rows")
    table.caption = "* the competition's metric; optimism: in-sample minus cross-fitted; local: against the solution"
    if not all(row["comparable"] for row in rows):
        table.caption += "; †: scored by another metric, until make train EXPS=its name"
    table.add_column("experiment", style="bold", no_wrap=True)
    for key, title in COLUMNS.items():
        table.add_column(title + (" *" if key == metric else ""), justify="right", no_wrap=True)
    for title in ("optimism", "± folds", "mAP", "log loss", "local", "s", "MB"):
        table.add_column(title, justify="right", no_wrap=True)
    for i, row in enumerate(rows):
        local = "" if row["local"] is None else f"{row['local']:.4f}"
        cost = (f"{row['seconds']:.0f}", f"{row['model_mb']:.1f}")
        style = "green" if i == 0 else ""
        name = row["experiment"] + ("" if row["comparable"] else " †")
        table.add_row(name, *_numbers(row), local, *cost, style=style)
        for missing, scores in row.get("without", {}).items():
            table.add_row(f"  without {missing}", *_numbers(scores), style="dim")
    return table


def _numbers(row: dict) -> list[str]:
    f = [f"{row[key]:.4f}" for key in COLUMNS]
    return [*f, f"{row['optimism']:+.4f}", *(f"{row[key]:.4f}" for key in ("fold_spread", "map", "log_loss"))]


def _decoders(rows: list[dict]) -> Table:
    """Every decoder's score with every experiment, and what it gains over the default one."""
    names, stays = list(rows[0]["decoders"]), rows[0].get("default_decoder", "the default")
    table = Table(box=SIMPLE_HEAD, title=f"decoders: {rows[0]['metric']}, cross-fitted")
    table.caption = (
        f"* in use; below: gain over {stays} with its paired 95 % interval, and the score in sample. "
        f"In use is the best, or {stays} where its gain may be chance."
    )
    table.add_column("experiment", style="bold", no_wrap=True)
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(row["experiment"], *(_cell(row, name) for name in names))
    return table


def _cell(row: dict, name: str) -> str:
    d = row["decoders"][name]
    chosen = row["decoder"] == name
    half = (d["high"] - d["low"]) / 2
    gain = f"{d['gain']:+.3f}±{half:.3f}".replace("0.", ".") if d["gain"] or half else ""
    score = f"[green]{d['score']:.4f}*[/]" if chosen else f"{d['score']:.4f} "
    return f"{score}\n[dim]{gain}\nin {d['in_sample']:.4f} [/]"
