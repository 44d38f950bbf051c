import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from tandem.data.near_duplicates import HASH_BYTES, group_near_duplicates, perceptual_hash, similar_pairs


def scene(seed: int, size: int = 128) -> Image.Image:
    """Overlapping coloured patches: as much structure, at all scales, as a photo has."""
    rng = np.random.default_rng(seed)
    canvas = np.full((size, size, 3), rng.integers(256, size=3), np.uint8)
    for extent in np.geomspace(size, 4, 60).astype(int):
        x, y = rng.integers(-extent // 2, size, 2).clip(0)
        canvas[y : y + extent, x : x + rng.integers(extent // 2, extent + 1)] = rng.integers(256, size=3)
    return Image.fromarray(canvas)


def encoded(image: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


COPIES = {
    "JPEG of quality 50": lambda im: encoded(im, 50),
    "half the size": lambda im: im.resize((64, 64), Image.Resampling.LANCZOS),
    "cropped by 3 %": lambda im: im.crop((2, 2, 126, 126)),
    "brighter": lambda im: ImageEnhance.Brightness(im).enhance(1.2),
    "darker": lambda im: ImageEnhance.Brightness(im).enhance(0.7),
}


@pytest.mark.parametrize("copy", COPIES)
def test_a_changed_copy_joins_its_original(copy):
    originals = [scene(seed) for seed in range(20)]
    images = originals + [COPIES[copy](im) for im in originals]
    groups = group_near_duplicates([perceptual_hash(im) for im in images], list(map(str, range(40))))
    assert groups.tolist() == [*range(20), *range(20)]


def test_different_scenes_stay_apart():
    hashes = [perceptual_hash(scene(seed)) for seed in range(200)]
    assert len(similar_pairs(hashes)) == 0


def test_plain_images_are_like_nothing_but_their_own_copy():
    plain = [Image.new("RGB", (50, 40), (v, v, v)) for v in (0, 128, 255)]
    hashes = [perceptual_hash(im) for im in plain]
    assert len({*hashes}) == 1
    assert group_near_duplicates([*hashes, hashes[0]], ["black", "grey", "white", "black"]).tolist() == [0, 1, 2, 0]


def test_nearly_plain_noise_is_not_a_picture():
    rng = np.random.default_rng(0)
    noisy = [Image.fromarray(rng.normal(128, 2, (90, 90, 3)).astype(np.uint8)) for _ in range(30)]
    assert len(similar_pairs([perceptual_hash(im) for im in noisy])) == 0


def test_likeness_joins_through_others_and_groups_are_numbered_as_they_appear():
    a, b, c = (perceptual_hash(scene(seed)) for seed in range(3))
    assert group_near_duplicates([b, a, b, c], ["1", "2", "3", "2"]).tolist() == [0, 1, 0, 1]


def test_pairs_do_not_depend_on_the_size_of_a_block():
    images = [scene(seed) for seed in range(12)]
    hashes = [perceptual_hash(im) for im in images] + [perceptual_hash(encoded(im, 30)) for im in images]
    expected = {(i, i + 12) for i in range(12)}
    for pairs_at_once in (1, 50, 10**6):
        assert {tuple(pair) for pair in similar_pairs(hashes, pairs_at_once).tolist()} == expected


def test_many_copies_of_one_image_make_few_links():
    original = np.frombuffer(perceptual_hash(scene(0)), np.uint8)
    rng = np.random.default_rng(0)
    hashes = []
    for _ in range(300):
        flipped = np.zeros(8 * HASH_BYTES, np.uint8)
        flipped[rng.choice(256, 3, replace=False)] = 1  # three signs of 256
        hashes.append((original ^ np.packbits(flipped)).tobytes())
    assert len(similar_pairs(hashes, pairs_at_once=3000)) < 3 * 300 + 3000
    assert set(group_near_duplicates(hashes, list(map(str, range(300))))) == {0}


def test_no_images_make_no_groups():
    assert group_near_duplicates([], []).tolist() == []


def test_a_hash_of_another_length_is_refused():
    with pytest.raises(ValueError, match="8 bytes, expected 64"):
        similar_pairs([b"12345678"])
