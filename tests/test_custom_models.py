"""Models of the user's: a file my_*.py and a TOML file are all that an experiment needs."""

import contextlib
import json
import py_compile
import re
import shutil
import sys
from pathlib import Path

import drawn_competition
import numpy as np
import pytest
import toy
from checked import run_tasks, train
from test_labeler import pipeline_rows, probabilities

from tandem import Labeler
from tandem.__main__ import main
from tandem.artifacts.atomic_io import read_json
from tandem.artifacts.paths import Paths
from tandem.artifacts.predictions import Predictions
from tandem.bundling.bundle_writer import write_bundle, write_zip
from tandem.config.code_loader import load_module
from tandem.config.custom import CustomExperiment
from tandem.config.experiments import make_experiment
from tandem.config.load_experiments import load_experiment
from tandem.config.own_code import SESSION, code_files
from tandem.config.training import Augment
from tandem.config.trusted_code import code_digest
from tandem.ensemble import fit_stack
from tandem.graph.declared_stages import Graph
from tandem.graph.experiment_dir import Experiments
from tandem.graph.plan import step_of
from tandem.inference.bundle_reader import open_bundle
from tandem.models.augmenter import Augmenter
from tandem.models.base import Model, TrainingRun
from tandem.models.inputs import Inputs
from tandem.models.losses import make_loss
from tandem.models.own_functions import own_sampler
from tandem.models.registry import make_model, register
from tandem.report.collect import gather
from tandem.report.page import build
from tandem.stages.new_model import model_files

GUIDE = Path(__file__).parents[1] / "docs" / "your-own-model.md"
# the features that `looks` and `join` of the toy competition read, so that nothing is computed again
SECTIONS = """
image = {model = "test_efficientnet", weights = "tiny.safetensors", size = 32, pool = "avg"}
"""

RATES = """
import numpy as np
from safetensors.numpy import load_file, save_file
from my_helpers import rate

class Rates:
    inputs = {"captions": True}
    def __init__(self, n_labels, shift=0.0):
        self.shift = shift
    def fit(self, inputs, y, run):
        self.rates = rate(y) + self.shift
    def predict_proba(self, inputs):
        return np.tile(self.rates, (len(inputs), 1))
    def save(self, path):
        save_file({"rates": self.rates}, path)
    def load(self, path):
        self.rates = load_file(path)["rates"]
        return self
"""
HELPERS = "def rate(y):\n    return y.mean(0)\n"


def page_code(name: str) -> str:
    """The code of the page that begins with the name of its file."""
    blocks = re.findall(r"^```python\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    (found,) = [block for block in blocks if block.startswith(f"# {name}\n")]
    return found


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A working folder with configs/mine.toml and my_models.py, of a class that predicts the rate of each label."""
    monkeypatch.chdir(tmp_path)
    write_model(RATES, "Rates")
    Path("my_helpers.py").write_text(HELPERS)
    return tmp_path


def write_model(code: str, name: str, more: str = "") -> None:
    Path("configs").mkdir(exist_ok=True)
    Path("configs/mine.toml").write_text(f'kind = "custom"\nmodel = "my_models.py:{name}"\n{more}')
    Path("my_models.py").write_text(code)


@pytest.fixture(scope="module")
def custom(trained, tmp_path_factory) -> Paths:
    """The toy competition with the template model and the estimator of the page, trained, and their stack."""
    root = tmp_path_factory.mktemp("custom") / "toy"
    shutil.copytree(trained.root, root)
    with contextlib.chdir(root), pytest.MonkeyPatch.context() as patch:
        patch.setenv("TANDEM_THREADS", "1")
        for file, text in model_files("mine", {"image"}).items():
            Path(file).parent.mkdir(exist_ok=True)
            Path(file).write_text(text)
        config = Path("configs/mine.toml")
        config.write_text(config.read_text().replace("[settings]", f"{SECTIONS}\n[settings]"))
        Path("my_ridge.py").write_text(page_code("my_ridge.py"))
        caption = 'caption = {model = "tiny", max_tokens = 8}'.replace("tiny", str(trained.root / "tiny"))
        text = f'kind = "custom"\nmodel = "my_ridge.py:RidgeModel"\n{SECTIONS}{caption}\n[settings]\nalpha = 0.001\n'
        for name in ("mine", "ridge"):
            weights = f'weights = "{trained.root / "tiny.safetensors"}"'
            Path(f"configs/{name}.toml").write_text(
                (text if name == "ridge" else config.read_text()).replace('weights = "tiny.safetensors"', weights)
            )
        train(Paths("toy"), "mine", "ridge")
        patch.setattr(fit_stack, "choose", toy.keep_learned)  # else the stack may leave one out
        run_tasks(Paths("toy"), "stack", "decode stack", members=("mine", "ridge"))
    return Paths("toy", root)


@pytest.fixture
def with_code(custom, tmp_path, monkeypatch) -> Path:
    """A bundle of the stack of both."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write_bundle(Experiments(custom)["stack"], 0, tmp_path / "b")
    write_zip(tmp_path / "b", tmp_path / "b.zip")
    return tmp_path / "b.zip"


# ---- the way through the pipeline


def test_the_template_and_an_estimator_of_scikit_learn_are_trained_scored_and_stacked(custom):
    scores = {name: Experiments(custom)[name].scores["score"] for name in ("mine", "ridge", "stack")}
    assert scores["mine"] > 0.6 and scores["ridge"] > 0.8  # `cat` is only in the caption, which ridge reads
    assert scores["stack"] > 0.8
    assert Experiments(custom)["stack"].members == ["mine", "ridge"]
    assert not Experiments(custom)["mine"].stale_reason


def test_they_are_in_the_report(custom, monkeypatch):
    monkeypatch.chdir(custom.root)
    page = build(gather(Experiments(custom), "stack"))
    assert "ridge" in page and "mine" in page


def test_new_images_are_labelled_as_the_test_rows_were(custom):
    found = list(Labeler.of(custom).label(*pipeline_rows(custom)))
    assert np.abs(probabilities(found) - Predictions.read(custom.test("stack")).proba).max() < 0.01


def test_a_changed_file_makes_its_folds_stale_also_where_another_file_imports_it(folder, trained):
    shutil.copytree(trained.input, "input/toy", ignore=shutil.ignore_patterns("data"))
    for name in ("build", "folds"):
        shutil.copytree(trained.root / name, name)
    for name in ("join", "looks", "words"):
        Path(f"configs/{name}.toml").write_text('kind = "tfidf"\n')
    paths = Paths("toy")
    train(paths, "mine")
    assert step_of(Graph.open(paths).task("train mine")) is None
    before = Predictions.read(paths.oof("mine")).proba
    Path("my_helpers.py").write_text(HELPERS.replace("y.mean(0)", "y.mean(0) / 2"))
    assert step_of(Graph.open(paths).task("train mine")).why == "my_helpers.py changed"
    train(paths, "mine")  # in the same process: the file is run anew
    assert np.allclose(Predictions.read(paths.oof("mine")).proba, before / 2)


def test_two_folders_may_have_files_of_the_same_name(folder, tmp_path):
    inputs, y = Inputs(["a"], captions=[""]), np.ones((1, 2))
    other = tmp_path / "other"
    other.mkdir()
    for name, factor in (("my_models.py", ""), ("my_helpers.py", " / 4")):
        text = (tmp_path / name).read_text().replace("y.mean(0)", f"y.mean(0){factor}")
        (other / name).write_text(text)
    found = []
    for place in (tmp_path, other):
        model = make_model(CustomExperiment.model_construct(**vars(load_experiment(Path("configs/mine.toml")))), 2)
        model = make_model(model.cfg.model_copy(update={"model": str(place / "my_models.py:Rates")}), 2)
        model.fit(inputs, y, TrainingRun(0))
        found.append(model.predict_proba(inputs).tolist())
    assert found == [[[1.0, 1.0]], [[0.25, 0.25]]]


# ---- what is refused, and what the message says


@pytest.mark.parametrize(
    "change, message",
    [
        (("def fit", "def fit_it"), r"my_models.py, line 6: class Rates has no method 'fit'"),
        (("self.rates, (len", "self.rates[:1], (len"), r"line 12.* gave float64 \(3, 1\); expected float \(3, 2\)"),
        (("shift=0.0", "shift=np.nan"), "line 12.* gave nan in row 0, column 0; expected finite numbers"),
        (("shift=0.0", "shift=4.0"), r"line 12.* gave 5 in row 0, column 0; expected probabilities, 0 to 1"),
        (('save_file({"rates": self.rates}, path)', "pass"), "line 14: Rates.save gave no file at the path"),
        (('save_file({"rates": self.rates}, path)', 'path.write_bytes(b"x")'), "line 14.* not safetensors; pickles"),
        (('load_file(path)["rates"]', 'load_file(path)["r"]'), "line 17: Rates.load: KeyError: 'r'; if .* train"),
        (("return self", "pass"), "line 16: Rates.load gave None; expected the model: end it with `return self`"),
        (("rate(y) + self.shift", "rate(y) + 1 / 0"), "my_models.py, line 11: Rates.fit: ZeroDivisionError"),
        (("shift=0.0", "other"), r"Rates\(2, \*\*settings\): TypeError: .*missing 1 required .* 'other'"),
    ],
)
def test_an_error_names_the_file_the_line_and_what_to_do(folder, change, message):
    assert change[0] in RATES
    write_model(RATES.replace(*change), "Rates")
    with pytest.raises(ValueError, match=message):
        model, inputs = make_model(load_experiment(Path("configs/mine.toml")), 2), Inputs(["a"] * 3, captions=[""] * 3)
        model.fit(inputs, np.ones((3, 2)), TrainingRun(0))
        model.predict_proba(inputs)
        model.save(folder / "fold0.safetensors")
        model.load(folder / "fold0.safetensors")


@pytest.mark.parametrize(
    "model, message",
    [
        ("my_gone.py:M", "configs/mine.toml: model: my_gone.py does not exist"),
        ("my_models.py:M", "configs/mine.toml: model: my_models.py has no class 'M'; its classes: Rates"),
        ("../my_models.py:M", "my_FILE.py:CLASS"),
        ("input/toy/my_models.py:M", "my_FILE.py:CLASS"),
        ("models.py:M", "my_FILE.py:CLASS"),
    ],
)
def test_only_a_class_in_a_file_beside_configs_is_taken(folder, model, message):
    file = Path("configs/mine.toml")
    file.write_text(f'kind = "custom"\nmodel = "{model}"\n')
    with pytest.raises(ValueError, match=message):
        load_experiment(file)


def test_a_link_to_a_file_below_input_is_refused(folder):
    Path("input").mkdir()
    Path("my_models.py").rename("input/x.py")
    Path("my_models.py").symlink_to("input/x.py")
    with pytest.raises(ValueError, match="files below input/ are not run"):
        load_experiment(Path("configs/mine.toml"))


def test_code_and_configs_that_came_with_the_data_are_never_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paths = drawn_competition.build()
    for file in (paths.input / "my_theirs.py", paths.input / "configs" / "my_theirs.py"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Theirs: inputs = {{'captions': True}}\n")
    text = 'kind = "custom"\nmodel = "my_theirs.py:Theirs"\n'
    (paths.input / "configs" / "theirs.toml").write_text(text)
    assert "theirs" not in Graph.open(paths).experiments
    (paths.configs / "theirs.toml").write_text(text)
    with pytest.raises(ValueError, match="my_theirs.py does not exist; write it beside configs/"):
        Graph.open(paths)
    assert not (tmp_path / "ran").exists()


def test_an_import_whose_change_would_not_be_noticed_is_refused(folder):
    Path("helpers.py").write_text("")
    Path("my_helpers.py").write_text(f"import helpers\n{HELPERS}")
    with pytest.raises(ValueError, match="my_helpers.py, line 1: imports helpers.py; .* rename it to my_helpers.py"):
        code_files(Path(), ["my_models.py:Rates"])


def test_a_syntax_error_and_inputs_that_are_computed_name_their_line(folder):
    write_model("class M:\n    inputs = dict(captions=True)\n", "M")
    with pytest.raises(ValueError, match="my_models.py, line 2: inputs: expected a dictionary written out"):
        load_experiment(Path("configs/mine.toml"))
    write_model("class M:\n    def (\n", "M")
    with pytest.raises(ValueError, match="my_models.py, line 2: invalid syntax"):
        load_experiment(Path("configs/mine.toml"))


def test_a_model_that_ignores_unknown_labels_is_refused(folder):
    model = make_model(load_experiment(Path("configs/mine.toml")), 2)
    run = TrainingRun(0, weights=np.array([[1.0, 0.0]]))
    with pytest.raises(
        ValueError, match="line 10: some labels are unknown or count less, and Rates.fit uses neither run.weights"
    ):
        model.fit(Inputs(["a"], captions=[""]), np.ones((1, 2)), run)


def test_the_toml_file_decides_over_what_the_class_declares(folder):
    write_model(RATES, "Rates", "captions = false\npixels = 64\n[settings]\nshift = 0.5\n")
    found = load_experiment(Path("configs/mine.toml"))
    assert (found.reads, found.image_size, found.settings) == ({"image"}, 64, {"shift": 0.5})


def test_terms_that_do_not_add_up_are_refused(folder):
    terms = '    def predict_terms(self, inputs):\n        return {"both": np.zeros((len(inputs), 2, 6))}\n'
    write_model(RATES + terms, "Rates")
    experiment = load_experiment(Path("configs/mine.toml"))
    assert experiment.explains
    model, inputs = make_model(experiment, 2), Inputs(["a"], captions=[""])
    model.fit(inputs, np.ones((1, 2)) * 0.5, TrainingRun(0))
    assert model.predict_terms(inputs)["both"].shape == (1, 2, 6)  # logit(0.5) is 0
    model.fit(inputs, np.ones((1, 2)), TrainingRun(0))
    with pytest.raises(ValueError, match="predict_terms gave terms that are not those of predict_proba"):
        model.predict_terms(inputs)


def test_a_registered_class_is_a_model_of_this_process():
    class Mean:
        inputs = {"captions": True}

        def __init__(self, n_labels):
            pass

        fit = predict_proba = save = load = lambda self, *args: None

    try:
        assert register(Mean) is Mean
        experiment = make_experiment({"kind": "custom", "model": "Mean"}, Path("notebook"))
        assert experiment.reads == {"caption"} and make_model(experiment, 2).own.__class__ is Mean
    finally:
        SESSION.pop("Mean")
    with pytest.raises(ValueError, match="class 'Mean' was registered in another process; write it to a file"):
        make_model(experiment, 2)


def test_the_public_names_are_there():
    import tandem

    assert tandem.Model is Model and tandem.register is register


# ---- a template


def test_new_model_writes_a_model_that_passes_its_own_test(folder, capsys):
    assert main(["new-model", "NAME=own"]) == 0
    written = ["my_own.py", "configs/own.toml", "tests/test_my_own.py"]
    assert capsys.readouterr().out.splitlines()[:3] == written
    namespace = {"__file__": str(folder / written[2])}
    exec(Path(written[2]).read_text(), namespace)
    namespace["test_it_predicts_rows_that_it_was_not_trained_on"]()
    namespace["test_it_comes_back_from_its_file"](folder)


def test_new_model_overwrites_nothing(folder, capsys):
    Path("my_own.py").write_text("mine")
    assert main(["new-model", "NAME=own"]) == 2
    assert "my_own.py exists; nothing is written" in capsys.readouterr().err
    assert Path("my_own.py").read_text() == "mine" and not Path("configs/own.toml").exists()
    for name in ("../own", "Own", "concat", "stack"):
        assert main(["new-model", f"NAME={name}"]) == 2


# ---- functions of training


@pytest.fixture
def functions(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my_functions.py").write_text(page_code("my_functions.py"))


def test_a_loss_of_each_cell_leaves_out_unknown_labels(functions):
    import torch

    loss = make_loss("my_functions.py:my_loss")
    logits, y = torch.zeros(1, 2), torch.tensor([[1.0, 0.0]])
    assert loss(logits, y).item() == pytest.approx(np.log(2) * 2)  # a positive counts three times
    assert loss(logits, y, torch.tensor([[0.0, 1.0]])).item() == pytest.approx(np.log(2))


def test_a_sampler_draws_the_rows_of_an_epoch_and_is_checked(functions):
    y = np.array([[0, 0], [1, 1], [1, 1]])
    rows = own_sampler("my_functions.py:my_sampler", y, None)(0, np.random.default_rng(0))
    assert rows.shape == (3,) and set(rows) <= {0, 1, 2}
    Path("my_functions.py").write_text("def my_sampler(y, weights, epoch, rng):\n    return [0, 5, 1]\n")
    with pytest.raises(ValueError, match=r"my_functions.py, line 1: .*expected \(3,\) integers from 0 to 2"):
        own_sampler("my_functions.py:my_sampler", y, None)(0, np.random.default_rng(0))


def test_an_augmentation_is_called_last_and_is_checked(functions):
    plain = {"scale": 1.0, "flip": False, "colour": 0.0, "erase": 0.0}
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    Path("my_functions.py").write_text("def augment(image, rng):\n    return image[::-1]\n")
    found = Augmenter(Augment(**plain, augment="my_functions.py:augment"), 2, 0).batch([image], np.array([0]), 0)
    assert found[0].tolist() == image[::-1].tolist()
    Path("my_functions.py").write_text("def augment(image, rng):\n    return image / 255\n")
    with pytest.raises(ValueError, match=r"line 1: found float64 \(2, 2, 3\); expected uint8 \(2, 2, 3\)"):
        Augmenter(Augment(**plain, augment="my_functions.py:augment"), 2, 0).batch([image], np.array([0]), 0)


@pytest.mark.parametrize("text", ["[augment]\naugment = ", "[train]\naugment = ", "augment = "])
def test_functions_are_named_in_the_toml_file_and_are_part_of_the_key(functions, text):
    Path("configs").mkdir()
    Path("configs/own.toml").write_text(f'kind = "finetune"\n{text}"my_functions.py:augment"\n')
    experiment = load_experiment(Path("configs/own.toml"))
    assert experiment.augment.augment == "my_functions.py:augment" and experiment.augment.flip
    assert experiment.own_code == ("my_functions.py:augment",) and not experiment.for_labelling().own_code


def test_an_unknown_loss_says_what_is_expected(functions):
    with pytest.raises(ValueError, match=r"train.loss: expected one of asl, bce, focal, or a function my_FILE.py:NAME"):
        make_experiment({"kind": "finetune", "train": {"loss": "mse"}}, Path("a.toml"))


def test_the_backbone_of_the_page_learns_the_colour_of_photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_model(page_code("my_backbone.py"), "BackboneModel", f'''pixels = 32
[settings]
name = "test_efficientnet"
weights = "{toy.tiny_backbone(tmp_path / "tiny.safetensors")}"
size = 32
epochs = 12
batch = 4
backbone_lr = 0.01
''')  # fmt: skip
    files = [tmp_path / f"{i}.jpg" for i in range(8)]
    for i, file in enumerate(files):
        toy.draw(file, bool(i % 2), i)
    y, inputs = (np.arange(8) % 2)[:, None], Inputs([f.name for f in files], files=files)
    model = make_model(load_experiment(Path("configs/mine.toml")), 1)
    log = model.fit(inputs, y, TrainingRun(0))
    assert log[-1]["loss"] < log[0]["loss"]
    model.save(tmp_path / "fold0.safetensors")
    proba = make_model(load_experiment(Path("configs/mine.toml")), 1).load(tmp_path / "fold0.safetensors")
    assert ((proba.predict_proba(inputs) > 0.5) == y).all()


# ---- bundles


def test_a_bundle_with_code_is_refused_until_its_digest_is_named(with_code, custom, monkeypatch):
    monkeypatch.setenv("TRUST", "1")  # of metrics: opens no bundle
    with pytest.raises(ValueError, match="show damage, not intent: read the code first") as refused:
        Labeler.load(with_code)
    message = str(refused.value)
    files = [Path(word.rstrip(",.")) for word in message.split() if "my_" in word]
    assert [file.name for file in files] == ["my_mine.py", "my_ridge.py"] and all(file.is_file() for file in files)
    (digest,) = set(re.findall(r"TRUST=(\w{16})", message))
    for wrong in ("1", "0" * 16):
        with pytest.raises(ValueError, match=f"TRUST={wrong} is not its digest"):
            Labeler.load(with_code, trust=wrong)
    found = list(Labeler.load(with_code, trust=digest).label(*pipeline_rows(custom)))
    assert np.abs(probabilities(found) - Predictions.read(custom.test("stack")).proba).max() < 0.01


def test_nothing_of_a_bundle_runs_before_it_is_trusted(with_code, tmp_path):
    from test_bundle import relist

    file = tmp_path / "b" / "my_ridge.py"
    file.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n" + file.read_text())
    relist(tmp_path / "b")
    with pytest.raises(ValueError, match="Python code of its own"):
        open_bundle(tmp_path / "b")
    assert not (tmp_path / "ran").exists()


def test_the_manifest_and_the_readme_name_the_code_and_requirements_its_packages(with_code, tmp_path):
    assert sorted(read_json(tmp_path / "b" / "bundle.json")["code"]) == ["my_mine.py", "my_ridge.py"]
    assert "--trust" in (tmp_path / "b" / "README.md").read_text()
    assert "scikit-learn==" in (tmp_path / "b" / "requirements.txt").read_text()


def test_a_bundle_that_lacks_the_code_it_names_is_refused(with_code, tmp_path):
    from test_bundle import relist

    (tmp_path / "b" / "my_ridge.py").unlink()
    relist(tmp_path / "b")
    with pytest.raises(ValueError, match="ridge runs 'my_ridge.py:RidgeModel', which is not in the bundle"):
        open_bundle(tmp_path / "b")


def test_code_that_the_manifest_does_not_list_is_refused(with_code, tmp_path):
    (tmp_path / "b" / "my_more.py").write_text("")
    with pytest.raises(ValueError, match="'my_more.py' does not belong to the bundle"):
        open_bundle(tmp_path / "b")


@pytest.mark.parametrize("changes", [{"code": {}}, {"members": []}, {"code": {}, "members": [], "format": 3}])
def test_a_manifest_that_keeps_silent_about_code_opens_nothing(with_code, tmp_path, changes):
    from test_bundle import relist

    relist(tmp_path / "b", **changes)
    with pytest.raises(ValueError, match="Python code of its own"):
        open_bundle(tmp_path / "b")


@pytest.mark.parametrize("model", ["../my_ridge.py:RidgeModel", "/tmp/my_ridge.py:RidgeModel", "json.py:JSONDecoder"])
def test_a_member_can_name_no_code_of_another_folder_or_name(with_code, tmp_path, model):
    from test_bundle import relist

    file = tmp_path / "b" / "oof" / "toy" / "ridge" / "run.json"
    run = read_json(file)
    file.write_text(json.dumps(run | {"config": run["config"] | {"model": model}}))
    relist(tmp_path / "b", members=["mine"])
    with pytest.raises(ValueError, match="expected my_FILE.py:NAME"):
        open_bundle(tmp_path / "b")


def test_compiled_files_of_a_bundle_are_not_run(with_code, tmp_path):
    source = tmp_path / "b" / "my_ridge.py"
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    compiled = source.parent / "__pycache__" / f"my_ridge.{sys.implementation.cache_tag}.pyc"
    py_compile.compile(tmp_path / "evil.py", compiled, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    digest = code_digest(read_json(tmp_path / "b" / "bundle.json")["code"])
    load_module(source.resolve())
    Labeler.load(tmp_path / "b", trust=digest)
    assert not (tmp_path / "ran").exists()
