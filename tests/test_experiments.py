"""The experiments that a competition can train: files of configs/, teachers, competitions without captions."""

from pathlib import Path

import pytest
from checked import write_competition

from tandem.artifacts.atomic_io import write_text
from tandem.artifacts.paths import Paths
from tandem.config import toml_files
from tandem.config.experiments import Experiment
from tandem.graph.declared_stages import Graph

CONFIGS = {
    "both": 'kind = "head"\n[image]\n[caption]\n',
    "photo": 'kind = "head"\n[image]\n',
    "tuned": 'kind = "finetune"\n',
    "words": 'kind = "tfidf"\n',
}
JOIN = 'kind = "fusion"\n[caption]\n[[frozen]]\n'
STUDENT = 'base = "join"\n[pseudo]\nteacher = "join"\n'


def compete(paths: Paths, **changes: object) -> None:
    write_competition(paths, ("cat", "dog"), **({"experiments": ["both", "words"]} | changes))


@pytest.fixture
def paths(tmp_path, monkeypatch) -> Paths:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(toml_files, "packaged_configs", lambda: tmp_path / "none")  # those of the project
    paths = Paths("toy")
    for name, content in CONFIGS.items():
        write_text(paths.configs / f"{name}.toml", content)
    compete(paths)
    return paths


def experiments(paths: Paths) -> dict[str, Experiment]:
    return Graph.open(paths).experiments


def test_all_files_are_experiments_and_the_competition_names_the_default_ones(paths):
    graph = Graph.open(paths)
    assert sorted(graph.experiments) == ["both", "photo", "tuned", "words"]
    assert graph.chosen() == ["both", "words"]


def test_an_experiment_without_a_file_is_an_error_that_lists_the_files(paths):
    compete(paths, experiments=["magic"])
    with pytest.raises(ValueError, match=r"\['magic'\] have no file in configs/; there are \['both', 'photo'"):
        experiments(paths)


def test_a_chosen_experiment_without_a_file_is_an_error_that_lists_the_others(paths):
    with pytest.raises(ValueError, match=r"EXPS: magic has no file .*; there are: both photo tuned words"):
        Graph.open(paths).chosen(["photo", "magic"])


def test_without_a_caption_column_experiments_that_use_captions_are_left_out(paths):
    compete(paths, caption=None, experiments=["photo"])
    assert sorted(experiments(paths)) == ["photo", "tuned"]


def test_without_a_caption_column_a_default_experiment_that_uses_captions_is_an_error(paths):
    compete(paths, caption=None, experiments=["photo", "words"])
    with pytest.raises(ValueError, match=r"experiments \['words'\] read captions; no caption column"):
        experiments(paths)


def test_without_captions_no_experiment_is_left_whose_teacher_uses_them(paths):
    write_text(paths.configs / "join.toml", JOIN)
    write_text(paths.configs / "looks.toml", 'kind = "fusion"\n[[frozen]]\n[pseudo]\nteacher = "join"\n')
    compete(paths, caption=None, experiments=["photo"])
    assert sorted(experiments(paths)) == ["photo", "tuned"]


@pytest.mark.parametrize(
    ("teacher", "message"), [("nobody", "there is no configs/nobody.toml"), ("student", "student <- student")]
)
def test_a_student_without_another_teacher_is_an_error(paths, teacher, message):
    write_text(paths.configs / "student.toml", JOIN + f'[pseudo]\nteacher = "{teacher}"\n')
    with pytest.raises(ValueError, match=f"pseudo.teacher: {message}"):
        experiments(paths)


def test_the_experiments_that_come_with_the_project_load(paths):
    for path in (Path(__file__).parents[1] / "configs").glob("*.toml"):
        write_text(paths.configs / path.name, path.read_text())
    assert "image_lite0" in experiments(paths)


# ---- what each of them needs


def needs(paths: Paths, name: str) -> tuple[str, ...]:
    return Graph.open(paths).task(f"train {name}").needs


def slugs(paths: Paths, name: str) -> list[str]:
    return [encoder.slug for encoder in experiments(paths)[name].encoders]


def test_an_experiment_needs_its_own_features_and_no_other(paths):
    image, caption = slugs(paths, "both")
    assert needs(paths, "photo") == ("folds", f"features {image}")
    assert needs(paths, "both") == ("folds", f"features {image}", f"features {caption}")
    assert needs(paths, "words") == needs(paths, "tuned") == ("folds",)


def test_a_model_depends_on_the_training_rows_that_it_uses_and_on_no_test_row(paths):
    graph = Graph.open(paths)
    for name in CONFIGS:
        assert not [key for key in graph.fold(name, 0).inputs if "test" in key]
    assert "train captions" in graph.fold("words", 0).inputs and "train images" not in graph.fold("words", 0).inputs
    assert "train images" in graph.fold("tuned", 0).inputs and "train captions" not in graph.fold("tuned", 0).inputs


def test_features_depend_on_the_rows_of_their_kind_and_split(paths):
    graph = Graph.open(paths)
    image, caption = graph.experiments["both"].encoders
    assert "train images" in graph.features(image, "train").inputs
    assert "test captions" in graph.features(caption, "test").inputs
    assert "test images" not in graph.features(caption, "test").inputs


def test_a_student_needs_its_teacher_and_all_rows_without_labels(paths):
    write_text(paths.configs / "join.toml", JOIN)
    write_text(paths.configs / "student.toml", STUDENT)
    compete(paths, unlabelled="more.csv")
    graph = Graph.open(paths)
    assert "train join" in needs(paths, "student")
    inputs = graph.fold("student", 1).inputs
    assert inputs["teacher join"] == graph.fold("join", 1).key
    more = {f"features of {slug}, {split}" for slug in slugs(paths, "join") for split in ("test", "unlabelled")}
    assert more <= set(inputs)
    assert not [key for key in graph.fold("join", 1).inputs if "unlabelled" in key]


def test_a_stack_is_made_with_the_scores_of_its_members_which_labelling_needs(paths):
    assert {"decode both", "decode words", "stack", "decode stack"} <= set(Graph.open(paths).goal("stack"))
