"""What to run next, the slider of thresholds and the comparison of experiments, in a real Chromium."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_score, recall_score
from test_report import NAMES, data_scored_by, report_data

from tandem.decoding import binarize
from tandem.metrics import label_gains, paired_interval
from tandem.report.classes import GRID, per_class, threshold_counts
from tandem.report.compare import against, best_experiment, compare_labels
from tandem.report.data_model import Decoded, ReportData
from tandem.report.page import build

# leaves these elements alone on the page
ALONE = """ids => {
  const kept = ids.map(id => document.querySelector(id)).map(e => e.closest("label") || e);
  const head = Object.assign(document.createElement("h1"), {textContent: "figures"});
  document.querySelector("main").replaceChildren(head, ...kept);
}"""


def compared() -> ReportData:
    """A stack `both` and its members, all decoded at 0.5."""
    data = report_data()
    decoded = {e.name: Decoded(binarize(e.proba, 0.5, data.rule)) for e in data.experiments}
    weighted = {"kept": "weighted", "third_level": {"weighted": 1.0}, "weights": {"words": 1.0}}
    focus = replace(data.focus, run=data.focus.run | weighted)
    return replace(data, decoded=decoded, focus=focus)


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    file = tmp_path_factory.mktemp("figures") / "index.html"
    file.write_text(build(compared()), encoding="utf-8")
    return file


@pytest.fixture
def opened(html, page):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(html.as_uri())
    return page


def numbers(box) -> dict[str, float]:
    """What a slider's box shows."""
    return {
        pair.locator("dt").inner_text(): float(pair.locator("dd").inner_text())
        for pair in box.locator("dl > div").all()
    }


def test_the_sliders_numbers_are_those_of_scikit_learn(opened):
    data = compared()
    y, proba = data.y, data.focus.proba
    box = opened.locator("#threshold-all")
    box.get_by_role("slider").focus()
    for _ in range(4):
        opened.keyboard.press("ArrowRight")  # from 0.50 to 0.58
    assert box.locator(".at").inner_text() == "0.58"
    pred = proba >= 0.58
    assert numbers(box) == pytest.approx(
        {
            "micro precision": precision_score(y, pred, average="micro"),
            "micro recall": recall_score(y, pred, average="micro"),
            "micro F1": f1_score(y, pred, average="micro"),
            "macro F1": f1_score(y, pred, average="macro"),
            "labels a row": pred.sum(1).mean(),
        },
        abs=0.0051,
    )
    opened.locator("#class-table tr[data-label='1'] button").click()
    slider = opened.locator("tr.detail").get_by_role("slider", name="Threshold of dog")
    slider.focus()
    opened.keyboard.press("Home")
    assert slider.get_attribute("aria-valuetext") == "threshold 0.02"
    slider.fill("10")
    own, tuned = proba[:, 1] >= 0.22, proba >= data.focus.thresholds
    tuned[:, 1] = own
    assert numbers(opened.locator("tr.detail .slider")) == pytest.approx(
        {
            "precision": precision_score(y[:, 1], own),
            "recall": recall_score(y[:, 1], own),
            "F1": f1_score(y[:, 1], own),
            "rows with the label": own.sum(),
            "labels a row": tuned.sum(1).mean(),
        },
        abs=0.0051,
    )
    recall, precision = recall_score(y[:, 1], own), precision_score(y[:, 1], own)
    curve = opened.locator("tr.detail svg[aria-label^='precision against recall of dog']")
    assert curve.get_attribute("aria-label").endswith(
        f"precision {precision:.3f} at recall {recall:.3f} with threshold 0.22"
    )


def test_every_curve_of_a_label_says_its_result_in_its_text(opened):
    data = compared()
    dog = per_class(data, data.focus)[1]
    curves = opened.locator("#threshold-curves")
    curves.scroll_into_view_if_needed()
    f = f1_at_grid(data, 1)
    best = f"best {f.max():.3f} at {GRID[f.argmax()]:g}; tuned threshold {dog['threshold']:.3f}"
    curves.get_by_role("img", name=f"F1 of dog by threshold: {best}").wait_for()
    opened.locator("#class-table tr[data-label='1'] button").click()
    panel = opened.locator("tr.detail")
    error = f"calibration of dog: expected calibration error {dog['calibration_error']:.3f}"
    assert panel.get_by_role("img", name=error).count() == 1
    best = f"best {max(dog['metric_curve']):.3f} at {GRID[int(np.argmax(dog['metric_curve']))]:g}"
    assert panel.get_by_role("img", name=f"{data.rule.tuned.title} of dog by threshold: {best}").count() == 1


def test_the_ring_of_a_curve_of_a_loss_is_at_its_least(tmp_path, page):
    data = data_scored_by("hamming")
    file = tmp_path / "index.html"
    file.write_text(build(data), encoding="utf-8")
    page.goto(file.as_uri())
    page.locator("#class-table tr[data-label='0'] button").click()
    curve = per_class(data, data.focus)[0]["metric_curve"]
    found = page.get_by_role("img", name="Hamming loss of cat by threshold").get_attribute("aria-label")
    assert f"best {min(curve):.3f} at {GRID[int(np.argmin(curve))]:g};" in found


def f1_at_grid(data: ReportData, label: int) -> np.ndarray:
    """F1 of one label at each threshold of the page."""
    y, proba = data.y[:, label], data.focus.proba[:, label]
    return np.array([f1_score(y, proba >= t) for t in GRID])


def test_a_screen_reader_hears_the_numbers_once_when_the_slider_rests(opened):
    opened.clock.install()
    box = opened.locator("#threshold-all")
    spoken = box.locator("[aria-live=polite]")
    assert spoken.inner_text() == ""
    box.get_by_role("slider").focus()
    for _ in range(3):
        opened.keyboard.press("ArrowLeft")
        opened.clock.run_for(100)
    assert spoken.text_content() == ""
    opened.clock.run_for(1000)
    assert spoken.text_content().startswith("micro precision ")


def test_labels_are_sorted_by_gain_and_found_by_a_part_of_their_name(opened, accessible):
    gains = [
        float(v)
        for v in opened.locator("#class-table tbody tr td:has(.meter)").evaluate_all("all => all.map(e => e.dataset.v)")
    ]
    assert gains == sorted(gains, reverse=True) and len(gains) == 3
    assert opened.locator("#class-table th[aria-sort=descending]").inner_text().strip().startswith("gain")
    opened.get_by_label("Find a label").fill("DO")
    assert opened.locator("#class-table tbody tr:visible").count() == 1
    assert opened.locator("#class-count").inner_text() == "1 of 3 labels"
    opened.get_by_label("Find a label").fill("")
    opened.locator("#class-table tr[data-label='1'] button").click()
    opened.evaluate(ALONE, ["#advice-run", "#advice-look", "#threshold-all", "#class-search", "#class-table"])
    assert accessible(opened) == []


def test_a_command_is_copied_by_its_button_and_what_to_run_stands_apart_from_what_to_look_at(opened):
    runs, looks = opened.locator("#advice-run li"), opened.locator("#advice-look li")
    titles = ["Submit words instead of both", "Leave out photos: 0 % weight, 10 s"]  # the larger gain first
    assert runs.locator(".title").all_inner_texts()[:2] == titles
    assert looks.locator(".title").first.inner_text().startswith("Look at the false ")
    assert looks.locator("[data-mistakes-of]").count() == 3 and runs.locator("[data-mistakes-of]").count() == 0
    for run in runs.all():
        text = run.inner_text()
        assert run.locator(".copy").count() and "Cost: " in text
        assert "gain not known" in text or re.search(r"[+−]0\.\d{4}\s+[+−]0\.\d{4} to [+−]0\.\d{4}", text)
    command = runs.nth(1).locator(".copied", has_text="make submit")
    command.get_by_role("button").click()
    command.get_by_text("Copied").wait_for()
    assert opened.evaluate("navigator.clipboard.readText()") == 'make submit COMP=toy EXPS="words"'


def test_each_experiment_has_its_paired_interval_against_the_best(opened):
    data = compared()
    best = best_experiment(data)
    gains = against(data, best)
    assert set(gains) == {"both", "photos", "words"} - {best}
    for name, one in gains.items():
        expected = paired_interval("f1_samples", data.y, data.decoded[best].pred, data.decoded[name].pred)
        assert (one.gain, one.low, one.high) == pytest.approx(expected)
        row = opened.locator(f"#experiment-table tr:has(th[data-v={name}])").inner_text()
        assert f"{one.low:+.4f} to {one.high:+.4f}, {one.verdict}".replace("-", "−") in row
    assert "the best" in opened.locator(f"#experiment-table tr:has(th[data-v={best}])").inner_text()
    assert opened.locator("#label-compare-table tbody th").all_inner_texts() == list(NAMES)


def test_the_columns_that_matter_most_are_in_sight_on_a_narrow_screen(opened):
    opened.set_viewport_size({"width": 390, "height": 800})
    for table, columns in (("experiment", ["F1 per row *", "against the best, paired 95 %"]), ("class", ["gain"])):
        heads = opened.locator(f"#{table}-table thead th")
        assert [text.strip(" ↓") for text in heads.all_inner_texts()[1 : len(columns) + 1]] == columns
        box = heads.nth(len(columns)).bounding_box()
        assert box["x"] + box["width"] <= 390


def test_the_gains_of_all_labels_at_once_are_those_of_one_label_at_a_time():
    rng = np.random.default_rng(0)
    y, a, b = (rng.random((60, 3)) < 0.4 for _ in range(3))
    b[:, 2] = a[:, 2]
    groups = np.arange(60) // 2
    found = label_gains(y, a, [b], groups=groups)
    for j in range(3):
        one = np.s_[:, [j]]
        expected = paired_interval("f1_macro", y[one], a[one], b[one], groups=groups)
        assert found[0, j] == pytest.approx(expected, abs=1e-5)
    assert found[0, 2].tolist() == [0, 0, 0]


def test_the_best_other_experiment_of_a_label_is_the_one_of_highest_f():
    found = compare_labels(compared())
    for row in found["rows"]:
        assert row["other_f"] == max(row["f"][1:])
        assert row["gain"].gain == pytest.approx(row["other_f"] - row["f"][0], abs=1e-6)


def test_the_counts_of_a_label_are_few_bytes_so_that_a_page_of_1103_labels_stays_small():
    rng = np.random.default_rng(0)
    counts = threshold_counts(rng.random(8000), rng.random(8000) < 0.1)
    assert len(json.dumps(counts)) < 700
