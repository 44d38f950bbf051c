import csv
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from tandem.artifacts.atomic_io import csv_text, file_digest, write_text
from tandem.artifacts.paths import Paths
from tandem.config.competition import load_competition, to_toml
from tandem.data.csv_reader import read_table
from tandem.sample import scenes
from tandem.sample.backdrops import BACKDROPS
from tandem.sample.captions import write_caption
from tandem.sample.drawing import draw_image
from tandem.sample.glyphs import Glyphs, fonts_folder
from tandem.sample.scenes import KINDS, MOST, SIDE, Item, Scene, draw_scene
from tandem.sample.things import LABELS, PALETTES, THINGS
from tandem.sample.words import ASIDES, NOTHING, PLACES, VERBS, WORDS
from tandem.stages import sample


@pytest.fixture(scope="module")
def glyphs():
    return Glyphs(fonts_folder())


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    paths = Paths("sample", tmp_path_factory.mktemp("drawn"))
    sample.draw_competition(paths, n_train=12, n_test=4, seed=0)
    return paths


def digests(folder):
    return {p.relative_to(folder).as_posix(): file_digest(p) for p in folder.rglob("*") if p.is_file()}


def scene_with(*names):
    items = [Item(name, THINGS[name].drawings[0], 40, 120, 50, 0.5, "ground") for name in names]
    return Scene("park", 80, SIDE, tuple(items))


def test_every_drawing_is_in_the_installed_fonts(glyphs):
    for thing in THINGS.values():
        for drawing in thing.drawings:
            ink = np.asarray(glyphs.glyph(drawing)[0])
            assert ink.max() > 200 and min(ink.shape) > 8, drawing


def test_reading_the_fonts_imports_no_qt():
    assert fonts_folder().name == "fonts"
    assert "qtawesome" not in sys.modules


def test_an_unknown_glyph_is_an_error_that_names_it(glyphs):
    with pytest.raises(ValueError, match="no glyph 'no-such-glyph'"):
        glyphs.glyph("mdi:no-such-glyph")


def test_tables_agree_on_their_names():
    assert set(WORDS) == set(THINGS)
    assert set(KINDS) == set(BACKDROPS) == set(PLACES) == set(VERBS) == set(NOTHING) == set(ASIDES)
    for kind in KINDS.values():
        assert set(kind.labels) <= set(LABELS) and not set(kind.others) & set(LABELS)
        assert set(kind.others) <= set(THINGS)


def test_bands_of_colour_go_down_from_known_palettes():
    for name, thing in THINGS.items():
        for bands in (thing.body, thing.inside):
            ends = [end for low, high, _ in bands for end in (low, high)]
            assert ends == sorted(ends), name
            assert {palette for *_, palette in bands} <= set(PALETTES), name


def test_scenes_have_one_to_most_labels_and_reach_every_label():
    drawn = [draw_scene(np.random.default_rng([5, i])) for i in range(400)]
    sizes = [len(scene.labels) for scene in drawn]
    assert min(sizes) == 1 and max(sizes) == MOST
    assert {name for scene in drawn for name in scene.labels} == set(LABELS)


def test_labels_are_in_the_order_of_the_label_list_and_others_are_none():
    assert scene_with("tree", "dog", "dog", "person").labels == ["person", "dog"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_scene_can_be_painted(kind, glyphs):
    quay = 120 if KINDS[kind].quay else SIDE
    item = Item("bird", "mdi:bird", 5, 30, 60, 0.5, "sky")  # reaches over the edge
    image = draw_image(Scene(kind, 75.3, quay, (item,)), glyphs, np.random.default_rng(0))
    assert image.mode == "RGB" and image.size == (SIDE, SIDE)
    assert np.asarray(image).std() > 10


def test_captions_leave_labels_out_and_mention_what_has_none():
    scene = scene_with("horse", "tree")
    captions = [write_caption(scene, np.random.default_rng(i)) for i in range(100)]
    horses = [c for c in captions if any(word in c.lower() for word in ("horse", "pony", "mare", "foal"))]
    trees = [c for c in captions if any(word in c.lower() for word in ("tree", "oak", "pine"))]
    assert 30 < len(horses) < 90 and 10 < len(trees) < 90
    assert all(c[0].isupper() and c.endswith(".") for c in captions)


def test_equal_seeds_draw_equal_bytes_and_another_seed_others(drawn, tmp_path):
    again, other = Paths("sample", tmp_path / "again"), Paths("sample", tmp_path / "other")
    sample.draw_competition(again, n_train=12, n_test=4, seed=0)
    sample.draw_competition(other, n_train=12, n_test=4, seed=1)
    assert digests(again.input) == digests(drawn.input)
    assert not set(digests(other.input).values()) & {
        digest for name, digest in digests(drawn.input).items() if name.startswith("images/")
    }


def test_the_files_are_those_competition_toml_names(drawn):
    c = load_competition(drawn.competition)
    assert c == sample.SAMPLE and drawn.competition.read_text(encoding="utf-8") == to_toml(c)
    train, test = read_table(drawn.input / c.train), read_table(drawn.input / c.test)
    solution = read_table(drawn.input / c.solution)
    assert train.columns == ("id", "labels", "caption") and test.columns == ("id", "caption")
    assert len(train.rows) == 12 and not train.repaired
    assert test.column("id") == solution.column("id") == read_table(drawn.input / c.sample_submission).column("id")
    for name in train.column("id") + test.column("id"):
        with Image.open(drawn.input / c.images / f"{name}{c.suffix}") as image:
            assert image.format == "JPEG" and image.size == (SIDE, SIDE)
    cells = train.column("labels") + solution.column("labels")
    assert all(1 <= len(cell.split("|")) <= c.most and set(cell.split("|")) <= set(LABELS) for cell in cells)


def test_commas_and_quotes_in_a_caption_survive(tmp_path):
    text = 'A dog, a cat; a sign reads "No dogs, no bikes".'
    write_text(tmp_path / "a.csv", csv_text(("id", "caption"), ("s1", text)))
    with (tmp_path / "a.csv").open(newline="") as file:
        assert list(csv.reader(file))[1] == ["s1", text]
    assert read_table(tmp_path / "a.csv").rows == [("s1", text)]


def test_an_interrupted_run_leaves_no_competition_toml(tmp_path, monkeypatch):
    paths = Paths("sample", tmp_path)

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(sample, "draw_row", interrupted)
    with pytest.raises(KeyboardInterrupt):
        sample.draw_competition(paths, n_train=2, n_test=1, seed=0)
    assert not list(tmp_path.rglob("*.*"))


def test_drawing_again_replaces_what_was_drawn_and_leaves_other_files(tmp_path):
    paths = Paths("sample", tmp_path)
    sample.draw_competition(paths, n_train=3, n_test=1, seed=0)
    (paths.input / "notes.txt").write_text("mine")
    sample.draw_competition(paths, n_train=2, n_test=1, seed=0)
    assert len(list((paths.input / "images").iterdir())) == 3
    assert (paths.input / "notes.txt").read_text() == "mine"


def test_only_the_sample_is_drawn():
    with pytest.raises(ValueError, match="make import"):
        sample.main(SimpleNamespace(comp="mine", seed=0))


def test_sizes_stay_large_enough_to_be_seen():
    assert min(LABELS[name].size for name in LABELS) * scenes.FAR * 0.85 * 0.9 > 28
