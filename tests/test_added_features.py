import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from checked import run_tasks, train
from drawn_competition import build, check_and_split, labels
from numpy.lib.format import write_array_header_1_0

from tandem.__main__ import main
from tandem.artifacts.atomic_io import csv_text, read_json, write_text
from tandem.artifacts.paths import Paths
from tandem.artifacts.predictions import Predictions
from tandem.config.experiments import FusionExperiment, make_experiment
from tandem.data.added_features import read_added, read_joints, write_added
from tandem.data.split_tables import read_labels
from tandem.data.user_table import match_ids
from tandem.graph.declared_stages import Graph
from tandem.graph.plan import step_of
from tandem.models.registry import make_model

HEAD = """kind = "head"
features = ["clip"]
head = {hidden = 0, bags = 1, input_dropout = 0.0}
train = {epochs = 30, lr = 0.05}
"""


@pytest.fixture
def small(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return build()


def rows():
    """(ids, values) of the training rows, then the test rows."""
    ids = [f"{i}.jpg" for i in range(30)] + [f"t{i}.jpg" for i in range(6)]
    return ids, np.array([[i, (i * 7) % 5] for i in range(36)], np.float32)


def write_csv(file, ids, values, columns=("a", "b")):
    write_text(file, csv_text(["id", *columns], *([id, *row] for id, row in zip(ids, values.tolist(), strict=True))))
    return file


def add(file, *more, name="clip"):
    return main(["add-features", "small", f"FILE={file}", f"NAME={name}", *more])


def stored(split="train"):
    paths = Paths("small")
    ids = read_json(paths.added_features("clip") / f"{split}.ids.json")
    return read_added(paths, "clip", split, ids)[:, 0]


def test_parquet_npy_and_csv_give_the_same_features_in_the_order_of_the_tables(small, tmp_path, capsys):
    ids, values = rows()
    order = np.random.default_rng(0).permutation(36)
    shuffled, mixed = [ids[i].removesuffix(".jpg") for i in order], values[order]
    assert add(write_csv(tmp_path / "clip.csv", shuffled, mixed)) == 0
    assert stored().tolist() == values[:30].tolist() and stored("test").tolist() == values[30:].tolist()
    pq.write_table(pa.table({"id": shuffled, "a": mixed[:, 0], "b": mixed[:, 1]}), tmp_path / "clip.parquet")
    assert add(tmp_path / "clip.parquet") == 0
    assert "these features are there already" in capsys.readouterr().out
    np.save(tmp_path / "clip.npy", mixed)
    write_text(tmp_path / "ids.txt", "\n".join(shuffled) + "\n")
    assert add(tmp_path / "clip.npy", f"IDS={tmp_path / 'ids.txt'}", "AGAIN=1") == 0
    assert stored().tolist() == values[:30].tolist()
    pq.write_table(pa.table({"id": shuffled, "embedding": mixed.tolist()}), tmp_path / "lists.parquet")
    assert add(tmp_path / "lists.parquet", "AGAIN=1") == 0
    assert stored("test").tolist() == values[30:].tolist()


def test_a_file_for_each_split_and_ids_beside_an_array(small, tmp_path):
    ids, values = rows()
    np.save(tmp_path / "train.npy", values[:30])
    np.save(tmp_path / "test.npy", values[30:])
    write_text(tmp_path / "train.ids.json", json.dumps(ids[:30]))
    write_text(tmp_path / "test.ids.csv", csv_text(["id"], *([id] for id in ids[30:])))
    files = [f"TRAIN={tmp_path / 'train.npy'}", f"TEST={tmp_path / 'test.npy'}"]
    assert main(["add-features", "small", *files, "NAME=clip"]) == 0
    assert stored("test").tolist() == values[30:].tolist()
    assert main(["add-features", "small", files[0], "NAME=other"]) == 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda ids, x: (ids[1:], x[1:]), "1 of 30 ids of train are missing, first: '0.jpg'"),
        (lambda ids, x: ([*ids, "9x.jpg"], [*x, x[0]]), "clip.csv: line 38: 1 ids are in no table of the competition"),
        (lambda ids, x: ([*ids, ids[3]], [*x, x[0]]), "clip.csv: line 38: id '3.jpg' is also in line 5"),
        (
            lambda ids, x: (ids, [*x[:4], ["nan", 1], *x[5:]]),
            "clip.csv: line 6: column 'a' of id '4.jpg' holds nothing or nan",
        ),
        (lambda ids, x: (ids, [*x[:4], ["1e99", 1], *x[5:]]), "clip.csv: line 6: column 'a' of id '4.jpg' holds 1e+99"),
        (
            lambda ids, x: (ids, [*x[:4], ["red", 1], *x[5:]]),
            "clip.csv: line 6: column 'a' holds 'red'; expected a number",
        ),
    ],
)
def test_a_refused_file_is_named_with_its_line_and_nothing_is_written(small, tmp_path, capsys, change, said):
    ids, values = rows()
    ids, x = change(ids, values.tolist())
    write_text(tmp_path / "clip.csv", csv_text(["id", "a", "b"], *([id, *row] for id, row in zip(ids, x, strict=True))))
    assert add(tmp_path / "clip.csv") == 2
    assert said in capsys.readouterr().err
    assert not small.added_features("clip").exists()


def test_an_array_of_objects_or_of_three_dimensions_or_without_ids_is_refused(small, tmp_path, capsys):
    np.save(tmp_path / "a.npy", np.array([{"x": 1}] * 36, object))
    np.save(tmp_path / "b.npy", np.zeros((36, 2, 2)))
    np.save(tmp_path / "c.npy", np.zeros((36, 2)))
    for file, said in (("a", "not an array of numbers"), ("b", "(36, 2, 2)"), ("c", "the ids of its rows are missing")):
        assert add(tmp_path / f"{file}.npy") == 2
        assert said in capsys.readouterr().err


def test_several_arrays_and_a_header_that_claims_terabytes_are_refused(small, tmp_path, capsys):
    with (tmp_path / "several.npy").open("wb") as file:
        np.savez(file, a=np.zeros((36, 2)))
    with (tmp_path / "huge.npy").open("wb") as file:
        write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (10**11, 100)})
    for file, said in (("several", "holds several arrays"), ("huge", "not an array of numbers")):
        assert add(tmp_path / f"{file}.npy") == 2
        assert said in capsys.readouterr().err


def test_files_of_the_data_that_are_called_as_ours_are_no_features(small):
    write_text(small.input / "features" / "clip" / "features.json", '{"type": "FeatureCollection"}')
    assert read_joints(small) == {}
    with pytest.raises(ValueError, match=r"features '../../elsewhere': expected lower-case"):
        make_experiment({"kind": "head", "features": ["../../elsewhere"]}, small.configs / "mine.toml")


def test_other_features_of_a_name_need_again_and_make_what_reads_them_stale(small, tmp_path, capsys):
    ids, values = rows()
    check_and_split(small)
    write_text(small.configs / "mine.toml", HEAD)
    assert add(write_csv(tmp_path / "clip.csv", ids, values)) == 0
    train(small, "mine")
    assert Graph.open(small).fold("mine", 0).stale_reason() == ""
    write_csv(tmp_path / "clip.csv", ids, values * [1, -2])
    assert add(tmp_path / "clip.csv") == 2
    assert "AGAIN=1 replaces them" in capsys.readouterr().err
    assert Graph.open(small).fold("mine", 0).stale_reason() == ""
    assert add(tmp_path / "clip.csv", "AGAIN=1") == 0
    assert Graph.open(small).fold("mine", 0).stale_reason() == "added features clip, train changed"
    assert step_of(Graph.open(small).task("train mine")) is not None


def test_a_head_on_added_features_learns_from_them_and_says_that_it_labels_no_new_images(small, tmp_path, capsys):
    check_and_split(small)
    ids, _, y, _ = read_labels(small.labels)
    every = [*ids, *(f"t{i}.jpg" for i in range(6))]
    told = np.concatenate([y, np.zeros((6, 2))]) * 1e6 + 5e6  # also beyond the range of float16
    write_csv(tmp_path / "clip.csv", every, np.column_stack([told, np.ones(36)]), ("cat", "sky", "one"))
    assert add(tmp_path / "clip.csv", "READS=image") == 0
    assert "warning: 1 of 3 columns are the same in every training row: one" in capsys.readouterr().out
    write_text(small.configs / "mine.toml", HEAD)
    train(small, "mine")
    proba = Predictions.read(small.oof("mine")).aligned_to(ids)
    assert ((proba > 0.5) == y).all()
    assert read_json(small.run("mine"))["config"]["features"] == [{"name": "clip", "reads": "image"}]
    assert Graph.open(small).experiments["mine"].reads == {"image"}
    assert main(["predict", "small", "EXP=mine", f"IMAGES={small.input / 'data'}", f"OUT={tmp_path / 'out.csv'}"]) == 2
    error = capsys.readouterr().err
    assert "'mine' can't label new images" in error and "'clip'" in error
    run_tasks(small, "submit mine")
    assert small.submission("mine").exists()


def test_an_experiment_whose_features_were_not_added_says_how_to_add_them(small, capsys):
    write_text(small.configs / "mine.toml", HEAD)
    assert main(["train", "small", "EXPS=mine"]) == 2
    assert "make add-features COMP=small FILE=clip.parquet NAME=clip" in capsys.readouterr().err


def test_kinds_that_read_no_features_say_so(tmp_path):
    for kind in ("tfidf", "finetune"):
        with pytest.raises(ValueError, match="features = .'clip'.: it reads"):
            make_experiment({"kind": kind, "features": ["clip"]}, tmp_path / "a.toml")
    assert "features" not in make_experiment({"kind": "tfidf"}, tmp_path / "a.toml").model_dump()


def test_fusion_puts_added_features_where_they_were_computed_from():
    """Image features among the frozen ones, caption features beside the captions, joint ones in the term of both."""
    from tandem.models.base import TrainingRun
    from tandem.models.inputs import Inputs

    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, (64, 3)).astype(np.uint8)
    columns = {name: y[:, [j]][:, None].astype(np.float32) for j, name in enumerate(("seen", "said", "joint"))}
    reads = (("seen", "image"), ("said", "caption"), ("joint", "both"))
    config = {"hidden": 8, "rank": 2, "dropout": 0.0, "input_dropout": 0.0, "heads": 1, "modality_dropout": 0.0}
    values = {"kind": "fusion", "features": [{"name": name, "reads": of} for name, of in reads], "fusion": config}
    cfg = FusionExperiment.model_validate(values | {"train": {"epochs": 30, "batch": 16, "min_steps": 0, "lr": 0.02}})
    inputs = Inputs([str(i) for i in range(64)], columns)
    model = make_model(cfg, 3)
    model.fit(inputs, y, TrainingRun(0))
    terms = model.predict_terms(inputs)["both"]
    assert ((model.predict_proba(inputs) > 0.5) == y).all()
    apart = [terms[y[:, j] == 1, j].mean(0) - terms[y[:, j] == 0, j].mean(0) for j in range(3)]
    assert [part.argmax() for part in apart] == [0, 1, 2]  # image, caption, both
    assert cfg.reads == {"image", "caption"} and not cfg.labels_new_images
    with pytest.raises(ValueError, match="needs a .trunk."):
        FusionExperiment.model_validate({"kind": "fusion", "features": ["clip"]})


def test_ids_are_matched_with_and_without_a_suffix_only_where_it_is_certain():
    assert match_ids(["1", "2.png"], ["1.jpg", "2.jpg"]) == {"1.jpg": 0, "2.jpg": 1}
    assert match_ids(["1"], ["1.jpg", "1.png"]) == {}
    assert match_ids(["1.jpg", "1.png"], ["1.png"]) == {"1.png": 1}


MINE = '''
import numpy as np
from safetensors.numpy import load_file, save_file


class Rate:
    """Predicts a label where the feature of its number is positive."""

    inputs = {"features": ["clip"]}

    def __init__(self, n_labels):
        self.n_labels = n_labels

    def fit(self, inputs, y, run):
        assert inputs.features["clip"].shape == (len(y), 1, 2)
        return []

    def predict_proba(self, inputs):
        return (inputs.matrix("clip") > 0).astype(np.float32)

    def save(self, path):
        save_file({"none": np.zeros(1)}, path)

    def load(self, path):
        return self
'''


def test_a_custom_model_finds_added_features_by_their_name(small, tmp_path):
    check_and_split(small)
    ids, values = rows()
    assert add(write_csv(tmp_path / "clip.csv", ids, values - 2)) == 0
    write_text(small.root / "my_rate.py", MINE)
    write_text(small.configs / "mine.toml", 'kind = "custom"\nmodel = "my_rate.py:Rate"\n')
    train(small, "mine")
    assert Predictions.read(small.oof("mine")).aligned_to(["0.jpg", "6.jpg"]).tolist() == [[0, 0], [1, 0]]


def test_a_stack_with_such_a_member_labels_new_images_by_the_stack_of_the_others(
    trained, tmp_path, monkeypatch, capsys
):
    import shutil

    import toy

    from tandem.ensemble import fit_stack
    from tandem.graph.experiment_dir import Experiments
    from tandem.inference.labeler import Labeler

    shutil.copytree(trained.root, tmp_path / "toy")
    monkeypatch.chdir(tmp_path / "toy")
    monkeypatch.setattr(fit_stack, "choose", toy.keep_learned)
    paths = Paths("toy")
    ids, _, y, _ = read_labels(paths.labels)
    test = [f"{i}.jpg" for i in range(toy.N, toy.N + toy.TEST)]
    noisy = np.concatenate([y, np.zeros((toy.TEST, 2))]) + np.random.default_rng(0).normal(
        0, 0.5, (toy.N + toy.TEST, 2)
    )
    values = {"train": noisy[: toy.N].astype(np.float32), "test": noisy[toy.N :].astype(np.float32)}
    write_added(paths, "clip", {"train": ids, "test": test}, values, {"reads": "image", "digest": ""})
    write_text(paths.configs / "mine.toml", HEAD)
    train(paths, "mine")
    run_tasks(paths, "stack", "decode stack", members=(*toy.MEMBERS, "mine"))
    stack = Experiments(paths)["stack"]
    assert stack.unable == ["mine"] and "without mine" in stack.about_new_images
    labeler = Labeler.of(paths)
    assert [member.name for member in labeler.predictor.members] == toy.MEMBERS
    (found,) = labeler.label([paths.input / "data" / "0.jpg"], ["a cat"])
    assert found.proba
    assert all(one.name != "mine" for one in (labeler.no_caption.members if labeler.no_caption else []))


def test_a_column_that_was_made_from_a_label_is_named_with_the_label(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    build(60)
    ids = [f"{i}.jpg" for i in range(60)] + [f"t{i}.jpg" for i in range(6)]
    cat = labels(66)[:, 0]
    values = np.stack([np.random.default_rng(0).normal(size=66), 2 - cat], 1)
    file = write_csv(tmp_path / "clip.csv", ids, values)
    assert add(file) == 0
    (warning,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("warning"))
    assert warning.startswith("warning: column b nearly equals label 'cat' (in 100.0 % of the rows)")
