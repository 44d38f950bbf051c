"""BUDGET=: what fits is trained, what no longer fits is left out, and lines say what is left and when it ends."""

import re
import time

import pytest

from tandem.__main__ import main
from tandem.artifacts.atomic_io import read_json, write_text
from tandem.artifacts.paths import Paths
from tandem.graph.costs import Planned, chosen_for
from tandem.graph.declared_stages import Graph
from tandem.graph.task import Step, Task
from tandem.graph.units import Unit
from tandem.runtime import resources
from tandem.runtime.duration import Budget, as_budget, budget, clock, in_words
from tandem.runtime.run_progress import RunState, RunTask
from tandem.runtime.wrong_values import WrongOption, WrongValue
from tandem.stages import _costs
from tandem.stages._costs import OutOfTime, Watch, fitting

SECONDS = {"words": 60, "fast": 120, "fusion": 1200, "fusion_lite0": 1000, "large": 9000}
SETS = [["words", "fast"], ["words", "fusion", "fusion_lite0"], ["fusion", "large"]]


def chosen(seconds: float) -> list[str]:
    return chosen_for(seconds, SETS, lambda names: sum(SECONDS[name] for name in names))


@pytest.mark.parametrize(
    ("seconds", "names"),
    [
        (59, []),
        (100, ["words"]),
        (180, ["words", "fast"]),  # the smallest set
        (1500, ["words", "fast", "fusion"]),  # and of the next one what fits
        (2300, ["words", "fusion", "fusion_lite0"]),  # the next set, without what it replaces
        (20_000, ["fusion", "large"]),
    ],
)
def test_a_budget_takes_the_largest_set_that_fits_and_then_what_fits_of_the_next(seconds, names):
    assert chosen(seconds) == names


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("20m", 1200), ("1h", 3600), ("1.5h", 5400)])
def test_a_budget_is_seconds_minutes_or_hours(text, seconds):
    assert budget(text).seconds == seconds


@pytest.mark.parametrize("text", ["20", "m", "0m", "20 min", "-1h", "1h30m"])
def test_another_budget_is_refused(text):
    with pytest.raises(WrongOption, match="expected a time such as 90s, 20m or 1h"):
        budget(text)


def test_durations_are_said_in_plain_words():
    assert [in_words(s) for s in (30, 90, 7200)] == ["less than a minute", "about 2 min", "about 2.0 h"]
    assert [as_budget(s) for s in (29.2, 600, 5500)] == ["30s", "10m", "2h"]
    assert re.fullmatch(r"\d\d:\d\d", clock(0))
    assert re.fullmatch(r"\w{3} \d\d:\d\d", clock(2 * 86400))


# ---- while it runs


def made(name: str, *seconds: float) -> Planned:
    units = [Unit(f"{name} fold {i}", f"train {name}", "") for i in range(len(seconds))]
    return Planned(Step(Task(f"train {name}", "train", (), (), name), (), ""), tuple(zip(units, seconds, strict=True)))


@pytest.fixture
def clocked(monkeypatch):
    """`clocked(unit, seconds)` lets a unit of a watch run for so many seconds."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def run(watch: Watch, unit: Unit, seconds: float) -> None:
        watch.begin(unit)
        now[0] += seconds
        watch.end(unit)

    return run


def test_an_experiment_that_no_longer_fits_is_dropped_the_last_one_first(clocked):
    every = [made("words", 10, 10), made("fusion", 100, 100)]
    watch = Watch(every, ["words", "fusion"], 250)
    clocked(watch, every[0].units[0][0], 11)
    with pytest.raises(OutOfTime, match="fusion"):  # a unit takes four times what was expected
        clocked(watch, every[0].units[1][0], 40)


def test_where_leaving_out_the_last_one_is_not_enough_the_longest_is_dropped(clocked):
    every = [made("fusion", 100, 100), made("words", 10)]
    watch = Watch(every, ["fusion", "words"], 150)
    with pytest.raises(OutOfTime, match="fusion"):
        clocked(watch, every[0].units[0][0], 100)


def test_an_experiment_whose_folds_are_all_trained_stays(clocked):
    every = [made("words", 10, 10), made("fusion", 100)]
    watch = Watch(every, ["words", "fusion"], 130)
    clocked(watch, every[1].units[0][0], 100)
    with pytest.raises(OutOfTime, match="words"):
        clocked(watch, every[0].units[0][0], 300)


def test_the_only_experiment_is_never_dropped_and_a_run_in_time_drops_none(clocked):
    alone = [made("words", 10, 10)]
    clocked(Watch(alone, ["words"], 20), alone[0].units[0][0], 500)
    every = [made("words", 10, 10), made("fusion", 100, 100)]
    clocked(Watch(every, ["words", "fusion"], 250), every[0].units[0][0], 12)


def test_features_that_are_made_in_one_pass_share_its_time_and_not_that_in_which_they_wait(clocked, monkeypatch):
    monkeypatch.setenv("TANDEM_THREADS", "2")
    every = [made("small", 30), made("large", 60), made("fusion", 100, 100)]
    (small, _), (large, _) = every[0].units[0], every[1].units[0]
    watch = Watch(every, ["words", "fusion"], 1000)
    for i in range(2):  # shards of one thread, of two cores
        clocked(watch, Unit(f"shard {i} of 2", "", "", of=(small, large)), 90)
    clocked(watch, every[2].units[0][0], 100)
    clocked(watch, small, 0)
    clocked(watch, large, 0)
    assert (watch.took[small.name], watch.took[large.name]) == (30, 60)


def test_what_is_left_of_a_unit_that_is_running_is_what_it_has_not_run_yet(clocked, monkeypatch):
    monkeypatch.setenv("TANDEM_THREADS", "2")
    monkeypatch.setattr(resources, "memory_gb", lambda: 16.0)
    every = [made("words", 100, 100, 100)]
    first, second, _ = (unit for unit, _ in every[0].units)
    watch = Watch(every, ["words"], 1000)
    watch.begin(second)
    clocked(watch, first, 90)
    assert watch.left() == pytest.approx(100 * watch.factor)  # the third one; the second one ends long before
    assert watch.share() == pytest.approx((100 + 90 / watch.factor) / 300)


# ---- what is left


def state(expected: float | None = None) -> RunState:
    tasks = [RunTask("check"), RunTask("train fusion", "fusion", (0, 5)), RunTask("stack")]
    return RunState(tasks, expected)


def test_where_costs_are_known_the_time_left_is_right_from_the_start():
    run = state(1200)
    run.begin("check")
    assert run.text(1) == "check, about 20 min left"
    assert state().expected is None


def test_what_took_longer_than_expected_changes_the_time_left():
    run = state(1000)
    run.advance(0.01, 10)
    assert run.expected == pytest.approx(1000)
    run.advance(0.91, 1810)  # twice as long as expected
    assert 1900 < run.expected < 2000


def test_after_a_stage_a_line_says_what_is_done_and_left_and_when_it_ends():
    run = state(1000)
    run.begin("check")
    run.end("check")
    run.advance(0.01, 10)
    line = run.what_is_left(10)
    assert re.fullmatch(r"1 of 3 tasks done; left: fusion, stack: about 16 min, until (\w{3} )?\d\d:\d\d", line)
    run.end("train fusion")
    run.end("stack")
    assert run.what_is_left(990) == ""


# ---- commands


@pytest.fixture
def two(submitted, monkeypatch) -> Paths:
    """Two models of words, `words` trained; each fold is expected to take the same time."""
    write_text(submitted.configs / "more.toml", 'kind = "tfidf"\ntfidf = {words = 1}\n')
    monkeypatch.setattr(_costs, "WORTH_A_PROBE", 1e9)
    return submitted


def test_a_plan_says_the_minutes_of_each_task_and_of_all_and_when_it_ends(two, capsys):
    assert main(["plan", "COMP=small", "EXPS=more"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"more +new \(\d+\.\d min\)", lines[0])
    assert re.search(r"tasks would run, (about \d+ min|less than a minute) on 1 core, until \d\d:\d\d$", lines[-1])


def test_a_run_with_a_budget_prints_its_plan_first_and_trains_what_fits(two, capsys):
    assert main(["submit", "COMP=small", "EXPS=words more", "BUDGET=1h"]) == 0
    lines = capsys.readouterr().out.splitlines()
    plan = next(i for i, line in enumerate(lines) if line.startswith("submit of small with words more: "))
    assert any(line.startswith("more ") and line.endswith(" min)") for line in lines[:plan])
    assert not any("train more: 3 folds" in line for line in lines[:plan])
    assert list(read_json(two.run("stack"))["members"]) == ["words", "more"]


def test_the_seconds_of_the_probe_are_gone_from_the_budget(two, capsys, monkeypatch):
    now, real = [time.monotonic()], _costs.costs_of
    monkeypatch.setattr(_costs.time, "monotonic", lambda: now[0])

    def probed(*args, **options):
        now[0] += 16
        return real(*args, **options)

    graph = Graph.open(two)
    assert fitting(graph, "submit", ["more"], "stack", Budget("60s", 60)) == ["more"]
    monkeypatch.setattr(_costs, "costs_of", probed)
    with pytest.raises(WrongValue, match="more alone, needs") as error:
        fitting(graph, "submit", ["more"], "stack", Budget("15s", 15))
    assert Budget.of(error.value.changed["BUDGET"]).seconds > 16


def test_a_budget_that_is_too_short_for_anything_is_refused_with_one_that_is_enough(two, capsys):
    assert main(["submit", "COMP=small", "EXPS=more", "BUDGET=1s"]) == 2
    said = capsys.readouterr().err
    refused = r"BUDGET=1s: too short: .* more alone, needs (\w+); run: make submit .* EXPS=more BUDGET=\1\n"
    assert re.search(refused, said)
    assert not two.oof("more").exists()


def test_what_no_longer_fits_while_it_runs_is_left_out_of_the_stack_and_a_line_says_so(two, capsys, monkeypatch):
    late = iter([OutOfTime("more")])
    monkeypatch.setattr(Watch, "end", lambda watch, unit: (_ for _ in ()).throw(e) if (e := next(late, None)) else None)
    assert main(["stack", "COMP=small", "EXPS=words more", "STACK=both", "BUDGET=1h"]) == 0
    said = capsys.readouterr().out
    assert "more no longer fits into BUDGET=1h: left out; make train EXPS=more COMP=small continues" in said
    assert list(read_json(two.run("both"))["members"]) == ["words"]


def test_other_targets_take_no_budget(two, capsys):
    with pytest.raises(SystemExit):
        main(["features", "COMP=small", "BUDGET=1h"])
    assert "not expected: BUDGET=1h" in capsys.readouterr().err


def test_a_notebook_gives_sets_and_a_budget_too(two):
    from tandem.api import competition

    write_text(two.configs.parent / "sets.toml", '[texts]\nabout = "Captions."\nexperiments = ["words", "more"]\n')
    competition("small").stack("texts", "third", budget="1h")
    assert list(read_json(two.run("third"))["members"]) == ["words", "more"]
    with pytest.raises(ValueError, match="BUDGET=soon: expected a time such as 90s, 20m or 1h"):
        competition("small").stack("texts", "third", budget="soon")
