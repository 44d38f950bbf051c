"""The documents: their examples run, their links and paths lead somewhere."""

import re
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *ROOT.glob("*/README.md")])

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


def test_the_readme_has_at_most_120_lines():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120


def test_the_map_answers_twenty_questions_with_a_file_each():
    text = (ROOT / "docs" / "map.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (.+\?) \| `(src/tandem/\S+\.py)` \|$", text, re.MULTILINE)
    assert len(rows) == len(dict(rows)) == 20 == text.count("?")
    missing = [path for _, path in rows if not (ROOT / path).is_file()]
    assert not missing


@every_page
def test_every_link_leads_to_a_file(page):
    links = re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert not missing


@every_page
def test_every_file_of_the_code_that_a_page_names_exists(page):
    named = re.findall(r"`((?:src|benchmarks|tests)/[\w/.-]+)`", page.read_text(encoding="utf-8"))
    assert not [path for path in named if not (ROOT / path).exists()]


def test_the_examples_of_the_python_page_run(trained, bundle_and_photo, tmp_path, capsys):
    text = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    for name in ("build", "folds", "oof"):
        shutil.copytree(trained.root / name, tmp_path / name)
    shutil.copytree(trained.input, tmp_path / "input" / "toy", ignore=shutil.ignore_patterns("data"))
    namespace = {}
    for block in re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        exec(block.replace('"coco19"', '"toy"'), namespace)
    printed = capsys.readouterr().out
    assert "('join', 'looks', 'stack', 'words')" in printed
    assert "a.jpg ('cat',)" in printed
