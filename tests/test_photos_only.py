"""A competition of photos without captions, from its files to a submission, a report and labels of new photos."""

import csv
from pathlib import Path

import toy
from checked import run_tasks, write_experiment
from checked import train as train_experiments

from tandem.__main__ import main
from tandem.artifacts.paths import Paths
from tandem.config.competition import load_competition

N, TEST = 40, 4


def test_photos_alone_go_from_their_files_to_labels_of_new_ones(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    blue = [i % 3 == 0 for i in range(N + TEST)]
    for i, is_blue in enumerate(blue):
        toy.draw(tmp_path / "files" / "photos" / f"{i}.jpg", is_blue, i)
    rows = [f"{i}.jpg,{'sky sea' if blue[i] else 'sky'}\n" for i in range(N)]
    (tmp_path / "files" / "train.csv").write_text("image,labels\n" + "".join(rows))
    (tmp_path / "files" / "test.csv").write_text("image\n" + "".join(f"{i}.jpg\n" for i in range(N, N + TEST)))
    assert main(["import", "COMP=photos", "DIR=files", "SET=labels.separator=' '"]) == 0
    paths, looks = Paths("photos"), toy.experiments(tmp_path)["looks"]
    competition = load_competition(paths.competition)
    assert (competition.images, competition.caption) == ("photos", None)
    text = paths.competition.read_text().replace('"group"', '"off"')  # these photos differ in their colour alone
    paths.competition.write_text(text)
    write_experiment(paths, "looks", looks)
    run_tasks(paths, "check", "folds")
    train_experiments(paths, "looks")
    run_tasks(paths, "stack", "decode stack", "submit stack", members=("looks",))
    submitted = {row["image"]: row["labels"] for row in csv.DictReader(paths.submission("stack").open())}
    assert submitted == {f"{i}.jpg": "sea sky" if blue[i] else "sky" for i in range(N, N + TEST)}
    assert main(["report", "COMP=photos"]) == 0
    page = next(tmp_path.glob("reports/photos/index.html")).read_text()
    assert "Image sizes" in page and "words per caption" not in page
    assert main(["predict", "COMP=photos", "IMAGES=files/photos", "OUT=out.csv"]) == 0
    rows = csv.DictReader(Path("out.csv").read_text().splitlines())
    found = {row["image"]: set(row["labels"].split()) for row in rows}
    assert found[f"{N + 2}.jpg"] == ({"sea", "sky"} if blue[N + 2] else {"sky"})
