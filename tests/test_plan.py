"""`make plan` on a small real competition, trained once: what would run after each kind of change, and why."""

import contextlib
import csv
import importlib
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from checked import write_competition, write_experiment
from toy import draw, tiny_backbone, tiny_sentences

from tandem.artifacts.atomic_io import write_text
from tandem.artifacts.paths import Paths
from tandem.config import method_versions
from tandem.config.encoders import CaptionEncoder, ImageEncoder
from tandem.config.experiments import HeadExperiment, TfidfExperiment
from tandem.config.training import Head, HeadTraining
from tandem.graph import declared_stages
from tandem.graph.costs import Planned
from tandem.graph.declared_stages import Graph
from tandem.graph.experiment_dir import Experiments
from tandem.graph.lock import remove_leftovers
from tandem.graph.plan import Step, carry_out
from tandem.graph.task import Task
from tandem.runtime.executor import LocalPool
from tandem.stages import _costs, clean_cache, plan

NAMES, MEMBERS = ("cat", "sky"), ["looks", "words"]
ROWS, TEST = 40, 6
SLUG_END = " train"


def looks(weights: str) -> HeadExperiment:
    image = ImageEncoder(model="test_efficientnet", weights=weights, size=32, pool="avg")
    head = Head(hidden=0, dropout=0.0, input_dropout=0.0, bags=1)
    return HeadExperiment(kind="head", image=image, head=head, train=HeadTraining(epochs=2, min_steps=0))


def write_table(file: Path, header: list[str], rows: list[list[str]]) -> None:
    with file.open("w", encoding="utf-8", newline="") as opened:
        csv.writer(opened).writerows([header, *rows])


def write_toy(paths: Paths) -> None:
    """Photos, tables, settings and weights, in the working folder; nothing is run."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, (ROWS + TEST, 2)).astype(bool)
    for i in range(ROWS + TEST):
        draw(paths.input / "data" / f"{i}.jpg", bool(y[i, 1]), i)
    captions = [f"a {'cat' if cat else 'dog'} here" for cat, _ in y]
    labels = ["|".join(n for n, has in zip(NAMES, row, strict=True) if has) for row in y]
    rows = [[f"{i}.jpg", labels[i], captions[i]] for i in range(ROWS)]
    write_table(paths.input / "train.csv", ["id", "labels", "caption"], rows)
    rows = [[f"{i}.jpg", captions[i]] for i in range(ROWS, ROWS + TEST)]
    write_table(paths.input / "test.csv", ["id", "caption"], rows)
    write_competition(paths, NAMES, least=0, experiments=MEMBERS, folds={"n": 2})
    write_experiment(paths, "looks", looks(tiny_backbone(Path("tiny.safetensors"))))
    write_experiment(paths, "words", TfidfExperiment(kind="tfidf"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A checkout in which `make submit` has been run."""
    root = tmp_path_factory.mktemp("plan")
    with contextlib.chdir(root), pytest.MonkeyPatch.context() as patch:
        patch.setenv("TANDEM_THREADS", "1")
        write_toy(Paths("toy"))
        run(Paths("toy"))
    return root


@pytest.fixture
def paths(trained, tmp_path, monkeypatch) -> Paths:
    """A copy of it to be changed; time stamps stay, so that nothing counts as touched."""
    shutil.copytree(trained, tmp_path / "copy", copy_function=shutil.copy2)
    monkeypatch.chdir(tmp_path / "copy")
    return Paths("toy")


def run(paths: Paths) -> list[str]:
    """Runs `submit`, all in this process; the names of the tasks that ran."""
    graph, ran = Graph.open(paths), []
    with LocalPool(paths, run=lambda function, *args: function(*args)) as pool:
        carry_out(graph, graph.goal("submit"), [], pool, lambda step: ran.append(step.task.name))
    return ran


def planned(paths: Paths) -> dict[str, str]:
    """Title of each task that would run, and why."""
    graph = Graph.open(paths)
    return {step.title: step.why for step in plan.make_plan(graph, graph.goal("submit"), [])}


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


AFTER_TRAINING = {"stack", "decode stack", "submit stack"}


def features(paths: Paths) -> str:
    (encoder,) = Graph.open(paths).experiments["looks"].encoders
    return f"features {encoder.slug}"


def test_a_second_run_does_nothing(paths):
    assert planned(paths) == {}
    assert run(paths) == []


def test_the_plan_is_what_runs(paths):
    edit(paths.configs / "words.toml", "c = 4.0", "c = 2.0")
    expected = set(planned(paths))
    assert {name.removeprefix("train ") for name in run(paths)} == expected
    assert planned(paths) == {}


def test_a_changed_value_retrains_that_experiment_and_names_the_value(paths):
    edit(paths.configs / "words.toml", "c = 4.0", "c = 2.0")
    found = planned(paths)
    assert found["words"] == "configs/words.toml tfidf.c 4.0 -> 2.0"
    assert set(found) == {"words", "decode words", *AFTER_TRAINING}
    assert found["stack"] == "words changed"


def test_a_changed_comment_does_nothing(paths):
    edit(paths.configs / "words.toml", "kind", "# a comment\nkind")
    edit(paths.competition, "id =", "# another\nid =")
    assert planned(paths) == {}


def test_a_touched_file_does_nothing(paths):
    for file in (paths.input / "train.csv", paths.configs / "words.toml", Path("tiny.safetensors")):
        os.utime(file)
    assert planned(paths) == {}


def test_a_touched_image_is_looked_at_again_and_nothing_else_runs(paths):
    os.utime(paths.input / "data" / "3.jpg")
    assert planned(paths) == {"check": "image files changed"}
    assert run(paths) == ["check"]
    assert planned(paths) == {}


def test_a_changed_caption_rebuilds_no_image_feature(paths):
    edit(paths.input / "train.csv", "a dog here", "a hot dog here")
    found = planned(paths)
    assert set(found) == {"check", "words", "decode words", *AFTER_TRAINING}
    assert found["check"] == "input/toy/train.csv changed"
    assert found["words"] == "train captions changed"


def test_a_changed_label_retrains_everything_on_the_same_features(paths):
    edit(paths.input / "train.csv", "0.jpg,cat|sky" if "0.jpg,cat|sky" in read_train(paths) else "0.jpg,", "0.jpg,sky")
    found = planned(paths)
    assert {"check", "folds", "looks", "words", "stack"} <= set(found)
    assert "labels changed" in found["words"]
    assert not [name for name in found if name.startswith("features")]


def read_train(paths: Paths) -> str:
    return (paths.input / "train.csv").read_text()


def test_a_changed_image_rebuilds_image_features_and_leaves_caption_models(paths):
    draw(paths.input / "data" / "3.jpg", True, seed=99)
    found = planned(paths)
    assert found[features(paths)] == "train images changed"
    assert {"check", "folds", "looks", "decode looks", *AFTER_TRAINING} <= set(found)
    assert "words" not in found


def test_a_new_test_table_retrains_nothing(paths):
    rows = (paths.input / "test.csv").read_text().splitlines(keepends=True)
    (paths.input / "test.csv").write_text("".join(rows[:-1]))
    expected = {"check", features(paths), "looks", "words", "stack", "submit stack"}
    assert set(planned(paths)) == expected
    models = {file: file.stat().st_mtime_ns for file in paths.models_dir("looks").parent.rglob("*")}
    run(paths)
    assert {file: file.stat().st_mtime_ns for file in models} == models


@pytest.mark.parametrize(
    ("file", "task"),
    [
        (lambda paths: paths.submission("stack"), "submit stack"),
        (lambda paths: paths.scores("words"), "decode words"),
        (lambda paths: paths.test("words"), "words"),
        (lambda paths: paths.oof("looks"), "looks"),
        (lambda paths: paths.folds, "folds"),
        (lambda paths: paths.model("words", 1, ".safetensors"), "words"),
        (lambda paths: paths.contributions("stack"), "stack"),
    ],
)
def test_a_deleted_output_alone_comes_back(paths, file, task):
    lost = file(paths)
    content = lost.read_bytes()
    lost.unlink()
    assert planned(paths) == {task: f"{lost} is missing"}
    run(paths)
    assert lost.read_bytes() == content


def test_replaced_weights_rebuild_the_features_made_with_them(paths):
    import torch
    from safetensors.torch import load_file, save_file

    tensors = load_file("tiny.safetensors")
    tensors["conv_stem.weight"] = torch.zeros_like(tensors["conv_stem.weight"])
    save_file(tensors, "tiny.safetensors")
    found = planned(paths)
    assert found[features(paths)] == "weights changed"
    assert set(found) == {features(paths), "looks", "decode looks", *AFTER_TRAINING}


@pytest.mark.parametrize(
    ("method", "tasks"),
    [
        ("DECODER", {"decode looks", "decode words", "decode stack", "submit stack"}),
        ("STACK", AFTER_TRAINING),
        ("TRAINER", {"looks", "decode looks", "words", "decode words", *AFTER_TRAINING}),
    ],
)
def test_a_new_method_version_makes_again_what_the_method_made(paths, monkeypatch, method, tasks):
    old = getattr(method_versions, method)
    monkeypatch.setattr(method_versions, method, old + 1)
    found = planned(paths)
    assert set(found) == tasks
    assert f"{method.lower()} version {old} -> {old + 1}" in found.values()


def test_another_metric_decodes_again_and_retrains_nothing(paths):
    edit(paths.competition, 'metric = "f1_samples"', 'metric = "f1_macro"')
    found = planned(paths)
    assert set(found) == {"decode looks", "decode words", "decode stack", "submit stack"}
    assert found["decode looks"] == "competition.toml metric 'f1_samples' -> 'f1_macro'"


def test_another_score_of_empty_rows_decodes_again(paths):
    edit(paths.competition, "zero_division = 0", "zero_division = 1")
    assert planned(paths)["decode looks"] == "competition.toml zero_division 0 -> 1"


def test_other_groups_of_near_duplicates_decode_again_and_retrain_nothing(paths):
    lines = paths.folds.read_text().splitlines()
    write_text(paths.folds, "\n".join([lines[0], *(line.rsplit(",", 1)[0] + ",0" for line in lines[1:]), ""]))
    found = planned(paths)
    assert found["decode looks"] == "groups changed" and "looks" not in found


def test_another_list_of_experiments_stacks_again_and_retrains_nothing(paths):
    write_competition(paths, NAMES, least=0, experiments=["words"], folds={"n": 2})
    found = planned(paths)
    assert set(found) == AFTER_TRAINING
    assert found["stack"] == "looks is no longer used"


def test_a_changed_number_of_folds_makes_new_folds(paths):
    edit(paths.competition, "n = 2", "n = 3")
    found = planned(paths)
    assert found["folds"] == "competition.toml folds.n 2 -> 3"
    assert {"looks", "words", "stack"} <= set(found)


def test_edited_folds_are_kept_and_retrain_everything(paths):
    edit(paths.folds, ",0,", ",1,")
    found = planned(paths)
    assert "folds" not in found
    assert found["words"] == "fold map changed"


def test_without_build_everything_is_found_again(paths):
    shutil.rmtree(paths.build)
    assert run(paths) == ["check"]


def removed(paths: Paths) -> list[str]:
    """Files that `make clean-cache` removes."""
    before = {file for file in Path().rglob("*") if file.is_file()}
    clean_cache.main(SimpleNamespace(comp=paths.comp))
    return sorted(file.name for file in before if not file.exists())


def test_results_stay_current_without_the_features_and_those_of_clean_cache_are_no_others(paths, capsys):
    slug = features(paths).removeprefix("features ")
    assert removed(paths) == [f"{slug}.test.npy", f"{slug}.train.npy"]
    assert "features/toy: 2 files removed, 0 MB free" in capsys.readouterr().out
    assert planned(paths) == {} and run(paths) == []
    assert removed(paths) == []
    assert "features/toy: nothing to remove" in capsys.readouterr().out


def test_removed_features_are_made_again_only_for_what_reads_them(paths):
    removed(paths)
    edit(paths.configs / "words.toml", "c = 4.0", "c = 2.0")
    assert set(planned(paths)) == {"words", "decode words", *AFTER_TRAINING}
    assert features(paths) not in run(paths)
    lost = paths.model("looks", 1, ".parquet")
    content = lost.read_bytes()
    lost.unlink()
    assert set(planned(paths)) == {features(paths), "looks"}
    assert set(run(paths)) == {features(paths), "train looks"}
    assert lost.read_bytes() == content
    assert {file.name.split(".")[1] for file in Path("features/toy").glob("*.npy")} == {"train"}


def test_removed_features_are_made_again_for_the_terms_of_a_head_that_are_not_pooled_yet(paths, monkeypatch):
    removed(paths)
    monkeypatch.setattr(HeadExperiment, "has_terms", property(lambda self: True))
    assert {features(paths), "looks"} <= set(planned(paths))


def test_removed_features_are_made_again_when_new_folds_ask_for_them(paths):
    removed(paths)
    edit(paths.competition, "n = 2", "n = 3")
    ran = run(paths)
    assert ran.index("folds") < ran.index(features(paths)) < ran.index("train looks")
    assert planned(paths) == {}


def test_removed_features_of_training_rows_stay_away_when_test_rows_change(paths):
    removed(paths)
    rows = (paths.input / "test.csv").read_text().splitlines(keepends=True)
    (paths.input / "test.csv").write_text("".join(rows[:-1]))
    assert {features(paths), "train looks"} <= set(run(paths))
    assert {file.name.split(".")[1] for file in Path("features/toy").glob("*.npy")} == {"test"}


def test_make_features_makes_removed_ones_again(paths):
    content = {file: file.read_bytes() for file in Path("features/toy").glob("*.npy")}
    removed(paths)
    with LocalPool(paths, run=lambda function, *args: function(*args)) as pool:
        assert carry_out(Graph.open(paths), [features(paths)], [], pool) == 1
    assert {file: file.read_bytes() for file in content} == content


def test_weights_that_are_not_here_yet_are_downloaded_before_their_features_are_computed(paths, monkeypatch):
    here, begun, known = [], [], declared_stages.weights_identity
    removed(paths)
    monkeypatch.setattr(
        declared_stages, "weights_identity", lambda *args: known(*args) if here else "hub:organisation/name@unresolved"
    )
    monkeypatch.setattr("tandem.stages.features.load_encoder", here.append)
    name = features(paths)
    with LocalPool(paths, lambda unit, node: begun.append(unit.name), lambda function, *args: function(*args)) as pool:
        assert carry_out(Graph.open(paths), [name], [], pool) == 1
    assert begun == [f"{name.removeprefix('features ')} preparation", f"{name} shard 1 of 1", name]
    assert not Graph.open(paths).task(name).stale()


def test_captions_as_one_text_and_each_by_itself_are_not_taken_for_each_other(paths):
    for table in ("train.csv", "test.csv"):
        with (paths.input / table).open(newline="") as file:
            header, *rows = csv.reader(file)
        rows = [[*row, f"{row[-1]} too"] for row in rows]
        write_table(paths.input / table, [*header[:-1], "caption1", "caption2"], rows)
    edit(paths.competition, 'caption = "caption"', 'caption = ["caption1", "caption2"]')
    caption = CaptionEncoder(model=tiny_sentences(Path("tiny")), max_tokens=8)
    for name, views in (("each", True), ("joined", False)):
        write_experiment(paths, name, HeadExperiment(kind="head", caption=caption, caption_views=views))
    graph = Graph.open(paths)
    slugs = [graph.experiments[name].encoders[0].slug for name in ("each", "joined")]
    with LocalPool(paths, run=lambda function, *args: function(*args)) as pool:
        carry_out(graph, [f"features {slug}" for slug in slugs], [], pool)
    each, joined = (np.load(paths.features(slug, "train")) for slug in slugs)
    assert each.shape[:2] == (ROWS, 2) and joined.shape[:2] == (ROWS, 1)


def test_plan_prints_a_line_a_task(paths, capsys):
    edit(paths.configs / "words.toml", "c = 4.0", "c = 2.0")
    plan.main(SimpleNamespace(comp="toy", exps="", target="submit"))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split(maxsplit=1) == ["words", "stale: configs/words.toml tfidf.c 4.0 -> 2.0 (0.1 min)"]
    assert lines[-1].startswith("submit of toy: 5 of 10 tasks would run, less than a minute on 1 core, until ")


def test_a_plan_of_what_is_not_checked_yet_says_that_its_minutes_are_rough(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_toy(Paths("toy"))
    plan.main(SimpleNamespace(comp="toy", exps="", target="submit"))
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "These minutes are rough; after make check COMP=toy a probe measures them."


def test_the_minutes_of_a_plan_stand_in_one_column():
    steps = [
        Step(Task(name, "check", ()), (), "not made yet")
        for name in ("short", "a name of forty letters and some more ones")
    ]
    lines = _costs.plan_lines([Planned(step, ()) for step in steps])
    assert [line.index(" new (0.0 min)") for line in lines] == [42, 42]


def test_data_with_errors_are_named_instead_of_a_plan(paths):
    write_text(paths.input / "train.csv", read_train(paths) + "nothere.jpg,cat,a cat\n")
    with pytest.raises(ValueError, match=r"errors? in the data; run: make check COMP=toy"):
        planned(paths)


class Killed(BaseException):
    """Stands for a kill: nothing after it runs."""


@pytest.mark.parametrize(
    ("stage", "function", "task"),
    [
        ("train", "write_json", "words"),  # before run.json
        ("stack", "write_json", "stack"),
        ("decode", "write_json", "decode looks"),  # before scores.json
        ("submit", "write_json", "submit stack"),  # after the CSV was replaced
    ],
)
def test_a_task_killed_in_mid_write_stays_stale_when_the_change_is_taken_back(
    paths, monkeypatch, stage, function, task
):
    before = paths.competition.read_text(), (paths.configs / "words.toml").read_text()
    edit(paths.configs / "words.toml", "c = 4.0", "c = 0.5")
    edit(paths.competition, "beta = 1.0", "beta = 2.0")
    module = importlib.import_module(f"tandem.stages.{stage}")

    def killed(*_):
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(module, function, killed)
        run(paths)
    paths.competition.write_text(before[0])
    (paths.configs / "words.toml").write_text(before[1])
    assert task in planned(paths)
    run(paths)
    assert planned(paths) == {}


def test_a_fold_killed_after_its_model_was_replaced_stays_stale(paths, monkeypatch):
    edit(paths.configs / "words.toml", "c = 4.0", "c = 0.5")
    content = paths.model("words", 0, ".safetensors").read_bytes()

    def killed(*_):
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr("tandem.training.fold_job.write_json", killed)
        run(paths)
    assert paths.model("words", 0, ".safetensors").read_bytes() != content
    edit(paths.configs / "words.toml", "c = 0.5", "c = 4.0")
    assert "words" in planned(paths)
    run(paths)
    assert paths.model("words", 0, ".safetensors").read_bytes() == content


def test_fewer_folds_leave_no_file_of_the_others(paths):
    edit(paths.competition, "n = 2", "n = 3")
    run(paths)
    assert paths.model("words", 2, ".safetensors").exists()
    edit(paths.competition, "n = 3", "n = 2")
    run(paths)
    assert not list(paths.models_dir("words").glob("fold2*"))


def test_half_written_files_of_a_killed_run_are_removed(paths):
    left = [paths.oof("words").with_name(".oof.parquet.123.partial"), paths.build / ".train.images.parquet.new"]
    for file in left:
        write_text(file, "")
    remove_leftovers(paths)
    assert not any(file.exists() for file in left) and paths.oof("words").exists()


def test_parts_of_features_are_removed_where_they_hold_no_rows(paths):
    whole, begun = paths.features("a", "train"), paths.features("b", "train")
    put_together = whole.with_suffix(".partial") / "key" / "0.json"
    kept = [begun.with_suffix(".partial") / "key" / name for name in ("0.json", "0.npy")]
    for file in (whole, put_together, *kept):
        write_text(file, "")
    remove_leftovers(paths)
    assert not whole.with_suffix(".partial").exists() and all(file.exists() for file in (whole, *kept))


def test_weights_whose_file_is_gone_are_a_reason_and_no_error(paths):
    Path("tiny.safetensors").unlink()
    assert planned(paths)[features(paths)] == "weights changed"
    assert Experiments(paths)["words"].stale_reason == ""
    assert (
        "weights" in Experiments(paths)["looks"].stale_reason or "features" in Experiments(paths)["looks"].stale_reason
    )


def test_the_results_are_current_from_another_folder_too(paths, monkeypatch, tmp_path):
    here = Path.cwd()
    monkeypatch.chdir(tmp_path)
    assert Experiments(Paths("toy", here))["looks"].stale_reason == ""
