"""The leak test on a drawn sample: the six default members are honest, copies that saw their rows are named."""

import numpy as np
import pytest

from tandem.__main__ import main
from tandem.artifacts.paths import Paths
from tandem.artifacts.predictions import Predictions
from tandem.config.competition import Folds, to_toml
from tandem.data.labelled_rows import read_labelled_rows
from tandem.ensemble.leak_test import WARNING, confidence, leak_warning
from tandem.graph.experiment_dir import Experiments
from tandem.models.fold_ensemble import FoldEnsemble
from tandem.report.leaks import leak_warnings
from tandem.stages.sample import SAMPLE, draw_competition
from tandem.training.split_inputs import read_inputs

MEMBERS = ("image_lite0", "image_lite0_finetune", "text_minilm", "text_tfidf", "concat", "fast")
COPIED = ("image_lite0", "text_tfidf", "concat")


def in_sample(paths: Paths, name: str) -> Predictions:
    """Each row by the mean of the fold models that were trained on it."""
    experiment, rows = Experiments(paths)[name], read_labelled_rows(paths)
    inputs, proba = read_inputs(paths, experiment.config, "train"), np.zeros(rows.y.shape, np.float32)
    for k in experiment.folds:
        files = [paths.model(name, j, ".safetensors") for j in experiment.folds if j != k]
        held_out = rows.fold == k
        proba[held_out] = FoldEnsemble.load(experiment.config, len(rows.names), files).probabilities(inputs)[held_out]
    return Predictions(rows.ids, rows.names, proba)


@pytest.mark.slow
def test_no_honest_member_gives_an_alarm_and_three_in_sample_copies_do(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    paths = Paths("sample")
    draw_competition(paths, 300, 120, seed=0)
    paths.competition.write_text(to_toml(SAMPLE.model_copy(update={"folds": Folds(n=3, seed=0)})))
    assert main(["train", "COMP=sample", f"EXPS={' '.join(MEMBERS)}"]) == 0
    rows, found = read_labelled_rows(paths), Experiments(paths)
    each = {
        name: confidence(found[name].oof().aligned_to(rows.ids), Predictions.read(paths.test(name)).proba, rows.y)
        for name in MEMBERS
    }
    for name, own in each.items():
        assert leak_warning(own, {other: one for other, one in each.items() if other != name}) == ""
    for name in COPIED:
        in_sample(paths, name).to_pandas().to_csv("oof.csv")
        Predictions.read(paths.test(name)).to_pandas().to_csv("test.csv")
        copy = ["add-predictions", "COMP=sample", f"NAME={name}-seen", "OOF=oof.csv", "TEST=test.csv"]
        assert main(copy) == 0
        assert f"warning: {name}-seen {WARNING}" in capsys.readouterr().out
    assert len(list(leak_warnings(Experiments(paths)))) == len(COPIED)
    main(["scores", "COMP=sample"])
    assert capsys.readouterr().out.count(WARNING) == len(COPIED)
