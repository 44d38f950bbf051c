"""A bundle keeps as many bits of its weights as its score needs, and says what rounding cost."""

from pathlib import Path

import numpy as np
import pytest
from checked import train, write_competition, write_experiment, write_folds, write_split
from tiny_models import SIZES, text_folder

from tandem import Labeler
from tandem.artifacts.paths import Paths
from tandem.bundling import rounding as rounding_module
from tandem.bundling.bundle_writer import write_bundle
from tandem.bundling.packing import TooLarge, as_opened, pack
from tandem.bundling.rounding import Rounding, RoundingCheck
from tandem.config.encoders import CaptionEncoder
from tandem.config.experiments import HeadExperiment
from tandem.config.training import Head, HeadTraining
from tandem.data.labelled_rows import LabelledRows
from tandem.data.split_tables import write_labels
from tandem.decoding import Decoder, Rule
from tandem.features import extract
from tandem.features.pretrained_weights import save_sentences
from tandem.graph.experiment_dir import Experiments
from tandem.inference.fold_models import Encoders, NewRows

N = 30
WIDE = {**SIZES, "hidden_size": 64, "vocab_size": 80}
Y = np.tile([[1, 0], [0, 1]], (20, 1))
ROWS = LabelledRows([str(i) for i in range(40)], ("a", "b"), Y, np.zeros(40, int), np.arange(40))
RIGHT = np.where(Y == 1, 0.9, 0.1)
HALF = Decoder("half", Rule(), np.full(2, 0.5))


def rounding(after: np.ndarray) -> Rounding:
    return Rounding.of(Rule(), ROWS, (RIGHT, after), HALF)


def test_a_change_that_flips_no_label_does_not_matter_and_is_counted():
    found = rounding(np.clip(RIGHT + 0.3, 0, 1) * 0.7)
    assert not found.matters
    assert found.text.startswith("F1 per row 1.0000 → 1.0000, log loss 0.1054 → ")
    assert found.text.endswith("0 of 80 labels change on 40 out-of-fold rows")


def test_a_fall_of_the_score_by_more_than_a_share_of_its_error_matters():
    noisy = RIGHT.copy()
    noisy[::4] = noisy[::4, ::-1]  # of the source: ten rows of forty are wrong
    worse = noisy.copy()
    worse[1] = worse[1, ::-1]
    found = Rounding.of(Rule(), ROWS, (noisy, worse), HALF)
    assert (found.changed, found.scores) == (2, (0.75, 0.725)) and 0.06 < found.error < 0.08
    assert found.matters
    assert not Rounding.of(Rule(), ROWS, (worse, noisy), HALF).matters  # it rose


def outlying_model(folder: Path) -> str:
    """A text model whose words differ by less than a step of int8: each has the same large first number."""
    import tiny_models
    import torch
    from safetensors.torch import load_file, save_file

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(tiny_models.FAMILIES, "bert", ("BertConfig", "BertModel", WIDE))
        text_folder("bert", folder)
    (file,) = folder.glob("*.safetensors")
    state = load_file(file)
    words, scale = (f"embeddings.{name}.weight" for name in ("word_embeddings", "LayerNorm"))
    state[words][:, 0] = 400.0
    state[scale] = torch.full((64,), 100.0)  # what is small beside it counts
    state[scale][0] = 0.0
    save_file(state, file, {"format": "pt"})
    return str(folder)


@pytest.fixture(scope="module")
def outlying(tmp_path_factory) -> Paths:
    """Captions of cats and dogs, told apart by such a model."""
    paths, rng = Paths("words", tmp_path_factory.mktemp("words")), np.random.default_rng(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(paths.root)
        patch.setenv("TANDEM_THREADS", "1")
        here = Paths("words")
        y = rng.integers(0, 2, (N + 4, 2)).astype(np.uint8)
        write_competition(here, ("cat", "two"), images=None, least=0, zero_division=1, experiments=["words"])
        for split, rows in (("train", range(N)), ("test", range(N, N + 4))):
            said = [f"{'two' if y[i, 1] else 'a'} {'cat' if y[i, 0] else 'dog'}" for i in rows]
            write_split(here, split, [str(i) for i in rows], said)
        ids = [str(i) for i in range(N)]
        write_labels(here.labels, ids, ("cat", "two"), y[:N])
        write_folds(here, ids, [n % 3 for n in range(N)])
        caption = CaptionEncoder(model=outlying_model(Path("model")), max_tokens=8)
        head = Head(hidden=0, dropout=0.0, input_dropout=0.0, bags=1)
        write_experiment(
            here,
            "words",
            HeadExperiment(kind="head", caption=caption, head=head, train=HeadTraining(epochs=20, min_steps=200)),
        )
        train(here, "words")
    return paths


@pytest.fixture
def here(outlying, tmp_path, monkeypatch) -> Paths:
    monkeypatch.chdir(outlying.root)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return Paths("words")


def test_a_model_whose_rounding_matters_keeps_more_bits(here, tmp_path, capfd):
    packed = pack(Experiments(here)["words"], 0, tmp_path / "work", tmp_path / "words.zip")
    assert len(packed.lines) == 2
    assert "shards" not in capfd.readouterr().err, "the bar of a library that saves a model"
    assert packed.lines[0].startswith("rounding (captions in int8, images in float16): F1 per row 1.0000 → 0.")
    assert packed.lines[1].startswith("rounding (float16): F1 per row 1.0000 → 1.0000")
    found = Labeler.load(tmp_path / "words.zip").predict_proba(None, ["a cat", "two dog"])
    assert (found > 0.5).tolist() == [[True, False], [False, True]]


def test_a_precision_that_fails_on_few_rows_is_left_and_no_row_is_labelled_twice_by_the_source(
    here, tmp_path, monkeypatch
):
    labelled = list[tuple[Encoders, int]]()

    def counted(encoders, pixels, captions):
        labelled.append((encoders, len(captions)))
        return NewRows(encoders, pixels, captions)

    monkeypatch.setattr(rounding_module, "NewRows", counted)
    monkeypatch.setattr(rounding_module, "FIRST", 8)
    packed = pack(Experiments(here)["words"], 0, tmp_path / "work", tmp_path / "words.zip")
    assert [line.rsplit(" on ")[-1] for line in packed.lines] == ["8 out-of-fold rows", f"{N} out-of-fold rows"]
    sides = dict.fromkeys(encoders for encoders, _ in labelled)  # the source, int8, float16
    assert [sum(n for one, n in labelled if one is side) for side in sides] == [N, 8, N]


def test_a_fall_that_few_rows_do_not_show_is_found_on_all(here, tmp_path, monkeypatch):
    monkeypatch.setattr(rounding_module, "FIRST", 1)
    trained = Experiments(here)["words"]
    manifest = write_bundle(trained, 0, tmp_path / "int8")
    check = RoundingCheck(Labeler.of(here, "words"), here)
    check.chosen.sort(key=lambda i: check.rows.y[i].sum())  # the first has no label, and in int8 no row has one
    found = check.measure(as_opened(tmp_path / "int8", manifest))
    assert found.matters and found.rows == N


def test_no_more_rows_are_labelled_than_the_limit(here, tmp_path, monkeypatch):
    monkeypatch.setattr(rounding_module, "ROWS", 20)
    packed = pack(Experiments(here)["words"], 0, tmp_path / "work", tmp_path / "words.zip")
    assert packed.lines[-1].endswith("0 of 40 labels change on 20 out-of-fold rows")


def test_where_those_bits_do_not_fit_it_is_refused_with_the_numbers(here, tmp_path):
    with pytest.raises(TooLarge, match=r"(?s)F1 per row 1\.0000 → 0\..*in float16 it has \d\.\d MB, more than 0\.1"):
        pack(Experiments(here)["words"], 0, tmp_path / "work", tmp_path / "words.zip", budget_mb=0.1)
    assert not (tmp_path / "words.zip").exists()


def test_a_bundle_that_scores_less_in_any_precision_is_refused_with_the_numbers(here, tmp_path, monkeypatch):
    monkeypatch.setattr(
        extract, "save_sentences", lambda model, folder, used, bits: save_sentences(model, folder, set(), bits)
    )
    numbers = r"F1 per row 1\.0000 → 0\."
    with pytest.raises(ValueError, match=f"(?s)scores less than its source.*{numbers}.*{numbers}.*{numbers}"):
        pack(Experiments(here)["words"], 0, tmp_path / "work", tmp_path / "words.zip")
    assert not (tmp_path / "words.zip").exists()
