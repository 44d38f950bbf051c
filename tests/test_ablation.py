"""The ablation of a small fusion network, on real files."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tandem.artifacts.atomic_io import write_text
from tandem.artifacts.paths import Paths
from tandem.config.competition import Competition, to_toml
from tandem.config.encoders import CaptionEncoder, ImageEncoder, TokenEncoder, TrunkEncoder
from tandem.config.experiments import FusionExperiment
from tandem.decoding import DECODERS, NestedCV, Rule
from tandem.report.ablation import Comparison, Row, csv_table, markdown, split_for_decoders, variants
from tandem.stages import ablation

FULL = FusionExperiment(kind="fusion", trunk=TrunkEncoder(), tokens=TokenEncoder(), frozen=[ImageEncoder()])


def test_each_variant_lacks_one_part():
    found = variants("f", FULL)
    assert found["f-image_only"].tokens is None and found["f-image_only"].trunk == FULL.trunk
    assert found["f-caption_only"].trunk is None and found["f-caption_only"].frozen == ()
    assert found["f-no_mirror"].trunk == TrunkEncoder(mirror=False)
    assert found["f-pseudo"].pseudo.teacher == "f"
    assert {key.removeprefix("f-") for key in found} >= {"concat", "film", "attention", "no_gate"}
    changed = [found[f"f-{key}"].fusion for key in ("no_gate", "no_count", "no_embedding")]
    assert [(f.gate, f.count, f.embedding) for f in changed] == [(False, 0.1, 0.1), (True, 0.0, 0.1), (True, 0.1, 0.0)]


def test_changes_that_do_not_apply_are_left_out():
    found = variants("f", FusionExperiment(kind="fusion", frozen=[ImageEncoder()], caption=CaptionEncoder()))
    assert not {"f-no_mirror", "f-attention", "f-no_tuning"} & set(found)
    assert "f-caption_only" in found and "f-no_frozen" not in found  # the same network
    assert "f-no_tuning" in variants("f", FULL)


def test_an_image_network_has_no_fusion_to_change():
    found = variants("f", FusionExperiment(kind="fusion", trunk=TrunkEncoder(), frozen=[ImageEncoder()]))
    without = {"no_tuning", "no_frozen", "no_count", "no_mirror", "learned_weights", "one_head", "pseudo"}
    assert {key.removeprefix("f-") for key in found} == without


def problem() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(y, good probabilities, noise) of 200 rows."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, (200, 2)).astype(np.uint8)
    return y, 0.2 + 0.6 * y, rng.random((200, 2))


def test_gains_are_over_the_full_network_which_has_none():
    y, good, noise = problem()
    fold, rule = np.arange(200) % 5, Rule(least=0, zero_division=1)
    comparison = Comparison(y, fold, rule, NestedCV(good, y, fold, rule).cross_val_predict("auto"))
    rows = [comparison.row("parts", name, proba) for name, proba in (("f", good), ("f-noise", noise))]
    assert rows[0].score == 1.0 and (rows[0].gain, rows[0].low, rows[0].high) == (0.0, 0.0, 0.0)
    gain, low, high = rows[1].gain, rows[1].low, rows[1].high
    assert rows[1].score - 1 == pytest.approx(gain) and low < gain < high < 0
    text = markdown("t", rows, "f")
    assert "| f | 1.0000 |  |  |" in text
    assert f"| noise | {rows[1].score:.4f} | {gain:+.4f} | {low:+.4f} to {high:+.4f} |" in text


def test_every_decoder_has_its_row():
    y, good, _ = problem()
    cv = NestedCV(good, y, np.arange(200) % 5, Rule()).prepare()
    rows = Comparison(y, cv.fold, cv.rule, cv.cross_val_predict("auto")).decoder_rows(cv)
    assert [row.name for row in rows] == list(DECODERS)


def test_a_row_without_a_network_of_its_own_has_no_cost_in_the_csv():
    row = Row("experiments", "stack", 0.5, 0.1, 0.0, 0.2, 0.25, 1.5, mb=2.0)
    assert csv_table([row]).splitlines() == [
        "group,name,score,gain,low,high,map,log_loss,seconds,mb,ms",
        "experiments,stack,0.500000,0.100000,0.000000,0.200000,0.250000,1.500000,,2.0000,",
    ]


def test_decoders_are_cross_fitted_over_parts_of_a_single_fold():
    assert split_for_decoders(np.array([2, 2, 2, 2, 2, 2])).tolist() == [0, 1, 2, 3, 4, 0]
    assert split_for_decoders(np.array([0, 1, 0])).tolist() == [0, 1, 0]


F_TOML = """
kind = "fusion"
[[frozen]]
size = 32
[caption]
[fusion]
hidden = 8
rank = 2
heads = 1
[train]
epochs = 3
min_steps = 0
batch = 8
tune_from = 0
"""


@pytest.fixture
def paths(tmp_path, monkeypatch) -> Paths:
    """40 photos, red or green, and captions with a cat or a dog, in two folds; 4 test photos."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TANDEM_THREADS", "1")
    paths, rng = Paths("toy"), np.random.default_rng(0)
    paths.input.mkdir(parents=True)
    tables = {"train": "id,c,labels\n", "test": "id,c\n"}
    for i in range(44):
        red, cat = rng.integers(0, 2, 2)
        pixels = rng.integers(0, 120, (32, 32, 3), np.uint8)
        pixels[:, :, 0 if red else 1] += 120
        Image.fromarray(pixels).save(paths.input / f"{i}.png")
        row = f"{i}.png,a {'cat' if cat else 'dog'}"
        labels = " ".join(name for name, there in (("red", red), ("cat", cat)) if there)
        tables["train" if i < 40 else "test"] += f"{row},{labels}\n" if i < 40 else f"{row}\n"
    for name, text in tables.items():
        write_text(paths.input / f"{name}.csv", text)
    labels = {"format": "separated", "column": "labels", "names": ["red", "cat"]}
    made = {"id": "id", "caption": "c", "images": ".", "labels": labels, "most": 2, "least": 0}
    made |= {"experiments": ["f"], "folds": {"n": 2}}
    write_text(paths.competition, to_toml(Competition.model_validate(made)))
    write_text(paths.configs / "f.toml", F_TOML)
    write_text(paths.configs / "words.toml", 'kind = "tfidf"\n')
    return paths


def test_the_table_names_every_part_with_its_cost_and_nothing_is_trained_twice(paths):
    def run() -> pd.DataFrame:
        ablation.main(SimpleNamespace(comp="toy", exp="f", folds=1, seeds=1))
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


def test_only_a_fusion_network_has_parts(paths):
    with pytest.raises(ValueError, match="EXP=words: expected an experiment of kind fusion, got 'tfidf'"):
        ablation.main(SimpleNamespace(comp="toy", exp="words", folds=1, seeds=1))
