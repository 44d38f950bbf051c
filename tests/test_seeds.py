"""`make seeds`: the same experiment with further seeds as one experiment, a member like any other."""

import contextlib
import shutil
from pathlib import Path

import numpy as np
import pytest
import toy
from checked import write_experiment
from test_named_stacks import in_this_process
from test_plan import write_toy

from tandem.__main__ import main
from tandem.artifacts.atomic_io import read_json
from tandem.artifacts.contributions import BOTH, read_contributions
from tandem.artifacts.paths import Paths
from tandem.artifacts.predictions import Predictions
from tandem.config.experiments import TfidfExperiment, ZeroShotExperiment
from tandem.graph.declared_stages import Graph
from tandem.graph.experiment_dir import Experiments
from tandem.inference.labeler import Labeler
from tandem.logits import logit, sigmoid
from tandem.report.collect import gather
from tandem.training.fold_job import FoldJob

KINDS = ["join", "looks"]  # one whose logits are sums of terms, one whose are not
FOLDS = range(2)


def seeds(*words: str) -> int:
    return main(["seeds", "COMP=toy", *words])


@pytest.fixture
def fits(monkeypatch) -> list[str]:
    """The models that are trained from here on, such as "join seed 1 fold 0"."""
    found, fit = [], FoldJob.fit_fold

    def counted(job, k, *args):
        found.append(f"{job.title} fold {k}")
        return fit(job, k, *args)

    monkeypatch.setattr(FoldJob, "fit_fold", counted)
    return found


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """join and looks, join_1 and looks_1 with the second seed, and join_seeds2 and looks_seeds2 with both."""
    root = tmp_path_factory.mktemp("seeds")
    with contextlib.chdir(root), in_this_process():
        paths = Paths("toy")
        write_toy(paths)
        for name, experiment in toy.experiments(root).items():
            write_experiment(paths, name, experiment)
        for name in KINDS:
            (paths.configs / f"{name}_1.toml").write_text(f'base = "{name}"\nseed = 1\n')
        assert main(["train", "COMP=toy", f"EXPS={' '.join(KINDS)}"]) == 0
        assert all(seeds(f"EXP={name}", "N=2") == 0 for name in KINDS)
        assert main(["train", "COMP=toy", f"EXPS={' '.join(f'{name}_1' for name in KINDS)}"]) == 0
    return root


@pytest.fixture
def paths(made, monkeypatch):
    """The checkout, not to be changed."""
    monkeypatch.chdir(made)
    with in_this_process():
        yield Paths("toy")


@pytest.fixture
def copied(made, tmp_path, monkeypatch):
    """A copy, to be changed."""
    shutil.copytree(made, tmp_path / "copy", copy_function=shutil.copy2)
    monkeypatch.chdir(tmp_path / "copy")
    with in_this_process():
        yield Paths("toy")


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("split", ["oof", "test"])
def test_the_prediction_is_the_mean_of_the_logits_of_both_seeds(paths, name, split):
    of = {one: Predictions.read(getattr(paths, split)(one)) for one in (name, f"{name}_1", f"{name}_seeds2")}
    ids = of[name].ids
    by_hand = sigmoid((logit(of[name].proba) + logit(of[f"{name}_1"].aligned_to(ids))) / 2)
    assert np.allclose(of[f"{name}_seeds2"].aligned_to(ids), by_hand, atol=1e-6)
    assert np.abs(of[name].proba - of[f"{name}_1"].proba).max() > 1e-3, "another seed is another model"


def test_the_terms_are_the_means_of_the_terms_of_both_seeds(paths):
    def terms(name: str) -> np.ndarray:
        (found,) = [part for setting, _, part in read_contributions(paths.contributions(name)) if setting == BOTH]
        return found

    assert np.allclose(terms("join_seeds2"), (terms("join") + terms("join_1")) / 2, atol=1e-6)
    oof = Predictions.read(paths.oof("join_seeds2")).proba
    assert np.allclose(sigmoid(terms("join_seeds2").sum(-1)), oof, atol=1e-6)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("suffix", [".safetensors", ".terms.parquet"])
def test_each_model_has_the_bytes_of_the_same_experiment_with_that_seed(paths, name, suffix):
    """The first seed's are copied, the second's trained."""
    for k in FOLDS:
        for seed, single in enumerate((name, f"{name}_1")):
            own, other = paths.model(f"{name}_seeds2", k, suffix, seed), paths.model(single, k, suffix)
            assert own.exists() == other.exists() == (suffix == ".safetensors" or name == "join")
            assert not own.exists() or own.read_bytes() == other.read_bytes()


def test_the_first_seed_is_copied_with_the_files_that_training_it_would_write(copied, fits):
    def files() -> dict[str, bytes]:
        folder = copied.models_dir("looks_seeds2")
        return {file.name: file.read_bytes() for file in sorted(folder.glob("fold*")) if file.suffix != ".json"}

    before = files()
    assert len(before) == 2 * 2 * len(FOLDS)
    for name in ("looks_seeds2", "looks", "looks_1"):
        shutil.rmtree(copied.models_dir(name))
        shutil.rmtree(copied.experiment(name))
    assert seeds("EXP=looks", "N=2") == 0
    assert fits == [f"looks_seeds2{seed} fold {k}" for seed in ("", " seed 1") for k in FOLDS]
    assert files() == before


def test_a_second_run_trains_nothing_and_more_seeds_only_the_new_one(copied, fits, capsys):
    assert seeds("EXP=looks", "N=2") == 0
    assert "Nothing to be done" in capsys.readouterr().out and fits == []
    assert seeds("EXP=looks", "N=3") == 0
    assert fits == [f"looks_seeds3 seed 2 fold {k}" for k in FOLDS]


def test_a_killed_run_keeps_each_fold_of_each_seed(copied, monkeypatch, fits):
    for name in ("looks_seeds2", "looks_1"):
        shutil.rmtree(copied.models_dir(name))
        shutil.rmtree(copied.experiment(name))
    with monkeypatch.context() as patch:
        fit = FoldJob.fit_fold

        def killed(job, k, *args):
            if (job.seed, k) == (1, 1):
                raise KeyboardInterrupt
            return fit(job, k, *args)

        patch.setattr(FoldJob, "fit_fold", killed)
        assert seeds("EXP=looks", "N=2") == 130
    records = sorted(file.name for file in copied.models_dir("looks_seeds2").glob("*.json"))
    assert records == ["fold0-seed1.json", "fold0.json", "fold1.json"]
    fits.clear()
    assert seeds("EXP=looks", "N=2") == 0
    assert fits == ["looks_seeds2 seed 1 fold 1"]


def test_what_it_gained_is_printed_and_kept(paths, capsys):
    assert seeds("EXP=looks", "N=2") == 0
    printed, kept = capsys.readouterr().out, read_json(paths.run("looks_seeds2"))["seeds"]
    single, both = (Experiments(paths)[name].scores for name in ("looks", "looks_seeds2"))
    assert kept["n"] == 2 and kept["metric"] == both["metric"] == "f1_samples"
    assert (kept["single"], kept["score"]) == pytest.approx((single["score"], both["score"]))
    assert kept["log_loss_single"] == pytest.approx(single["log_loss"], abs=1e-6)
    assert kept["log_loss_difference"]["mean"] == pytest.approx(kept["log_loss"] - kept["log_loss_single"])
    assert all(part["low"] <= part["mean"] <= part["high"] for part in (kept["gain"], kept["log_loss_difference"]))
    assert f"log loss {kept['log_loss']:.4f}, {kept['log_loss_difference']['mean']:+.4f} [" in printed


def test_it_is_a_member_a_report_and_a_bundle_like_any_other(copied):
    assert main(["submit", "COMP=toy", "EXPS=looks_seeds2 join_seeds2 words", "STACK=seeded"]) == 0
    assert set(read_json(copied.run("seeded"))["members"]) == {"looks_seeds2", "join_seeds2", "words"}
    report = gather(Experiments(copied), "looks_seeds2")
    assert report.focus is not None and {entry.get("seed", 0) for entry in report.focus.logs[0]} == {0, 1}
    assert main(["bundle", "COMP=toy", "EXP=join_seeds2"]) == 0
    (member,) = Labeler.load(copied.bundle).predictor.members
    assert len(member.ensemble.models) == 2 * len(FOLDS)
    assert main(["explain", "COMP=toy", "ID=0.jpg", "EXP=join_seeds2"]) == 0
    test = Predictions.read(copied.test("join_seeds2"))
    captions = dict(line.split(",") for line in (copied.input / "test.csv").read_text().splitlines()[1:])
    photos = [copied.input / "data" / name for name in test.ids]
    proba = Labeler.of(copied, "join_seeds2").predict_proba(photos, [captions[name] for name in test.ids])
    assert np.abs(proba - test.proba).max() < 1e-2


def test_other_settings_make_every_seed_stale_and_another_number_of_seeds_is_named(copied):
    file = copied.configs / "looks_seeds2.toml"
    file.write_text(file.read_text().replace("seeds = 2", "seeds = 3"))
    assert Experiments(copied)["looks_seeds2"].stale_reason == "configs/looks_seeds2.toml seeds 2 -> 3"
    base = copied.configs / "looks.toml"
    base.write_text(base.read_text().replace("seed = 0", "seed = 7"))
    stale = [artifact.name for artifact, _ in Graph.open(copied).task("train looks_seeds2").stale()]
    assert stale[:3] == ["looks_seeds2 fold 0", "looks_seeds2 fold 1", "looks_seeds2 fold 0 seed 1"]


def test_models_of_seeds_that_are_no_longer_wanted_are_removed(copied, fits):
    file = copied.configs / "looks_seeds2.toml"
    file.write_text('base = "looks"\n')
    assert main(["train", "COMP=toy", "EXPS=looks_seeds2"]) == 0
    assert fits == []
    assert not list(copied.models_dir("looks_seeds2").glob("*-seed*"))


def test_one_seed_does_not_enter_the_settings():
    assert "seeds" not in TfidfExperiment(kind="tfidf").model_dump()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["EXP=looks", "N=1"], "N=1: expected 2 to 10"),
        (["EXP=looks", "N=11"], "N=11: expected 2 to 10"),
        (["EXP=words"], "EXP=words: kind tfidf gives the same model with every seed, so further seeds change nothing"),
        (["EXP=nothing"], "EXP: nothing has no file in configs/ that fits this competition; there are: "),
        (["EXP=looks_seeds2"], "EXP=looks_seeds2: has seeds = 2 already; expected an experiment with one seed"),
    ],
)
def test_what_has_no_further_seeds_is_refused_and_nothing_is_written(paths, capsys, words, message):
    before = sorted(paths.configs.iterdir())
    assert seeds(*words) == 2
    assert message in capsys.readouterr().err
    assert sorted(paths.configs.iterdir()) == before


def test_a_file_of_that_name_that_is_another_experiment_is_left_as_it_is(copied, capsys):
    file = copied.configs / "looks_seeds3.toml"
    file.write_text('base = "looks"\nseeds = 4\n')
    assert seeds("EXP=looks", "N=3") == 2
    assert f"{file}: is not looks with seeds = 3; rename or delete it" in capsys.readouterr().err
    assert "seeds = 4" in file.read_text()


def test_no_weight_of_zeroshot_is_random():
    with pytest.raises(ValueError, match="seeds = 2: kind zeroshot gives the same model with every seed"):
        ZeroShotExperiment(kind="zeroshot", seeds=2)


def test_seeds_of_a_model_without_chance_are_an_error_in_its_file(copied, capsys):
    (copied.configs / "twice.toml").write_text('base = "words"\nseeds = 2\n')
    assert main(["train", "COMP=toy", "EXPS=twice"]) == 2
    assert "seeds = 2: kind tfidf gives the same model with every seed" in capsys.readouterr().err
