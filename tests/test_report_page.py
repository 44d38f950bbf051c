"""The page of `make report`, made from files and opened in a real Chromium."""

import csv
import re
import subprocess
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from checked import changed_json, write_competition, write_experiment
from PIL import Image
from words_competition import set_keys

from tandem import __version__
from tandem.artifacts.atomic_io import write_json, write_text
from tandem.artifacts.contributions import TERMS, write_contributions
from tandem.artifacts.paths import Paths
from tandem.artifacts.predictions import Predictions
from tandem.artifacts.whole_files import DamagedFile
from tandem.config.encoders import ImageEncoder
from tandem.config.experiments import HeadExperiment, TfidfExperiment
from tandem.data.issues import Issue, check_report
from tandem.data.labelled_rows import read_labelled_rows
from tandem.data.split_tables import read_labels, write_captions, write_images, write_labels
from tandem.data.submission import detect_drift
from tandem.decoding import Decoder, Rule
from tandem.decoding.scoring import score
from tandem.graph.declared_stages import Graph
from tandem.graph.experiment_dir import Experiments
from tandem.graph.keys import STACK, decoder_settings
from tandem.html import data_uri
from tandem.logits import logit
from tandem.report import galleries as galleries_of_rows
from tandem.report.collect import gather
from tandem.report.data_model import ReportData
from tandem.report.origin import commit
from tandem.stages.report import main

HOSTILE = '</script><script>window.hit = 1</script><img src=x onerror="window.hit = 1">{{ 7*7 }}\u2028\u202e\'//'
NAMES = ("cat", "$dog_x", "</script><b>sea", "one & <img src=x onerror=window.hit=1>only{{ 7*7 }}")
N, M = 90, 30
RULE = Rule("f1_samples", 1.0, 1, 3)


def rows(paths: Paths, split: str, n: int, captions: bool) -> list[str]:
    """n small photos, checked."""
    ids = [f"{split}{i}.jpg" for i in range(n)]
    folder = paths.input / "data"
    folder.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(ids):
        Image.new("RGB", (48 + i % 5, 40), (3 * i % 256, 90, 120)).save(folder / name)
    columns = {
        "id": ids,
        "file": [f"data/{name}" for name in ids],
        "width": [48 + i % 5 for i in range(n)],
        "height": [40] * n,
        "bytes": [900 + i for i in range(n)],
        "sha": [f"{i:016x}" for i in range(n)],
        "hash": [bytes(64)] * n,
    }
    write_images(paths.images(split), columns)
    if captions:
        texts = [HOSTILE if i % 3 == 0 else f"a plain caption number {i}" for i in range(n)]
        write_captions(paths.captions(split), ids, texts)
    return ids


def checked(paths: Paths, captions: bool = True, test: bool = True) -> np.ndarray:
    """A competition of 90 rows after `make folds`: its labels."""
    members = ["photo", "words"] if captions else ["photo", "pixels"]
    write_competition(paths, NAMES, caption="caption" if captions else None, most=3, experiments=members)
    for name in ("photo", "pixels"):
        write_experiment(paths, name, HeadExperiment(kind="head", image=ImageEncoder()))
    write_experiment(paths, "words", TfidfExperiment(kind="tfidf"))
    rng = np.random.default_rng(0)
    ids = rows(paths, "train", N, captions)
    if test:
        rows(paths, "test", M, captions)
    y = (rng.random((N, 4)) < [0.7, 0.4, 0.3, 0.0]).astype(np.uint8)
    y[:, 0] |= y.sum(1) == 0
    write_labels(paths.labels, ids, NAMES, y)
    groups = [max(i, 1) for i in range(N)]  # rows 0 and 1 look alike
    y[1], y[0] = [1, 0, 0, 0], [0, 1, 0, 0]
    write_labels(paths.labels, ids, NAMES, y)
    lines = [f"{name},{i % 3},{group}\n" for i, (name, group) in enumerate(zip(ids, groups, strict=True))]
    write_text(paths.folds, "id,fold,group\n" + "".join(lines))
    return y


def experiment(paths: Paths, name: str, noise: float, explained: bool = False, test: bool = True) -> None:
    """Trained, scored and, where it is explained, submitted."""
    labelled, rng = read_labelled_rows(paths), np.random.default_rng(len(name))
    graph = Graph.open(paths)
    oof = graph.predictions(name, ())[0]
    y = labelled.y
    proba = np.clip((1 - noise) * y + noise * rng.random(y.shape), 0.01, 0.99).astype(np.float32)
    origin = {"key": oof.key, "folds": labelled.fold_digest, "competition": paths.comp}
    Predictions(labelled.ids, NAMES, proba, origin).write(paths.oof(name))
    recipe, scores = score(proba, y, labelled.fold, NAMES, RULE)
    made_from = {"predictions": oof.key, **decoder_settings(graph.competition)}
    recipe |= {"key": "d", "inputs": made_from}
    write_json(paths.thresholds(name), recipe)
    write_json(paths.scores(name), scores)
    run = {"experiment": name, "seconds": 12.0, "model_mb": 3.0, "folds": [0, 1, 2], **oof.made_from}
    if name != STACK:
        run["config"] = graph.experiments[name].model_dump()
        for k in range(3):
            log = [{"epoch": e, "loss": 1 / e, "f1": 1 - 1 / (e + 1), "bag": 0} for e in (1, 2, 3)]
            write_json(paths.model(name, k, ".json"), {**graph.fold(name, k).made_from, "log": log})
    if explained:
        terms = rng.normal(size=(N, 4, len(TERMS))).astype(np.float32)
        terms[:, :, -1] += logit(proba) - terms.sum(-1)
        write_contributions(paths.contributions(name), NAMES, [("train", labelled.ids, terms)])
        members = {member: graph.oof(member).key for member in ("photo", "words")}
        run |= {"members": members, "kept": "stack", "dropped": ["photo"],
                "weights": {"words": 1.0}, "third_level": {"weighted": 1.0}, "shares": {}}  # fmt: skip
    write_json(paths.run(name), run)
    if test:
        unseen = Predictions([f"test{i}.jpg" for i in range(M)], NAMES, rng.random((M, 4)), origin)
        unseen.write(paths.test(name))
        rate = Decoder.from_json(recipe)(unseen.proba).mean(0)
        write_json(
            paths.submission(name).with_suffix(".json"),
            {
                "rows": M, "checked_against": "test.csv", "sha256": "0" * 16, "labels_per_row": 1.5, "decoder": recipe,
                "out_of_fold": {"score": scores["score"]},
                "local_leaderboard": {"f1_samples": 0.5, "f1_micro": 0.5, "f1_macro": 0.5},
                "drift": detect_drift(scores["predicted_rate"], dict(zip(NAMES, rate.tolist(), strict=True)), N, M),
            },
        )  # fmt: skip


def make(paths: Paths, exp: str = "") -> str:
    main(SimpleNamespace(comp=paths.comp, exp=exp))
    return paths.report.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Paths:
    """A competition with everything a report can be about."""
    paths = Paths("toy", tmp_path_factory.mktemp("whole"))
    checked(paths)
    experiment(paths, "photo", 0.9)
    experiment(paths, "words", 0.8)
    experiment(paths, "stack", 0.7, explained=True)
    heat = {NAMES[0]: data_uri(Image.new("RGBA", (12, 9), "red"), "PNG"), NAMES[1]: ""}  # "": no evidence
    for i in range(N):
        write_text(paths.explanation(f"train{i}.jpg", "stack"), "the explanation")
        write_json(paths.explanation(f"train{i}.jpg", "stack").with_suffix(".json"), {"heat": heat})
    repaired = Issue("repaired row", f"read as one row: {HOSTILE}", "train.csv", 7)
    write_json(paths.check_report, check_report([repaired], {"train": N, "test": M}))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(paths.root)
        main(SimpleNamespace(comp="toy", exp=""))
    return Paths("toy", paths.root)


@pytest.fixture
def opened(whole, page):
    """The page in the browser; any request but the file itself fails the test."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto((whole.root / "reports/toy/index.html").as_uri())
    yield page
    assert {url for url in asked if not url.startswith("data:")} == {page.url.split("#")[0]}


def cells(page, table: str, column: int) -> list[str]:
    return page.locator(f"#{table} tbody tr td:nth-child({column})").all_text_contents()


def test_all_sections_are_there_and_every_picture_and_chart_is_really_drawn(opened):
    assert opened.locator("main > section > h2").all_text_contents() == [
        "Summary", "Experiments", "Per class", "Mistakes", "Label errors", "Data", "Decoding", "Training",
    ]  # fmt: skip
    images = opened.locator(".item img")
    assert images.count() >= 20
    for image in images.all():
        image.scroll_into_view_if_needed()
    drawn = "all => all.filter(i => i.complete && i.naturalWidth > 20 && i.getBoundingClientRect().width > 20).length"
    assert images.evaluate_all(drawn) == images.count()
    for figure in opened.locator("figure").all():
        figure.scroll_into_view_if_needed()
    drawn_curves = opened.locator("#threshold-curves svg")
    drawn_curves.nth(3).wait_for()
    assert drawn_curves.count() == 4
    charts = opened.locator("svg.chart")
    inked = "all => all.filter(s => s.getBBox().width > 40 && s.querySelector('path, polyline')).length"
    assert charts.count() >= 10 and charts.evaluate_all(inked) == charts.count()


def test_untrusted_text_stays_text(opened):
    assert opened.evaluate("window.hit") is None
    assert HOSTILE in opened.locator("#mistake-cards").text_content()
    assert opened.locator("#class-table tr[data-label='2'] th").inner_text() == NAMES[2]
    assert opened.locator("#class-table tr[data-label='3'] th").inner_text() == NAMES[3]
    assert opened.locator("main b", has_text="sea").count() == 0
    assert opened.locator("img[src=x], [onerror], body script:not([id]) ~ script").count() == 0


def test_a_click_on_a_column_head_sorts_and_another_reverses(opened):
    head = opened.locator("#experiment-table th", has_text="log loss")
    values = []
    for direction in ("ascending", "descending"):
        head.locator("button").click()
        assert head.get_attribute("aria-sort") == direction
        values.append([float(v) for v in cells(opened, "experiment-table", 9)])
    assert values[0] == sorted(values[0]) and values[1] == values[0][::-1] and len(set(values[0])) == 3


def test_unknown_values_are_sorted_last_both_ways(opened):
    recall = opened.locator("#class-table th", has_text="recall").locator("button")
    for _ in range(2):
        recall.click()
        assert cells(opened, "class-table", 4)[-1] == "–"


def test_a_click_on_a_label_opens_its_curves_and_another_closes_them(opened):
    row = opened.locator("#class-table tr[data-label='0']")
    row.locator("button").click()
    assert opened.locator("tr.detail svg").count() == 4
    assert opened.locator("tr.detail .dot").count() >= 3
    assert "words" in opened.locator("tr.detail").inner_text()
    row.locator("button").click()
    assert opened.locator("tr.detail").count() == 0


def test_mistakes_are_filtered_by_label_kind_and_likely_cause(opened):
    form, output = opened.locator("#mistake-filters"), opened.locator("#mistake-count")
    everything = int(output.inner_text().split()[0])
    form.locator("[name=label]").select_option("1")
    form.locator("[name=kind]").select_option("false_negative")
    some = int(output.inner_text().split()[0])
    assert 0 < some < everything
    for item in opened.locator("#mistake-cards .item").all():
        assert "$dog_x" in item.locator(".cell .chip.false_negative").all_text_contents()
    form.locator("[name=cause]").select_option("image")
    fewer = opened.locator("#mistake-cards .item")
    assert fewer.count() < some
    for item in fewer.all():
        assert "image" in item.locator(".cell .cause").all_text_contents()


def test_a_label_named_in_the_summary_leads_to_its_mistakes(opened):
    button = opened.locator("[data-mistakes-of]").first
    button.click()
    label = NAMES.index(button.get_attribute("data-mistakes-of"))
    assert opened.locator("#mistake-filters [name=label]").input_value() == str(label)


def test_rows_come_a_page_at_a_time(opened):
    total = int(opened.locator("#mistake-count").inner_text().split()[0])
    before = opened.locator("#mistake-cards .item").count()
    assert before == 24 < total
    opened.locator("#mistake-more").click()
    assert opened.locator("#mistake-cards .item").count() == min(48, total)


def test_a_picture_opens_a_dialog_that_the_keyboard_goes_through(opened):
    cards = opened.locator("#mistake-cards .item")
    first, second = (cards.nth(i).locator(".head b").text_content() for i in (0, 1))
    cards.nth(0).locator("button.open").focus()
    opened.keyboard.press("Enter")
    box = opened.locator("dialog[open]")
    assert box.locator("h2").inner_text() == first
    assert box.locator("img").evaluate("i => i.naturalWidth >= 48 && i.getBoundingClientRect().width > 200")
    assert sorted(box.locator("tbody th").all_text_contents()) == sorted(NAMES)  # all probabilities
    shares = [float(text) for text in box.locator("tbody td:nth-child(2)").all_text_contents()]
    assert shares == sorted(shares, reverse=True) and 0 < shares[0] < 1
    assert box.locator(".terms").count() == 4  # image, caption, their combination
    assert box.locator("code").inner_text() == f"make explain COMP=toy ID={first} EXP=stack"
    assert box.get_by_role("button", name="Copy").is_visible()
    assert box.get_by_role("link", name="Its explanation").get_attribute("href") == f"explain/{first}.stack.html"
    (heat,) = box.locator(".heats button").all()  # of the label that has one
    heat.click()
    photo, map_ = (box.locator(".frame img").nth(i).bounding_box() for i in (0, 1))
    assert heat.get_attribute("aria-pressed") == "true" and photo == map_  # it lies on the photo
    heat.click()
    assert box.locator(".frame img").count() == 1
    opened.keyboard.press("ArrowLeft")  # there is none before the first
    opened.keyboard.press("ArrowRight")
    assert box.locator("h2").inner_text() == second and box.locator(".place").inner_text().startswith("2 of ")
    opened.keyboard.press("Escape")
    assert box.count() == 0
    assert opened.evaluate("document.activeElement.getAttribute('aria-label')") == f"Details of {second}"


def test_the_test_rows_have_a_gallery_with_the_least_sure_first(opened, whole):
    unsure = [float(text.split()[0]) for text in opened.locator("#test-cards .head span").all_text_contents()]
    assert len(unsure) == 24 and unsure == sorted(unsure, reverse=True)
    assert opened.locator("#test-count").inner_text() == f"{M} of {M} rows, least sure first"
    focus = look(whole).focus
    wrong = np.where(focus.test_pred, 1 - focus.test_proba, focus.test_proba).sum(1)
    assert opened.locator("#test-cards .head b").first.text_content() == f"test{wrong.argmax()}.jpg"
    opened.locator("#test-cards button.open").first.click()
    assert "given" not in opened.locator("dialog[open] thead").inner_text()  # nobody knows its labels


def test_filters_and_search_stand_in_the_address(opened):
    label, search = opened.locator("#mistake-filters [name=label]"), opened.locator("#mistake-filters [name=q]")
    count = opened.locator("#mistake-count")
    everything = count.inner_text()
    label.select_option("1")
    some = count.inner_text()
    assert "mistake.label=%24dog_x" in opened.url and some != everything
    search.fill("plain captions")  # no caption has both words
    assert count.inner_text().startswith("0 of ")
    search.fill("CAPTION train1")  # a word of the caption, a part of the id
    found = count.inner_text()
    for item in opened.locator("#mistake-cards .item").all():
        assert (
            "train1" in item.locator(".head b").text_content() and "caption" in item.locator("p.caption").text_content()
        )
    opened.locator("nav a", has_text="Per class").click()
    assert opened.evaluate("document.activeElement.id") == "classes-title"
    assert opened.url.split("#")[1].startswith("classes?mistake.label=")
    opened.reload()
    assert (label.input_value(), search.input_value(), count.inner_text()) == ("1", "CAPTION train1", found)
    opened.go_back()  # from the section
    opened.go_back()  # from the search
    assert (search.input_value(), count.inner_text()) == ("", some)
    opened.go_back()
    assert (label.input_value(), count.inner_text()) == ("", everything)


def csv_of(page, button) -> list[list[str]]:
    with page.expect_download() as download:
        button.click()
    text = Path(download.value.path()).read_bytes().decode()
    return list(csv.reader(StringIO(text, newline="")))


def test_every_table_downloads_as_csv_and_no_cell_is_a_formula(opened):
    assert opened.locator("main table").count() == opened.locator("main .tools .tool").count()
    table = csv_of(opened, opened.get_by_role("button", name="Download as CSV: Per class"))
    assert table[0][0] == "label" and {row[0] for row in table[1:]} == set(NAMES)  # sorted by gain
    assert all(len(row) == len(table[0]) for row in table)
    texts = ["=1+1", "@x", "+a", "-0.5", 'a "b", c', "two\nlines", ""]
    assert opened.evaluate("texts => csvOf([texts])", texts) == ('\'=1+1,\'@x,\'+a,-0.5,"a ""b"", c","two\nlines",\r\n')
    opened.locator("#mistake-filters [name=q]").fill("train1")
    rows = csv_of(opened, opened.locator("#mistake-filters").get_by_role("button", name="CSV"))
    assert len(rows) - 1 == int(opened.locator("#mistake-count").inner_text().split()[0])
    assert {row[1] for row in rows[1:]} & {HOSTILE}


def test_a_narrow_page_says_where_columns_are_out_of_sight(opened):
    opened.set_viewport_size({"width": 390, "height": 800})
    table = opened.locator("#class-table")
    frame, box = table.locator("xpath=../.."), table.locator("xpath=..")
    opened.locator(".edges.more-right #class-table").wait_for()
    assert frame.evaluate("e => getComputedStyle(e, '::after').opacity") == "1"
    assert frame.locator("xpath=preceding-sibling::div[1]").inner_text().startswith("more columns")
    assert box.get_attribute("tabindex") == "0"
    box.evaluate("e => { e.scrollLeft = 10000; }")
    opened.locator(".edges.more-left:not(.more-right) #class-table").wait_for()
    opened.locator("#mistake-cards button.open").first.click()
    assert opened.evaluate("document.documentElement.scrollWidth") <= 390
    assert opened.locator("dialog[open]").evaluate("d => d.scrollWidth <= d.clientWidth")


def test_axe_finds_nothing_and_the_foot_says_what_made_the_page(opened, accessible):
    assert opened.locator("h1").all_text_contents() == ["toy: stack"]
    assert accessible(opened) == []
    foot = opened.locator("footer").inner_text()
    assert re.search(r"Results as of \d{4}-\d\d-\d\d \d\d:\d\d UTC, Tandem " + re.escape(__version__), foot)
    assert [*map(str.strip, cells(opened, "settings-table", 2))].count("metric") == 1


@pytest.mark.slow
def test_axe_finds_nothing_in_the_dialog(opened, accessible):
    opened.locator("#mistake-cards button.open").first.click()
    assert accessible(opened) == []


def test_large_pictures_stay_within_their_bytes_and_each_gallery_gets_its_worst_rows(tmp_path, monkeypatch):
    noise = np.random.default_rng(0).integers(0, 255, (400, 400, 3), np.uint8)
    files = [tmp_path / f"{i}.png" for i in range(6)]
    for file in files:
        Image.fromarray(noise).save(file)
    one = {"train": files}
    galleries = [[{"split": "train", "row": i} for i in rows] for rows in ([4, 1, 2], [5, 0])]
    large = len(galleries_of_rows.pictures(one, [[{"split": "train", "row": 0}]])["train"][0])
    monkeypatch.setattr(galleries_of_rows, "LARGE_BYTES", 2 * large)
    found = galleries_of_rows.pictures(one, galleries)["train"]
    assert [i for i, uri in found.items() if len(uri) == large] == [4, 5]  # the first of each
    assert set(found) == {0, 1, 2, 4, 5} and sum(map(len, found.values())) < 3 * large


@pytest.mark.parametrize(("split", "other"), [("train", "labels"), ("test", "captions")])
def test_a_table_of_other_images_is_named(tmp_path, split, other):
    paths = Paths("toy", tmp_path)
    checked(paths, captions=other == "captions")
    rows(paths, "other", M, captions=False)
    paths.images("other").replace(paths.images(split))
    with pytest.raises(DamagedFile, match=rf"{split}.images.parquet: damaged, its 30 rows are not .*{split}.{other}"):
        gather(Experiments(paths))


def test_the_commit_is_that_of_the_checkout_that_has_the_code(tmp_path):
    (tmp_path / "__init__.py").touch()
    assert commit(tmp_path) == ""  # no checkout
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    subprocess.run([*git, "init", "-q"], check=True)
    assert commit(tmp_path) == ""  # a checkout that does not have it
    subprocess.run([*git, "add", "__init__.py"], check=True)
    subprocess.run([*git, "commit", "-qm", "one"], check=True)
    assert re.fullmatch(r"[0-9a-f]{7,}", commit(tmp_path))
    (tmp_path / "__init__.py").write_text("changed = 1\n")
    assert commit(tmp_path).endswith("-dirty")


def test_near_duplicates_with_different_labels_are_shown_side_by_side(opened):
    groups = opened.locator("#duplicate-cards .item")
    assert groups.count() == 1 and groups.locator("img").count() == 2
    assert "train0.jpg" in groups.text_content() and "train1.jpg" in groups.text_content()


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_never_scrolls_sideways_and_follows_the_colour_scheme(opened, width, scheme):
    opened.emulate_media(color_scheme=scheme)
    opened.set_viewport_size({"width": width, "height": 800})
    opened.locator("#class-table tbody button").first.click()
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    red = int(opened.evaluate("getComputedStyle(document.body).backgroundColor").removeprefix("rgb(").split(",")[0])
    assert red < 60 if scheme == "dark" else red > 200


def test_two_builds_give_the_same_page(whole, monkeypatch):
    monkeypatch.chdir(whole.root)
    before = Paths("toy").report.read_text(encoding="utf-8")
    assert make(Paths("toy")) == before


def test_what_is_missing_is_named_with_the_command_that_brings_it(tmp_path, monkeypatch, capsys, page):
    monkeypatch.chdir(tmp_path)
    paths = Paths("bare")
    checked(paths, captions=False, test=False)
    assert "make submit COMP=bare" in make(paths)
    assert 'run: make train COMP=bare EXPS="photo pixels"' in capsys.readouterr().out
    experiment(paths, "photo", 0.8, test=False)
    html = make(paths)
    printed = capsys.readouterr().out
    assert "test predictions of photo; run: make submit COMP=bare EXPS=photo" in printed
    assert "make check COMP=bare" in html and "reports/bare/index.html: photo" in printed
    page.goto((tmp_path / "reports/bare/index.html").as_uri())
    assert page.locator("#mistake-cards .item").count() > 0


def look(paths: Paths, exp: str = "") -> ReportData:
    return gather(Experiments(paths), exp)


def test_of_a_set_that_the_competition_names_the_experiments_are_missing(tmp_path):
    paths = Paths("named", tmp_path)
    checked(paths)
    experiment(paths, "photo", 0.8)
    set_keys(paths, experiments='"captions"')
    command = 'make train COMP=named EXPS="text_minilm text_tfidf"'
    assert ("scores of text_minilm, text_tfidf", command) in look(paths).missing


def test_without_a_stack_the_report_is_about_the_best_experiment_or_the_named_one(tmp_path):
    paths = Paths("two", tmp_path)
    checked(paths)
    experiment(paths, "photo", 0.95)
    experiment(paths, "words", 0.3)
    assert look(paths).focus.name == "words"
    assert look(paths, "photo").focus.name == "photo"
    with pytest.raises(ValueError, match="EXP=nothing: not scored; there are"):
        look(paths, "nothing")


def test_scores_of_other_predictions_are_refused_and_of_other_folds_left_out(tmp_path):
    paths = Paths("stale", tmp_path)
    checked(paths)
    experiment(paths, "photo", 0.8)
    experiment(paths, "words", 0.8)
    ids, _, y, _ = read_labels(paths.labels)
    Predictions(ids, NAMES, y.astype(float), {"folds": "another"}).write(paths.oof("words"))
    found = look(paths)
    assert [e.name for e in found.experiments] == ["photo"]
    left_out = "words, which was made with another fold map, label list or metric"
    assert (left_out, "make train COMP=stale EXPS=words") in found.missing
    Predictions(ids, NAMES, 1.0 - y, {"folds": read_labelled_rows(paths).fold_digest}).write(paths.oof("photo"))
    with pytest.raises(ValueError, match="its predictions score"):
        look(paths)


def test_a_stack_of_members_that_were_trained_again_is_named(tmp_path):
    paths = Paths("older", tmp_path)
    checked(paths)
    for name in ("photo", "words", "stack"):
        experiment(paths, name, 0.8, explained=name == "stack")
    assert not [what for what, _ in look(paths).missing if "again" in what]
    changed_json(paths.run("words"), key="another")
    line = ("a current stack: its member words was trained again since", "make submit COMP=older")
    assert line in look(paths).missing


def test_rows_are_decoded_once_and_again_when_the_predictions_change(tmp_path):
    paths = Paths("again", tmp_path)
    checked(paths)
    experiment(paths, "photo", 0.8)
    first, made = look(paths).focus.pred, paths.decoded("photo").stat().st_mtime_ns
    assert (look(paths).focus.pred == first).all() and paths.decoded("photo").stat().st_mtime_ns == made
    experiment(paths, "photo", 0.9)
    assert (look(paths).focus.pred != first).any() and paths.decoded("photo").stat().st_mtime_ns != made


def test_the_report_has_the_score_of_scores_json(whole):
    found = look(whole)
    assert found.rule.score(found.y, found.focus.pred) == found.focus.scores["score"]


def test_without_folds_the_error_names_the_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paths = Paths("new")
    checked(paths)
    paths.folds.unlink()
    with pytest.raises(FileNotFoundError, match="run: make folds COMP=new"):
        make(paths)
