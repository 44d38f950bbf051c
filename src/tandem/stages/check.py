"""Check: input/C -> reports/C/check.json, build/C/{*.images,*.captions,train.labels}.parquet and checked.json.

Checks every row, every image and the ids of a sample submission. Only without errors are the tables written (each only
when its content changes), and last `checked.json`.
"""

from argparse import Namespace
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from tandem.artifacts.atomic_io import write_json
from tandem.artifacts.paths import Paths
from tandem.config.competition import require_competition
from tandem.config.import_record import assumed_metric
from tandem.data.check_competition import CheckedTables, check_competition, content_digests, write_checked
from tandem.data.corrections import read_corrections, summary
from tandem.data.issues import KINDS, Issue, check_report, group_by_kind
from tandem.graph.declared_stages import Graph
from tandem.graph.experiment_dir import Experiments
from tandem.graph.lock import only_run
from tandem.graph.plan import Step
from tandem.report.before_corrections import keep_before
from tandem.report.leaks import leak_warnings
from tandem.runtime.console import make_console
from tandem.stages._run import open_graph

STYLES = {"error": "bold red", "warning": "yellow", "info": "cyan"}


def main(args: Namespace) -> int:
    """Checks in any case; images that did not change are not opened again."""
    paths = Paths(args.comp)
    require_competition(args.comp)
    with only_run(paths):
        graph = open_graph(paths)
        errors = check(graph)
        graph.refreshed().task("check").keep()
    if line := assumed_metric(paths, graph.competition):
        print(line)
    for warning in leak_warnings(Experiments(paths)):
        print(warning)
    then, note = ("submit", "") if graph.competition.has_test else ("stack", " (there are no test rows)")
    print(not_ready(paths, errors) if errors else f"ready: make {then} COMP={args.comp}{note}")
    return int(errors > 0)


def run(paths: Paths, step: Step) -> None:
    """Raises ValueError where the data hold errors."""
    del step
    if errors := check(Graph.open(paths)):
        raise ValueError(not_ready(paths, errors))


def not_ready(paths: Paths, errors: int) -> str:
    return f"not ready: {errors:,} error{'s' * (errors > 1)} to correct; then: make check COMP={paths.comp}"


def check(graph: Graph) -> int:
    """Prints and writes what the check finds; the number of errors."""
    paths = graph.paths
    paths.checked.unlink(missing_ok=True)
    (artifact,) = graph.task("check").artifacts
    checked = check_competition(graph.competition, paths.input, paths.scan_cache)
    show(paths, checked)
    if not checked.n_errors:
        if graph.competition.corrections:
            print(f"{paths.corrections}: {summary(read_corrections(paths.corrections))}")
            keep_before(Experiments(paths), content_digests(checked)["given.labels"])
        write_checked(paths, checked)
        write_json(paths.checked, artifact.made_from)
    return checked.n_errors


def show(paths: Paths, checked: CheckedTables) -> None:
    """Stores the report and prints a line for each kind of issue."""
    write_json(paths.check_report, check_report(checked.issues, checked.rows))
    if checked.issues:
        make_console().print(problem_table(checked.issues))
    looked = f"{checked.n_images:,} images, {checked.n_opened:,} of them new"
    if checked.n_opened:
        looked += f" ({checked.n_opened / checked.seconds:,.0f} img/s)"
    if not checked.n_images:
        looked = "text only" if checked.images else "no image was read"
    rows = " + ".join(f"{n:,}" for n in checked.rows.values()) + " rows"
    print(f"{rows}, {looked}; details: {paths.check_report}")


def problem_table(issues: Sequence[Issue]) -> Table:
    """A line for each kind: severity, number, the first of them, what to do."""
    table = Table(show_lines=True)
    for name in ("problem", "severity", "count", "first of them", "what to do"):
        table.add_column(name, justify="right" if name == "count" else "left", overflow="fold")
    for kind, (first, *others) in group_by_kind(issues).items():
        severity, text = KINDS[kind].severity, Text(f"{first.place}\n{first.message:.200}")
        cells = Text(kind, STYLES[severity]), Text(severity, STYLES[severity]), f"{1 + len(others):,}", text
        table.add_row(*cells, KINDS[kind].advice)
    return table
