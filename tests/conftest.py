"""Property tests draw the same examples in every run; `--hypothesis-profile=search` looks for new ones."""

import os
import shutil

import pytest
from hypothesis import settings
from in_turn import in_turn

settings.register_profile("repeatable", derandomize=True, database=None)
settings.register_profile("search")
settings.load_profile("repeatable")


def pytest_collection_modifyitems(items):
    """The longest tests first: the others run beside them."""
    longest = ("test_end_to_end", "test_types", "test_sample_run")
    items.sort(key=lambda item: (*longest, item.path.stem).index(item.path.stem))


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """A test trains its folds in its own process, unless it asks for more."""
    monkeypatch.setenv("TANDEM_THREADS", "1")
    monkeypatch.delenv("COLUMNS", raising=False)  # tables have the width of a pipe


BROWSERS = ("chromium", "chromium-browser", "google-chrome")
QUIET = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
         "--disable-sync", "--no-first-run")  # fmt: skip


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium; without one the test is skipped, but not in CI, where it fails."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"none of {', '.join(BROWSERS)} is installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=found, args=list(QUIET))
        yield launched
        launched.close()


@pytest.fixture
def page(browser):
    """An empty page of its own; at the end of the test, no error may have reached its console."""
    context = browser.new_context()
    opened, errors = context.new_page(), []
    opened.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    opened.on("pageerror", lambda error: errors.append(str(error)))
    yield opened
    context.close()
    assert errors == []


AXE_TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@pytest.fixture
def accessible():
    """`accessible(page)` lists what axe finds wrong on a page, in the light and in the dark theme: nothing is []."""
    from axe_playwright_python.sync_playwright import Axe

    # without `resultTypes`, most of the time goes into describing the elements that pass
    options = {"runOnly": {"type": "tag", "values": AXE_TAGS}, "resultTypes": ["violations"]}

    def violations(page) -> list[str]:
        found = []
        for theme in ("light", "dark"):
            page.emulate_media(color_scheme=theme)
            page.evaluate("window.scrollTo(0, 0)")  # nothing lies below the bar that stays at the top
            results = Axe().run(page, options=options)
            for one in results.response["violations"]:
                nodes = "; ".join(f"{node['target']}: {node['failureSummary']}" for node in one["nodes"][:5])
                found.append(f"{theme}: {one['id']} on {len(one['nodes'])} elements: {nodes}")
        return found

    return violations


@pytest.fixture(scope="session")
def fusion_toy(tmp_path_factory):
    """The paths of a trained competition, see tests/fusion_toy.py; one test that changes a file puts it back."""
    from fusion_toy import build

    from tandem.artifacts.paths import Paths
    from tandem.runtime import torch_setup as runtime

    folder = tmp_path_factory.mktemp("fusion_toy")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("TANDEM_THREADS", "1")
        patch.setattr(runtime, "has_bfloat16", lambda kind: False)
        build(Paths("toy"))
    return Paths("toy", folder)


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """The small competition, both experiments trained: not to be changed."""
    from small_competition import write_small

    from tandem.artifacts.paths import Paths
    from tandem.stages._run import bring_up_to_date

    folder = tmp_path_factory.mktemp("small")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TANDEM_THREADS", "1")
        patch.chdir(folder)
        patch.setattr("tandem.stages._run.run_in_new_process", in_turn)
        write_small(folder)
        bring_up_to_date("small", "train")
    return Paths("small", folder)


@pytest.fixture(scope="session")
def submitted_once(tmp_path_factory):
    """The folder of tests/words_competition.py: not to be changed."""
    from words_competition import submit_words

    folder = tmp_path_factory.mktemp("words")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TANDEM_THREADS", "1")
        patch.chdir(folder)
        patch.setattr("tandem.stages._run.run_in_new_process", in_turn)
        submit_words(folder)
    return folder


@pytest.fixture
def submitted(submitted_once, tmp_path, monkeypatch):
    """The paths of a copy of it, in the current folder."""
    from tandem.artifacts.paths import Paths

    shutil.copytree(submitted_once, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tandem.stages._run.run_in_new_process", in_turn)
    return Paths("small")
