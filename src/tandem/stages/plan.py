"""Plan: every file that the graph knows -> what would run, and why, in the terminal; runs nothing."""

from argparse import ArgumentParser, Namespace

from tandem.artifacts.atomic_io import digest
from tandem.artifacts.paths import Paths
from tandem.data.caption_rows import join_captions
from tandem.data.check_competition import CheckedTables, check_competition, content_digests
from tandem.data.folds import fold_map_digest, make_folds
from tandem.data.split_tables import read_captions, read_given_labels, read_images, read_own_folds
from tandem.graph.costs import planned
from tandem.graph.declared_stages import Graph
from tandem.graph.keys import STACK
from tandem.graph.plan import Step, steps
from tandem.graph.sources import joined
from tandem.stages._costs import about, costs_of, fitting, plan_lines
from tandem.stages._run import open_graph


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--target", default="submit", help="the make target to plan (default: submit)")


def main(args: Namespace) -> None:
    paths, names, stack = Paths(args.comp), args.exps.split(), getattr(args, "stack", STACK)
    graph = open_graph(paths)
    if budget := getattr(args, "budget", None):
        names = fitting(graph, args.target, names, stack, budget)
        print(f"BUDGET={budget.text}: {' '.join(names)}")
    goals = graph.goal(args.target, names, stack)
    for line in graph.about_sets(names):
        print(line)
    found, whole = make_plan(graph, goals, names), len(graph.tasks(goals, names))
    every = planned(found, costs_of(graph, found, probe=True))
    for line in plan_lines(every):
        print(line)
    count = f"{args.target} of {args.comp}: {len(found)} of {whole} tasks would run, {about(every)}"
    print(count if found else "Nothing to be done.")
    if found and not paths.labels.exists():  # nothing to probe with
        print(f"These minutes are rough; after make check COMP={args.comp} a probe measures them.")
    graph.sources.cache.save()


def make_plan(graph: Graph, goals: list[str], names: list[str]) -> list[Step]:
    """All tasks that would run for these goals.

    Results of a stale check and stale folds are computed first, without writing them: an experiment is listed only
    where something that it reads really changes.
    """
    assumed = assumed_digests(graph)
    return steps(graph.refreshed(assumed) if assumed else graph, goals, names)


def assumed_digests(graph: Graph) -> dict[str, str]:
    """The digests of tables and folds as a run would write them; empty where nothing was checked before."""
    paths, competition = graph.paths, graph.competition
    if not (paths.labels.exists() and paths.folds_record.exists()):
        return {}
    checked = None
    check_again = bool(graph.task("check").stale())
    if not check_again and not graph.task("folds").stale():
        return {}
    if check_again:
        checked = check_competition(competition, paths.input, paths.scan_cache)
        if checked.n_errors:
            raise ValueError(f"{checked.n_errors} errors in the data; run: make check COMP={paths.comp}")
        digests, images, own = content_digests(checked), checked.images["train"], checked.own_folds
        y = (checked.given or checked).y
    else:
        tables = [f"{split}.{kind}" for split in competition.splits for kind in ("images", "captions")]
        digests = {
            name: graph.sources.table(name)
            for name in [*tables, "train.labels", "given.labels", "train.folds", "extra.labels", "extra.links"]
        }
        images, y = read_images(paths.images("train")), read_given_labels(paths)[2]
        own = read_own_folds(paths.own_folds)
    digests |= {"labelled rows": str(len(y))}
    sources = graph.sources
    folds = {"fold map": sources.fold_map, "groups": sources.groups, "fold numbers": joined(sources.fold_numbers)}
    if graph.refreshed(digests | folds).task("folds").stale():
        n, seed = competition.folds.n, competition.folds.seed
        texts = None if competition.images else train_texts(paths, checked)
        fold, group = make_folds(y, images["hash"], images["sha"], n, seed, competition.duplicates, own, texts)
        folds = {"fold map": fold_map_digest(images["id"], fold.tolist()), "fold numbers": joined(fold.tolist())}
        folds |= {"groups": digest(group.tolist())}
    return digests | folds


def train_texts(paths: Paths, checked: CheckedTables | None) -> list[str]:
    """(n,) captions of the training rows, of a check that is not written yet or of the last one."""
    if checked is None:
        return read_captions(paths.captions("train"))[1]
    return list(map(join_captions, checked.captions["train"]))
