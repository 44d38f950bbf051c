"""Sets: named lists of experiments in sets.toml, wherever names of experiments are taken."""

import re
from pathlib import Path

import pytest
from checked import write_competition

from tandem.__main__ import main
from tandem.artifacts.atomic_io import write_text
from tandem.artifacts.paths import Paths
from tandem.config import toml_files
from tandem.config.competition import load_competition
from tandem.config.sets import load_sets
from tandem.data.infer_competition import infer_competition
from tandem.graph.declared_stages import Graph

ROOT = Path(__file__).parents[1]
CONFIGS = {
    "both": 'kind = "head"\n[image]\n[caption]\n',
    "photo": 'kind = "head"\n[image]\n',
    "words": 'kind = "tfidf"\n',
    "large": 'kind = "tfidf"\ntfidf = {words = 3}\n',
}
SETS = """
[first]
about = "A first look."
experiments = ["words", "photo"]
[texts]
about = "Captions alone."
experiments = ["large", "words"]
"""


@pytest.fixture
def paths(tmp_path, monkeypatch) -> Paths:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(toml_files, "packaged_configs", lambda: tmp_path / "package" / "configs")
    paths = Paths("toy")
    for name, content in CONFIGS.items():
        write_text(paths.configs / f"{name}.toml", content)
    write_text(Path("sets.toml"), SETS)
    write_competition(paths, ("cat", "dog"), experiments="first")
    return paths


def graph(paths: Paths, **changes: object) -> Graph:
    if changes:
        write_competition(paths, ("cat", "dog"), **({"experiments": "first"} | changes))
    return Graph.open(paths)


def test_a_set_stands_for_its_experiments_wherever_names_are_taken(paths):
    assert graph(paths).chosen(["texts"]) == ["large", "words"]
    assert graph(paths).goal("train", ["texts"])[:2] == ["train large", "train words"]
    assert graph(paths).members("two", ["texts", "both"]) == ["large", "words", "both"]


def test_an_experiment_of_two_sets_is_trained_once(paths):
    assert graph(paths).chosen(["first", "texts", "photo"]) == ["words", "photo", "large"]


def test_a_competition_names_a_set_or_lists_sets_and_experiments(paths):
    assert graph(paths).chosen() == ["words", "photo"]
    assert graph(paths, experiments=["texts", "both"]).chosen() == ["large", "words", "both"]
    assert graph(paths, experiments=["both", "words"]).chosen() == ["both", "words"]
    assert 'experiments = ["both", "words"]' in paths.competition.read_text()


def test_a_set_in_competition_toml_is_written_as_it_is_named(paths):
    assert load_competition(paths.competition).experiments == "first"
    assert re.search(r'^experiments = "first"$', paths.competition.read_text(), re.MULTILINE)


def test_experiments_of_a_set_that_the_competition_cannot_run_are_left_out_and_said(paths):
    there = graph(paths, caption=None)
    assert there.chosen(["first"]) == ["photo"]
    assert there.about_sets(["first"]) == ["the set first without words: this competition has no captions"]
    assert graph(paths, caption="caption").about_sets(["first"]) == []


def test_a_set_of_which_nothing_can_be_run_is_refused_with_those_that_can(paths):
    with pytest.raises(ValueError, match=r"set texts: .* none of large words; of the sets .* there are: first"):
        graph(paths, caption=None).chosen(["texts"])


def test_a_set_that_names_an_experiment_without_a_file_is_an_error_with_the_nearest_first(paths):
    write_text(Path("sets.toml"), SETS.replace('"photo"', '"phto"'))
    with pytest.raises(ValueError, match=r"sets.toml: first.experiments: phto has no file .*; there are: photo"):
        graph(paths).chosen(["first"])
    assert graph(paths).chosen(["texts"]) == ["large", "words"]


@pytest.mark.parametrize("name", ["words", "stack"])
def test_a_set_with_the_name_of_an_experiment_or_of_the_stack_is_refused(paths, name):
    write_text(Path("sets.toml"), SETS.replace("[texts]", f"[{name}]"))
    with pytest.raises(ValueError, match=rf"sets.toml: {name} is .*; rename the set"):
        graph(paths).chosen(["first"])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("about =", "abuot =", "first.abuot: unknown key"),
        ('["words", "photo"]', "[]", "first.experiments: List should have at least 1 item"),
        ('["words", "photo"]', '"words"', "first.experiments: Input should be a valid list"),
        ("[first]", "[First]", "set 'First': expected lower-case letters"),
    ],
)
def test_a_wrong_line_of_sets_toml_is_named_by_file_and_key(paths, old, new, message):
    write_text(Path("sets.toml"), SETS.replace(old, new, 1))
    with pytest.raises(ValueError, match=rf"sets.toml: {message}"):
        load_sets(paths.configs, [])


def test_a_mistyped_set_is_answered_with_the_nearest_name(paths, capsys):
    assert main(["plan", "toy", "EXPS=frist"]) == 2
    said = capsys.readouterr().err
    assert "EXPS: frist has no file in configs/" in said and "there are: first" in said
    assert said.endswith("run: make plan COMP=toy EXPS=first\n")


def test_a_mistyped_set_in_competition_toml_is_answered_with_the_nearest_name(paths):
    with pytest.raises(
        ValueError, match=r"competition.toml: experiments: \['frist'\] .* the sets \['first', 'texts'\]"
    ):
        graph(paths, experiments="frist")


def test_sets_of_the_working_folder_stand_beside_those_of_the_package(paths):
    write_text(Path("package/sets.toml"), SETS.replace("first", "quick").replace('["large", "words"]', '["both"]'))
    assert {name: one.experiments for name, one in graph(paths).sets.items()} == {
        "quick": ["words", "photo"], "first": ["words", "photo"], "texts": ["large", "words"],
    }  # fmt: skip


def test_no_experiment_of_ones_own_gets_the_name_of_a_set(paths, capsys):
    assert main(["new-model", "toy", "NAME=first"]) == 2
    assert "NAME=first: there is an experiment or a set of this name already" in capsys.readouterr().err


# ---- the project's own


def test_every_set_of_the_project_names_files_of_configs_and_says_what_it_is_for():
    files = {file.stem for file in (ROOT / "configs").glob("*.toml")}
    sets = load_sets(ROOT / "configs", files)
    assert {"quick", "default", "best", "gpu", "photos", "captions"} <= set(sets)
    assert {name: set(one.experiments) - files for name, one in sets.items()} == dict.fromkeys(sets, set())
    assert all(one.about.endswith(".") for one in sets.values())


CAPTIONED = "id,labels,text\n" + "".join(f"{i}.jpg,{('cat', 'dog')[i % 2]},a photo of it\n" for i in range(20))


@pytest.mark.parametrize(
    ("table", "photos", "found"),
    [
        (CAPTIONED, True, "default"),
        (CAPTIONED.replace(",a photo of it", ",", 3), True, ["default", "image_tuned"]),
        (CAPTIONED, False, "captions"),
        (CAPTIONED.replace(",text", "").replace(",a photo of it", ""), True, "photos"),
    ],
    ids=["captions and images", "captions are missing", "texts", "images"],
)
def test_the_import_names_the_set_that_fits_the_files(tmp_path, table, photos, found):
    write_text(tmp_path / "train.csv", table)
    for i in range(20 if photos else 0):
        write_text(tmp_path / "data" / f"{i}.jpg", "x")
    given = {"caption": "text"} if "text" in table else {}
    assert infer_competition(tmp_path, given | {"labels.column": "labels"}).values["experiments"] == found
