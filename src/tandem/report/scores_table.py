"""The out-of-fold table in the terminal, best first."""

from typing import Any

from rich.console import Console
from rich.table import Table

from tandem.artifacts.paths import Paths
from tandem.config.external import OTHER_FOLDS
from tandem.config.metric_names import METRIC_INFO, merit, metric_title
from tandem.graph.experiment_dir import ExperimentDir, Experiments, command_for
from tandem.report.cost import training_seconds
from tandem.report.leaks import leak_warnings
from tandem.runtime.console import make_console
from tandem.runtime.progress import print_line
from tandem.runtime.tables import Column, fitting, table_of

F_SCORES = ("f1_samples", "f1_micro", "f1_macro")
SHOWN = 40  # labels whose thresholds are printed
RANKS = {"optimism": 1, "f1_macro": 4, "map": 5, "fold_spread": 6, "log_loss": 7}  # the metric's is 0
THRESHOLD_COLUMNS = {"score": 0, "in sample": 5, "tuned by": 2, "for": 6, "in use": 4, "its score": 3, "gain": 1}
OTHERS = {"map": "mAP", "log_loss": "log loss"}  # of all competitions, besides


def show_scores(paths: Paths, decoders: bool = False) -> None:
    """Prints the table, and with `decoders` also every decoder's scores and the thresholds; raises FileNotFoundError
    where nothing is scored."""
    experiments = Experiments(paths)
    for name, why in experiments.changed.items():
        print_line(f"{name} is left out: {why}; run: {command_for(paths.comp, name)}")
    if not (rows := [_row(experiment) for experiment in experiments.scored()]):
        raise FileNotFoundError(f"nothing has been scored for {paths.comp!r}; run: make train COMP={paths.comp}")
    of_each = {row["experiment"]: row for row in rows}
    for row in rows:
        row["total_seconds"] = training_seconds(row, of_each)
    rows.sort(key=lambda row: (not row["comparable"], -merit(row)))
    console = make_console()
    console.print(_scores(paths.comp, rows, console.width))
    if decoders:
        _show_decoders(console, [row for row in rows if row["comparable"]] or rows)
    for warning in leak_warnings(experiments):
        console.print(warning, markup=False, highlight=False)


def _show_decoders(console: Console, rows: list[dict]) -> None:
    for table in _decoders(rows, console.width):
        console.print(table)
    if tuned := [row for row in rows if "thresholds" in row]:
        console.print(_thresholds(tuned, console.width))
        console.print(_each_threshold(tuned[0]), style="dim", markup=False, highlight=False)


def _row(experiment: ExperimentDir) -> dict[str, Any]:
    row = {**experiment.run, **experiment.scores, "experiment": experiment.name}
    local = (experiment.submission or {}).get("local_leaderboard") or {}
    return row | {
        "comparable": not experiment.decoder_stale_reason,
        "marks": experiment.marks,
        "local": local.get(row["metric"]),
        "beta": experiment.thresholds.get("beta", 1.0),
        "threshold_of": experiment.thresholds.get("thresholds", {}),
        "spread_of": experiment.thresholds.get("spread", {}),
    }


def columns_of(metric: str, beta: float = 1.0) -> dict[str, str]:
    """{key of scores.json: heading} of the scores that a table shows; * marks the competition's metric, which is first
    where it is none of the others.

    >>> list(columns_of("f1_micro").values())
    ['F1 per row', 'micro *', 'macro', 'optimism', '± folds', 'mAP', 'log loss']
    >>> list(columns_of("auc_macro", 2.0).values())
    ['AUC *', 'optimism', '± folds', 'F2 row', 'macro', 'mAP', 'log loss']
    """
    f = {"f1_samples": f"F{beta:g} per row", "f1_micro": "micro", "f1_macro": "macro"}
    spread, others = (
        {"optimism": "optimism", "fold_spread": "± folds"},
        {k: v for k, v in OTHERS.items() if k != metric},
    )
    if metric in F_SCORES:
        f[metric] += " *"
        return f | spread | others
    heading = METRIC_INFO[metric].column if metric in METRIC_INFO else metric
    return {metric: f"{heading} *"} | spread | {"f1_samples": f"F{beta:g} row", "f1_macro": "macro"} | others


def _scores(comp: str, rows: list[dict], width: int) -> Table:
    first = rows[0]
    less = "" if first.get("greater_is_better", True) else ", less is better"
    caption = (
        f"* {metric_title(first['metric'], first['beta'])}, the competition's metric{less}; optimism: how much better "
        "in sample than cross-fitted; seconds: of training, of a stack with its members; local: against the solution; "
        "the first is the best on these rows, so its score "
        "is slightly optimistic"
    )
    if first["metric"] not in F_SCORES:
        caption += f"; F{first['beta']:g} per row and macro: of the label sets"
    if len(stacks := [row for row in rows if "members" in row]) > 1:
        caption += "".join(f"; {row['experiment']}: the stack of {', '.join(row['members'])}" for row in stacks)
    if any(OTHER_FOLDS in row["marks"] for row in rows):
        caption += f"; {OTHER_FOLDS}: unknown, or not ours, so the cross-fitted score may be optimistic"
    if not all(row["comparable"] for row in rows):
        caption += "; †: not current, make train EXPS=NAME scores it again"
    names, styles = [], []
    keys = columns_of(first["metric"], first["beta"])
    ranks = {key: RANKS.get(key, 9) for key in keys} | {first["metric"]: 0}
    columns = [Column(heading, ranks[key]) for key, heading in keys.items()]
    columns += [Column("local", 3), Column("seconds", 2), Column("MB", 8)]
    for i, row in enumerate(rows):
        local = "" if row["local"] is None else f"{row['local']:.4f}"
        cells = [*_numbers(row, keys), local, f"{row['total_seconds']:,.0f}", f"{row['model_mb']:.1f}"]
        below = [(_name(row), cells, "" if i else "green")]
        if few := row.get("rows_without_caption"):
            own = {first["metric"]: few["score"]} | few
            below.append((f"  on {few['rows']:,} rows without a caption", _numbers(own, keys), "dim"))
        for missing, scores in row.get("without", {}).items():
            below.append((f"  without {missing}", _numbers(scores, keys), "dim"))
        for name, numbers, style in below:
            names.append(name)
            styles.append(style)
            for column, cell in zip(columns, [*numbers, "", "", ""][: len(columns)], strict=True):
                column.cells.append(cell)
    title = f"{comp}: out-of-fold scores, cross-fitted, {first['rows']:,} rows"
    return table_of(title, caption, names, fitting(columns, names, width), styles)


def _name(row: dict) -> str:
    """With its marks below it."""
    name = row["experiment"] + ("" if row["comparable"] else " †")
    return "\n".join([name, *(f"[dim]  {mark}[/]" for mark in row["marks"])])


def _numbers(row: dict, columns: dict[str, str]) -> list[str]:
    """A score that there is not, as of an experiment scored by another metric, is left empty."""
    signs = {"optimism": "+"}
    return ["" if row.get(key) is None else f"{row[key]:{signs.get(key, '')}.4f}" for key in columns]


def _decoders(rows: list[dict], width: int) -> list[Table]:
    """Every decoder's score with every experiment, and what it gains over the default one; as many tables side by side
    as the width needs."""
    first = rows[0]
    names, default = list(first["decoders"]), first.get("default_decoder", "the default")
    caption = (
        f"* in use; below: gain over {default} with its paired 95 % interval, and the score in sample. "
        f"In use is the best, or {default} where its gain may be chance, or the one that competition.toml names."
    )
    metric = first.get("decoders_for", first["metric"])
    labels = "" if metric == first["metric"] else " of label sets"
    left = [
        Column(name, i, [_cell(row["decoders"][name], row["decoder"] == name) for row in rows])
        for i, name in enumerate(names)
    ]
    experiments, styles = [_name(row) for row in rows], [""] * len(rows)
    tables: list[Table] = []
    while left:
        shown = fitting(left, experiments, width)
        left = left[len(shown) :]
        title = f"decoders: {metric}{labels}, cross-fitted" + (", continued" if tables else "")
        tables.append(table_of(title, "" if left else caption, experiments, shown, styles))
    return tables


def _cell(d: dict, used: bool) -> str:
    score = f"[green]{d['score']:.4f}*[/]" if used else f"{d['score']:.4f} "
    return f"{score}\n[dim]{_gain(d)}\nin {d['in_sample']:.4f} [/]"


def _thresholds(rows: list[dict], width: int) -> Table:
    """The score with a tuned threshold for each label, beside that of the decoder in use."""
    metric = rows[0]["thresholds"]["metric"]
    caption = "gain: over the decoder in use, with its paired 95 % interval; make submit DECODER=NAME submits by them"
    columns = [Column(heading, rank) for heading, rank in THRESHOLD_COLUMNS.items()]
    for row in rows:
        t = row["thresholds"]
        gain = f"{t['gain']:+.4f} ({t['low']:+.4f} to {t['high']:+.4f})"
        cells = (f"{t['score']:.4f}", f"{t['in_sample']:.4f}", t["by"], t["for"], t["over"], f"{t['over_score']:.4f}")
        for column, cell in zip(columns, (*cells, gain), strict=True):
            column.cells.append(cell)
    names = [_name(row) for row in rows]
    title = f"thresholds, one a label: {metric}, cross-fitted"
    return table_of(title, caption, names, fitting(columns, names, width), [""] * len(rows))


def _each_threshold(row: dict) -> str:
    """The thresholds of one experiment, of the first SHOWN labels."""
    of_each = list(row["threshold_of"].items())
    shown = [f"{name} {value:.3f}±{row['spread_of'].get(name, 0):.3f}" for name, value in of_each[:SHOWN]]
    more = f"; {len(of_each) - SHOWN:,} more in thresholds.json" if len(of_each) > SHOWN else ""
    return f"{row['experiment']}, ± standard deviation over the folds: {', '.join(shown)}{more}\n"


def _gain(d: dict) -> str:
    half = (d["high"] - d["low"]) / 2
    return f"{d['gain']:+.3f}±{half:.3f}".replace("0.", ".") if d["gain"] or half else ""
