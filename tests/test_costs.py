"""What a run is expected to take: rates by records, by what was kept, or roughly; a schedule over the cores."""

import os
import socket
import time

import numpy as np
import pytest
from checked import write_experiment

from tandem.artifacts.atomic_io import read_json, write_json
from tandem.config.encoders import CaptionEncoder, ImageEncoder
from tandem.config.experiments import FusionExperiment, HeadExperiment, TfidfExperiment
from tandem.config.training import FusionTraining, HeadTraining
from tandem.graph.costs import (
    SPEED,
    START,
    Costs,
    Planned,
    Sizes,
    encoded,
    epochs,
    keep_rates,
    known_rates,
    planned,
    simulate,
    sizes_of,
    trained_fold,
)
from tandem.graph.declared_stages import Graph
from tandem.graph.plan import steps
from tandem.graph.task import Step, Task
from tandem.graph.units import Unit
from tandem.stages._costs import measured_rates
from tandem.training.probe import without_downloads

SIZES = Sizes({"train": 1000, "test": 200}, labels=10, folds=5)
WORDS = TfidfExperiment(kind="tfidf")


def step(name: str, needs: tuple[str, ...] = ()) -> Step:
    return Step(Task(name, "decode", (), needs), (), "new")


def made(name: str, *seconds: float, needs: tuple[str, ...] = (), threads: int = 1) -> Planned:
    """A step with a unit for each number of seconds."""
    units = [Unit(f"{name} {i}", name, "", threads=threads) for i in range(len(seconds))]
    return Planned(step(name, needs), tuple(zip(units, seconds, strict=True)))


def test_units_of_one_task_run_on_all_cores():
    assert simulate([made("a", 10, 10, 10, 10, 10)], cores=2, most=8) == 30
    assert simulate([made("a", 10, 10, 10, 10, 10)], cores=8, most=8) == 10
    assert simulate([made("a", 10, 10, 10, 10)], cores=8, most=2) == 20  # memory for two processes


def test_the_next_task_begins_beside_the_last_fold_of_another():
    assert simulate([made("a", 10, 10, 10), made("b", 10)], cores=2, most=8) == 20


def test_a_task_waits_for_those_that_it_needs():
    every = [made("a", 10), made("b", 5, needs=("a",)), made("c", 1, needs=("b", "not stale"))]
    assert simulate(every, cores=4, most=8) == 16


def test_a_unit_of_two_threads_leaves_no_core_for_another():
    assert simulate([made("a", 10, threads=2), made("b", 10)], cores=2, most=8) == 20


def test_nothing_takes_no_time():
    assert simulate([], cores=2, most=8) == 0


def test_twice_the_rows_or_the_epochs_are_twice_the_work():
    head = HeadExperiment(kind="head", image=ImageEncoder(), train=HeadTraining(epochs=10, min_steps=0))
    more = HeadExperiment(kind="head", image=ImageEncoder(), train=HeadTraining(epochs=20, min_steps=0))
    assert trained_fold("a", head, SIZES).amount == 800 * 10
    assert trained_fold("a", more, SIZES).amount == 800 * 20
    assert trained_fold("a", head, Sizes({"train": 2000}, 10, 5)).amount == 1600 * 10
    assert trained_fold("a", WORDS, SIZES).amount == 800 * 10  # rows x labels


def test_few_rows_are_trained_for_more_epochs():
    few = HeadExperiment(kind="head", image=ImageEncoder(), train=HeadTraining(epochs=10, min_steps=100, batch=256))
    assert epochs(few, 512) == 50 and epochs(few, 25600) == 10


def test_large_images_and_mirrored_ones_cost_more():
    small = encoded(ImageEncoder(size=224), 100)
    assert encoded(ImageEncoder(size=448), 100).rough == pytest.approx(4 * small.rough)
    assert encoded(ImageEncoder(size=224, mirror=True), 100).rough == 2 * small.rough
    assert encoded(CaptionEncoder(), 100).rough < small.rough


def test_another_seed_has_the_rate_of_the_first_and_other_settings_have_not():
    one = FusionExperiment(kind="fusion", caption=CaptionEncoder())
    other = FusionExperiment(kind="fusion", caption=CaptionEncoder(), train=FusionTraining(batch=32))
    assert trained_fold("a", one.model_copy(update={"seed": 7}), SIZES).key == trained_fold("a", one, SIZES).key
    assert trained_fold("a", other, SIZES).key != trained_fold("a", one, SIZES).key


def test_a_known_rate_counts_and_the_others_are_scaled_by_the_speed_of_the_machine():
    work = trained_fold("a", WORDS, SIZES)
    assert Costs(SIZES, {work.key: 0.5}).rate(work) == 0.5
    assert Costs(SIZES, {SPEED: 3.0}).rate(work) == pytest.approx(3 * work.rough)


# ---- a competition that was trained


@pytest.fixture
def graph(submitted) -> Graph:
    """Of a competition with one trained experiment, `words`."""
    return Graph.open(submitted)


def test_folds_that_were_trained_say_how_long_the_next_ones_take(graph):
    sizes, record = sizes_of(graph), read_json(graph.paths.model("words", 0, ".json"))
    assert record["rows"] == sum(k != 0 for k in _folds(graph))
    work = trained_fold("words", graph.experiments["words"], sizes)
    rates = known_rates(graph, sizes, ["words"])
    folds = [read_json(graph.paths.model("words", k, ".json"))["seconds"] for k in graph.fold_numbers]
    assert 0 < rates[work.key] * work.amount <= max(folds) + 0.01


def test_seconds_of_folds_that_had_several_threads_are_those_of_so_many_cores(graph):
    sizes = sizes_of(graph)
    key = trained_fold("words", graph.experiments["words"], sizes).key
    one = known_rates(graph, sizes, ["words"])[key]
    for k in graph.fold_numbers:
        record = graph.paths.model("words", k, ".json")
        assert read_json(record)["threads"] == 1
        write_json(record, read_json(record) | {"threads": 3})
    assert known_rates(graph, sizes, ["words"])[key] == pytest.approx(3 * one)


@pytest.mark.parametrize("heavy", [True, False])
def test_what_a_stage_took_is_what_it_is_expected_to_take_next_time(heavy):
    one = Step(Task("folds", "folds", (), heavy=heavy), (), "new")
    unit = Unit("folds", "folds", "", threads=2)
    rates = measured_rates([Planned(one, ((unit, 1.0),))], Costs(SIZES, {}), {"folds": 40.0})
    assert Costs(SIZES, rates).of(unit, one) == pytest.approx(40)


def test_on_a_gpu_a_network_is_probed_as_it_runs_with_all_cores(graph, monkeypatch):
    from tandem.training import probe

    def seconds(*_: object) -> float:
        return 1.0 if os.environ["TANDEM_THREADS"] == "8" else -1.0

    encoder = CaptionEncoder()
    write_experiment(graph.paths, "head", HeadExperiment(kind="head", caption=encoder))
    graph = Graph.open(graph.paths)
    monkeypatch.setenv("TANDEM_THREADS", "8")
    monkeypatch.setattr(probe, "has_gpu", lambda: True)
    monkeypatch.setattr(probe, "fit", seconds)
    monkeypatch.setattr(probe, "encode", lambda *_: (np.zeros((1, 1, 1)), seconds()))
    rates = probe.probe(graph.paths, ["words", "head"], [], time.monotonic() + 60)
    keys = [trained_fold(name, graph.experiments[name], sizes_of(graph)).key for name in ("words", "head")]
    assert [rates[key] for key in (*keys, encoder.slug)] == [1, 8, 8]  # TF-IDF does not compute on a GPU


def _folds(graph: Graph) -> list[int]:
    lines = graph.paths.folds.read_text().splitlines()[1:]
    return [int(line.split(",")[1]) for line in lines]


def test_every_stage_of_a_run_is_kept_for_the_next_plan(graph):
    assert {"check", "folds", "decode", "submit"} <= set(read_json(graph.paths.costs)["rates"])


def test_what_another_machine_took_does_not_count(graph):
    keep_rates(graph.paths, {"stack": 1.0})
    assert known_rates(graph, sizes_of(graph), [])["stack"] == 1.0
    text = graph.paths.costs.read_text()
    graph.paths.costs.write_text(text.replace(read_json(graph.paths.costs)["key"], "another"))
    assert known_rates(graph, sizes_of(graph), []) == {}


def test_each_stale_unit_is_priced(graph):
    graph.paths.folds.unlink()
    graph = graph.refreshed()
    found = steps(graph, graph.goal("submit"))
    every = planned(found, Costs(sizes_of(graph), {}))
    (words,) = (one for one in every if one.step.task.name == "train words")
    assert [unit.name for unit, _ in words.units][-1] == "words predictions"
    assert all(seconds >= START for _, seconds in words.units)


def test_the_rows_of_tables_that_are_not_checked_yet_are_their_lines(graph):
    checked = sizes_of(graph)
    graph.paths.labels.unlink()
    graph.paths.images("train").unlink()
    assert sizes_of(graph.refreshed()).rows["train"] == checked.rows["train"]


def test_a_probe_takes_weights_of_a_hub_from_this_machine_alone(monkeypatch):
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    asked = []
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *about, **more: asked.append(about))
    with without_downloads(), pytest.raises(LocalEntryNotFoundError):
        hf_hub_download("nobody/nothing", "config.json")
    assert not asked and constants.HF_HUB_OFFLINE is False
