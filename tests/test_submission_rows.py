"""Labels of photos in the form of the submission, and the ids that the names of files become."""

import pytest
from checked import write_competition, write_split

from tandem.artifacts.paths import Paths
from tandem.config.competition import load_competition
from tandem.data.image_names import id_of_image
from tandem.web.submission_rows import SubmissionRows

ROWS = [
    {"id": "a.jpg", "labels": ["cat", "dog"], "proba": {"cat": 0.75, "dog": 0.5}},
    {"id": "b.jpg", "labels": [], "proba": {"cat": 0.25, "dog": 0}},
]


def competition(tmp_path, **changes) -> Paths:
    paths = Paths("toy", tmp_path)
    write_competition(paths, ("cat", "dog"), **{"suffix": ".jpg", **changes})
    return paths


def test_as_the_sample_submission_is_written_where_there_is_one_else_as_the_training_rows(tmp_path):
    paths = competition(tmp_path)
    assert SubmissionRows(paths).to_csv(ROWS) == "id,labels\na,cat|dog\nb,\n"  # a bundle has no sample
    (paths.input / "sample_submission.csv").write_text("ID;labels\na;cat,dog\n")
    with pytest.raises(ValueError, match="sample_submission.csv"):
        SubmissionRows(paths)
    (paths.input / "sample_submission.csv").write_text("id;labels\na;cat,dog\n")
    assert SubmissionRows(paths).to_csv(ROWS) == "id;labels\na;cat,dog\nb;\n"


def test_a_form_of_probabilities_has_those_of_the_rows_or_1_and_0(tmp_path):
    rows = SubmissionRows(competition(tmp_path, submission="probabilities"))
    assert rows.to_csv(ROWS) == "id,cat,dog\na,0.75,0.5\nb,0.25,0\n"
    assert rows.to_csv([{"id": "a.jpg", "labels": ["dog"]}]) == "id,cat,dog\na,0,1\n"
    assert rows.about["values"] == "probabilities"


def test_a_known_image_has_its_id_and_files_of_one_name_keep_their_folders(tmp_path):
    paths = competition(tmp_path, image="image", suffix="")
    write_split(paths, "test", ["7", "8"], ["", ""])
    rows = SubmissionRows(paths)
    assert rows.id_of("new.jpg") == "new.jpg" and rows.id_of("x/7") == "7"
    both = [{"id": "x/new.jpg", "labels": []}, {"id": "y/new.jpg", "labels": []}]
    assert rows.to_csv(both) == "id,labels\nx/new.jpg,\ny/new.jpg,\n"


@pytest.mark.parametrize(
    ("settings", "file", "id"),
    [
        ({"suffix": ".jpg"}, "x/s01.jpg", "s01"),
        ({"suffix": ".*"}, "s01.PNG", "s01"),
        ({"suffix": ""}, "s01.jpg", "s01.jpg"),
        ({"suffix": ".jpg"}, "s01", "s01"),  # an id already
        ({"suffix": ".jpg", "image_name": "img_{id:04}"}, "img_0007.jpg", "7"),
        ({"suffix": ".png", "image_name": "{id:-id_}"}, "5.png", "id_5"),
        ({"image_name": "img_{id}.jpg", "suffix": ""}, "other.jpg", "other.jpg"),
        ({"image": "image", "suffix": ".jpg"}, "s01.jpg", "s01.jpg"),
    ],
)
def test_the_name_of_a_file_becomes_the_id_that_names_it(tmp_path, settings, file, id):
    paths = competition(tmp_path, **settings)
    assert id_of_image(load_competition(paths.competition), file) == id
