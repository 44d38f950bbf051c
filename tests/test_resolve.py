import os
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
from tandem.stages.resolve import main

from tandem.artifacts.atomic_io import read_json, write_text
from tandem.artifacts.paths import Paths
from tandem.config.competition import Competition, to_toml
from tandem.config.experiments import load_experiment

LABELS = {"format": "separated", "column": "labels", "names": ["cat", "dog"]}
CONFIGS = {
    "both": 'kind = "head"\n[image]\n[caption]\n',
    "photo": 'kind = "head"\n[image]\n',
    "tuned": 'kind = "finetune"\n',
    "words": 'kind = "tfidf"\n',
}


def write_competition(paths: Paths, **changes) -> None:
    base = {"id": "id", "caption": "caption", "images": "data", "labels": LABELS, "most": 2}
    made = Competition.model_validate(base | {"experiments": ["both", "words"]} | changes)
    write_text(paths.competition, to_toml(made))


@pytest.fixture
def paths(tmp_path, monkeypatch) -> Paths:
    monkeypatch.chdir(tmp_path)
    paths = Paths("toy")
    for name, content in CONFIGS.items():
        write_text(paths.configs / f"{name}.toml", content)
    write_text(paths.input / "train.csv", "")
    write_competition(paths)
    return paths


def resolve() -> None:
    main(SimpleNamespace(comp="toy"))


def graph(paths: Paths) -> dict[str, list[str]]:
    """What stands behind `=` or `:` in each line, under what stands before."""
    lines = [line for line in paths.graph.read_text().splitlines() if not line.startswith("#")]
    found: dict[str, list[str]] = {}
    for line in lines:
        left, right = line.split(":=" if ":=" in line else ":", 1)
        found.setdefault(left.strip(), []).extend(right.split())
    return found


def rewritten(paths: Paths) -> list[str]:
    """Runs resolve; the names of the JSON files that it wrote anew."""
    files = sorted(paths.build.rglob("*.json"))
    for file in files:
        os.utime(file, (1000, 1000))
    resolve()
    return [file.name for file in sorted(paths.build.rglob("*.json")) if file.stat().st_mtime > 1000]


def slugs(paths: Paths, name: str) -> list[str]:
    return [e.slug for e in load_experiment(paths.configs / f"{name}.toml").encoders]


def test_an_experiment_needs_its_own_features_and_no_other(paths):
    resolve()
    image, caption = slugs(paths, "both")
    needs = graph(paths)
    assert needs["oof/toy/photo/test.parquet"] == [f"features/toy/{image}.test.npy"]
    assert needs["oof/toy/both/test.parquet"] == [f"features/toy/{e}.test.npy" for e in (image, caption)]
    assert needs["oof/toy/words/test.parquet"] == ["build/toy/test.captions.parquet"]
    assert needs["oof/toy/tuned/test.parquet"] == ["build/toy/test.images.parquet"]


def test_features_need_the_rows_of_their_kind_and_split(paths):
    resolve()
    image, caption = slugs(paths, "both")
    needs = graph(paths)
    assert needs[f"features/toy/{image}.train.npy"] == ["build/toy/train.images.parquet"]
    assert needs[f"features/toy/{caption}.test.npy"] == ["build/toy/test.captions.parquet"]


def test_a_new_test_set_retrains_nothing(paths):
    resolve()
    lines = [line for line in paths.graph.read_text().splitlines() if "/oof.parquet:" in line]
    assert len(lines) == 2 * len(CONFIGS)
    for line in lines:
        compared_with = line.split(":")[1].split("|")[0]  # what stands behind | is made first, its age ignored
        assert "test" not in compared_with


def test_the_graph_knows_all_experiments_and_the_default_ones(paths):
    resolve()
    assert graph(paths)["DEFAULT_EXPS"] == ["both", "words"]
    assert graph(paths)["KNOWN_EXPS"] == ["both", "photo", "tuned", "words"]
    assert sorted(graph(paths)["ENCODERS"]) == sorted(slugs(paths, "both"))


def test_the_ablation_is_of_the_first_default_network_that_says_why(paths):
    resolve()
    assert graph(paths)["ABLATED_EXP"] == ["fusion"]  # no default is one
    write_text(paths.configs / "seen.toml", 'kind = "fusion"\n[trunk]\n')
    write_competition(paths, experiments=["words", "seen"])
    resolve()
    assert graph(paths)["ABLATED_EXP"] == ["seen"]


def test_the_graph_names_only_input_files_that_exist(paths):
    resolve()
    assert asked_make("$(CHECK_INPUTS)") == "input/toy/train.csv"
    assert asked_make("$(SUBMIT_INPUTS)") == ""
    write_text(paths.input / "solution.csv", "")  # added later, and nothing is resolved again
    assert asked_make("$(SUBMIT_INPUTS)") == "input/toy/solution.csv"


@pytest.mark.parametrize("name", ["my train.csv", "train#1$.csv", "a,b.csv", "train[1].csv"])
def test_an_input_file_of_any_name_is_a_prerequisite(paths, name):
    write_text(paths.input / name, "")
    write_competition(paths, train=name)
    resolve()
    assert asked_make("$<", goal="$(CHECK_INPUTS)") == f"input/toy/{name}"


def asked_make(text: str, goal: str = "") -> str:
    """What make makes of the text in the recipe of a target with these prerequisites."""
    write_text(Path("asked.mk"), f"include build/toy/graph.mk\nall: {goal}\n\t@echo '{text}'\n")
    words = ["make", "--no-print-directory", "-f", "asked.mk", "all"]
    run = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


def test_every_default_is_spelled_out(paths):
    resolve()
    assert read_json(paths.experiment_config("words"))["tfidf"]["c"] == 4.0
    assert read_json(paths.folds_config) == {"n": 5, "seed": 0}
    assert read_json(paths.metric_config) == {"metric": "f1_samples", "beta": 1.0, "least": 1, "most": 2}


def test_a_comment_rewrites_nothing(paths):
    resolve()
    write_text(paths.configs / "words.toml", "# the baseline\n" + CONFIGS["words"] + "seed = 0  # the default\n")
    write_text(paths.competition, "# a comment\n" + paths.competition.read_text())
    assert rewritten(paths) == []


def test_one_changed_value_rewrites_that_experiment_alone(paths):
    resolve()
    write_text(paths.configs / "words.toml", CONFIGS["words"] + "seed = 1\n")
    assert rewritten(paths) == ["words.json"]


def test_another_metric_retrains_nothing(paths):
    resolve()
    write_competition(paths, metric="f1_macro")
    assert rewritten(paths) == ["metric.json"]


def test_another_number_of_folds_rewrites_the_folds_alone(paths):
    resolve()
    write_competition(paths, folds={"n": 3})
    assert rewritten(paths) == ["folds.json"]


def test_without_a_caption_column_experiments_that_read_captions_are_left_out(paths):
    write_competition(paths, caption=None, experiments=["photo"])
    resolve()
    assert graph(paths)["KNOWN_EXPS"] == ["photo", "tuned"]


def test_without_a_caption_column_a_default_experiment_that_reads_captions_is_an_error(paths):
    write_competition(paths, caption=None, experiments=["photo", "words"])
    with pytest.raises(ValueError, match=r"experiments \['words'\] read captions; no caption column"):
        resolve()


def test_an_experiment_without_a_file_is_an_error_that_lists_the_files(paths):
    write_competition(paths, experiments=["magic"])
    with pytest.raises(ValueError, match=r"\['magic'\] have no file in configs/; there are \['both', 'photo'"):
        resolve()


def test_the_shipped_experiments_resolve(paths):
    for path in (Path(__file__).parents[1] / "configs").glob("*.toml"):
        write_text(paths.configs / path.name, path.read_text())
    resolve()
    assert "image_lite0" in graph(paths)["KNOWN_EXPS"]


STUDENT = 'base = "join"\n[pseudo]\nteacher = "join"\n'
JOIN = 'kind = "fusion"\n[caption]\n[[frozen]]\n'


def test_a_student_needs_its_teacher_and_all_that_is_not_labelled(paths):
    write_text(paths.configs / "join.toml", JOIN)
    write_text(paths.configs / "student.toml", STUDENT)
    write_competition(paths, unlabelled="more.csv")
    resolve()
    image, caption = slugs(paths, "join")
    needs, found = graph(paths)["oof/toy/student/oof.parquet"], graph(paths)
    assert "oof/toy/join/oof.parquet" in needs
    more = {f"features/toy/{e}.{s}.npy" for e in (image, caption) for s in ("test", "unlabelled")}
    assert more <= set(needs)
    assert found[f"features/toy/{caption}.unlabelled.npy"] == ["build/toy/unlabelled.captions.parquet"]
    assert found["PSEUDO_EXPS"] == ["student"]
    assert not [n for n in found["oof/toy/join/oof.parquet"] if "unlabelled" in n]


def test_without_captions_nothing_is_left_that_learned_from_a_reader(paths):
    write_text(paths.configs / "join.toml", JOIN)
    write_text(paths.configs / "looks.toml", 'kind = "fusion"\n[[frozen]]\n[pseudo]\nteacher = "join"\n')
    write_competition(paths, caption=None, experiments=["photo"])
    resolve()
    assert graph(paths)["KNOWN_EXPS"] == ["photo", "tuned"]


@pytest.mark.parametrize(
    ("teacher", "message"), [("nobody", "there is no configs/nobody.toml"), ("student", "student <- student")]
)
def test_a_student_without_another_teacher_is_refused(paths, teacher, message):
    write_text(paths.configs / "student.toml", JOIN + f'[pseudo]\nteacher = "{teacher}"\n')
    with pytest.raises(ValueError, match=f"pseudo.teacher: {message}"):
        resolve()
