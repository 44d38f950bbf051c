import tomllib
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tandem.artifacts.atomic_io import read_json, write_json
from tandem.artifacts.paths import Paths
from tandem.config.competition import Competition, DecoderName, load_competition, to_toml
from tandem.config.encoders import CaptionEncoder, ImageEncoder
from tandem.config.experiments import FusionExperiment, HeadExperiment, located, make_experiment
from tandem.config.load_experiments import load_experiment
from tandem.decoding import DECODERS

CONFIGS = sorted((Path(__file__).parents[1] / "configs").glob("*.toml"))
text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)


def competition(**changes) -> Competition:
    labels = {"format": "separated", "column": "labels", "names": ["cat", "dog"]}
    return Competition.model_validate(
        {"id": "id", "images": "data", "labels": labels, "most": 2, "experiments": ["a"]} | changes
    )


def write(path: Path, content: str) -> Path:
    path.write_text(content, encoding="utf-8")
    return path


@settings(max_examples=100, deadline=None)
@given(id=text, caption=st.none() | text, names=st.lists(text, min_size=2, max_size=4, unique=True))
def test_any_names_survive_competition_toml(id, caption, names):
    made = competition(id=id, caption=caption, labels={"format": "columns", "names": names})
    assert Competition.model_validate(tomllib.loads(to_toml(made))) == made


def test_quotes_and_backslashes_survive_the_file(tmp_path):
    names = ['say "hi"', "back\\slash", "größe", "two\nlines", "a # b"]
    made = competition(
        labels={"format": "separated", "column": 'the "labels"', "separator": "|", "names": names},
        beta=2.0,
        metric="f1_macro",
        least=0,
        folds={"n": 3, "seed": 7},
    )
    assert load_competition(write(tmp_path / "competition.toml", to_toml(made))) == made


def refused(tmp_path, old: str, new: str) -> str:
    content = to_toml(competition())
    assert old in content
    with pytest.raises(ValueError) as caught:
        load_competition(write(tmp_path / "competition.toml", content.replace(old, new)))
    return str(caught.value)


def test_an_unknown_key_of_a_competition_is_named(tmp_path):
    message = refused(tmp_path, "least = 1", "least = 1\nlaest = 1")
    assert message == f"{tmp_path}/competition.toml: laest: unknown key"


def test_a_wrong_type_is_named_with_the_value(tmp_path):
    message = refused(tmp_path, "n = 5", 'n = "five"')
    assert "folds.n" in message and "integer" in message and "'five'" in message


@pytest.mark.parametrize("path", ["../secrets", "/etc", "data/../../x", "data\\\\x"])
def test_a_path_that_leaves_the_folder_is_refused(tmp_path, path):
    assert "is outside the competition's folder" in refused(tmp_path, 'images = "data"', f'images = "{path}"')


def test_repeated_label_names_are_refused(tmp_path):
    assert "repeated: ['cat']" in refused(tmp_path, '["cat", "dog"]', '["cat", "dog", "cat"]')


def test_a_label_that_holds_the_separator_is_refused(tmp_path):
    assert "'hot dog' contains the separator" in refused(tmp_path, '"dog"', '"hot dog"')


def test_bounds_that_contradict_each_other_are_refused(tmp_path):
    assert "expected least <= most <= 2 labels" in refused(tmp_path, "most = 2", "most = 3")


def test_an_empty_row_scores_zero_or_one(tmp_path):
    message = refused(tmp_path, "zero_division = 0", "zero_division = 2")
    assert "zero_division: Input should be 0 or 1, got 2" in message


def test_broken_toml_is_named(tmp_path):
    assert "competition.toml: not valid TOML" in refused(tmp_path, "most = 2", "most = ")


def test_a_missing_competition_is_an_error_with_the_import_command(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"run: make import ZIP=birds.zip COMP=birds"):
        load_competition(tmp_path / "birds" / "competition.toml")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_shipped_experiment_loads_and_survives_run_json(path, tmp_path):
    experiment = load_experiment(path)
    write_json(tmp_path / "run.json", {"config": experiment.model_dump()})
    assert make_experiment(read_json(tmp_path / "run.json")["config"], path) == experiment
    assert experiment.reads <= {"image", "caption"} and experiment.reads


@pytest.mark.parametrize(
    ("name", "reads", "reads_rows", "image_size", "image_sizes", "needs_captions"),
    [
        ("fusion", {"image", "caption"}, set(), None, {448}, False),
        ("concat", {"image", "caption"}, set(), None, {224}, True),
        ("text_tfidf", {"caption"}, {"caption"}, None, set(), True),
        ("image_lite0_finetune", {"image"}, {"image"}, 64, {64}, False),
    ],
)
def test_an_experiment_knows_what_it_reads(name, reads, reads_rows, image_size, image_sizes, needs_captions):
    found = load_experiment(CONFIGS[0].with_name(f"{name}.toml"))
    assert (found.reads, found.reads_rows, found.image_size) == (reads, reads_rows, image_size)
    assert (found.image_sizes, found.needs_captions) == (image_sizes, needs_captions)


def test_weights_below_a_folder_are_named_by_their_whole_path(tmp_path):
    (tmp_path / "w.safetensors").touch()
    image, caption = ImageEncoder(weights="w.safetensors"), CaptionEncoder(model="elsewhere")
    found = located(HeadExperiment(kind="head", image=image, caption=caption), tmp_path)
    assert (found.image.weights, found.caption.model) == (str(tmp_path / "w.safetensors"), "elsewhere")


def test_an_unknown_key_of_an_experiment_is_named_with_its_file(tmp_path):
    path = write(tmp_path / "bad.toml", 'kind = "head"\n[image]\n[train]\nepoch = 3\n')
    with pytest.raises(ValueError, match=r"bad\.toml: head\.train\.epoch: unknown key"):
        load_experiment(path)


def test_an_unknown_kind_lists_the_known_ones(tmp_path):
    with pytest.raises(ValueError, match=r"bad\.toml.*'head', 'fusion', 'finetune', 'tfidf'"):
        load_experiment(write(tmp_path / "bad.toml", 'kind = "magic"\n'))


def test_a_value_out_of_range_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"bad\.toml: tfidf\.tfidf\.words: .*got 9"):
        load_experiment(write(tmp_path / "bad.toml", 'kind = "tfidf"\n[tfidf]\nwords = 9\n'))


def test_a_head_without_an_encoder_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"needs an \[image\] section"):
        load_experiment(write(tmp_path / "bad.toml", 'kind = "head"\n'))


@pytest.mark.parametrize("name", ["Upper", "with space", ".hidden"])
def test_a_name_that_is_no_safe_folder_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match="expected lower-case letters"):
        load_experiment(write(tmp_path / f"{name}.toml", 'kind = "tfidf"\n'))
    with pytest.raises(ValueError, match="expected lower-case letters"):
        Paths(name)


@pytest.mark.parametrize("change", [{"size": 256}, {"pool": "avg"}, {"mirror": True}, {"weights": "a.safetensors"}])
def test_another_setting_of_an_image_encoder_is_another_file_of_features(change):
    assert ImageEncoder(**change).slug != ImageEncoder().slug


def test_slugs_are_safe_file_names():
    slug = CaptionEncoder(model="BAAI/bge-large-en-v1.5", max_tokens=32).slug
    assert slug.startswith("bge-large-en-v1-5-32-") and "/" not in slug
    assert slug != CaptionEncoder(model="other/bge-large-en-v1.5", max_tokens=32).slug


def test_a_file_lists_only_what_differs_from_its_base(tmp_path):
    (tmp_path / "join.toml").write_text('kind = "fusion"\n[caption]\n[fusion]\nrank = 7\nheads = 1\n')
    (tmp_path / "plain.toml").write_text('base = "join"\n[fusion]\nhow = "concat"\nheads = 3\n')
    made = load_experiment(tmp_path / "plain.toml").fusion
    assert (made.how, made.rank, made.heads) == ("concat", 7, 3)


@pytest.mark.parametrize(("base", "message"), [("none", "there is no file"), ("a", "comes back to a.toml")])
def test_a_base_that_is_missing_or_circular_is_refused(tmp_path, base, message):
    (tmp_path / "a.toml").write_text(f'base = "{base}"\n')
    with pytest.raises(ValueError, match=rf"a\.toml: base: {message}"):
        load_experiment(tmp_path / "a.toml")


@pytest.mark.parametrize("tune", ["", "blocks.5"])
def test_flip_decides_for_a_trunk_from_pixels_and_from_cached_maps(tune):
    def of(**trunk: object) -> FusionExperiment:
        values = {"kind": "fusion", "trunk": {"tune": tune, **trunk}, "augment": {"flip": False}}
        return FusionExperiment.model_validate(values)

    assert not of().trunk.mirror and not of(mirror=False).mirrors
    with pytest.raises(ValueError, match=r"augment.flip = false, but mirror = true in \[trunk\]"):
        of(mirror=True)


@pytest.mark.parametrize("metric", ["auc_makro", "f2", "samples"])
def test_an_unknown_metric_is_refused_with_the_names_there_are(tmp_path, metric):
    file = tmp_path / "competition.toml"
    file.write_text(METRIC_TOML.replace("f1_samples", metric))
    with pytest.raises(
        ValueError, match="metric: .*expected one of f1_samples, f1_micro, f1_macro, .*log_loss, or my_me"
    ):
        load_competition(file)


@pytest.mark.parametrize("beta", ["2", "2.0"])
def test_beta_may_be_a_whole_number(tmp_path, beta):
    file = tmp_path / "competition.toml"
    file.write_text(METRIC_TOML.replace("[labels]", f"beta = {beta}\n[labels]"))
    assert load_competition(file).beta == 2.0


def test_a_decoder_is_one_of_those_there_are(tmp_path):
    assert set(get_args(DecoderName)) == {"auto", *DECODERS}
    file = tmp_path / "competition.toml"
    file.write_text(METRIC_TOML.replace("[labels]", 'decoder = "shrunk"\n[labels]'))
    assert load_competition(file).decoder == "shrunk"
    file.write_text(METRIC_TOML.replace("[labels]", 'decoder = "best"\n[labels]'))
    with pytest.raises(ValueError, match="decoder: .*'shrunk'"):
        load_competition(file)


METRIC_TOML = """
id = "id"
images = "data"
metric = "f1_samples"
most = 2
experiments = ["a"]
[labels]
format = "columns"
names = ["cat", "dog"]
"""
