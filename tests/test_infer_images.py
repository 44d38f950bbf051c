import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tandem.data.image_names import ANY, ImageFiles, Images, image_name
from tandem.data.infer_images import Place, find_repairs, places, read_column


def numbered(folder, suffix=".jpg", n=4):
    return [f"{folder}/{i}{suffix}" for i in range(n)]


def images(files, *folders, suffix="", template=""):
    return Images(ImageFiles(files), folders, suffix, template)


def place_of(cells, files, split="train"):
    return places(read_column("image", cells, ImageFiles(files)), cells, split)


@pytest.mark.parametrize("id", ["a/../../x", "a/..", "", "/", "a\0b"])
def test_an_id_that_names_no_file_inside_the_folder_is_refused(id):
    with pytest.raises(ValueError, match="does not name a file inside data/"):
        images([], "data").expected(id)


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet="ab./\\\0 ", max_size=12))
def test_no_id_leads_out_of_the_image_folder(id):
    try:
        file = images([], "data", suffix=".jpg").expected(id)
    except ValueError:
        return
    assert file.startswith("data/")
    assert ".." not in file.split("/")


@pytest.mark.parametrize("cell", ["1.jpg", "./1.jpg", "..\\1.jpg", "/kaggle/input/x/1.jpg", "C:\\me\\1.jpg", " 1.jpg "])
def test_a_cell_names_the_file_however_its_path_is_written(cell):
    assert images(numbered("data"), "data").find([cell]) == [["data/1.jpg"]]


def test_a_missing_file_is_not_replaced_by_one_of_the_same_name_in_another_folder():
    files = ["a/1.jpg", "a/2.jpg", "b/3.jpg"]
    found = images(files, "**").find(["a/1.jpg", "a/2.jpg", "a/3.jpg"])
    assert found == [["a/1.jpg"], ["a/2.jpg"], []]
    assert images(files, "a").find(["1.jpg", "3.jpg"]) == [["a/1.jpg"], []]


def test_two_files_that_fit_are_both_named():
    assert images(["d/a/1.jpg", "d/b/1.jpg"], "d/**").find(["1.jpg"]) == [["d/a/1.jpg", "d/b/1.jpg"]]


def test_an_exact_name_is_preferred_to_one_with_an_added_suffix():
    assert images(["d/1.png", "d/1.png.jpg"], "d", suffix=ANY).find(["1.png"]) == [["d/1.png"]]


@pytest.mark.parametrize(
    ("cells", "files", "folders", "suffix"),
    [
        (["0", "1"], numbered("data"), ("data",), ".jpg"),
        (["0.jpg", "1.jpg"], numbered("data"), ("data",), ""),
        (["0", "1"], ["d/0.JPG", "d/1.png"], ("d",), ANY),
        (["0.jpg", "5.jpg"], [*numbered("a"), "b/5.jpg"], ("a", "b"), ""),
        ([f"{i}.jpg" for i in range(9)], [f"data/p{i}/{i}.jpg" for i in range(9)], ("data/**",), ""),
        (["train/0.jpg", "train/1.jpg"], [*numbered("d/train"), *numbered("d/test")], ("d",), ""),
        (["/kaggle/input/x/0.jpg"], numbered("data"), ("data",), ""),
    ],
)
def test_the_place_holds_an_image_for_each_row(cells, files, folders, suffix):
    n = len(cells)
    assert place_of(cells, files) == [Place(folders, suffix, n)]


def test_the_same_names_in_train_and_test_are_told_apart_by_the_folder():
    files = [*numbered("train"), *numbered("test")]
    assert place_of(["0.jpg", "1.jpg"], files)[0].folders == ("train",)
    assert place_of(["0.jpg", "1.jpg"], files, "test")[0].folders == ("test",)


def test_two_folders_that_fit_are_both_offered():
    files = [*numbered("small"), *numbered("large")]
    assert [place.folders for place in place_of(["0.jpg", "1.jpg"], files)] == [("large",), ("small",)]


@pytest.mark.parametrize(
    ("cells", "files", "template", "differs"),
    [
        (["7", "12"], ["d/0007.jpg", "d/0012.jpg"], "{id:04}.jpg", "leading zeros"),
        (["007", "012"], ["d/7.jpg", "d/12.jpg"], "{id:d}.jpg", "leading zeros"),
        (["A.JPG", "B.JPG"], ["d/a.jpg", "d/b.jpg"], "{id:lower}", "case"),
        (["a.png", "b.png"], ["d/a.jpg", "d/b.jpg"], "{id:stem}.jpg", "the suffix"),
        (["7", "12"], ["d/img_7.jpg", "d/img_12.jpg"], "img_{id}.jpg", "the prefix 'img_'"),
        (["x-7", "x-12"], ["d/7.jpg", "d/12.jpg"], "{id:-x-}.jpg", "the prefix 'x-'"),
    ],
)
def test_the_repair_that_fits_all_rows_is_found_and_works(cells, files, template, differs):
    (repair,) = find_repairs(cells, ImageFiles(files))
    assert (repair.template, repair.differs) == (template, differs)
    assert images(files, "d", template=template).find(cells) == [[file] for file in files]


def test_names_without_anything_in_common_have_no_repair():
    assert find_repairs(["7", "12"], ImageFiles(["d/a.jpg", "d/b.jpg"])) == []


def test_an_unknown_change_of_a_name_is_refused():
    with pytest.raises(ValueError, match="'uper' is not 04, d, lower, upper, stem or -TEXT"):
        image_name("{id:uper}.jpg", "a")
