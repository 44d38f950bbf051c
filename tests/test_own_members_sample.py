"""Members of the user's own on a drawn sample: the template, a scikit-learn estimator, predictions from elsewhere."""

import pandas as pd
import pytest
from test_custom_models import page_code
from test_sample_run import N_TEST, cells, paths, tandem  # noqa: F401

from tandem.artifacts.atomic_io import csv_text, read_json, write_text
from tandem.data.csv_reader import read_table

MEMBERS = "mine ridge notebook text_tfidf"
RIDGE = 'kind = "custom"\nmodel = "my_ridge.py:RidgeModel"\n'


@pytest.mark.slow
def test_they_go_through_submit_and_report_and_the_models_through_predict_and_bundle(paths):  # noqa: F811
    tandem(paths, "new-model", "NAME=mine")
    write_text(paths.root / "my_ridge.py", page_code("my_ridge.py"))
    write_text(paths.configs / "ridge.toml", RIDGE)
    tandem(paths, "train", "sample", "--exps", "concat")
    for split in ("oof", "test"):
        made = pd.read_parquet(getattr(paths, split)("concat"))
        made.sample(frac=1, random_state=0).to_csv(paths.root / f"{split}.csv", index=False)
    pd.read_csv(paths.folds, dtype=str)[["id", "fold"]].to_csv(paths.root / "folds.csv", index=False)
    added = tandem(
        paths, "add-predictions", "sample", "NAME=notebook", "OOF=oof.csv", "TEST=test.csv", "FOLDS=folds.csv"
    )
    assert "warning" not in added
    own, copied = (read_json(paths.scores(name)) for name in ("concat", "notebook"))
    own.pop("rows_without_caption")  # whether these predictions used captions is not known
    assert own == copied

    tandem(paths, "submit", "sample", "--exps", MEMBERS, "STACK=two")
    submitted, truth = cells(paths.submission("two"), "labels"), cells(paths.input / "solution.csv", "labels")
    assert list(submitted) == list(truth) and len(truth) == N_TEST
    losses = {name: read_json(paths.scores(name))["log_loss"] for name in ("two", *MEMBERS.split())}
    assert losses["two"] < 1.01 * min(losses.values())  # what stacks are chosen by
    table, _ = tandem(paths, "scores", "sample"), tandem(paths, "report", "sample", "EXP=two")
    assert "without external" in table
    page = paths.report.read_text(encoding="utf-8")
    assert all(name in page for name in MEMBERS.split())

    photos, test = paths.root / "photos", read_table(paths.input / "test.csv")
    photos.mkdir()
    for id in truth:
        (photos / f"{id}.jpg").symlink_to(paths.input / "images" / f"{id}.jpg")
    names = [f"{id}.jpg" for id in test.column("id")]
    texts = [text or "a photo" for text in test.column("caption")]  # their classes need one
    write_text(paths.root / "captions.csv", csv_text(("image", "caption"), *zip(names, texts, strict=True)))
    captioned = {id for id, text in zip(test.column("id"), test.column("caption"), strict=True) if text}
    rows = ("--images", "photos", "--captions", "captions.csv")
    for name in ("mine", "ridge"):
        tandem(paths, "submit", "sample", "--exps", name)
        given = cells(paths.submission(name), "labels")
        tandem(paths, "predict", "sample", f"EXP={name}", *rows, f"OUT={name}.csv")
        assert all(cells(paths.root / f"{name}.csv", "labels")[id] == given[id] for id in captioned)
        trust = tandem(paths, "bundle", "sample", f"EXP={name}").rpartition("TRUST=")[2].split()[0]
        packed = ("BUNDLE=bundles/sample.zip", f"TRUST={trust}", f"OUT={name}.bundle.csv")
        tandem(paths, "predict", "sample", *packed, *rows)
        alike = [cells(paths.root / f"{name}.bundle.csv", "labels")[id] == given[id] for id in captioned]
        assert sum(alike) >= 0.9 * len(alike)
