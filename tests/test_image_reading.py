"""Every place that reads an image gets the same pixels of it."""

import io
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest
from PIL import Image

from tandem.config.training import Augment
from tandem.data.image_io import BadImage, load_rgb
from tandem.data.image_loader import decoded, image_batches, load_square, prefetch, squares
from tandem.models.augmenter import Augmenter, random_box

UNCHANGED = Augment(scale=1.0, flip=False, colour=0.0, erase=0.0)


def textured(width: int, height: int) -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 256, (height // 4, width // 4, 3), np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture(params=[(1100, 900), (300, 1200), (120, 90)], ids=str)
def photo(request, tmp_path) -> Path:
    textured(*request.param).save(tmp_path / "photo.jpg", quality=90)
    return tmp_path / "photo.jpg"


def test_a_square_depends_on_the_image_and_its_size_alone(photo):
    alone = load_square(photo, 64)
    for source in (photo, Image.open(photo), load_rgb(photo), np.asarray(load_rgb(photo))):
        for sizes in ([64], [64, 320], [224, 64, 32]):
            assert np.array_equal(squares(source, sizes)[64], alone)
    (batch,) = image_batches([photo], 64, 1, 1)
    assert np.array_equal(batch[0], alone)


def test_training_without_augmentation_sees_what_evaluation_sees(photo):
    trained = Augmenter(UNCHANGED, 64, seed=0).batch([photo], np.array([0]), epoch=0)
    assert np.array_equal(trained[0], load_square(photo, 64))


def test_an_image_of_at_most_four_times_the_size_is_resized_in_one_step(tmp_path):
    textured(255, 200).save(tmp_path / "photo.png")
    expected = Image.open(tmp_path / "photo.png").resize((64, 64), Image.Resampling.BICUBIC)
    assert np.array_equal(load_square(tmp_path / "photo.png", 64), np.asarray(expected))


def test_random_crops_of_fine_stripes_become_grey():
    stripes = np.zeros((640, 640, 3), np.uint8)
    stripes[:, ::2] = 255
    crops = Augmenter(Augment(scale=0.5, flip=False, colour=0.0, erase=0.0), 64, seed=0)
    drawn = crops.batch([stripes], np.zeros(8, int), epoch=0)
    assert np.abs(drawn[:, :, 2:-2].astype(int) - 127).max() < 25


def test_a_random_box_lies_inside_the_image_and_has_the_wanted_area():
    rng = np.random.default_rng(0)
    boxes = np.array([random_box(rng, 90, 60, scale=0.5) for _ in range(200)])
    assert boxes[:, :2].min() >= 0 and (boxes[:, 2] <= 90).all() and (boxes[:, 3] <= 60).all()
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) / (90 * 60)
    assert area.min() > 0.49 and np.median(area) < 0.9


# ---- EXIF

TO_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@pytest.mark.parametrize("orientation", [1, 2, 3, 4, 5, 6, 7, 8, 99])
def test_files_and_opened_images_are_turned_upright(tmp_path, orientation):
    stored, exif = textured(48, 32), Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "turned.png", exif=exif)
    step = TO_UPRIGHT.get(orientation)
    expected = np.asarray(stored if step is None else stored.transpose(step))
    assert np.array_equal(decoded(tmp_path / "turned.png"), expected)
    opened = Image.open(tmp_path / "turned.png")
    assert np.array_equal(decoded(opened), expected)
    assert opened.size == (48, 32)  # the caller's image is as it was


@pytest.mark.parametrize("length", [0, 3, 8, 20, 26])
def test_damaged_exif_data_lose_no_image(tmp_path, length):
    exif, whole = Image.Exif(), io.BytesIO()
    exif[0x0112], exif[0x010E] = 6, "a long description"
    textured(48, 32).save(whole, "JPEG", exif=exif)
    data = bytearray(whole.getvalue())
    start = data.index(b"Exif\0\0") + 6 + length
    data[start : start + 12] = b"\xff" * 12
    (tmp_path / "damaged.jpg").write_bytes(data)
    assert sorted(load_rgb(tmp_path / "damaged.jpg").size) == [32, 48]


def test_a_truncated_image_that_was_opened_by_the_caller_is_a_bad_image(tmp_path):
    textured(200, 200).save(tmp_path / "whole.jpg")
    half = (tmp_path / "whole.jpg").read_bytes()[:3000]
    with pytest.raises(BadImage, match="truncated"):
        decoded(Image.open(io.BytesIO(half)))


def test_all_threads_work_at_once_and_results_stay_in_order():
    together = Barrier(12)

    def work(item: int) -> int:
        together.wait(timeout=20)
        return item

    assert list(prefetch(work, range(24), 12)) == list(range(24))
