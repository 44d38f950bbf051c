"""Review: oof/C/E, build/C, folds/C.csv -> a page on 127.0.0.1 that asks about labels -> input/C/corrections.csv.

With DIFF=1 the score before the corrections and after is printed, and nothing is written.
"""

from argparse import ArgumentParser, Namespace

from tandem.artifacts.paths import Paths
from tandem.data.corrections import GivenLabels, read_corrections, summary
from tandem.data.labelled_rows import read_labelled_rows
from tandem.data.split_tables import read_given_labels
from tandem.graph.experiment_dir import Experiments
from tandem.graph.keys import STACK, read_record, reason
from tandem.report.before_corrections import compare
from tandem.report.collect import gather
from tandem.report.data_model import FocusExperiment, ReportData
from tandem.report.review_queue import questions
from tandem.runtime.wrong_values import Number
from tandem.stages._links import loading, show_link
from tandem.web.local_server import listen, serve
from tandem.web.review import make_review_app
from tandem.web.review_session import ReviewSession, next_steps


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--exp", default="", help="whose suspects and mistakes (default: the stack, else the best)")
    parser.add_argument("--port", type=Number("PORT", 0, 65535, "8000"), default=8000, help="0: one that is free")
    parser.add_argument("--open", action="store_true", help="open the page in the browser")
    parser.add_argument("--diff", action="store_true", help="print the score before the corrections and after")


def main(args: Namespace) -> None:
    paths = Paths(args.comp)
    if args.diff:
        show_difference(paths, args.exp)
        return
    with listen(args.port, "review") as listening:  # first, because the report's data take seconds to read
        loading(f"the predictions of {paths.comp}")
        session = open_session(paths, args.exp)
        left = len(session.progress()["open"])
        asked, name = len(session.questions), session.served
        print(f"{paths.comp}: {left:,} of {asked:,} labels to look at, suspects and mistakes of {name}")
        show_link(f"http://127.0.0.1:{listening.getsockname()[1]}", args.open, "  (Ctrl-C ends it)")
        serve(make_review_app(session), listening)
    print(f"\n{paths.corrections}: {summary(read_corrections(paths.corrections))}")
    for line in next_steps(paths, session.applied):
        print(f"next: {line}")


def open_session(paths: Paths, name: str = "") -> ReviewSession:
    """About the suspects and mistakes of the experiment `name`, else of the stack, else of the best; raises ValueError
    where the tables changed since they were checked, because corrections of older labels would be refused."""
    experiments = Experiments(paths)
    competition = experiments.competition  # first: where there is none, its message has the command
    data, focus = read_focused(experiments, name)
    if why := table_changed(experiments):
        raise ValueError(f"the labels here are of an older table ({why}); run: make submit COMP={paths.comp}")
    given, asked = GivenLabels(*read_given_labels(paths)), questions(data, focus)
    return ReviewSession(paths, competition, focus.name, data.train, given, focus.proba, asked)


def table_changed(experiments: Experiments) -> str:
    """What the checked tables depend on and has changed since, corrections.csv apart; "" where nothing has."""
    (checked,) = experiments.graph.task("check").artifacts
    corrections = str(experiments.paths.corrections)
    before, now = (
        {name: value for name, value in inputs.items() if name != corrections}
        for inputs in (read_record(checked.record).get("inputs", {}), checked.inputs)
    )
    return reason(before, now) if before != now else ""


def read_focused(experiments: Experiments, name: str) -> tuple[ReportData, FocusExperiment]:
    """Raises FileNotFoundError where nothing is scored, ValueError where what is scored is stale."""
    data = gather(experiments, name)
    if data.focus is None:
        one = experiments[name] if name else next(iter(experiments.scored()), experiments[STACK])
        raise ValueError(f"nothing to look at: {one.require_current().name} is of other rows; run: {one.command}")
    return data, data.focus


def show_difference(paths: Paths, name: str) -> None:
    """Raises ValueError where no corrections are applied or the predictions are older than they are."""
    experiments = Experiments(paths)
    if not experiments.competition.corrections or not paths.given_labels.exists():
        *first, last = next_steps(paths, bool(experiments.competition.corrections))
        raise ValueError(f"no corrections are applied yet; {''.join(f'{step}, then ' for step in first)}run: {last}")
    if stale := experiments.graph.task("check").stale():
        raise ValueError(f"the corrections in use are older: {stale[0][1]}; run: make submit COMP={paths.comp}")
    data, focus = read_focused(experiments, name)
    experiment = experiments[focus.name].require_current()
    for line in compare(experiment, focus.scored, read_labelled_rows(paths), data.rule):
        print(line)
