import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import COPIES, UNLIKE, encoded, scene
from PIL import Image

from tandem.data import duplicate_candidates
from tandem.data.duplicate_candidates import NEIGHBOURS, Neighbours, Search, _leaves, best_pairs, versions
from tandem.data.image_comparison import mismatch
from tandem.data.near_duplicates import (
    HASH_BYTES,
    group_near_duplicates,
    identical_pairs,
    many_near_duplicates,
    perceptual_hash,
)
from tandem.data.thumbnails import Thumbnails


def pictures(kind: str, n: int, start: int = 0) -> list[Image.Image]:
    return [UNLIKE[kind](np.random.default_rng([start + i, 1])) for i in range(n)]


def grouped(images: list[Image.Image]) -> list[int]:
    return group_near_duplicates([perceptual_hash(im) for im in images], list(map(str, range(len(images))))).tolist()


@pytest.mark.parametrize("n", [5, 30])
@pytest.mark.parametrize("copy", COPIES)
def test_a_changed_copy_joins_its_original(copy, n):
    originals = pictures("scene", n)
    assert grouped(originals + [COPIES[copy](im) for im in originals]) == [*range(n), *range(n)]


@pytest.mark.parametrize("kind", UNLIKE)
def test_unlike_pictures_of_one_kind_stay_apart(kind):
    assert grouped(pictures(kind, 60)) == [*range(60)]


@pytest.mark.parametrize("kind", ["document", "form", "chart", "line_drawing"])
def test_copies_are_found_among_pictures_of_one_kind(kind):
    originals = pictures(kind, 40)
    assert grouped(originals + [encoded(im, 60) for im in originals[:10]]) == [*range(40), *range(10)]


def test_a_shape_in_another_colour_is_another_picture():
    one, other = Image.new("RGB", (80, 80), "white"), Image.new("RGB", (80, 80), "white")
    one.paste((255, 0, 0), (20, 10, 50, 60))
    other.paste((0, 0, 255), (20, 10, 50, 60))
    assert grouped([one, other]) == [0, 1]


def test_a_chain_of_small_steps_does_not_join_its_ends():
    start, end = pictures("scene", 2)
    groups = grouped([Image.blend(start, end, share) for share in np.linspace(0, 1, 21)])
    assert groups[0] == groups[1] != groups[-1]
    assert max(np.bincount(groups)) < 15


def test_plain_images_are_like_nothing_but_their_own_copy():
    plain = [Image.new("RGB", (50, 40), (v, v, v)) for v in (0, 128, 255)]
    hashes = [perceptual_hash(im) for im in plain]
    assert group_near_duplicates([*hashes, hashes[0]], ["black", "grey", "white", "black"]).tolist() == [0, 1, 2, 0]


def test_nearly_plain_noise_is_not_a_picture():
    rng = np.random.default_rng(0)
    noisy = [Image.fromarray(rng.normal(128, 2, (90, 90, 3)).astype(np.uint8)) for _ in range(30)]
    assert grouped(noisy) == [*range(30)]


def test_groups_are_numbered_as_they_appear_and_equal_contents_join():
    a, b, c = (perceptual_hash(im) for im in pictures("scene", 3))
    assert group_near_duplicates([b, a, b, c], ["1", "2", "3", "2"]).tolist() == [0, 1, 0, 1]


def test_many_copies_of_one_image_make_one_group():
    original, others = pictures("scene", 1)[0], pictures("scene", 40, start=10)
    copies = [encoded(original, quality) for quality in range(40, 90)]
    assert grouped([*others[:20], *copies, *others[20:]]) == [*range(20), *[20] * 50, *range(21, 41)]


def test_a_forest_finds_the_copies_that_all_comparisons_find(monkeypatch):
    originals = [scene(np.random.default_rng(i), 64) for i in range(700)]
    hashes = [perceptual_hash(im) for im in originals] + [perceptual_hash(encoded(im, 60)) for im in originals[:300]]
    contents = list(map(str, range(1000)))
    monkeypatch.setattr(duplicate_candidates, "EXHAUSTIVE", 100)
    monkeypatch.setattr(duplicate_candidates, "LEAF", 64)
    assert group_near_duplicates(hashes, contents).tolist() == [*range(700), *range(300)]


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6))
def test_a_search_among_other_rows_finds_what_a_new_one_finds(seed):
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(4, 60, 6)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
    search = Search(vectors)
    for share in (1.0, 0.9, 0.9, 0.95, 0.8, 0.95):
        rows = np.flatnonzero(rng.random(60) < share)
        (pairs, background), (expected, around) = search.among(rows), Search(vectors).among(rows)
        assert pairs.first.tolist() == expected.first.tolist() and pairs.second.tolist() == expected.second.tolist()
        assert pairs.version.tolist() == expected.version.tolist() and background.tolist() == around.tolist()


def test_the_leaves_of_a_tree_hold_each_point_once_and_are_of_one_size():
    points = np.random.default_rng(0).normal(size=(10_000, 6)).astype(np.float32)
    leaves = list(_leaves(points, np.arange(5_000), np.random.default_rng(0)))
    assert sorted(np.concatenate(leaves).tolist()) == list(range(5_000))
    assert {len(leaf) for leaf in leaves} <= {384, 385}


def test_the_background_of_a_small_set_says_nothing():
    thumbnails = Thumbnails([perceptual_hash(im) for im in pictures("scene", 8)])
    assert Search(versions(thumbnails)).among(np.arange(8))[1].tolist() == [1.0] * 8


def test_a_copy_differs_in_nothing_and_an_unlike_picture_in_everything():
    one, other = pictures("scene", 2)
    thumbnails = Thumbnails([perceptual_hash(im) for im in (one, encoded(one, 70), other)])
    pairs = best_pairs(versions(thumbnails), np.array([0, 0]), np.array([1, 2]))
    assert mismatch(thumbnails, pairs).tolist() == [0.0, 1.0]


def test_many_near_duplicates_are_said_with_the_largest_groups():
    ids, group = [f"{i}.jpg" for i in range(300)], np.arange(300)
    group[1] = 0
    assert many_near_duplicates(ids, group) == ""
    group[:6] = 0
    said = many_near_duplicates(ids, group)
    assert said.startswith("6 of 300 rows (2.0 %) are in 1 groups of near-duplicates")
    assert said.endswith("0.jpg 1.jpg 2.jpg 3.jpg ... (6 rows)")


def test_identical_pairs_join_the_first_row():
    assert identical_pairs(["a", "b", "a", "a"]).tolist() == [[0, 2], [0, 3]]


def test_no_images_make_no_groups():
    assert group_near_duplicates([], []).tolist() == []


def test_a_hash_of_another_length_is_refused():
    with pytest.raises(ValueError, match=f"8 bytes, expected {HASH_BYTES}"):
        group_near_duplicates([b"12345678"], ["a"])


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10**6))
def test_neighbours_added_part_by_part_are_the_most_similar_of_all(seed):
    rng = np.random.default_rng(seed)
    second = rng.integers(-1, 30, (1, 60))
    version = rng.integers(0, 4, (1, 60))
    cosine = rng.uniform(-1, 1, (1, 60)).astype(np.float32)
    near = Neighbours.none(1)
    for part in np.array_split(np.arange(60), rng.integers(1, 9)):
        near.add(np.array([0]), *(values[:, part] for values in (second, version, cosine)))
    best: dict[int, tuple[float, int]] = {}
    for image, which, value in zip(second[0].tolist(), version[0].tolist(), cosine[0].tolist(), strict=True):
        if image >= 0 and value > best.get(image, (-2.0, 0))[0]:
            best[image] = value, which
    ranked = sorted(best, key=lambda image: -best[image][0])[:NEIGHBOURS]
    assert near.second[0].tolist() == ranked
    assert near.cosine[0].tolist() == [best[image][0] for image in ranked]
    assert near.version[0].tolist() == [best[image][1] for image in ranked]
