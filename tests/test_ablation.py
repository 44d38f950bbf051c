"""The ablation of a small fusion network, on real files."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from checked import write_folds, write_split
from PIL import Image

from tandem.artifacts.atomic_io import write_json, write_text
from tandem.artifacts.paths import Paths
from tandem.config.competition import Competition, to_toml
from tandem.config.encoders import CaptionEncoder, ImageEncoder, TokenEncoder, TrunkEncoder
from tandem.config.experiments import FusionExperiment
from tandem.config.training import Fusion, FusionTraining
from tandem.data.split_tables import write_labels
from tandem.decoding import DECODERS, NestedCV, Rule
from tandem.features.extract import encode_split
from tandem.report.ablation import compare, decoders, markdown, parts, variants
from tandem.stages import ablation

RULE = {"metric": "f1_samples", "beta": 1.0, "least": 1, "most": 2}
WHOLE = FusionExperiment(kind="fusion", trunk=TrunkEncoder(), tokens=TokenEncoder(), frozen=[ImageEncoder()])


def test_each_variant_lacks_one_part():
    found = variants("f", WHOLE)
    assert found["f-image_only"].tokens is None and found["f-image_only"].trunk == WHOLE.trunk
    assert found["f-caption_only"].trunk is None and found["f-caption_only"].frozen == ()
    assert found["f-no_mirror"].trunk == TrunkEncoder(mirror=False)
    assert found["f-pseudo"].pseudo.teacher == "f"
    assert {key.removeprefix("f-") for key in found} >= {"concat", "film", "attention", "no_gate"}
    changed = [found[f"f-{key}"].fusion for key in ("no_gate", "no_count", "no_embedding")]
    assert [(f.gate, f.count, f.embedding) for f in changed] == [
        (False, 0.1, 0.1),
        (True, 0.0, 0.1),
        (True, 0.1, 0.0),
    ]


def test_what_is_not_there_is_not_taken_away():
    found = variants("f", FusionExperiment(kind="fusion", frozen=[ImageEncoder()], caption=CaptionEncoder()))
    assert not {"f-no_mirror", "f-attention", "f-no_tuning"} & set(found)
    assert "f-caption_only" in found and "f-no_frozen" not in found  # the same network
    assert "f-no_tuning" in variants("f", WHOLE)


def test_a_network_that_only_sees_has_no_join_to_change():
    found = variants("f", FusionExperiment(kind="fusion", trunk=TrunkEncoder(), frozen=[ImageEncoder()]))
    without = {"no_tuning", "no_frozen", "no_count", "no_mirror", "learned_weights", "one_head", "pseudo"}
    assert {key.removeprefix("f-") for key in found} == without


def problem() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(y, good probabilities, noise) of 200 rows."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, (200, 2)).astype(np.uint8)
    return y, 0.2 + 0.6 * y, rng.random((200, 2))


def test_gains_are_against_the_whole_and_the_whole_has_none():
    y, good, noise = problem()
    fold, rule = np.arange(200) % 5, Rule(least=0)
    base = NestedCV(good, y, fold, rule).cross_val_predict("auto")
    probas = {"f": good, "f-noise": noise}
    rows = [compare("parts", name, proba, base, y, fold, rule) for name, proba in probas.items()]
    assert rows[0].score == 1.0 and rows[0].gain == (0.0, 0.0, 0.0)
    gain, low, high = rows[1].gain
    assert rows[1].score - 1 == pytest.approx(gain) and low < gain < high < 0
    text = markdown("t", rows, "f")
    assert "| f | 1.0000 |  |  |" in text
    assert f"| noise | {rows[1].score:.4f} | {gain:+.4f} | {low:+.4f} to {high:+.4f} |" in text


def test_every_decoder_has_its_row():
    y, good, _ = problem()
    fits = NestedCV(good, y, np.arange(200) % 5, Rule()).prepare()
    rows = decoders(good, fits.cross_val_predict("auto"), fits)
    assert [row.name for row in rows] == list(DECODERS)


def test_the_rows_of_one_fold_are_decoded_in_parts():
    assert parts(np.array([2, 2, 2, 2, 2, 2])).tolist() == [0, 1, 2, 3, 4, 0]
    assert parts(np.array([0, 1, 0])).tolist() == [0, 1, 0]


@pytest.fixture
def paths(tmp_path, monkeypatch) -> Paths:
    """40 photos, red or green, and captions with a cat or a dog, in two folds."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TANDEM_THREADS", "1")
    paths, n = Paths("toy"), 40
    y = np.random.default_rng(0).integers(0, 2, (n, 2)).astype(np.uint8)
    ids = [f"{i}.png" for i in range(n)]
    paths.input.mkdir(parents=True)
    for name, red in zip(ids, y[:, 0], strict=True):
        Image.new("RGB", (32, 32), (200, 30, 30) if red else (30, 200, 30)).save(paths.input / name)
    captions = [f"a {'cat' if cat else 'dog'}" for cat in y[:, 1]]
    write_split(paths, "train", ids, captions, size=(32, 32))
    write_labels(paths.labels, ids, ("red", "cat"), y)
    write_folds(paths, ids, [k % 2 for k in range(n)])
    write_json(paths.metric_config, RULE)
    labels = {"format": "separated", "column": "labels", "names": ["red", "cat"]}
    made = {"id": "id", "caption": "c", "images": ".", "labels": labels, "most": 2, "experiments": ["f"]}
    write_text(paths.competition, to_toml(Competition.model_validate(made)))
    experiment = FusionExperiment(
        kind="fusion",
        frozen=[ImageEncoder(size=32)],
        caption=CaptionEncoder(),
        fusion=Fusion(hidden=8, rank=2, heads=1),
        train=FusionTraining(epochs=3, min_steps=0, batch=8, tune_from=0),
    )
    write_json(paths.experiment_config("f"), experiment.model_dump())
    for encoder in experiment.encoders:
        encode_split(paths, encoder, "train")
    return paths


def test_the_table_names_every_part_with_its_cost_and_nothing_is_trained_twice(paths):
    def run() -> pd.DataFrame:
        ablation.main(SimpleNamespace(comp="toy", exp="f", folds=1))
        return pd.read_csv(paths.ablation(".csv"))

    table = run()
    assert {"f", "f-image_only", "f-caption_only", "f-concat", "f-no_gate"} <= set(table["name"])
    own = table[table["group"] == "parts"]
    assert (own[["seconds", "mb", "ms"]] > 0).all(axis=None)
    assert table[table["group"] == "decoder"]["name"].tolist() == list(DECODERS)
    with Image.open(paths.ablation(".png")) as picture:
        assert picture.width > 500
    assert "| caption_only |" in paths.ablation(".md").read_text()
    models = sorted((paths.root / "models").rglob("fold*.safetensors"))
    before = [f.stat().st_mtime_ns for f in models]
    again = run()
    assert [f.stat().st_mtime_ns for f in models] == before
    assert again.drop(columns="ms").equals(table.drop(columns="ms"))


def test_only_a_fusion_network_is_taken_apart(paths):
    write_json(paths.experiment_config("words"), {"kind": "tfidf"})
    with pytest.raises(ValueError, match="--exp words: expected an experiment of kind fusion, got 'tfidf'"):
        ablation.main(SimpleNamespace(comp="toy", exp="words", folds=1))
