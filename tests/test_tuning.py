"""`make tune`: the ranges of a TOML file, searches that never see their outer fold, and what is written."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import optuna
import pytest
from optuna.storages import InMemoryStorage

from tandem.artifacts.atomic_io import read_json, write_text
from tandem.artifacts.paths import Paths
from tandem.config.load_experiments import load_experiment, search_space
from tandem.config.tuning import Span
from tandem.data.labelled_rows import LabelledRows
from tandem.graph.experiment_dir import Experiments
from tandem.stages import tune
from tandem.training.fold_job import FoldJob
from tandem.training.tuning import Search, number_of_fits, open_study, untuned_losses

HEAD = 'kind = "head"\n[image]\n[tune]\n'


def load(folder, tune_section: str, head: str = HEAD):
    return search_space(write_text(folder / "mine.toml", head + tune_section))


def test_ranges_are_read_by_dotted_key_with_and_without_quotes(tmp_path):
    space = load(tmp_path, '"train.lr" = {low = 1e-4, high = 1e-2, log = true}\nhead.hidden = [128, 256]\n')
    assert space.ranges == {"train.lr": Span(1e-4, 1e-2, log=True), "head.hidden": (128, 256)}
    assert space.experiment({"train.lr": 0.005, "head.hidden": 128}).head.hidden == 128
    nested = load(tmp_path, "[tune.train]\nepochs = {low = 2, high = 9}\n")
    assert nested.ranges == {"train.epochs": Span(2, 9)}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('"train.speed" = [1, 2]', r"tune.train.speed: the experiment has no such setting"),
        ('"train.lr" = {low = 0.1, high = 0.01}', r"tune.train.lr: low must be less than high, got 0.1 and 0.01"),
        ('"train.lr" = {low = -1, high = 1}', r"tune.train.lr: -1.0 is no valid value: .*greater than 0"),
        ('"head.hidden" = {low = 1.5, high = 3}', r"tune.head.hidden: the setting is a whole number"),
        ('"head.hidden" = [128, "big"]', r"tune.head.hidden: 'big' is no valid value: .*valid integer"),
        ('"head.hidden" = [128]', r"tune.head.hidden: expected two or more different values"),
        ('"head.hidden" = 128', r"tune.head.hidden: expected {low = 1e-4, .* or a list of values, got 128"),
        ('"train.lr" = {low = 0.1, high = 1, step = 2}', r"tune.train.lr: unknown key 'step'"),
        ('"train.lr" = {low = 0.0, high = 1, log = true}', r"tune.train.lr: log must be .* low above 0"),
        ('"train.loss" = {low = 1, high = 2}', r"tune.train.loss: the setting is 'bce', no number"),
        ('"image.size" = [64, 96]', r"tune.image.size: changes the frozen features"),
        ("seed = [1, 2]", r"tune.seed: can't be tuned"),
    ],
)
def test_a_wrong_range_names_the_file_and_the_key(tmp_path, line, message):
    with pytest.raises(ValueError, match=rf"mine\.toml: {message}"):
        load(tmp_path, line)
    with pytest.raises(ValueError, match=rf"mine\.toml: {message}"):
        load_experiment(tmp_path / "mine.toml")


def test_ranges_are_no_part_of_the_content_key_and_the_mark_is_one_only_where_it_is_set(tmp_path):
    def dumped(text: str) -> dict:
        return load_experiment(write_text(tmp_path / "mine.toml", text)).model_dump()

    plain = dumped('kind = "tfidf"\n')
    assert dumped('kind = "tfidf"\n[tune]\n"tfidf.c" = [1.0, 2.0]\n') == plain
    assert dumped('kind = "tfidf"\ntuned = "coco19"\n') == plain | {"tuned": "coco19"}


@pytest.fixture
def toy(small, tmp_path, monkeypatch) -> Paths:
    """A copy of it with ranges for one of its experiments."""
    shutil.copytree(small.root, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    add_ranges("words", '"tfidf.c" = {low = 0.001, high = 100.0, log = true}\n"tfidf.characters" = [0, 3]\n')
    return Paths("small")


def add_ranges(name: str, text: str) -> None:
    file = Paths("small").configs / f"{name}.toml"
    write_text(file, file.read_text() + "[tune]\n" + text)


def run(name: str, trials: int = 3, outer: int = -1) -> dict:
    tune.main(SimpleNamespace(comp="small", exp=name, trials=trials, outer=outer))
    return read_json(Paths("small").tuning(name))


def trials_of(paths: Paths, name: str) -> dict[str, list]:
    """The values of all finished trials, by study."""
    storage = f"sqlite:///{paths.study(name)}"
    studies = (optuna.load_study(study_name=s, storage=storage) for s in optuna.get_all_study_names(storage))
    return {
        study.study_name.split(" ", 1)[1]: [t.user_attrs.get("chosen") for t in study.trials if t.state.is_finished()]
        for study in studies
    }


def test_each_outer_fold_has_a_search_of_its_own_and_the_best_is_a_toml_that_says_what_it_gains(toy, capsys):
    file = toy.configs / "words.toml"
    write_text(file, file.read_text().replace("[tune]", "[tfidf]\nc = 1e-4\n[tune]"))  # all of the range is better
    found = run("words", trials=2)
    printed = capsys.readouterr().out
    assert f"4 searches of 2 trials, at most {number_of_fits(3, 3, 2)} fits, about 1 min or less" in printed
    assert {name: len(trials) for name, trials in trials_of(toy, "words").items()} == {
        "without fold 0": 2, "without fold 1": 2, "without fold 2": 2, "all folds": 2
    }  # fmt: skip
    text = (toy.configs / "words_tuned.toml").read_text()
    assert text.startswith("# Chosen by make tune COMP=small EXP=words, 2 trials: log loss ")
    assert 'base = "words"\ntuned = "small"\n' in text
    gain = found["gain"]
    assert f"{gain['gain']:+.4f} [{gain['low']:+.4f}, {gain['high']:+.4f}]" in text
    tuned = load_experiment(toy.configs / "words_tuned.toml")
    assert found["best"]["chosen"] and tuned.tfidf.c == found["best"]["chosen"]["tfidf.c"]
    assert found["best"]["loss"] < found["best"]["untuned_loss"]


def test_a_search_never_sees_its_outer_fold(toy):
    """Labels and captions of fold 0 are changed: the search without it makes the same trials with the same losses."""
    job = FoldJob(toy, "words", load_experiment(toy.configs / "words.toml"))
    space = search_space(toy.configs / "words.toml")

    storage = InMemoryStorage()

    def losses(folds: tuple[int, ...], name: str) -> list:
        search = Search(job, space, folds, name, storage)
        search.run(2)
        study = open_study(storage, name)
        return [study.user_attrs, [trial.user_attrs for trial in study.trials]]

    before = losses((1, 2), "a"), losses((0, 1, 2), "b")
    rows = job.rows
    y = np.where(rows.fold[:, None] == 0, 1 - rows.y, rows.y)
    job.__dict__["rows"] = LabelledRows(rows.ids, rows.names, y, rows.fold, rows.group)
    storage = InMemoryStorage()
    assert losses((1, 2), "a") == before[0]
    assert losses((0, 1, 2), "b") != before[1]


@pytest.mark.slow
def test_a_killed_search_continues_to_the_same_result(toy, monkeypatch):
    whole = run("words", trials=3, outer=0)
    trials = trials_of(toy, "words")
    toy.study("words").unlink()
    fits, fit = [], Search._loss

    def stop_at_the_sixth(self, experiment, k):
        fits.append(k)
        if len(fits) == 6:
            raise KeyboardInterrupt
        return fit(self, experiment, k)

    monkeypatch.setattr(Search, "_loss", stop_at_the_sixth)
    with pytest.raises(KeyboardInterrupt):
        run("words", trials=3, outer=0)
    again = run("words", trials=3, outer=0)
    assert again == whole
    kept = [one for one in trials_of(toy, "words")["all folds"] if one]
    assert kept[:1] + kept[2:] == trials["all folds"] and kept[1] == kept[2]  # the killed trial, and its second run
    assert len(fits) == 1 + 3 * 3 - len(whole_pruned_folds(toy))  # only the fit that was killed is made again


def whole_pruned_folds(paths: Paths) -> list:
    """The folds that pruned trials left out."""
    storage = f"sqlite:///{paths.study('words')}"
    (study,) = (optuna.load_study(study_name=s, storage=storage) for s in optuna.get_all_study_names(storage))
    pruned = study.get_trials(states=(optuna.trial.TrialState.PRUNED,))
    return [None for trial in pruned for _ in range(3 - len(trial.user_attrs["losses"]))]


@pytest.mark.slow
def test_more_trials_continue_the_same_study(toy):
    run("words", trials=2, outer=0)
    first = trials_of(toy, "words")["all folds"]
    run("words", trials=3, outer=0)
    assert trials_of(toy, "words")["all folds"][:2] == first


@pytest.mark.slow
def test_a_clearly_worse_trial_is_not_trained_on_all_folds(toy):
    found = run("words", trials=14, outer=0)
    assert 0 < found["best"]["pruned"] < 14


def test_without_outer_folds_the_gain_is_not_known(toy):
    found = run("words", trials=2, outer=0)
    assert found["gain"] is None and found["outer"] == {}
    assert "How much it gains is not known: OUTER=0" in (toy.configs / "words_tuned.toml").read_text()


@pytest.mark.slow
def test_where_no_trial_is_better_the_file_says_so(toy):
    text = (toy.configs / "words.toml").read_text()
    write_text(toy.configs / "words.toml", text.split("[tune]")[0] + '[tune]\n"tfidf.c" = [1e5, 1e6]\n')
    found = run("words", trials=2)
    assert found["best"]["chosen"] == {} and found["gain"]["gain"] == 0
    text = (toy.configs / "words_tuned.toml").read_text()
    assert "of words, which no trial beats." in text and "[tfidf]" not in text


def test_a_file_of_the_user_is_not_overwritten(toy):
    write_text(toy.configs / "words_tuned.toml", 'kind = "tfidf"\n')
    with pytest.raises(ValueError, match="words_tuned.toml exists and make tune did not write it; rename it first"):
        run("words")
    assert not toy.study("words").exists()


def test_what_can_not_be_tuned_is_refused(toy):
    with pytest.raises(ValueError, match=r'looks\.toml: no section \[tune\]; add a line such as "train.lr" = '):
        run("looks")
    write_text(toy.configs / "more.toml", 'base = "looks"\nseeds = 2\n[tune]\ntrain.epochs = [1, 2]\n')
    with pytest.raises(ValueError, match="more.toml: seeds = 2 can't be tuned: tune it with one seed"):
        run("more")
    with pytest.raises(ValueError, match="TRIALS=0: expected 1 or more"):
        run("words", trials=0)
    with pytest.raises(ValueError, match="OUTER=4: expected 0 to 3"):
        run("words", outer=4)
    with pytest.raises(ValueError, match="nothing has no file in configs/"):
        run("nothing")
    with pytest.raises(ValueError, match="EXP=stack: expected one experiment; there are: .*words"):
        run("stack")
    write_text(toy.external_oof("notebook"), "")
    with pytest.raises(ValueError, match="EXP=notebook: it is external, only its predictions are known"):
        run("notebook")


def test_the_tuned_experiment_is_marked_in_every_table_of_its_competition(toy, capsys):
    from checked import train

    import tandem
    from tandem.report.scores_table import show_scores

    write_text(toy.configs / "words_tuned.toml", 'base = "words"\ntuned = "small"\n[tfidf]\nc = 9.0\n')
    write_text(toy.configs / "words_other.toml", 'base = "words"\ntuned = "other"\n[tfidf]\nc = 9.0\n')
    train(toy, "words_tuned", "words_other")
    experiments = Experiments(toy)
    assert experiments["words_tuned"].marks == ("tuned on these folds",)
    assert experiments["words_other"].marks == experiments["words"].marks == ()
    capsys.readouterr()
    show_scores(toy, decoders=True)
    printed = capsys.readouterr().out
    assert printed.count("tuned on these folds") == 3  # scores, decoders, thresholds
    assert tandem.competition("small").scores()["words_tuned"].marks == ("tuned on these folds",)


def test_the_losses_of_the_untuned_experiment_are_those_of_its_fold_models(toy):
    job = FoldJob(toy, "words", load_experiment(toy.configs / "words.toml"))
    pooled = read_json(toy.scores("words"))["log_loss"]
    assert np.mean(untuned_losses(job, [0, 1, 2])) == pytest.approx(pooled, rel=1e-6)  # folds of 15 rows each


RATES = '''"""A model that predicts the rate of each label, weighted by a setting."""

import numpy as np
from safetensors.numpy import load_file, save_file


class Rates:
    inputs = {"captions": True}

    def __init__(self, n_labels, weight=1.0):
        self.weight = weight

    def fit(self, inputs, y, run):
        self.rates = self.weight * y.mean(0)

    def predict_proba(self, inputs):
        return np.tile(self.rates, (len(inputs), 1))

    def save(self, path):
        save_file({"rates": np.asarray(self.rates)}, path)

    def load(self, path):
        self.rates = load_file(path)["rates"]
        return self
'''


def search(paths: Paths, name: str, text: str, trials: int = 2):
    """A search on all folds, of the experiment with these settings."""
    space = search_space(write_text(paths.configs / f"{name}.toml", text))
    job = FoldJob(paths, name, load_experiment(paths.configs / f"{name}.toml"))
    return Search(job, space, (0, 1, 2), "s", InMemoryStorage()).run(trials)


def test_a_setting_of_a_custom_model_is_searched(toy):
    write_text(Path("my_rates.py"), RATES)
    text = 'kind = "custom"\nmodel = "my_rates.py:Rates"\n[settings]\nweight = 0.1\n'
    found = search(toy, "mine", text + "[tune]\nsettings.weight = [0.9, 0.95]\n")
    assert found.chosen["settings.weight"] in (0.9, 0.95) and found.loss < found.untuned_loss


@pytest.mark.slow
def test_a_fine_tuned_network_is_searched(toy):
    text = (
        'kind = "finetune"\nmodel = "test_efficientnet"\nsize = 32\nweights = "tiny.safetensors"\n[train]\nepochs = 1\n'
    )
    found = search(toy, "net", text + "[tune]\ntrain.lr = {low = 1e-4, high = 1e-2, log = true}\n")
    assert found.trials == 2 and np.isfinite(found.untuned_loss)


@pytest.mark.slow
def test_a_fusion_network_is_searched(trained, tmp_path):
    text = (
        trained.configs / "join.toml"
    ).read_text() + "[tune]\nfusion.rank = [1, 2, 3]\ntrain.epochs = {low = 2, high = 4}\n"
    file = write_text(tmp_path / "configs" / "join.toml", text)
    job = FoldJob(trained, "join", load_experiment(file))
    found = Search(job, search_space(file), (0, 1, 2), "s", InMemoryStorage()).run(2)
    assert found.trials == 2 and np.isfinite(found.loss)
