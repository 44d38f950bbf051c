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
from tandem.report.ablation import (
    CHANGES,
    Comparison,
    Row,
    csv_table,
    markdown,
    split_for_decoders,
    variants,
    with_seeds,
)
from tandem.report.seed_noise import gain_over_seeds
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
    assert not {"f-no_mirror", "f-attention", "f-no_tuning", "f-no_label_pooling"} & set(found)
    assert "f-caption_only" in found and "f-no_frozen" not in found  # the same network
    assert "f-no_tuning" in variants("f", FULL)


def test_parts_that_few_rows_do_without_are_left_out():
    assert {"f-no_tuning", "f-no_label_pooling"} <= set(variants("f", FULL, FULL.train.tune_from))
    assert not {"f-no_tuning", "f-no_label_pooling"} & set(variants("f", FULL, FULL.train.tune_from - 1))


def test_an_image_network_has_no_fusion_to_change():
    found = variants("f", FusionExperiment(kind="fusion", trunk=TrunkEncoder(), frozen=[ImageEncoder()]))
    parts = {"no_tuning", "no_frozen", "no_label_pooling", "no_count", "no_mirror", "learned_weights", "one_head"}
    assert {key.removeprefix("f-") for key in found} == {*parts, "pseudo"}


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


def sets_of(rates: list[float], rng: np.random.Generator, rows: int = 400) -> list[np.ndarray]:
    """Label sets (rows, 1) for rows that all have the label: that share of them is right, one array per seed."""
    return [rng.random((rows, 1)) < rate for rate in rates]


@pytest.mark.parametrize("metric", ["f1_samples", "f1_micro"])
def test_what_another_seed_changes_is_in_the_interval(metric):
    rng, y, rule = np.random.default_rng(0), np.ones((400, 1), np.uint8), Rule(metric, least=0)
    full = sets_of([0.8, 0.8, 0.8], rng)
    alike, apart = (gain_over_seeds(rule, y, full, sets_of(r, rng)) for r in ([0.85] * 3, [0.75, 0.85, 0.95]))
    assert alike[0] == pytest.approx(apart[0], abs=0.03)
    assert apart[2] - apart[1] > 2 * (alike[2] - alike[1])
    assert apart[1] < 0 < apart[2] and alike[1] > 0


def test_of_one_seed_the_interval_is_that_over_rows():
    rng, y, rule = np.random.default_rng(0), np.ones((400, 1), np.uint8), Rule(least=0)
    full, other = sets_of([0.8], rng), sets_of([0.85], rng)
    assert gain_over_seeds(rule, y, full, other) == rule.gain(y, full[0], other[0])


def test_seeds_narrow_what_rows_alone_would_say_of_one():
    """Three seeds that differ in which rows they get wrong, not in how many: their mean is less noisy than one."""
    rng, y, rule = np.random.default_rng(1), np.ones((2000, 1), np.uint8), Rule(least=0)
    full, other = sets_of([0.8] * 3, rng, 2000), sets_of([0.82] * 3, rng, 2000)
    _, low, high = gain_over_seeds(rule, y, full, other)
    _, low_of_one, high_of_one = rule.gain(y, full[0], other[0])
    assert high - low < high_of_one - low_of_one


def test_every_network_is_there_with_each_seed():
    names, networks = with_seeds("f", FULL, 2)
    assert names[0] == ["f", "f-seed1"] and ["f-concat", "f-seed1-concat"] in names
    assert [networks[name].seed for name in names[0]] == [FULL.seed, FULL.seed + 1]
    assert networks["f-seed1-pseudo"].pseudo.teacher == "f-seed1"
    assert len({experiment.model_dump_json() for experiment in networks.values()}) == len(networks) == 2 * len(names)


def test_the_table_says_whether_seeds_are_in_its_intervals():
    row = Row("parts", "f", 0.5, 0.0, 0.0, 0.0, 0.25, 1.5)
    assert "with one seed: the intervals leave out how much another seed would change" in markdown("t", [row], "f")
    assert "means of 3 seeds, whose variance is in the intervals" in markdown("t", [row], "f", seeds=3)


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
    assert split_for_decoders(np.array([2, 2, 2]), np.array([7, 9, 7])).tolist() == [0, 1, 0]


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


@pytest.mark.slow
def test_each_part_is_trained_with_every_seed(paths, monkeypatch):
    few = {name: CHANGES[name] for name in ("no_tuning", "concat")}
    monkeypatch.setattr("tandem.report.ablation.CHANGES", few)
    ablation.main(SimpleNamespace(comp="toy", exp="f", folds=1, seeds=2))
    trained = {f.parent.name for f in (paths.root / "models").rglob("fold0.safetensors")}
    assert trained == {f"f{seed}{part}" for seed in ("", "-seed1") for part in ("", "-concat", "-pseudo")}
    table = pd.read_csv(paths.ablation(".csv"))
    assert table[table["group"] == "parts"]["name"].tolist() == ["f", "f-concat", "f-pseudo"]
    assert "means of 2 seeds" in paths.ablation(".md").read_text()


def test_fewer_than_one_seed_is_refused(paths):
    with pytest.raises(ValueError, match="SEEDS=0: expected 1 or more"):
        ablation.main(SimpleNamespace(comp="toy", exp="f", folds=1, seeds=0))


def test_only_a_fusion_network_has_parts(paths):
    with pytest.raises(ValueError, match="EXP=words: expected an experiment of kind fusion, got 'tfidf'"):
        ablation.main(SimpleNamespace(comp="toy", exp="words", folds=1, seeds=1))
