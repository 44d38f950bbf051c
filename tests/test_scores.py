import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from checked import write_competition

from tandem.artifacts.atomic_io import read_json, write_json
from tandem.artifacts.paths import Paths
from tandem.config.competition import load_competition
from tandem.config.metric_names import METRIC_INFO
from tandem.decoding import DECODERS, Decoder, NestedCV, Rule
from tandem.decoding.scoring import score
from tandem.graph.declared_stages import decoder_settings
from tandem.metrics import METRICS
from tandem.stages.scores import main

SRC = Path(__file__).parents[1] / "src"
NAMES = ("cat", "dog")


def problem(noise: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """proba, y, fold of 90 rows and two labels."""
    rng = np.random.default_rng(0)
    y = (rng.random((90, 2)) < [0.7, 0.3]).astype(np.uint8)
    return np.clip((1 - noise) * y + noise * rng.random((90, 2)), 0, 1), y, np.arange(90) % 3


def write_scores(paths: Paths, name: str, noise: float, metric: str = "f1_samples") -> dict:
    """As they are decoded by this metric, which competition.toml then names."""
    write_competition(paths, NAMES, metric=metric)
    decoder, scores = score(*problem(noise), NAMES, Rule(metric=metric))
    settings = decoder_settings(load_competition(paths.competition))
    write_json(paths.thresholds(name), decoder | {"key": "d", "inputs": {"predictions": "k", **settings}})
    write_json(paths.scores(name), scores)
    run = {"experiment": name, "key": "k", "seconds": 12.3, "model_mb": 4.5, "log_loss": {"not": "a score"}}
    write_json(paths.run(name), run)
    return scores


@pytest.fixture
def paths(tmp_path, monkeypatch) -> Paths:
    monkeypatch.chdir(tmp_path)
    return Paths("toy")


def test_the_best_experiment_stands_first(paths, capsys):
    write_scores(paths, "a_noisy", 0.9)
    best = write_scores(paths, "b_clean", 0.3)
    write_json(paths.submission("b_clean").with_suffix(".json"), {"local_leaderboard": {"f1_samples": 0.8765}})
    main(SimpleNamespace(comp="toy"))
    printed = capsys.readouterr().out.split("decoders:")[0].splitlines()
    lines = [line for line in printed if "a_noisy" in line or "b_clean" in line]
    assert [line.split()[0] for line in lines] == ["b_clean", "a_noisy"]
    assert f"{best['score']:.4f}" in lines[0] and "0.8765" in lines[0]


def test_what_another_metric_scored_stands_last_and_is_marked(paths, capsys):
    write_scores(paths, "old", 0.1)
    write_scores(paths, "new", 0.9, metric="f1_macro")
    main(SimpleNamespace(comp="toy", decoders=True))
    table, decoders = capsys.readouterr().out.split("decoders:")
    lines = [line.split()[:2] for line in table.splitlines() if line.split()[:1] in (["old"], ["new"])]
    assert [line[0] for line in lines] == ["new", "old"]
    assert lines[1][1] == "†" != lines[0][1]
    first_words = [line.split()[:1] for line in decoders.splitlines()]
    assert ["new"] in first_words and ["old"] not in first_words


def test_every_decoder_is_shown_with_its_gain_and_the_one_in_use_is_marked(paths, capsys):
    scores = write_scores(paths, "only", 0.9)
    main(SimpleNamespace(comp="toy", decoders=True))
    printed = capsys.readouterr().out.split("decoders:")[1]
    for name, decoder in scores["decoders"].items():
        assert name in printed
        assert f"{decoder['score']:.4f}" + ("*" if name == scores["decoder"] else "") in printed


def test_nothing_scored_is_an_error_that_names_the_command(paths):
    with pytest.raises(FileNotFoundError, match="nothing has been scored for 'toy'; run: make train COMP=toy"):
        main(SimpleNamespace(comp="toy"))


def test_optimism_is_what_tuning_in_sample_adds():
    decoder, scores = score(*problem(0.9), ("cat", "dog"), Rule())
    assert scores["optimism"] == pytest.approx(scores["in_sample"] - scores["score"])
    assert scores["score"] == scores["f1_samples"]
    assert decoder["decoder"] == scores["decoder"] in scores["decoders"]
    assert scores["decoders"]["ascent"]["optimism"] > 0


def test_thresholds_come_with_their_spread_over_the_folds():
    proba, y, fold = problem(0.9)
    decoder, _ = score(0.4 * proba + 0.6 * y, y, fold, ("cat", "dog"), Rule("f1_micro", least=0))
    assert list(decoder["thresholds"]) == list(decoder["spread"]) == ["cat", "dog"]


def test_the_spread_over_folds_is_that_of_a_sample():
    _, scores = score(*problem(0.9), NAMES, Rule())
    a, b, c = scores["fold_scores"]
    mean = (a + b + c) / 3
    assert scores["fold_spread"] == pytest.approx((((a - mean) ** 2 + (b - mean) ** 2 + (c - mean) ** 2) / 2) ** 0.5)


def test_copies_of_a_row_make_no_interval_of_a_decoder_narrower():
    proba, y, fold = problem(0.9)
    many, group = [np.concatenate([a] * 10) for a in (proba, y, fold)], np.tile(np.arange(90), 10)
    alone, copies = (score(*many, NAMES, Rule(), group=g)[1]["decoders"]["fixed"] for g in (None, group))
    assert copies["high"] - copies["low"] == pytest.approx(10**0.5 * (alone["high"] - alone["low"]), rel=0.05)


@pytest.mark.parametrize("metric", METRICS)
def test_every_metric_has_a_score_thresholds_and_a_table(paths, capsys, metric):
    scores = write_scores(paths, "only", 0.9, metric=metric)
    recipe = read_json(paths.thresholds("only"))
    assert scores[metric] == scores["score"] and np.isfinite(scores["score"])
    assert scores["greater_is_better"] == METRICS[metric].greater_is_better
    assert list(recipe["thresholds"]) == list(recipe["spread"]) == list(NAMES)
    assert recipe["thresholds_by"] in ("per_class", "ascent", "shrunk")
    assert recipe["thresholds_for"] == (metric if METRICS[metric].needs == "labels" else "f1_macro")
    assert recipe["thresholds_score"] == scores["thresholds"]["score"]
    assert set(recipe["decoders"]) == set(DECODERS)
    main(SimpleNamespace(comp="toy", decoders=True))
    printed = capsys.readouterr().out
    assert f"{scores['score']:.4f}" in printed and f"{scores['thresholds']['score']:.4f}" in printed
    assert METRIC_INFO[metric].title in " ".join(printed.split())
    assert "thresholds, one a label" in printed and f"cat {recipe['thresholds']['cat']:.3f}±" in printed


def test_of_a_loss_the_lowest_stands_first_and_optimism_is_how_much_too_low_it_is(paths, capsys):
    worse, best = write_scores(paths, "a_noisy", 0.9, "hamming"), write_scores(paths, "b_clean", 0.3, "hamming")
    main(SimpleNamespace(comp="toy"))
    printed = capsys.readouterr().out.split("decoders:")[0].splitlines()
    assert [line.split()[0] for line in printed if "a_noisy" in line or "b_clean" in line] == ["b_clean", "a_noisy"]
    assert best["score"] < worse["score"]
    assert worse["optimism"] == pytest.approx(worse["score"] - worse["in_sample"])


def test_the_decoder_in_use_and_any_other_are_read_back_from_thresholds_json():
    proba, y, fold = problem(0.9)
    recipe, _ = score(proba, y, fold, NAMES, Rule())
    cv = NestedCV(proba, y, fold, Rule())
    assert Decoder.from_json(recipe)(proba).tolist() == cv.decoder("auto")(proba).tolist()
    for name in DECODERS:
        assert Decoder.from_json(recipe, name)(proba).tolist() == cv.decoder(name)(proba).tolist()
    with pytest.raises(ValueError, match="DECODER=best: expected one of fixed, global, per_class, ascent, shrunk"):
        Decoder.from_json(recipe, "best")


def test_the_paired_gain_of_the_thresholds_is_over_the_decoder_in_use():
    _, scores = score(*problem(0.9), NAMES, Rule(decoder="fixed"))
    found = scores["thresholds"]
    assert found["over"] == "fixed" and found["over_score"] == scores["decoders"]["fixed"]["score"]
    assert found["gain"] == pytest.approx(found["score"] - found["over_score"])
    assert found["low"] < found["gain"] < found["high"]


def test_a_label_of_one_class_is_left_out_of_auc_and_said():
    proba, y, fold = problem(0.9)
    y[:, 1] = 0
    _, scores = score(proba, y, fold, NAMES, Rule("auc_macro", least=0))
    assert scores["left_out"] == ["dog"] and np.isfinite(scores["score"])
    with pytest.raises(ValueError, match="no score by auc_macro"):
        score(proba, 0 * y, fold, NAMES, Rule("auc_macro", least=0))


def python(code: str, folder: Path) -> str:
    environment = os.environ | {"PYTHONPATH": str(SRC)}
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_the_table_is_printed_without_torch_pandas_or_numpy(paths, tmp_path):
    write_scores(paths, "only", 0.5)
    code = (
        "import sys; from tandem.__main__ import main; main(['scores', 'toy'])\n"
        "print('heavy:', {'torch', 'pandas', 'numpy', 'pyarrow', 'scipy', 'sklearn'} & set(sys.modules))"
    )
    printed = python(code, tmp_path)
    assert "only" in printed and "heavy: set()" in printed


LONG = "image_and_caption_with_a_very_long_name_of_an_experiment"


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_numbers_are_whole_at_every_width_and_no_line_is_longer(paths, capsys, monkeypatch, width):
    scores = write_scores(paths, LONG, 0.9)
    write_scores(paths, "short", 0.3)
    monkeypatch.setenv("COLUMNS", str(width))
    main(SimpleNamespace(comp="toy"))
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= width
    assert "…" not in printed and "decoders:" not in printed and "thresholds" not in printed
    assert f"{scores['score']:.4f}" in printed
    assert (f"{scores['log_loss']:.4f}" in printed) == (width == 200)  # shown only where there is room
    main(SimpleNamespace(comp="toy", decoders=True))
    printed = capsys.readouterr().out
    assert max(map(len, printed.split("± standard")[0].splitlines()[:-1])) <= width
    assert "…" not in printed
    assert all(f"{decoder['score']:.4f}" in printed for decoder in scores["decoders"].values())


def test_the_seconds_of_a_stack_are_those_with_its_members(paths, capsys):
    write_scores(paths, "a", 0.9)
    write_scores(paths, "stack", 0.3)
    run = read_json(paths.run("stack"))
    write_json(paths.run("stack"), run | {"seconds": 5.0, "members": {"a": {}}})
    main(SimpleNamespace(comp="toy"))
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.split()[:1] == ["stack"])
    assert line.split()[-2:] == ["17", "4.5"]  # 12.3 and 5 seconds; MB
